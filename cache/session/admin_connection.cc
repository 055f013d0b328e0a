#include "cache/session/admin_connection.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <utility>

#include "shim/abi/handshake.h"

namespace penstock::cache {

AdminConnection::AdminConnection(Loop* loop, Fd socket, Fd pidfd, const Peer& peer,
                                 AdminHandler* handler, OnEnd on_end,
                                 std::function<bool()> ending)
    : loop_(loop),
      socket_(std::move(socket)),
      pidfd_(std::move(pidfd)),
      peer_(peer),
      handler_(handler),
      on_end_(std::move(on_end)),
      ending_(std::move(ending)) {}

AdminConnection::~AdminConnection() {
  if (watching_) loop_->Unwatch(socket_.get());
  if (idle_timer_ != 0) loop_->CancelTimer(idle_timer_);
}

bool AdminConnection::Start() {
  watching_ =
      loop_->Watch(socket_.get(), POLLIN, [this](std::uint32_t) { OnReadable(); }).has_value();
  if (watching_) AwaitNext();
  return watching_;
}

void AdminConnection::AwaitNext() {
  if (idle_timer_ != 0) loop_->CancelTimer(idle_timer_);
  idle_timer_ = loop_->After(kAdminIdleNs, [this] {
    idle_timer_ = 0;
    if (ending_()) return AwaitNext();
    const auto keep = shared_from_this();
    End();
  });
}

void AdminConnection::End() {
  if (std::exchange(ended_, true)) return;
  if (std::exchange(watching_, false)) loop_->Unwatch(socket_.get());
  on_end_(this);
}

void AdminConnection::OnReadable() {
  const auto keep = shared_from_this();
  std::string text(PST_ADMIN_MAX + 1, '\0');
  const ssize_t n = recv(socket_.get(), text.data(), text.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0 || n > static_cast<ssize_t>(PST_ADMIN_MAX)) return End();
  text.resize(static_cast<std::size_t>(n));
  loop_->Unwatch(socket_.get());
  watching_ = false;
  if (idle_timer_ != 0) loop_->CancelTimer(std::exchange(idle_timer_, 0));
  std::weak_ptr<AdminConnection> self = weak_from_this();
  AdminRequest request{std::move(text), peer_, std::move(pidfd_)};
  (*handler_)(std::move(request), [self](std::string reply) {
    if (const auto connection = self.lock()) connection->Reply(reply);
  });
}

void AdminConnection::Reply(const std::string& text) {
  if (ended_) return;
  if (!SendMessage(socket_.get(), text.data(), text.size(), {}) || !Start()) End();
}

}  // namespace penstock::cache
