// Checks the bytes of an answer's body against the checksum that the server sent with them:
// Content-MD5 or x-ms-content-crc64, in base64.
//
// The service sends them unasked with whole small blobs only, and with a range of at most
// kMaxCheckedRange bytes when asked (x-ms-range-get-content-md5, x-ms-range-get-content-crc64).
//
// Thread safety: one thread at a time.
#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "transport/http/http_headers.h"

namespace penstock::origin {

// What `mount.verify` says.
enum class Verify : std::uint8_t {
  kAuto,   // what is sent is checked, nothing is asked for
  kMd5,    // asked for with every range
  kCrc64,  // the same
  kOff,    // nothing is checked
};
// "auto", "md5", "crc64", "off"; kAuto for anything else.
Verify VerifyFromName(std::string_view name);

inline constexpr std::uint64_t kMaxCheckedRange = 4u << 20;

class BodyCheck {
 public:
  BodyCheck() = default;

  // At the start of a body, and of each one after it.
  void Begin(const ResponseHeaders& headers, Verify verify);
  void Take(std::span<const char> bytes);
  // After the last byte: false if there was a checksum and it is another one.
  bool Matches();

 private:
  struct FreeContext {
    void operator()(EVP_MD_CTX* context) const;
  };
  enum class Kind : std::uint8_t { kNone, kMd5, kCrc64 };

  Kind kind_ = Kind::kNone;
  std::string expected_;  // base64
  std::uint64_t crc_ = 0;
  std::unique_ptr<EVP_MD_CTX, FreeContext> md5_;
};

}  // namespace penstock::origin
