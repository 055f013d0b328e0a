#include "transport/identity/client_credentials.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "transport/base/limits.h"
#include "transport/identity/client_assertion.h"
#include "transport/identity/secret_file.h"

namespace penstock::identity {
namespace {

constexpr std::string_view kAssertionType =
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

origin::HttpLimits LimitsOf(const ClientCredentials& credentials) {
  origin::HttpLimits limits;
  limits.max_connections = 1;
  limits.connect_timeout_ms = 10'000;
  limits.request_timeout_ms = 20'000;
  limits.stall_timeout_ms = 20'000;
  limits.ca_file = credentials.ca_file;
  // Plain http is on this very machine: the secret is not for a proxy to see.
  limits.use_proxy = !credentials.authority_host.starts_with("http://");
  return limits;
}

std::string DescriptionOf(const ClientCredentials& credentials) {
  const char* by = "secret";
  if (!credentials.certificate_file.empty()) by = "certificate";
  if (!credentials.federated_token_file.empty()) {
    return fmt::format("workload identity, client_id {}", credentials.client_id);
  }
  return fmt::format("service principal with a {}, client_id {}", by, credentials.client_id);
}

std::string TokenUrl(const ClientCredentials& credentials) {
  std::string host = credentials.authority_host;
  while (host.ends_with('/')) host.pop_back();
  return fmt::format("{}/{}/oauth2/v2.0/token", host, credentials.tenant_id);
}

class ClientCredentialsSource final : public HttpTokenSource {
 public:
  explicit ClientCredentialsSource(const ClientCredentials& credentials)
      : HttpTokenSource(LimitsOf(credentials), TokenRetries(), TokenDialect::kEntra),
        credentials_(credentials),
        url_(TokenUrl(credentials)) {}
  ~ClientCredentialsSource() override { Stop(); }

  std::string Describe() const override { return DescriptionOf(credentials_); }

 private:
  Result<TokenCall> MakeCall(std::string* explanation) override {
    TokenCall call;
    call.method = origin::HttpMethod::kPost;
    call.url = url_;
    call.headers = {"Content-Type: application/x-www-form-urlencoded", "Accept: application/json"};
    call.body = fmt::format("grant_type=client_credentials&client_id={}&scope={}",
                            PercentEncoded(credentials_.client_id), PercentEncoded(kStorageScope));
    auto proof = Proof(explanation);
    if (!proof) return std::unexpected(proof.error());
    if (IsSecret()) {
      call.body += "&client_secret=" + PercentEncoded(*proof);
    } else {
      call.body += fmt::format("&client_assertion_type={}&client_assertion={}",
                               PercentEncoded(kAssertionType), PercentEncoded(*proof));
    }
    call.secrets.push_back(*std::move(proof));
    return call;
  }

  std::string Where() const override { return url_; }

  bool IsSecret() const {
    return credentials_.certificate_file.empty() && credentials_.federated_token_file.empty();
  }

  // What proves that we are who we say.
  Result<std::string> Proof(std::string* explanation) const {
    if (!credentials_.federated_token_file.empty()) return FederatedToken(explanation);
    if (!credentials_.certificate_file.empty()) return CertificateAssertion(explanation);
    if (!credentials_.secret_file.empty()) {
      return ReadSecretLine(credentials_.secret_file, limits::kMaxSecretFileBytes, explanation);
    }
    return credentials_.secret;
  }

  Result<std::string> FederatedToken(std::string* explanation) const {
    auto token =
        ReadSecretLine(credentials_.federated_token_file, limits::kMaxTokenBytes, explanation);
    if (token && !IsTokenText(*token)) {
      *explanation = credentials_.federated_token_file + " holds no token";
      return penstock::Fail(Code::kPermission, "reading a federated token");
    }
    return token;
  }

  Result<std::string> CertificateAssertion(std::string* explanation) const {
    const std::string& file = credentials_.certificate_file;
    auto bytes = ReadSecretFile(file, limits::kMaxSecretFileBytes, explanation);
    if (!bytes) return bytes;
    auto certificate =
        ClientCertificate::Parse(*bytes, credentials_.certificate_password, explanation);
    std::fill(bytes->begin(), bytes->end(), '\0');
    if (!certificate) {
      *explanation = fmt::format("{} {}", file, *explanation);
      return std::unexpected(certificate.error());
    }
    const std::int64_t wall_ns = SystemClock::Get().WallNs();
    if ((*certificate)->expires_wall_ns() <= wall_ns) {
      *explanation = file + " holds a certificate that has expired";
      return penstock::Fail(Code::kPermission, "reading a client certificate");
    }
    std::string assertion = (*certificate)
                                ->MakeAssertion(credentials_.client_id, url_, wall_ns,
                                                credentials_.send_certificate_chain);
    if (!assertion.empty()) return assertion;
    *explanation = file + ": OpenSSL refuses to sign with its key";
    return penstock::Fail(Code::kPermission, "signing in with a certificate");
  }

  const ClientCredentials credentials_;
  const std::string url_;
};

bool IsId(std::string_view text) {
  return !text.empty() && text.size() <= 256 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
  });
}

std::unexpected<Error> NoPrincipal(std::string* explanation, std::string sentence) {
  *explanation = std::move(sentence);
  return penstock::Fail(Code::kInvalid, "choosing a service principal");
}

}  // namespace

Result<std::unique_ptr<TokenSource>> MakeClientCredentials(const ClientCredentials& credentials,
                                                           std::string* explanation) {
  if (credentials.client_id.empty()) {
    return NoPrincipal(explanation, "no client id: set AZURE_CLIENT_ID or auth.client_id");
  }
  if (credentials.tenant_id.empty()) {
    return NoPrincipal(explanation, "no tenant id: set AZURE_TENANT_ID or auth.tenant_id");
  }
  if (!IsId(credentials.client_id)) return NoPrincipal(explanation, "the client id is not one");
  if (!IsId(credentials.tenant_id)) return NoPrincipal(explanation, "the tenant id is not one");
  const std::string& host = credentials.authority_host;
  if (!IsPlainUrl(host) || host.find('?') != std::string::npos ||
      (host.starts_with("http://") && !IsLoopbackUrl(host))) {
    return NoPrincipal(explanation,
                 fmt::format("the authority '{}' is not like "
                             "https://login.microsoftonline.com (AZURE_AUTHORITY_HOST, "
                             "auth.authority_host)",
                             OneLine(host, 100)));
  }
  if (credentials.secret.empty() && credentials.secret_file.empty() &&
      credentials.certificate_file.empty() && credentials.federated_token_file.empty()) {
    return NoPrincipal(explanation,
                 "nothing to prove it: set AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH or "
                 "AZURE_FEDERATED_TOKEN_FILE");
  }
  return std::make_unique<ClientCredentialsSource>(credentials);
}

}  // namespace penstock::identity
