#include "tests/transport/origin/scripted_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace penstock::origin {
namespace {

int BindLoopback(int* port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  *port = ntohs(address.sin_port);
  return fd;
}

// The head of the next request; "" if the connection ends.
std::string ReadHead(int connection, std::string* buffer) {
  while (true) {
    if (const auto end = buffer->find("\r\n\r\n"); end != std::string::npos) {
      std::string head = buffer->substr(0, end + 4);
      buffer->erase(0, end + 4);
      return head;
    }
    char bytes[4096];
    const ssize_t got = recv(connection, bytes, sizeof(bytes), 0);
    if (got <= 0) return "";
    buffer->append(bytes, static_cast<std::size_t>(got));
  }
}

}  // namespace

ScriptedServer::ScriptedServer(Answer answer) : answer_(std::move(answer)) {
  listener_ = BindLoopback(&port_);
  listen(listener_, 128);
  accepting_ = std::thread([this] { Accept(); });
}

ScriptedServer::~ScriptedServer() {
  stopping_ = true;
  shutdown(listener_, SHUT_RDWR);
  accepting_.join();
  close(listener_);
  {
    const std::lock_guard lock(mutex_);
    for (const int connection : open_) shutdown(connection, SHUT_RDWR);
  }
  for (auto& thread : serving_) thread.join();
}

std::string ScriptedServer::endpoint() const {
  return "http://127.0.0.1:" + std::to_string(port_) + "/pstaccount";
}

std::vector<std::string> ScriptedServer::heads() const {
  const std::lock_guard lock(mutex_);
  return heads_;
}

void ScriptedServer::Accept() {
  while (!stopping_) {
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    ++connections_;
    const std::lock_guard lock(mutex_);
    open_.push_back(connection);
    serving_.emplace_back([this, connection] { Serve(connection); });
  }
}

void ScriptedServer::Serve(int connection) {
  std::string buffer;
  while (!stopping_) {
    const std::string head = ReadHead(connection, &buffer);
    if (head.empty()) break;
    {
      const std::lock_guard lock(mutex_);
      heads_.push_back(head);
    }
    const ScriptedReply reply = answer_(head, requests_++);
    std::size_t sent = 0;
    while (sent < reply.bytes.size()) {
      const ssize_t step =
          send(connection, reply.bytes.data() + sent, reply.bytes.size() - sent, MSG_NOSIGNAL);
      if (step <= 0) break;
      sent += static_cast<std::size_t>(step);
    }
    if (reply.then == ScriptedReply::Then::kKeep) continue;
    if (reply.then == ScriptedReply::Then::kHang) {
      pollfd wait{connection, POLLRDHUP, 0};
      while (!stopping_ && poll(&wait, 1, 50) == 0) {
      }
    }
    if (reply.then == ScriptedReply::Then::kReset) {
      const linger now{1, 0};
      setsockopt(connection, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    break;
  }
  const std::lock_guard lock(mutex_);
  open_.erase(std::find(open_.begin(), open_.end(), connection));
  close(connection);
}

std::string HttpAnswer(int status, const std::vector<std::string>& headers,
                       const std::string& body) {
  std::string answer = "HTTP/1.1 " + std::to_string(status) + " Status\r\n";
  for (const auto& header : headers) answer += header + "\r\n";
  return answer + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

int ClosedPort() {
  int port = 0;
  close(BindLoopback(&port));
  return port;
}

}  // namespace penstock::origin
