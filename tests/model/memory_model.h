// A small model of C11's memory order for running shim/abi under every behaviour it allows.
//
// Each location keeps all values ever stored (its messages). Each thread has a view: for each
// location the oldest message it may still read. A load picks any message from the view on: that is
// how a relaxed store shows late or out of order, and how a load runs ahead of an earlier one. A
// release store hands its thread's view over with the message, a relaxed one the view of the
// thread's last release fence; an acquire load takes the message's view, a relaxed one takes it at
// the next acquire fence. (Kang et al.'s views without promises: everything that C11 allows but
// load buffering.)
//
// An oracle decides: which message, which thread goes on. Exhaustive search and seeded random walks
// are oracles.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

namespace penstock::model {

inline constexpr unsigned kMaxLocations = 64;  // that are ever stored to
using View = std::array<std::uint8_t, kMaxLocations>;

inline void Join(View* to, const View& from) {
  for (unsigned i = 0; i < kMaxLocations; i++) (*to)[i] = std::max((*to)[i], from[i]);
}

class Oracle {
 public:
  virtual ~Oracle() = default;
  virtual unsigned Choose(unsigned count) = 0;  // 0..count-1; count >= 2
};

// Depth first over all choices: run the experiment while Next() says so.
class Exhaustive final : public Oracle {
 public:
  unsigned Choose(unsigned count) override {
    if (at_ == path_.size()) path_.push_back({0, count});
    if (path_[at_].count != count) std::abort();  // the experiment is not deterministic
    return path_[at_++].chosen;
  }
  // Goes to the next combination; false when all have been tried.
  bool Next() {
    at_ = 0;
    while (!path_.empty() && path_.back().chosen + 1 == path_.back().count) path_.pop_back();
    if (path_.empty()) return false;
    path_.back().chosen++;
    return true;
  }
  // True while the beginning of a run repeats the one before.
  bool replaying() const { return at_ < path_.size(); }

 private:
  struct Step {
    unsigned chosen, count;
  };
  std::vector<Step> path_;
  std::size_t at_ = 0;
};

class RandomWalk final : public Oracle {
 public:
  explicit RandomWalk(std::uint64_t seed) : state_(seed | 1) {}
  unsigned Choose(unsigned count) override { return static_cast<unsigned>(Next() % count); }
  std::uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545f4914f6cdd1dull >> 11;
  }

 private:
  std::uint64_t state_;
};

// What the seeded bugs take away.
struct Weakened {
  bool release_fence = false, acquire_fence = false, release_store = false, acquire_load = false;
};

struct ThreadState {
  View view{}, pending{}, at_release_fence{};
};

class Memory {
 public:
  void Reset() {
    index_.clear();
    history_.clear();
    stores_ = 0;
    crash_after_ = UINT64_MAX;
    loads_ = 0;
    greedy_ = false;
  }
  void set_oracle(Oracle* oracle) { oracle_ = oracle; }
  void set_thread(ThreadState* thread) { thread_ = thread; }
  void CrashAfter(std::uint64_t stores) { crash_after_ = stores; }
  bool crashed() const { return stores_ >= crash_after_; }
  std::uint64_t stores() const { return stores_; }
  std::uint64_t loads() const { return loads_; }
  void ClearLoads() { loads_ = 0; }
  // No more choices in this run: loads give the newest value.
  void set_greedy(bool greedy) { greedy_ = greedy; }
  bool greedy() const { return greedy_; }

  std::uint64_t Load(const void* address, std::uint64_t initial, bool acquire) {
    if (before_access) before_access(address, acquire);
    loads_++;
    const auto it = index_.find(address);
    if (it == index_.end()) return initial;
    const unsigned location = it->second;
    const auto& messages = history_[location];
    const unsigned oldest = thread_->view[location];
    const auto newest = static_cast<unsigned>(messages.size() - 1);
    unsigned picked = newest;
    if (oldest < newest && !greedy_) picked = newest - oracle_->Choose(newest - oldest + 1);
    const Message& message = messages[picked];
    thread_->view[location] = static_cast<std::uint8_t>(picked);
    Join(&thread_->pending, message.view);
    if (acquire && !weakened.acquire_load) Join(&thread_->view, message.view);
    return message.value;
  }

  void Store(const void* address, std::uint64_t initial, std::uint64_t value, bool release) {
    if (before_access) before_access(address, release);
    if (stores_ >= crash_after_) return;  // dead: nothing of it happens any more
    stores_++;
    Append(LocationOf(address, initial), value, release && !weakened.release_store);
  }

