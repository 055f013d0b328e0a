#include "transport/traffic/request_counters.h"

#include <numeric>

namespace penstock::origin {
namespace {

constexpr std::array<const char*, kRequestKinds> kKindNames = {"get", "head",   "list",
                                                               "put", "delete", "token"};
constexpr std::array<const char*, kAnswerClasses> kAnswerNames = {"2xx", "3xx", "4xx", "5xx",
                                                                  "none"};
constexpr int kTooManyRequests = 429;
constexpr int kUnavailable = 503;

void Bump(std::atomic<std::uint64_t>& counter, std::uint64_t by) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

std::uint64_t Read(const std::atomic<std::uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

}  // namespace

const char* RequestKindName(RequestKind kind) { return kKindNames[static_cast<std::size_t>(kind)]; }
const char* AnswerClassName(AnswerClass answer) {
  return kAnswerNames[static_cast<std::size_t>(answer)];
}

AnswerClass ClassOfStatus(int status) {
  switch (status / 100) {
    case 2:
      return AnswerClass::k2xx;
    case 3:
      return AnswerClass::k3xx;
    case 4:
      return AnswerClass::k4xx;
    case 5:
      return AnswerClass::k5xx;
    default:
      return AnswerClass::kNone;
  }
}

std::uint64_t KindCounts::requests() const {
  return std::accumulate(answers.begin(), answers.end(), std::uint64_t{0});
}

void RequestCounts::Add(const RequestCounts& other) {
  for (std::size_t i = 0; i < kRequestKinds; ++i) {
    for (std::size_t j = 0; j < kAnswerClasses; ++j)
      kinds[i].answers[j] += other.kinds[i].answers[j];
    kinds[i].latency.Add(other.kinds[i].latency);
  }
  bytes_received += other.bytes_received;
  bytes_sent += other.bytes_sent;
  throttled += other.throttled;
  paced += other.paced;
  paced_us += other.paced_us;
}

void RequestCounters::NoteEnd(const Ended& ended) {
  Kind& kind = kinds_[static_cast<std::size_t>(ended.kind)];
  Bump(kind.answers[static_cast<std::size_t>(ClassOfStatus(ended.status))], 1);
  kind.latency.Note(ended.took_ns);
  Bump(bytes_received_, ended.bytes_received);
  Bump(bytes_sent_, ended.bytes_sent);
  if (ended.status == kTooManyRequests || ended.status == kUnavailable) Bump(throttled_, 1);
}

void RequestCounters::NotePaced(std::int64_t waited_ns) {
  Bump(paced_, 1);
  Bump(paced_us_, static_cast<std::uint64_t>(waited_ns) / 1'000);
}

RequestCounts RequestCounters::Counts() const {
  RequestCounts counts;
  for (std::size_t i = 0; i < kRequestKinds; ++i) {
    for (std::size_t j = 0; j < kAnswerClasses; ++j)
      counts.kinds[i].answers[j] = Read(kinds_[i].answers[j]);
    counts.kinds[i].latency = kinds_[i].latency.Counts();
  }
  counts.bytes_received = Read(bytes_received_);
  counts.bytes_sent = Read(bytes_sent_);
  counts.throttled = Read(throttled_);
  counts.paced = Read(paced_);
  counts.paced_us = Read(paced_us_);
  return counts;
}

}  // namespace penstock::origin
