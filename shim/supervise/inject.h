#pragma once

// System calls that the program itself has to make: its working directory, its own exec, an offset
// that only it can reach. The thread whose call waits for an answer is stopped by ptrace on its way
// out of that call and makes others in its place, with its signals held back, before it goes on
// with the result that it is given.
//
// Where ptrace is not possible (the program is traced already, Yama) Begin fails and nothing has
// happened.
//
// Thread safety: one server, one injection at a time.

#include "shim/supervise/target.h"

namespace penstock {

class Injection {
 public:
  explicit Injection(const Call& call) : call_(call), thread_(call.thread) {}
  Injection(const Injection&) = delete;
  Injection& operator=(const Injection&) = delete;

  // Stops the thread. True: End must follow, and the call is answered by it.
  bool Begin();
  // The thread's own clone, fork or vfork, again; in the child, before it goes anywhere,
  // prctl(PR_SET_PTRACER, tracer). Takes End's place.
  void CloneFor(pid_t tracer);
  // One system call. Its result; -ESRCH once the thread is gone.
  long Do(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0);
  // Has an exec succeeded? Then nothing of the old program is left to give a result to.
  void EndExecuted();
  // Lets the thread go on as if its own call had given `result`.
  void End(long result);

  // The lowest address of the thread's stack that it may use, for data of ours below.
  uint64_t stack() const;

 private:
  bool Await(int* status);
  bool AwaitClone(pid_t* child);
  void Introduce(pid_t child, pid_t tracer);
  bool Step();
  void Release();

  const Call& call_;
  pid_t thread_;  // changes when a thread executes another program
  bool stopped_ = false;
  bool held_stop_ = false;  // a SIGSTOP came meanwhile
  uint64_t signals_ = 0;    // the thread's mask
  alignas(16) unsigned char registers_[512] = {};
};

}  // namespace penstock
