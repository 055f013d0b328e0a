// Threads of the sidecar: named, and with every signal blocked, so that signals meant for the
// process reach the thread that waits for them.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <initializer_list>
#include <thread>
#include <utility>

namespace penstock {

// Runs first on every thread that StartThread starts from now on, and again and again on those that others
// start for us; set once, before there are any.
inline void (*g_on_thread_start)() = nullptr;
inline void OnThreadStart(void (*first)()) { g_on_thread_start = first; }

// Starts `body` on a new thread called `name` (at most 15 characters).
template <typename Body>
std::thread StartThread(const char* name, Body&& body) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  // Blocked, these would end the process before its crash handler could say why.
  for (int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // inherited by the new thread
  std::thread thread([body = std::forward<Body>(body)]() mutable {
    if (g_on_thread_start != nullptr) g_on_thread_start();
    body();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread.native_handle(), name);
  return thread;
}

}  // namespace penstock
