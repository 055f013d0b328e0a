// The loaded modules as they were when the snapshot was taken: for a signal handler, which may not
// ask the dynamic linker.
//
// Thread safety: Take() by one thread at a time; Find() from signal handlers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock::cache {

inline constexpr std::size_t kMaxModules = 128;
inline constexpr std::size_t kMaxBuildId = 32;

struct Module {
  std::uintptr_t start = 0, end = 0;  // executable segment
  std::uintptr_t to_file = 0;         // address - to_file = offset in the file
  char path[256] = {};
  unsigned char build_id[kMaxBuildId] = {};
  std::size_t build_id_bytes = 0;
};

class ModuleList {
 public:
  void Take();
  // nullptr if the address lies in none.
  const Module* Find(std::uintptr_t address) const;
  // The program itself; nullptr before Take().
  const Module* Program() const { return count_ > 0 ? &modules_[0] : nullptr; }

 private:
  friend struct ModuleVisitor;
  Module modules_[kMaxModules];
  std::size_t count_ = 0;
};

}  // namespace penstock::cache
