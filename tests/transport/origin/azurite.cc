#include "tests/transport/origin/azurite.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <semaphore>
#include <thread>

#include "transport/blob/az_auth.h"

namespace penstock::origin {
namespace {

namespace fs = std::filesystem;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

bool Answers(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  const bool connected =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return connected;
}

}  // namespace

Azurite::~Azurite() { Stop(); }

std::string Azurite::endpoint() const {
  return std::string(tls_ ? "https" : "http") + "://127.0.0.1:" + std::to_string(port_) + "/" +
         kTestAccount;
}

std::string Azurite::Start(const CertificateFiles& certificate) {
  tls_ = !certificate.certificate.empty();
  std::string why;
  for (int attempt = 0; attempt < 3; ++attempt) {
    why = StartOnPort(FreePort(), certificate);
    if (why.empty()) return "";
    Stop();
  }
  return why;
}

std::string Azurite::StartOnPort(int port, const CertificateFiles& certificate) {
  const char* script = std::getenv("PENSTOCK_AZURITE");
  if (script == nullptr || access(script, X_OK) != 0) {
    return std::string("PENSTOCK_AZURITE names no program: ") + (script == nullptr ? "" : script) +
           " (run npm ci in tests/azurite)";
  }
  std::string pattern = (fs::temp_directory_path() / "penstock-azurite-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) return "no temporary folder";
  folder_ = pattern;
  port_ = port;
  const std::string port_text = std::to_string(port);
  const std::string accounts = std::string("AZURITE_ACCOUNTS=") + kTestAccount + ":" + kTestKey;
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that crashes leaves no server behind
    putenv(const_cast<char*>(accounts.c_str()));
    const int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    std::vector<const char*> arguments = {script,
                                          "--silent",
                                          "--location",
                                          pattern.c_str(),
                                          "--blobHost",
                                          "127.0.0.1",
                                          "--blobPort",
                                          port_text.c_str(),
                                          "--skipApiVersionCheck",
                                          "--disableTelemetry"};
    if (tls_) {
      arguments.insert(arguments.end(), {"--cert", certificate.certificate.c_str(), "--key",
                                         certificate.key.c_str()});
    }
    arguments.push_back(nullptr);
    execv(script, const_cast<char**>(arguments.data()));
    _exit(127);
  }
  for (int i = 0; i < 600; ++i) {
    if (Answers(port)) return "";
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return "Azurite ended while it started";
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return "Azurite did not answer within 30 s";
}

void Azurite::Stop() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_ = -1;
  if (!folder_.empty()) fs::remove_all(folder_);
  folder_.clear();
}

struct WaitingExchange::Over {
  std::binary_semaphore signal{0};
};

void WaitingExchange::Run(HttpClient* client, std::int64_t timeout_ms) {
  Over over;
  over_ = &over;
  deadline_ns = SystemClock::Get().NowNs() + timeout_ms * kNsPerMs;
  client->Submit(this);
  over.signal.acquire();
}

bool WaitingExchange::OnBody(std::span<const char> bytes) {
  body.append(bytes.data(), bytes.size());
  return true;
}

void WaitingExchange::OnOver() { over_->signal.release(); }

namespace {

AzLocation LocationAt(const std::string& endpoint, const std::string& container) {
  std::string why;
  return ParseAzUrl(std::string("az://") + kTestAccount + "/" + container, endpoint, &why).value();
}

AzCredentials TestCredentials() {
  AzCredentials credentials;
  credentials.kind = AzCredentials::Kind::kSharedKey;
  credentials.account = kTestAccount;
  credentials.key = DecodeBase64(kTestKey).value();
  return credentials;
}

}  // namespace

BlobWriter::BlobWriter(const std::string& endpoint, const std::string& container,
                       const std::string& ca_file)
    : client_([&] {
        HttpLimits limits;
        limits.ca_file = ca_file;
        return limits;
      }()),
      service_(LocationAt(endpoint, container), TestCredentials(), &SystemClock::Get()) {}

int BlobWriter::Run(const AzRequest& request, std::string_view bytes) {
  WaitingExchange exchange;
  service_.Fill(request, &exchange);
  exchange.send_body = std::as_bytes(std::span(bytes));
  exchange.Run(&client_);
  return exchange.status;
}

int BlobWriter::CreateContainer(bool public_access) {
  AzRequest request;
  request.method = HttpMethod::kPut;
  request.query = {{"restype", "container"}};
  if (public_access) request.ms_headers = {{"x-ms-blob-public-access", "container"}};
  return Run(request, "");
}

int BlobWriter::Put(const std::string& name, std::string_view bytes, AzRequest::Pairs metadata) {
  AzRequest request;
  request.method = HttpMethod::kPut;
  request.name = name;
  request.content_length = bytes.size();
  request.ms_headers = std::move(metadata);
  request.ms_headers.emplace_back("x-ms-blob-type", "BlockBlob");
  return Run(request, bytes);
}

int BlobWriter::Delete(const std::string& name) {
  AzRequest request;
  request.method = HttpMethod::kDelete;
  request.name = name;
  return Run(request, "");
}

}  // namespace penstock::origin
