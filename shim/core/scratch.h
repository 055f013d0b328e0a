// Scratch memory for slow paths, so that they do not use the program's stack: a hook may run on a signal
// stack of a few KiB, or in a thread with PTHREAD_STACK_MIN.
//
// Areas come from a small pool of anonymous memory that is mapped at first use and never given back; when all
// are in use (or were left behind by a siglongjmp) an area is mapped for the one call.
//
// Thread safety: any thread, signal handlers, forked children (what a parent's other threads held stays
// taken). No lock, no allocation; errno is left alone.
#pragma once

#include <stdint.h>

#include "shim/core/hook.h"

namespace penstock {

inline constexpr uint32_t kScratchBytes = 16 * 1024;

// kScratchBytes bytes with any content, or null if there is no memory.
PST_COLD char* PstScratchTake();
PST_COLD void PstScratchGive(char* area);

// An area that is taken when it is first asked for and given back at the end of the scope.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch() {
    if (PST_UNLIKELY(area_ != nullptr)) PstScratchGive(area_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // The area, or null if there is no memory.
  char* Get() {
    if (area_ == nullptr) area_ = PstScratchTake();
    return area_;
  }

 private:
  char* area_ = nullptr;
};

}  // namespace penstock
