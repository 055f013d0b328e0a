// A real Azurite for one test program, and the few requests that fill it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/transport/origin/certificate.h"
#include "transport/blob/az_request.h"
#include "transport/http/http_client.h"
#include "transport/origin/origin.h"

namespace penstock::origin {

inline constexpr const char* kTestAccount = "pstaccount";
inline constexpr const char* kTestKey = "cGVuc3RvY2sgdGVzdCBhY2NvdW50IGtleSwgbm90IGEgc2VjcmV0";

// Starts Azurite (the script that PENSTOCK_AZURITE names) on a free port of 127.0.0.1 with a fresh
// folder; stops it by pid.
class Azurite {
 public:
  Azurite() = default;
  ~Azurite();
  Azurite(const Azurite&) = delete;
  Azurite& operator=(const Azurite&) = delete;

  // "" once it answers, else why it does not. With a certificate it speaks TLS.
  std::string Start(const CertificateFiles& certificate = {});
  int port() const { return port_; }
  std::string endpoint() const;  // http[s]://127.0.0.1:port/account

 private:
  std::string StartOnPort(int port, const CertificateFiles& certificate);
  void Stop();

  pid_t pid_ = -1;
  int port_ = 0;
  bool tls_ = false;
  std::filesystem::path folder_;
};

// Waits until an exchange is over; its body is kept.
class WaitingExchange : public HttpExchange {
 public:
  void Run(HttpClient* client, std::int64_t timeout_ms = 20'000);
  std::string body;

 protected:
  void Prepare() override {}
  bool OnHeaders() override { return true; }
  bool OnBody(std::span<const char> bytes) override;
  void OnOver() override;

 private:
  struct Over;
  Over* over_ = nullptr;
};

// Fills a container by means of the production signer.
class BlobWriter {
 public:
  BlobWriter(const std::string& endpoint, const std::string& container,
             const std::string& ca_file = "");

  // All return the HTTP status.
  int CreateContainer(bool public_access = false);
  int Put(const std::string& name, std::string_view bytes, AzRequest::Pairs metadata = {});
  int Delete(const std::string& name);

 private:
  int Run(const AzRequest& request, std::string_view bytes);

  HttpClient client_;
  AzService service_;
};

}  // namespace penstock::origin
