#include "transport/identity/client_assertion.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "transport/base/clock.h"
#include "transport/blob/az_auth.h"

namespace penstock::identity {
namespace {

template <auto Free>
struct With {
  template <typename T>
  void operator()(T* owned) const {
    Free(owned);
  }
};
using Bio = std::unique_ptr<BIO, With<BIO_free>>;
using Key = std::unique_ptr<EVP_PKEY, With<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, With<X509_free>>;
using Digest = std::unique_ptr<EVP_MD_CTX, With<EVP_MD_CTX_free>>;
using Pkcs12 = std::unique_ptr<PKCS12, With<PKCS12_free>>;

constexpr std::int64_t kAssertionSeconds = 600;
constexpr int kSmallestKeyBits = 2048;

struct Password {
  const std::string* text;
  bool asked = false;
};

// OpenSSL's callback; without it a terminal would be asked.
int GivePassword(char* buffer, int size, int, void* user) {
  auto* password = static_cast<Password*>(user);
  password->asked = true;
  const std::string& text = *password->text;
  if (text.empty() || text.size() > static_cast<std::size_t>(size)) return -1;
  text.copy(buffer, text.size());
  return static_cast<int>(text.size());
}

std::unexpected<Error> BadCertificate(std::string* explanation, const char* sentence) {
  ERR_clear_error();
  *explanation = sentence;
  return Fail(Code::kPermission, "reading a client certificate");
}

Bio Reader(std::string_view bytes) {
  return Bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

std::string Der(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  if (size <= 0) return "";
  std::string bytes(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return bytes;
}

std::string Sha256(std::string_view bytes) {
  std::array<unsigned char, 32> digest{};
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    return "";
  }
  return {reinterpret_cast<const char*>(digest.data()), size};
}

// RSASSA-PSS with SHA-256 and a salt as long as the digest: JWA's PS256.
std::string SignPs256(EVP_PKEY* key, std::string_view text) {
  const Digest context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;  // the context's own
  std::size_t size = 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  if (context == nullptr ||
      EVP_DigestSignInit(context.get(), &parameters, EVP_sha256(), nullptr, key) != 1 ||
      EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) != 1 ||
      EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes, text.size()) != 1) {
    return "";
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     bytes, text.size()) != 1) {
    return "";
  }
  signature.resize(size);
  return signature;
}

// A random UUID: no assertion is like another.
std::string RandomId() {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return "";
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3F) | 0x80);
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text.push_back('-');
    text += fmt::format("{:02x}", bytes[i]);
  }
  return text;
}

std::int64_t ExpiryWallNs(const X509* certificate) {
  std::tm utc{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &utc) != 1) return 0;
  return static_cast<std::int64_t>(timegm(&utc)) * kNsPerSecond;
}

}  // namespace

struct ClientCertificate::Parts {
  Key key;
  std::vector<Certificate> certificates;  // ours first, then those that signed it
};

namespace {

using Certificates = std::vector<Certificate>;

bool ReadPkcs12(std::string_view bytes, const std::string& password, Key* key,
                Certificates* certificates) {
  const Bio bio = Reader(bytes);
  const Pkcs12 bundle(d2i_PKCS12_bio(bio.get(), nullptr));
  EVP_PKEY* raw_key = nullptr;
  X509* raw_certificate = nullptr;
  STACK_OF(X509)* others = nullptr;
  if (bundle == nullptr ||
      PKCS12_parse(bundle.get(), password.c_str(), &raw_key, &raw_certificate, &others) != 1) {
    return false;
  }
  key->reset(raw_key);
  if (raw_certificate != nullptr) certificates->emplace_back(raw_certificate);
  while (others != nullptr && sk_X509_num(others) > 0) {
    certificates->emplace_back(sk_X509_shift(others));
  }
  sk_X509_free(others);
  return true;
}

void ReadPem(std::string_view text, Password* password, Key* key, Certificates* certificates) {
  const Bio for_key = Reader(text);
  key->reset(PEM_read_bio_PrivateKey(for_key.get(), nullptr, GivePassword, password));
  const Bio for_certificates = Reader(text);
  while (X509* one = PEM_read_bio_X509(for_certificates.get(), nullptr, GivePassword, password)) {
    certificates->emplace_back(one);
  }
  ERR_clear_error();
}

// The certificate that belongs to the key goes first. False if there is none.
bool PutOwnFirst(EVP_PKEY* key, Certificates* certificates) {
  for (Certificate& one : *certificates) {
    if (X509_check_private_key(one.get(), key) != 1) continue;
    std::swap(one, certificates->front());
    ERR_clear_error();
    return true;
  }
  return false;
}

}  // namespace

