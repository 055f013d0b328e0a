#include "shim/supervise/server.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>

#include "shim/calls/support.h"
#include "shim/core/raw.h"
#include "shim/core/time.h"
#include "shim/supervise/answer.h"

namespace penstock {
namespace {

constexpr int kIdleServers = 2;    // more than these end when they have nothing to do
constexpr uint32_t kMaxTries = 8;  // of a call whose server ended, by it or by somebody who kills servers

int g_listener;
Taken* g_taken;
int g_idle;     // servers that wait for a call
int g_servers;  // all of them

using CreateThread = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
CreateThread g_create_thread;

void* Serve(void*);

bool StartServer() {
  pthread_t thread;
  if (__atomic_add_fetch(&g_servers, 1, __ATOMIC_RELAXED) <= kMaxServers &&
      g_create_thread(&thread, nullptr, Serve, nullptr) == 0)
    return true;
  __atomic_sub_fetch(&g_servers, 1, __ATOMIC_RELAXED);
  return false;
}

bool Receive(Taken* place) {
  memset(place->room, 0, sizeof place->room);
  long err = Raw(SYS_ioctl, g_listener, SECCOMP_IOCTL_NOTIF_RECV, place->room);
  if (err == -ENOENT) PstSleepNs(1'000'000);  // who called is gone; perhaps everybody
  return err == 0;
}

Call CallOf(const Taken& place) {
  Call call;
  call.listener = g_listener;
  call.id = place.call.id;
  call.thread = static_cast<pid_t>(place.call.pid);
  call.number = place.call.data.nr;
  for (int i = 0; i < 6; ++i) call.args[i] = place.call.data.args[i];
  return call;
}

// This server's place. There is one for each.
Taken* Place() {
  for (;;) {
    for (int i = 0; i < kMaxServers; ++i) {
      uint32_t free = 0;
      if (__atomic_compare_exchange_n(&g_taken[i].state, &free, 1u, false, __ATOMIC_ACQ_REL,
                                      __ATOMIC_RELAXED))
        return &g_taken[i];
    }
    PstSleepNs(1'000'000);  // calls of a server before us are still being answered
  }
}

void Answer(Taken* place) {
  PstServe(CallOf(*place));
  place->call.id = 0;
}

// One call that a server before us has left.
void* AnswerLeft(void* data) {
  auto* place = static_cast<Taken*>(data);
  Call call = CallOf(*place);
  if (++place->tries >= kMaxTries) {
    PstAnswer(call, -EIO);
  } else if (PstCallWaits(call)) {
    Answer(place);
  }
  place->call.id = 0;
  __atomic_store_n(&place->state, 0u, __ATOMIC_RELEASE);
  return nullptr;
}

void* Serve(void*) {
  Taken* place = Place();
  for (;;) {
    __atomic_add_fetch(&g_idle, 1, __ATOMIC_ACQ_REL);
    place->tries = 0;
    bool received = Receive(place);
    if (__atomic_sub_fetch(&g_idle, 1, __ATOMIC_ACQ_REL) == 0 && received) StartServer();
    if (received) Answer(place);
    if (__atomic_load_n(&g_idle, __ATOMIC_ACQUIRE) >= kIdleServers &&
        __atomic_load_n(&g_servers, __ATOMIC_RELAXED) > kIdleServers) {
      __atomic_store_n(&place->state, 0u, __ATOMIC_RELEASE);
      __atomic_sub_fetch(&g_servers, 1, __ATOMIC_RELAXED);
      return nullptr;
    }
  }
}

// Without threads: one call after the other.
[[noreturn]] void ServeAlone() {
  for (;;) {
    pollfd state = {g_listener, POLLIN, 0};
    long n = Raw(SYS_ppoll, &state, 1, nullptr, nullptr, 8);
    if (n > 0 && (state.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) Raw(SYS_exit_group, 0);
    if (n > 0 && Receive(&g_taken[0])) Answer(&g_taken[0]);
  }
}

}  // namespace

void PstServeAll(int listener, Taken* taken) {
  g_listener = listener;
  g_taken = taken;
  g_create_thread = reinterpret_cast<CreateThread>(FindNext("pthread_create"));
  if (g_create_thread == nullptr) {
    if (taken[0].call.id != 0) AnswerLeft(&taken[0]);
    ServeAlone();
  }
  for (int i = 0; i < kMaxServers; ++i) {
    pthread_t thread;
    if (taken[i].state == 0) continue;
    bool left = taken[i].call.id != 0;
    if (!left || g_create_thread(&thread, nullptr, AnswerLeft, &taken[i]) != 0) taken[i].state = 0;
  }
  for (int i = 0; i < kIdleServers; ++i)
    if (!StartServer() && i == 0) Raw(SYS_exit_group, 1);
  for (;;) {
    pollfd state = {g_listener, 0, 0};
    long n = Raw(SYS_ppoll, &state, 1, nullptr, nullptr, 8);
    if (n > 0 && (state.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) Raw(SYS_exit_group, 0);
  }
}

}  // namespace penstock
