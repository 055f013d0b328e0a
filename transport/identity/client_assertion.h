// A service principal's certificate, and the signed statement with which it signs in.
//
// The statement is a JWT (RFC 7519) as Microsoft's "Microsoft identity platform application
// authentication certificate credentials" describes it: header alg PS256 and x5t#S256 (the SHA-256
// of the certificate), claims aud, iss and sub (the client), jti, nbf, exp.
//
// Thread safety: immutable after construction; MakeAssertion() from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "transport/base/result.h"

namespace penstock::identity {

class ClientCertificate {
 public:
  // From PEM text with a certificate and its RSA private key, in any order, or from PKCS#12 bytes.
  // `password` is for an encrypted one. kPermission with a sentence in `explanation`.
  static Result<std::unique_ptr<ClientCertificate>> Parse(std::string_view bytes,
                                                          const std::string& password,
                                                          std::string* explanation);
  ~ClientCertificate();
  ClientCertificate(const ClientCertificate&) = delete;
  ClientCertificate& operator=(const ClientCertificate&) = delete;

  // A JWT that says to `audience` that we are `client_id`, good for ten minutes; with `with_chain`
  // it carries the certificate itself (x5c), for sign-in by subject name and issuer. "" if OpenSSL
  // refuses.
  std::string MakeAssertion(std::string_view client_id, std::string_view audience,
                            std::int64_t wall_ns, bool with_chain) const;

  std::int64_t expires_wall_ns() const { return expires_wall_ns_; }

 private:
  struct Parts;
  explicit ClientCertificate(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
  std::int64_t expires_wall_ns_ = 0;
};

// RFC 4648's alphabet for URLs, without padding.
std::string EncodeBase64Url(std::string_view bytes);

}  // namespace penstock::identity
