// What was asked of a service and how it answered: by kind, class of status, bytes and time. From
// these follow what the requests cost and whether the service throttles.
//
// Thread safety: RequestCounters has one writer at a time (the HTTP client's thread); Counts() from
// any thread. The rest are plain values.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "transport/base/histogram.h"

namespace penstock::origin {

enum class RequestKind : std::uint8_t { kGet, kHead, kList, kPut, kDelete, kToken };
inline constexpr std::size_t kRequestKinds = 6;
const char* RequestKindName(RequestKind kind);  // "get", "list", ...

// By the status' first digit; kNone where no answer came.
enum class AnswerClass : std::uint8_t { k2xx, k3xx, k4xx, k5xx, kNone };
inline constexpr std::size_t kAnswerClasses = 5;
const char* AnswerClassName(AnswerClass answer);  // "2xx", ..., "none"
AnswerClass ClassOfStatus(int status);

struct KindCounts {
  std::array<std::uint64_t, kAnswerClasses> answers{};
  HistogramCounts latency;  // from the wire's side: sent to over

  std::uint64_t requests() const;
};

struct RequestCounts {
  std::array<KindCounts, kRequestKinds> kinds{};
  std::uint64_t bytes_received = 0;  // of bodies
  std::uint64_t bytes_sent = 0;      // of bodies
  std::uint64_t throttled = 0;       // answered 429 or 503
  std::uint64_t paced = 0;           // had to wait for a limit of ours
  std::uint64_t paced_us = 0;        // for so long, together

  void Add(const RequestCounts& other);
  const KindCounts& of(RequestKind kind) const { return kinds[static_cast<std::size_t>(kind)]; }
};

class RequestCounters {
 public:
  struct Ended {
    RequestKind kind = RequestKind::kGet;
    int status = 0;  // 0: no answer
    std::uint64_t bytes_received = 0;
    std::uint64_t bytes_sent = 0;
    std::int64_t took_ns = 0;
  };
  void NoteEnd(const Ended& ended);
  void NotePaced(std::int64_t waited_ns);
  RequestCounts Counts() const;

 private:
  struct Kind {
    std::array<std::atomic<std::uint64_t>, kAnswerClasses> answers{};
    Histogram latency;
  };
  std::array<Kind, kRequestKinds> kinds_{};
  std::atomic<std::uint64_t> bytes_received_{0};
  std::atomic<std::uint64_t> bytes_sent_{0};
  std::atomic<std::uint64_t> throttled_{0};
  std::atomic<std::uint64_t> paced_{0};
  std::atomic<std::uint64_t> paced_us_{0};
};

}  // namespace penstock::origin
