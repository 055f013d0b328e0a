// Drives libcurl's multi handle by the sockets that have something to do (epoll), one at a time:
// the caller can send the next request as soon as an answer is whole, while others still come in.
// curl_multi_perform() would read from all of them first, and a server with few requests would
// wait.
//
// Thread safety: one thread; Wake() may be called from any.
// Source: https://curl.se/libcurl/c/curl_multi_socket_action.html
#pragma once

#include <curl/curl.h>
#include <sys/epoll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "transport/base/result.h"

namespace penstock::origin {

class SocketEvents {
 public:
  SocketEvents() = default;
  ~SocketEvents();
  SocketEvents(const SocketEvents&) = delete;
  SocketEvents& operator=(const SocketEvents&) = delete;

  // Before any transfer is added to `multi`; this object outlives it. If it fails, Wait() only
  // naps.
  Result<void> Attach(CURLM* multi);
  // Every handle that is added to `multi` comes here first.
  void Prepare(CURL* easy);
  bool attached() const { return epoll_fd_ >= 0; }

  // Waits for events, at most `timeout_ms` and not beyond libcurl's own timer, or until Wake().
  std::span<const epoll_event> Wait(int timeout_ms);
  void Handle(const epoll_event& event);
  // Does what libcurl's timer is for, if it is due: new transfers begin here.
  void HandleTimer();
  void Wake();

  // To be called before a request begins. A connection that nobody uses and that has something to
  // read is out of step (bytes after the end of a body) or at its end: what is there must not be
  // taken for the answer to the next request, as libcurl 7.88 does. It is emptied and shut down, so
  // that libcurl finds it dead.
  void DropSpoiled();

 private:
  static constexpr std::size_t kEventsAtOnce = 64;
  static constexpr std::int64_t kNever = INT64_MAX;

  static int OnSocket(CURL* easy, curl_socket_t socket, int what, void* self, void* known);
  static int OnTimer(CURLM* multi, long timeout_ms, void* self);
  static int OnClose(void* self, curl_socket_t socket);

  CURLM* multi_ = nullptr;
  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  int idle_fd_ = -1;                // epoll of the connections that no transfer uses
  std::int64_t timer_ns_ = kNever;  // CLOCK_MONOTONIC
  std::array<epoll_event, kEventsAtOnce> events_{};
};

}  // namespace penstock::origin
