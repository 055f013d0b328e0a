// Threads of the sidecar: named, and with every signal blocked, so that signals meant for the
// process reach the thread that waits for them.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <initializer_list>
#include <thread>
#include <utility>

namespace penstock {

// Starts `body` on a new thread called `name` (at most 15 characters).
template <typename Body>
std::thread StartThread(const char* name, Body&& body) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  // Blocked, these would end the process before its crash handler could say why.
  for (int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // inherited by the new thread
  std::thread thread(std::forward<Body>(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread.native_handle(), name);
  return thread;
}

}  // namespace penstock
