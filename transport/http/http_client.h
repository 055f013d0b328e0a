// An HTTP client: many exchanges at once on one thread of its own, over libcurl's multi interface,
// with kept-alive connections.
//
// An exchange belongs to the caller and stays alive until OnOver() has been called; its callbacks
// run on the client's thread, must not block, and may submit other exchanges or this one again. As
// many are on the wire as the server's throughput and its throttling say (concurrency.h), at most
// max_connections; the others wait their turn.
//
// Deadlines: an exchange is over at its deadline at the latest. A single try takes at most
// request_timeout_ms. Redirects are not followed; certificates are always verified.
//
// Thread safety: Submit(), NoteCancelled() and the counters from any thread; Withdraw() on the
// client's. REQUIRES at destruction: nothing is in flight.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "transport/base/clock.h"
#include "transport/base/result.h"
#include "transport/http/http_headers.h"
#include "transport/http/retry.h"
#include "transport/traffic/pacer.h"
#include "transport/traffic/request_counters.h"

namespace penstock::origin {

enum class HttpMethod : std::uint8_t { kGet, kHead, kPut, kPost, kDelete };
const char* HttpMethodName(HttpMethod method);

class HttpExchange {
 public:
  HttpExchange() = default;
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;
  virtual ~HttpExchange() = default;

  // What to send. Set in Prepare(), or before Submit().
  HttpMethod method = HttpMethod::kGet;
  std::string url;
  std::vector<std::string> headers;      // "Name: value"
  std::span<const std::byte> send_body;  // PUT, POST

  // For limits and counters.
  RequestKind kind = RequestKind::kGet;
  // Nobody waits for it: others may overtake it. From any thread.
  std::atomic<bool> prefetch{false};
  std::uint64_t expected_bytes = 0;  // of both bodies, as far as it is known

  std::int64_t not_before_ns = 0;  // when it may go onto the wire
  std::int64_t deadline_ns = 0;
  // After so long on the wire OnAlarm() is called, once; 0: never. Taken when it is sent.
  std::int64_t alarm_after_ns = 0;

  // From any thread, followed by HttpClient::NoteCancelled().
  std::atomic<bool> cancelled{false};

  // What came back, complete when OnOver() is called.
  int status = 0;  // 0 if there was no answer
  ResponseHeaders response;
  std::uint64_t received_bytes = 0;  // of the body
  Fault fault = Fault::kNone;
  const char* fault_sentence = "";  // static: what went wrong, for a person
  std::int64_t wire_ns = 0;         // how long it was on the wire

  // The client's.
  std::int64_t held_since_ns = 0;  // for a limit; 0: it is not
  std::int64_t sent_ns = 0;

  // Right before it is sent: signs with the time of now.
  virtual void Prepare() = 0;
  // Status and headers are there, a body begins. False ends the exchange with Fault::kRejected.
  virtual bool OnHeaders() = 0;
  // The next bytes of the body. False: they are more than was to come (Fault::kTruncated).
  virtual bool OnBody(std::span<const char> bytes) = 0;
  // It takes longer than alarm_after_ns. May submit others.
  virtual void OnAlarm() {}
  // It is over. May destroy the exchange.
  virtual void OnOver() = 0;
};

struct HttpLimits {
  std::uint32_t max_connections = 32;
  std::int64_t connect_timeout_ms = 10'000;
  std::int64_t request_timeout_ms = 30'000;
  std::int64_t stall_timeout_ms = 15'000;  // no byte for so long ends a try
  bool http2 = false;                      // where a server offers it over TLS
  std::string ca_file;                     // certificates to trust instead of the system's
  bool use_proxy = true;  // as http_proxy, HTTPS_PROXY and NO_PROXY say; false: never
};

struct HttpCounters {
  std::uint64_t exchanges = 0;       // put onto the wire
  std::uint64_t connects = 0;        // connections opened
  std::uint64_t received_bytes = 0;  // of bodies
  std::uint64_t throttled = 0;       // answers 429 and 503
  std::uint32_t concurrency = 0;     // now: how many may be on the wire at once
};

class HttpClient {
 public:
  // `pacer`, if there is one, is asked before a request goes out; it outlives the client.
  explicit HttpClient(const HttpLimits& limits, Clock* clock = &SystemClock::Get(),
                      Pacer* pacer = nullptr);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  void Submit(HttpExchange* exchange);
  // Some exchange's `cancelled` has been set.
  void NoteCancelled();
  // Ends an exchange without OnOver(): from here on the client does not touch it or its buffers.
  // False if it is not the client's. From OnOver() of another one.
  bool Withdraw(HttpExchange* exchange);
  HttpCounters Counters() const;
  RequestCounts Requests() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock::origin
