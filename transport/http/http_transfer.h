// One libcurl easy handle, used for one exchange after the other. Internal to the HTTP client.
//
// Thread safety: the client's thread only.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "transport/http/http_client.h"

namespace penstock::origin {

class HttpTransfer {
 public:
  // nullptr if libcurl refuses.
  static std::unique_ptr<HttpTransfer> Make(const HttpLimits& limits, CURLSH* share);
  ~HttpTransfer();
  HttpTransfer(const HttpTransfer&) = delete;
  HttpTransfer& operator=(const HttpTransfer&) = delete;

  // Sets the handle up for `exchange`; false if libcurl refuses.
  bool Begin(HttpExchange* exchange, const HttpLimits& limits, std::int64_t now_ns);
  // Fills in the exchange's outcome and returns it.
  HttpExchange* End(CURLcode result, std::int64_t now_ns);

  CURL* handle() const { return handle_; }
  HttpExchange* exchange() const { return exchange_; }
  std::uint64_t connects() const { return connects_; }  // opened for the last exchange
  std::int64_t began_ns() const { return began_ns_; }
  std::int64_t alarm_ns() const { return alarm_ns_; }  // 0: none
  void SilenceAlarm() { alarm_ns_ = 0; }

 private:
  explicit HttpTransfer(CURL* handle) : handle_(handle) {}
  bool SetUpOnce(const HttpLimits& limits, CURLSH* share);
  bool SetMethod();
  bool SetHeaders();
  bool NoteHeadersOnce();

  static std::size_t HeaderCallback(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t BodyCallback(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t SendCallback(char* data, std::size_t size, std::size_t count, void* self);

  CURL* handle_;
  HttpExchange* exchange_ = nullptr;
  std::vector<curl_slist> header_list_;  // points into the exchange's strings: nothing is copied
  std::size_t sent_bytes_ = 0;
  std::int64_t began_ns_ = 0;
  std::int64_t alarm_ns_ = 0;
  std::uint64_t connects_ = 0;
  bool headers_noted_ = false;
  Fault given_up_ = Fault::kNone;  // by a callback of ours
  const char* given_up_sentence_ = "";
};

}  // namespace penstock::origin
