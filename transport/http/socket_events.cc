#include "transport/http/socket_events.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "transport/base/clock.h"

namespace penstock::origin {

SocketEvents::~SocketEvents() {
  if (epoll_fd_ >= 0) close(epoll_fd_);
  if (wake_fd_ >= 0) close(wake_fd_);
  if (idle_fd_ >= 0) close(idle_fd_);
}

Result<void> SocketEvents::Attach(CURLM* multi) {
  multi_ = multi;
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  idle_fd_ = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = wake_fd_;
  if (epoll_fd_ < 0 || wake_fd_ < 0 || idle_fd_ < 0 ||
      epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) != 0) {
    const Error error = ErrnoError(errno, "http: epoll");
    if (epoll_fd_ >= 0) close(std::exchange(epoll_fd_, -1));  // Wait() then only naps
    return std::unexpected(error);
  }
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &SocketEvents::OnSocket);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, &SocketEvents::OnTimer);
  curl_multi_setopt(multi, CURLMOPT_TIMERDATA, this);
  return {};
}

void SocketEvents::Prepare(CURL* easy) {
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, &SocketEvents::OnClose);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, this);
}

int SocketEvents::OnSocket(CURL*, curl_socket_t socket, int what, void* self, void*) {
  auto* events = static_cast<SocketEvents*>(self);
  epoll_event event{};
  event.data.fd = socket;
  if (what == CURL_POLL_REMOVE) {  // idle from now on, or about to be closed
    (void)epoll_ctl(events->epoll_fd_, EPOLL_CTL_DEL, socket, nullptr);
    event.events = EPOLLIN | EPOLLRDHUP;
    (void)epoll_ctl(events->idle_fd_, EPOLL_CTL_ADD, socket, &event);
    return 0;
  }
  (void)epoll_ctl(events->idle_fd_, EPOLL_CTL_DEL, socket, nullptr);
  if ((what & CURL_POLL_IN) != 0) event.events |= EPOLLIN;
  if ((what & CURL_POLL_OUT) != 0) event.events |= EPOLLOUT;
  const bool set = epoll_ctl(events->epoll_fd_, EPOLL_CTL_ADD, socket, &event) == 0 ||
                   epoll_ctl(events->epoll_fd_, EPOLL_CTL_MOD, socket, &event) == 0;
  return set ? 0 : -1;  // libcurl ends the transfers
}

// A child that is just being made may hold the connection: closing alone would not end its watch.
int SocketEvents::OnClose(void* self, curl_socket_t socket) {
  auto* events = static_cast<SocketEvents*>(self);
  (void)epoll_ctl(events->idle_fd_, EPOLL_CTL_DEL, socket, nullptr);
  (void)epoll_ctl(events->epoll_fd_, EPOLL_CTL_DEL, socket, nullptr);
  return close(socket);
}

void SocketEvents::DropSpoiled() {
  std::array<epoll_event, kEventsAtOnce> spoiled;
  const int count = epoll_wait(idle_fd_, spoiled.data(), kEventsAtOnce, 0);
  for (int i = 0; i < count; ++i) {
    const int socket = spoiled[static_cast<std::size_t>(i)].data.fd;
    (void)epoll_ctl(idle_fd_, EPOLL_CTL_DEL, socket, nullptr);
    (void)shutdown(socket, SHUT_RDWR);  // nothing more comes in
    char bytes[4096];
    while (recv(socket, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
  }
}

int SocketEvents::OnTimer(CURLM*, long timeout_ms, void* self) {
  auto* events = static_cast<SocketEvents*>(self);
  events->timer_ns_ = timeout_ms < 0 ? kNever : SystemClock::Get().NowNs() + timeout_ms * kNsPerMs;
  return 0;
}

std::span<const epoll_event> SocketEvents::Wait(int timeout_ms) {
  if (timer_ns_ != kNever) {
    const std::int64_t left_ns = std::max<std::int64_t>(0, timer_ns_ - SystemClock::Get().NowNs());
    const std::int64_t left_ms = (left_ns + kNsPerMs - 1) / kNsPerMs;
    timeout_ms = static_cast<int>(std::min<std::int64_t>(timeout_ms, left_ms));
  }
  if (epoll_fd_ < 0) {  // it could not be made: no transfer will ever begin
    (void)poll(nullptr, 0, std::min(timeout_ms, 20));
    return {};
  }
  const int count = epoll_wait(epoll_fd_, events_.data(), kEventsAtOnce, timeout_ms);
  return {events_.data(), static_cast<std::size_t>(std::max(count, 0))};
}

void SocketEvents::Handle(const epoll_event& event) {
  if (event.data.fd == wake_fd_) {
    std::uint64_t count = 0;
    (void)!read(wake_fd_, &count, sizeof count);
    return;
  }
  int what = 0;
  if ((event.events & EPOLLIN) != 0) what |= CURL_CSELECT_IN;
  if ((event.events & EPOLLOUT) != 0) what |= CURL_CSELECT_OUT;
  if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) what |= CURL_CSELECT_ERR;
  int running = 0;
  curl_multi_socket_action(multi_, event.data.fd, what, &running);
}

void SocketEvents::HandleTimer() {
  if (timer_ns_ == kNever || SystemClock::Get().NowNs() < timer_ns_) return;
  timer_ns_ = kNever;  // libcurl sets the next one
  int running = 0;
  curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
}

void SocketEvents::Wake() {
  const std::uint64_t one = 1;
  (void)!write(wake_fd_, &one, sizeof one);
}

}  // namespace penstock::origin
