// dup, dup2, dup3, fcntl: more numbers for one open file, and its flags.

#include <stdarg.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/core/client.h"
#include "shim/core/slots.h"

namespace penstock {
namespace {

// Snapshot of a number that is ours. False: give the call to the kernel alone.
bool Ours(int fd, FdEntry* entry) {
  FdKind kind = PstFdKindOf(fd);
  return PST_UNLIKELY(kind != kFdNone && kind != kFdOwn) && PstFdSnapshot(fd, entry);
}

template <class Call>
int Duplicate(int fd, Call call) {
  if (PST_UNLIKELY(PstFdKindOf(fd) == kFdOwn)) return PstFail(EBADF);
  return OnStandardInput(PstFdDuplicate(fd, call));
}

template <class Call>
int Replace(int from, int to, Call call) {
  FdKind from_kind = PstFdKindOf(from), to_kind = PstFdKindOf(to);
  if (PST_LIKELY(from_kind == kFdNone && to_kind == kFdNone) || from == to) return call();
  if (from_kind == kFdOwn) return PstFail(EBADF);
  if (to_kind == kFdOwn) PstOwnFdGone(to);
  return OnStandardInput(PstFdReplace(from, to, call));
}

// The status flags of a covered file live in its slot: all its numbers share them.
uint32_t* StatusFlags(FdEntry* entry) {
  const View* view = PstView();
  pst_slot* slot = view == nullptr ? nullptr : PstSlotOf(view, entry->slot);
  if (slot == nullptr || pst_word_generation(PST_LOAD_RELAXED(&slot->word)) != entry->generation)
    return &entry->flags;
  return &slot->open_flags;
}

constexpr uint32_t kSettable = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;
constexpr uint32_t kLargeFile = 0100000;  // the kernel shows it for every open of a 64-bit program

constexpr uint32_t kNotShown = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC;

// The number is a shadow directory's, which the sidecar opened; the program sees what it asked for
// itself.
PST_COLD int DirectoryFlags(int fd) {
  constexpr uint32_t kKernels = kSettable & ~O_ASYNC;  // which it keeps of what opened it alone
  FdEntry entry;
  const int flags = real.fcntl(fd, F_GETFL, nullptr);
  if (flags < 0 || !PstFdSnapshot(fd, &entry)) return flags;
  return static_cast<int>((static_cast<uint32_t>(flags) & kKernels) |
                          (entry.flags & ~(kKernels | kNotShown)) |
                          ((entry.flags & O_PATH) != 0 ? 0 : kLargeFile));
}

int CoveredFcntl(int fd, int command, void* argument) {
  FdEntry entry;
  if (!Ours(fd, &entry)) return real.fcntl(fd, command, argument);
  switch (command) {
    case F_GETFL:
      return static_cast<int>((PST_LOAD_RELAXED(StatusFlags(&entry)) & ~kNotShown) |
                              ((entry.flags & O_PATH) != 0 ? 0 : kLargeFile));
    case F_SETFL: {
      if ((entry.flags & O_PATH) != 0) return PstFail(EBADF);
      uint32_t* flags = StatusFlags(&entry);
      auto wanted = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(argument));
      PST_STORE_RELAXED(flags, (PST_LOAD_RELAXED(flags) & ~kSettable) | (wanted & kSettable));
      return 0;
    }
    case F_GETFD:
    case F_SETFD:
      return real.fcntl(fd, command, argument);
    case F_GET_SEALS:
    case F_ADD_SEALS:
      return PstFail(EINVAL);
    default:  // locks, leases, owners: the kernel's, on a real file
      if (MakeReal(fd) != 0) return -1;
      return real.fcntl(fd, command, argument);
  }
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT int dup(int fd) {
  return Duplicate(fd, [=] { return real.dup(fd); });
}

PST_EXPORT int dup2(int from, int to) {
  return Replace(from, to, [=] { return real.dup2(from, to); });
}

PST_EXPORT int dup3(int from, int to, int flags) {
  return Replace(from, to, [=] { return real.dup3(from, to, flags); });
}

PST_EXPORT int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void* argument = va_arg(list, void*);
  va_end(list);
  if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
    return Duplicate(fd, [=] { return real.fcntl(fd, command, argument); });
  FdKind kind = PstFdKindOf(fd);
  if (PST_UNLIKELY(kind == kFdFile)) return CoveredFcntl(fd, command, argument);
  if (PST_UNLIKELY((kind == kFdDirectory || kind == kFdAncestor) && command == F_GETFL))
    return DirectoryFlags(fd);
  if (PST_UNLIKELY(kind == kFdOwn && command == F_SETFD)) return PstFail(EBADF);
  return real.fcntl(fd, command, argument);
}
