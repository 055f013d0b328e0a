// Keeps fork and the entries that dup2 holds over a system call (fd_table.h) apart: a child that is
// made in the middle would find them held for ever, and the numbers of files that it reads fail.
//
// Whoever holds enters and leaves; who forks closes the gate, which waits until all have left, and
// keeps others from entering until the fork is done. Both waits end after a second: a dup2 whose
// target takes the kernel longer to close must not keep a program from forking (PstFdAfterFork then
// frees what is left).
//
// Thread safety: any thread, signal handlers; forks may be nested (a handler that forks).
#pragma once

#include <stdint.h>

namespace penstock {

// Blocks signals, so that no handler forks on a thread that is inside. Returns the mask before, for
// PstHoldLeave.
uint64_t PstHoldEnter();
void PstHoldLeave(uint64_t signals);
// Is anybody inside?
bool PstHolds();

// Around a fork, in the parent; in the child PstForkGateReset takes the place of the second.
void PstForkGateClose();
void PstForkGateOpen();
void PstForkGateReset();

}  // namespace penstock
