#pragma once

// What the guard does with a reported call: one of this library's own calls on the same name, whose
// answer is given to the program; or nothing, and the kernel does the call.
//
// Files that are opened are real ones (materialised), put into the program's table, so that
// everything that is done with them from then on is the kernel's. Directories are the sidecar's
// empty shadow directories: getdents is answered from the listing, the position is the descriptor's
// own, in the kernel.
//
// Thread safety: any number of servers at once, each with a call of its own.

#include "shim/supervise/place.h"
#include "shim/supervise/target.h"

namespace penstock {

// Answers a call, whatever it is.
void PstServe(const Call& call);

// The outcome of one kind of call.
struct Outcome {
  enum Kind { kPass, kValue, kGiven } kind;
  long value;
};
inline constexpr Outcome kPassOn = {Outcome::kPass, 0};
inline constexpr Outcome kGivenAlready = {Outcome::kGiven,
                                          0};  // PstGiveFd or an injection has answered
inline Outcome Value(long value) { return {Outcome::kValue, value}; }

Outcome PstAnswerOpen(const Call& call, int dirfd, uint64_t path, int flags, unsigned mode);
Outcome PstAnswerOpen2(const Call& call);
Outcome PstAnswerStat(const Call& call, int dirfd, uint64_t path, uint64_t out, int flags);
Outcome PstAnswerStatFd(const Call& call, int fd, uint64_t out);
Outcome PstAnswerStatx(const Call& call);
Outcome PstAnswerAccess(const Call& call, int dirfd, uint64_t path, int mode, int flags);
Outcome PstAnswerReadlink(const Call& call, int dirfd, uint64_t path, uint64_t to, uint64_t bytes);
Outcome PstAnswerStatfs(const Call& call);
Outcome PstAnswerEntries(const Call& call, bool old_form);
Outcome PstAnswerGetcwd(const Call& call);
Outcome PstAnswerChdir(const Call& call);
Outcome PstAnswerExec(const Call& call, int dirfd, uint64_t path, uint64_t argv, uint64_t envp);
// fork, vfork, clone and clone3, where Yama hides children from us.
Outcome PstAnswerFork(const Call& call);
// Calls that change names or attributes: refused on covered ones.
Outcome PstAnswerChange(const Call& call);

}  // namespace penstock
