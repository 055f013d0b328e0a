// Runs operations of an origin and waits for them, for tests.
#pragma once

#include <cstddef>
#include <semaphore>
#include <string>
#include <vector>

#include "transport/base/clock.h"
#include "transport/origin/origin.h"

namespace penstock::origin {

inline std::int64_t InMs(std::int64_t ms) { return SystemClock::Get().NowNs() + ms * kNsPerMs; }

// Starts an operation with start(op), returns when `done` has been called.
template <typename AnyOp, typename Start>
void RunOp(AnyOp* op, Start start) {
  std::binary_semaphore finished(0);
  op->user = &finished;
  op->done = [](Op* over) { static_cast<std::binary_semaphore*>(over->user)->release(); };
  if (op->deadline_ns == 0) op->deadline_ns = InMs(20'000);
  start(op);
  finished.acquire();
}

inline StatOp StatNow(Origin& origin, const std::string& name) {
  StatOp op;
  op.name = name;
  RunOp(&op, [&](StatOp* started) { origin.Stat(started); });
  return op;
}

struct ReadOutcome {
  Error error;
  ObjectInfo info;
  std::string bytes;
};

// Reads [offset, offset + size) into buffers of `piece` bytes.
inline ReadOutcome ReadNow(Origin& origin, const std::string& name, std::uint64_t offset,
                           std::size_t size, const std::string& version = "",
                           std::size_t piece = 1 << 20, std::int64_t timeout_ms = 20'000) {
  std::string bytes(size, '\xEE');
  ReadOp op;
  op.name = name;
  op.version = version;
  op.offset = offset;
  op.deadline_ns = InMs(timeout_ms);
  for (std::size_t at = 0; at < size; at += piece) {
    op.buffers.push_back(
        std::as_writable_bytes(std::span(bytes).subspan(at, std::min(piece, size - at))));
  }
  RunOp(&op, [&](ReadOp* started) { origin.Read(started); });
  return {op.error, op.info, bytes};
}

struct ListOutcome {
  Error error;
  std::vector<ObjectInfo> entries;
  std::uint32_t skipped = 0;
  int pages = 0;
};

// All pages of a directory.
inline ListOutcome ListNow(Origin& origin, const std::string& directory) {
  ListOutcome outcome;
  std::string marker;
  do {
    ListOp op;
    op.directory = directory;
    op.marker = marker;
    RunOp(&op, [&](ListOp* started) { origin.List(started); });
    outcome.error = op.error;
    outcome.skipped += op.skipped;
    ++outcome.pages;
    for (auto& entry : op.entries) outcome.entries.push_back(std::move(entry));
    marker = op.next_marker;
    if (!op.ok()) break;
  } while (!marker.empty());
  return outcome;
}

inline const ObjectInfo* FindEntry(const ListOutcome& list, const std::string& name) {
  for (const ObjectInfo& entry : list.entries) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

// Bytes that tell their own position.
inline std::string PatternBytes(std::size_t size, unsigned seed = 1) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint64_t mixed = (i + seed) * 0x9E3779B97F4A7C15u;
    bytes[i] = static_cast<char>(mixed >> 56);
  }
  return bytes;
}

}  // namespace penstock::origin
