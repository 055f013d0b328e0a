#include "transport/blob/body_check.h"

#include <openssl/evp.h>

#include <array>

#include "transport/base/crc64.h"

namespace penstock::origin {
namespace {

constexpr std::size_t kMd5Bytes = 16;

std::string Base64(std::span<const unsigned char> bytes) {
  std::array<unsigned char, 64> text{};
  const int size = EVP_EncodeBlock(text.data(), bytes.data(), static_cast<int>(bytes.size()));
  return {reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(size)};
}

}  // namespace

Verify VerifyFromName(std::string_view name) {
  if (name == "md5") return Verify::kMd5;
  if (name == "crc64") return Verify::kCrc64;
  if (name == "off") return Verify::kOff;
  return Verify::kAuto;
}

void BodyCheck::FreeContext::operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }

void BodyCheck::Begin(const ResponseHeaders& headers, Verify verify) {
  kind_ = Kind::kNone;
  if (verify == Verify::kOff) return;
  if (!headers.content_crc64.empty()) {
    kind_ = Kind::kCrc64;
    expected_ = headers.content_crc64;
    crc_ = 0;
    return;
  }
  if (headers.content_md5.empty()) return;
  if (md5_ == nullptr) md5_.reset(EVP_MD_CTX_new());
  // Where a policy forbids MD5 (FIPS) it cannot be checked.
  if (md5_ == nullptr || EVP_DigestInit_ex(md5_.get(), EVP_md5(), nullptr) != 1) return;
  kind_ = Kind::kMd5;
  expected_ = headers.content_md5;
}

void BodyCheck::Take(std::span<const char> bytes) {
  if (kind_ == Kind::kCrc64) crc_ = Crc64(std::as_bytes(bytes), crc_);
  if (kind_ == Kind::kMd5) EVP_DigestUpdate(md5_.get(), bytes.data(), bytes.size());
}

bool BodyCheck::Matches() {
  switch (kind_) {
    case Kind::kNone:
      return true;
    case Kind::kCrc64: {
      std::array<unsigned char, 8> bytes{};
      for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<unsigned char>(crc_ >> (8 * i));
      }
      return Base64(bytes) == expected_;
    }
    case Kind::kMd5: {
      std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
      unsigned size = 0;
      EVP_DigestFinal_ex(md5_.get(), bytes.data(), &size);
      return size == kMd5Bytes && Base64({bytes.data(), kMd5Bytes}) == expected_;
    }
  }
  return false;
}

}  // namespace penstock::origin
