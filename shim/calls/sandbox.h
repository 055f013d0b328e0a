#pragma once

namespace penstock {

// Before the calling thread's system calls are filtered: every covered number of the process becomes a real file.
// Keeps errno. Thread safety: any thread; blocks while files are filled.
void PstBeforeSandbox();

}  // namespace penstock