  bool CompareExchange(const void* address, std::uint64_t initial, std::uint64_t* expected,
                       std::uint64_t desired) {
    if (before_access) before_access(address, true);
    const unsigned location = LocationOf(address, initial);
    const Message newest = history_[location].back();  // a read-modify-write reads the last one
    thread_->view[location] = static_cast<std::uint8_t>(history_[location].size() - 1);
    Join(&thread_->pending, newest.view);
    Join(&thread_->view, newest.view);
    if (newest.value != *expected) {
      *expected = newest.value;
      return false;
    }
    stores_++;
    Append(location, desired, true);
    Join(&history_[location].back().view, newest.view);  // release sequences
    return true;
  }

  void ReleaseFence() {
    if (!weakened.release_fence) thread_->at_release_fence = thread_->view;
  }
  void AcquireFence() {
    if (!weakened.acquire_fence) Join(&thread_->view, thread_->pending);
  }

  // The last value stored, whatever threads see.
  std::uint64_t Newest(const void* address, std::uint64_t initial) const {
    const auto it = index_.find(address);
    return it == index_.end() ? initial : history_[it->second].back().value;
  }

  std::function<void(const void* address, bool ordered)> before_access;
  Weakened weakened;

 private:
  struct Message {
    std::uint64_t value = 0;
    View view{};
  };

  unsigned LocationOf(const void* address, std::uint64_t initial) {
    const auto [it, fresh] = index_.emplace(address, static_cast<unsigned>(history_.size()));
    if (fresh) {
      if (history_.size() == kMaxLocations) std::abort();
      history_.push_back({Message{initial, {}}});
    }
    return it->second;
  }
  void Append(unsigned location, std::uint64_t value, bool release) {
    auto& messages = history_[location];
    if (messages.size() == UINT8_MAX) std::abort();
    thread_->view[location] = static_cast<std::uint8_t>(messages.size());
    Message message{value, release ? thread_->view : thread_->at_release_fence};
    message.view[location] = static_cast<std::uint8_t>(messages.size());
    messages.push_back(message);
  }

  Oracle* oracle_ = nullptr;
  ThreadState* thread_ = nullptr;
  std::unordered_map<const void*, unsigned> index_;
  std::vector<std::vector<Message>> history_;
  std::uint64_t stores_ = 0, crash_after_ = UINT64_MAX, loads_ = 0;
  bool greedy_ = false;
};

// The one memory of the experiment under way.
inline Memory& TheMemory() {
  static Memory memory;
  return memory;
}

// Threads as fibers: before each access to shared memory the oracle says who goes on.
class Fibers {
 public:
  explicit Fibers(Oracle* oracle) : oracle_(oracle) {}
  void Add(std::function<void()> body) {
    auto fiber = std::make_unique<Fiber>();
    fiber->body = std::move(body);
    fibers_.push_back(std::move(fiber));
  }
  void Run() {
    TheMemory().before_access = [this](const void*, bool) { Yield(); };
    for (auto& fiber : fibers_) {
      ::getcontext(&fiber->context);
      fiber->stack.resize(64 << 10);
      fiber->context.uc_stack.ss_sp = fiber->stack.data();
      fiber->context.uc_stack.ss_size = fiber->stack.size();
      fiber->context.uc_link = &scheduler_;
      Starting() = this;
      ::makecontext(&fiber->context, &Fibers::Enter, 0);
    }
    for (;;) {
      std::vector<Fiber*> ready;
      for (auto& fiber : fibers_) {
        if (!fiber->done) ready.push_back(fiber.get());
      }
      if (ready.empty()) break;
      const auto count = static_cast<unsigned>(ready.size());
      current_ = ready[count == 1 ? 0 : oracle_->Choose(count)];
      TheMemory().set_thread(&current_->state);
      ::swapcontext(&scheduler_, &current_->context);
    }
    TheMemory().before_access = nullptr;
  }

 private:
  struct Fiber {
    std::function<void()> body;
    ucontext_t context{};
    std::vector<char> stack;
    ThreadState state;
    bool done = false;
  };
  static Fibers*& Starting() {
    static Fibers* starting = nullptr;
    return starting;
  }
  static void Enter() {
    Fibers* self = Starting();
    self->current_->body();
    self->current_->done = true;
  }
  void Yield() { ::swapcontext(&current_->context, &scheduler_); }

  Oracle* oracle_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  ucontext_t scheduler_{};
  Fiber* current_ = nullptr;
};

}  // namespace penstock::model