ClientCertificate::ClientCertificate(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {
  expires_wall_ns_ = ExpiryWallNs(parts_->certificates.front().get());
}
ClientCertificate::~ClientCertificate() = default;

Result<std::unique_ptr<ClientCertificate>> ClientCertificate::Parse(std::string_view bytes,
                                                                    const std::string& password,
                                                                    std::string* explanation) {
  auto parts = std::make_unique<Parts>();
  Password given{&password};
  if (bytes.find("-----BEGIN ") != std::string_view::npos) {
    ReadPem(bytes, &given, &parts->key, &parts->certificates);
  } else if (!ReadPkcs12(bytes, password, &parts->key, &parts->certificates)) {
    return BadCertificate(explanation,
                 "is neither PEM nor PKCS#12 that opens with AZURE_CLIENT_CERTIFICATE_PASSWORD");
  }
  if (parts->key == nullptr) {
    return BadCertificate(explanation, given.asked ? "holds an encrypted private key that does not open "
                                            "with AZURE_CLIENT_CERTIFICATE_PASSWORD"
                                          : "holds no private key");
  }
  if (EVP_PKEY_get_base_id(parts->key.get()) != EVP_PKEY_RSA ||
      EVP_PKEY_get_bits(parts->key.get()) < kSmallestKeyBits) {
    return BadCertificate(explanation, "holds a key that is not RSA of 2048 bits or more");
  }
  if (!PutOwnFirst(parts->key.get(), &parts->certificates)) {
    return BadCertificate(explanation, "holds no certificate of its private key");
  }
  return std::unique_ptr<ClientCertificate>(new ClientCertificate(std::move(parts)));
}

std::string ClientCertificate::MakeAssertion(std::string_view client_id, std::string_view audience,
                                             std::int64_t wall_ns, bool with_chain) const {
  using Json = nlohmann::json;
  const std::int64_t now = wall_ns / kNsPerSecond;
  Json header = {{"alg", "PS256"},
                 {"typ", "JWT"},
                 {"x5t#S256", EncodeBase64Url(Sha256(Der(parts_->certificates.front().get())))}};
  if (with_chain) {
    Json chain = Json::array();
    for (const Certificate& one : parts_->certificates) {
      chain.push_back(origin::EncodeBase64(Der(one.get())));
    }
    header["x5c"] = std::move(chain);
  }
  const Json claims = {{"aud", audience},
                       {"iss", client_id},
                       {"sub", client_id},
                       {"jti", RandomId()},
                       {"nbf", now},
                       {"iat", now},
                       {"exp", now + kAssertionSeconds}};
  constexpr auto kReplace = Json::error_handler_t::replace;  // never throws
  const std::string text = EncodeBase64Url(header.dump(-1, ' ', false, kReplace)) + "." +
                           EncodeBase64Url(claims.dump(-1, ' ', false, kReplace));
  const std::string signature = SignPs256(parts_->key.get(), text);
  return signature.empty() ? "" : text + "." + EncodeBase64Url(signature);
}

std::string EncodeBase64Url(std::string_view bytes) {
  std::string text = origin::EncodeBase64(bytes);
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) {
    if (c == '+') c = '-';
    if (c == '/') c = '_';
  }
  return text;
}

}  // namespace penstock::identity
