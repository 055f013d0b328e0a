// The keeper: a small process that starts the sidecar of a `penstock run` and starts another when
// that one was killed or has crashed, so that a job does not lose its files to the out-of-memory
// killer. It has no threads, opens nothing and stays below a megabyte. In containers the kubelet
// does the same; there penstockd runs without one.
//
// A sidecar that exits by itself, with whatever code, is not started again. Signals that mean the
// process are passed on. A sidecar that takes over from another (its parent) becomes a child of the
// keeper when that one ends, and is kept as well.
//
// Thread safety: a process with one thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace penstock::cache {

struct KeptSidecar {
  std::string program;                 // path of penstockd
  std::string lock_path;               // names the process that serves, and its program
  std::vector<std::string> arguments;  // without the program; of every start
  pid_t running = 0;                   // one that is our child already; 0: start one
  int ready_fd = -1;                   // handed to the first one only, as --ready-fd
};

// Returns the exit code once no sidecar is left: of the last one, 1 where it could not be started
// or crashes again and again.
int KeepSidecar(const KeptSidecar& kept);

}  // namespace penstock::cache
