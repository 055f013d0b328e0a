// Crash reports: what penstockd writes when it dies of SIGSEGV, SIGBUS, SIGILL, SIGFPE or SIGABRT.
//
// The report names the signal, the fault address, the thread, the version and build id, and the
// stack as function + offset, module + file offset (libunwind). It goes to stderr and, where a
// folder was given, to a file `crash-<pid>.txt` there. It holds no environment and no memory
// contents. Then the default action follows, so the process ends by the signal: never with status
// 0.
//
// What the handler does is async-signal-safe as far as it goes: the list of modules is taken at
// install, and the report is written in steps, addresses first and names after that, so that damage
// which makes the later steps fail loses only those. A second crash in the handler ends the process
// at once; other threads that crash meanwhile wait; a handler that hangs is ended by SIGALRM.
//
// Thread safety: Install once, before threads that matter; UseAlternateStack once in each thread
// whose stack overflow should be reported.
#pragma once

#include <string>
#include <string_view>

#include "transport/base/result.h"

namespace penstock::cache {

struct CrashReportConfig {
  std::string folder;   // "" : stderr only
  std::string version;  // "penstockd 0.1.0"
};

// Installs the handlers for the process and an alternate stack for the calling thread. Where the
// folder cannot be opened they are installed all the same, for stderr, and the error says so.
Result<void> InstallCrashReport(const CrashReportConfig& config);

// Gives the calling thread an alternate stack, freed when the thread ends.
void UseAlternateStack();

}  // namespace penstock::cache
