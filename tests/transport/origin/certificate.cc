#include "tests/transport/origin/certificate.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>

namespace penstock::origin {
namespace {

template <auto Free>
struct With {
  template <typename T>
  void operator()(T* owned) const {
    Free(owned);
  }
};

using Key = std::unique_ptr<EVP_PKEY, With<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, With<X509_free>>;
using File = std::unique_ptr<FILE, With<fclose>>;

bool AddExtension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  const bool added = extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

bool Fill(X509* certificate, EVP_PKEY* key, const std::string& alternative) {
  constexpr long kDaySeconds = 86'400;
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -kDaySeconds);
  X509_gmtime_adj(X509_getm_notAfter(certificate), kDaySeconds);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("penstock test"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  return AddExtension(certificate, NID_basic_constraints, "critical,CA:TRUE") &&
         AddExtension(certificate, NID_subject_alt_name, alternative) &&
         X509_sign(certificate, key, EVP_sha256()) > 0;
}

}  // namespace

CertificateFiles MakeCertificate(const std::filesystem::path& folder, const std::string& name,
                                 const std::string& subject_alternative_name) {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate(X509_new());
  if (key == nullptr || certificate == nullptr ||
      !Fill(certificate.get(), key.get(), subject_alternative_name)) {
    return {};
  }
  CertificateFiles files{folder / (name + ".crt"), folder / (name + ".key")};
  const File certificate_file(std::fopen(files.certificate.c_str(), "w"));
  const File key_file(std::fopen(files.key.c_str(), "w"));
  if (certificate_file == nullptr || key_file == nullptr ||
      PEM_write_X509(certificate_file.get(), certificate.get()) != 1 ||
      PEM_write_PrivateKey(key_file.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return {};
  }
  return files;
}

}  // namespace penstock::origin
