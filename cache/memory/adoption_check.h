// Checks the bytes of what was adopted from a predecessor, once, while readers go on: the protocol
// of shim/abi/index.h leaves nothing half written under a name, so this looks for what no protocol
// helps against, memory that has changed by itself. It reads as any reader does and asks the core
// thread to drop what is wrong.
//
// Thread safety: made and destroyed on the core thread; one thread of its own.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "cache/base/loop.h"
#include "cache/memory/arena.h"
#include "shim/abi/index.h"

namespace penstock::cache {

class AdoptionCheck {
 public:
  // `wrong` runs on the loop's thread. Loop and arena outlive this.
  AdoptionCheck(Loop* loop, const Arena* arena, std::vector<pst_entry> entries,
                std::function<void(const pst_entry&)> wrong);
  ~AdoptionCheck();
  AdoptionCheck(const AdoptionCheck&) = delete;
  AdoptionCheck& operator=(const AdoptionCheck&) = delete;

 private:
  void Main();

  Loop* loop_;
  pst_view view_;
  std::vector<pst_entry> entries_;
  std::function<void(const pst_entry&)> wrong_;
  std::shared_ptr<bool> alive_ =
      std::make_shared<bool>(true);  // read and written on the loop's thread
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace penstock::cache
