// Questions to the origins on behalf of the core thread: owns the operation structs, computes the
// checksums of what was read, and brings the answers back to the loop, many with one wake-up.
//
// Thread safety: the core thread; answers arrive on any thread and are handed over here.
#pragma once

#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "transport/origin/origin.h"

namespace penstock::cache {

class Loop;
class OriginCalls;

// What all calls share. `finished` runs on the core thread, after which the call is destroyed.
struct OriginCall {
  virtual ~OriginCall() = default;
  virtual origin::Op* op() = 0;
  virtual void Start() = 0;
  virtual void ComputeCrcs() {}
  virtual std::uint64_t BytesToCheck() const { return 0; }

  OriginCalls* owner = nullptr;
  origin::Origin* origin = nullptr;
};

struct StatCall final : OriginCall, origin::StatOp {
  origin::Op* op() override { return this; }
  void Start() override { origin->Stat(this); }
};

struct ListCall final : OriginCall, origin::ListOp {
  origin::Op* op() override { return this; }
  void Start() override { origin->List(this); }
};

struct ReadCall final : OriginCall, origin::ReadOp {
  origin::Op* op() override { return this; }
  void Start() override { origin->Read(this); }
  void ComputeCrcs() override;
  std::uint64_t BytesToCheck() const override;

  bool want_crcs = false;
  std::vector<std::uint32_t> crcs;       // result: one a buffer
};

class OriginCalls {
 public:
  OriginCalls(Loop* loop, unsigned cpus);
  ~OriginCalls();                        // cancels, waits, calls no `finished` any more
  OriginCalls(const OriginCalls&) = delete;
  OriginCalls& operator=(const OriginCalls&) = delete;

  // Takes the call, whose request fields and deadline are set; `finished` gets it back by reference.
  template <typename Call>
  void Start(std::unique_ptr<Call> call, origin::Origin* origin,
             std::move_only_function<void(Call&)> finished) {
    Call* raw = call.get();
    Begin(std::move(call), origin,
          [raw, done = std::move(finished)]() mutable { done(*raw); });
  }
  void Cancel(OriginCall* call) { call->origin->Cancel(call->op()); }
  // Somebody waits now for a read that was begun as a prefetch.
  static void Hurry(ReadCall* call) { call->OriginCall::origin->Hurry(call); }
  std::size_t running() const { return running_.size(); }

 private:
  // Calls that are over, on their way to the loop. Outlives this object in the loop's queue.
  struct Inbox {
    std::mutex mutex;
    std::condition_variable empty;
    std::vector<OriginCall*> finished;   // guarded by mutex
    bool posted = false;                 // guarded by mutex
    std::size_t outside = 0;             // guarded by mutex: calls that have not reached the inbox
    OriginCalls* owner = nullptr;        // core thread only; null after the end
  };
  struct Running {
    std::unique_ptr<OriginCall> call;
    std::move_only_function<void()> finished;
  };

  void Begin(std::unique_ptr<OriginCall> call, origin::Origin* origin,
             std::move_only_function<void()> finished);
  static void Done(origin::Op* op);
  void Deliver(OriginCall* call);
  void Drain();

  Loop* loop_;
  std::shared_ptr<Inbox> inbox_;
  std::unordered_map<OriginCall*, Running> running_;
  // Before the arena: one that asks for more workers than the library allows makes it complain on stderr.
  tbb::global_control workers_limit_;
  tbb::task_arena workers_;
};

}  // namespace penstock::cache
