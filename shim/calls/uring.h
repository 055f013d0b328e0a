#pragma once

// io_uring reads behind every hook. A program that uses it gets real files from open on; it is
// known by the library it has mapped, or by its io_uring_setup through syscall().
//
// Thread safety: any thread.

namespace penstock {

// Once true, covered files become real when they are opened.
extern bool g_open_real;

// At start: is liburing among the program's libraries?
void UringDetect();

// The program sets a ring up, or loads the library: what is open becomes real now.
void UringStart();

}  // namespace penstock
