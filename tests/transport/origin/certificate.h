// A self-signed certificate for tests, which is its own CA.
#pragma once

#include <filesystem>
#include <string>

namespace penstock::origin {

struct CertificateFiles {
  std::filesystem::path certificate;
  std::filesystem::path key;
};

// Writes both as PEM into `folder`; `subject_alternative_name` is like "IP:127.0.0.1". Empty paths if
// OpenSSL refuses.
CertificateFiles MakeCertificate(const std::filesystem::path& folder, const std::string& name,
                                 const std::string& subject_alternative_name);

}  // namespace penstock::origin
