// The descriptors that a loop watches. An entry lives as long as its Watch; a callback that is running
// while its own watch ends is kept until it returns.
//
// Thread safety: the loop's thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

namespace penstock::cache {

struct WatchEntry {
  int fd = -1;
  std::uint32_t events = 0;
  std::uint64_t id = 0;                  // never repeats: a late event of an earlier watch finds nothing
  bool armed = false;                    // io_uring: a poll is in the kernel
  std::move_only_function<void(std::uint32_t)> ready;
};

class WatchTable {
 public:
  std::shared_ptr<WatchEntry> Add(int fd, std::uint32_t events,
                                  std::move_only_function<void(std::uint32_t)> ready) {
    auto entry = std::make_shared<WatchEntry>();
    entry->fd = fd;
    entry->events = events;
    entry->id = ++last_id_;
    entry->ready = std::move(ready);
    by_fd_[fd] = entry;
    by_id_[entry->id] = entry;
    return entry;
  }
  // Returns what was watched, or null.
  std::shared_ptr<WatchEntry> Remove(int fd) {
    const auto found = by_fd_.find(fd);
    if (found == by_fd_.end()) return nullptr;
    auto entry = found->second;
    by_id_.erase(entry->id);
    by_fd_.erase(found);
    return entry;
  }
  bool Has(int fd) const { return by_fd_.contains(fd); }
  std::shared_ptr<WatchEntry> ById(std::uint64_t id) const {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : found->second;
  }

 private:
  std::unordered_map<int, std::shared_ptr<WatchEntry>> by_fd_;
  std::unordered_map<std::uint64_t, std::shared_ptr<WatchEntry>> by_id_;
  std::uint64_t last_id_ = 0;
};

}  // namespace penstock::cache
