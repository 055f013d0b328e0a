// A TCP server that answers HTTP requests with exactly the bytes that a test says: for what a real
// Blob server does not do, or not on demand.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace penstock::origin {

struct ScriptedReply {
  enum class Then { kKeep, kClose, kReset, kHang };
  std::string bytes;
  Then then = Then::kKeep;
};

class ScriptedServer {
 public:
  // `answer(request, index)` gets the request's head and how many came before it; it runs on the
  // connection's thread.
  using Answer = std::function<ScriptedReply(const std::string& request, int index)>;

  explicit ScriptedServer(Answer answer);
  ~ScriptedServer();
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  int port() const { return port_; }
  std::string endpoint() const;  // http://127.0.0.1:port/pstaccount
  int requests() const { return requests_; }
  int connections() const { return connections_; }
  std::vector<std::string> heads() const;

 private:
  void Accept();
  void Serve(int connection);

  Answer answer_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> requests_{0};
  std::atomic<int> connections_{0};
  mutable std::mutex mutex_;
  std::vector<std::string> heads_;    // guarded by mutex_
  std::vector<int> open_;             // guarded by mutex_
  std::vector<std::thread> serving_;  // guarded by mutex_
  std::thread accepting_;
};

// "HTTP/1.1 STATUS ..." with the given header lines and body; Content-Length is added.
std::string HttpAnswer(int status, const std::vector<std::string>& headers,
                       const std::string& body);

// A port that nobody listens on.
int ClosedPort();

}  // namespace penstock::origin
