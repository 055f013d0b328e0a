// What goes wrong between us and a Blob server: no wrong byte, no hang, the right error.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "tests/transport/origin/op_runner.h"
#include "tests/transport/origin/scripted_server.h"
#include "transport/http/http_client.h"
#include "transport/origin/origin.h"

namespace penstock::origin {
namespace {

using Then = ScriptedReply::Then;

const std::string kBody = PatternBytes(1'000);

// The right answer to a range of 1,000 bytes at 5,000 of a blob of 10,000.
std::string RightAnswer(const std::string& body = kBody, const std::string& etag = "\"v1\"") {
  return HttpAnswer(206, {"ETag: " + etag, "Content-Range: bytes 5000-5999/10000"}, body);
}

ScriptedServer::Answer Always(ScriptedReply reply) {
  return [reply](const std::string&, int) { return reply; };
}

// `first` to the first request, the right answer to all others.
ScriptedServer::Answer Once(ScriptedReply first) {
  return [first](const std::string&, int index) {
    return index == 0 ? first : ScriptedReply{RightAnswer(), Then::kKeep};
  };
}

class FaultTest : public testing::Test {
 protected:
  void SetUp() override { setenv("AZURE_STORAGE_KEY", "c2VjcmV0", 1); }
  void TearDown() override {
    unsetenv("AZURE_STORAGE_KEY");
    unsetenv("AZURE_STORAGE_ACCOUNT");
  }

  static std::unique_ptr<Origin> Make(const std::string& endpoint,
                                      std::int64_t request_timeout_ms = 2'000) {
    OriginConfig config;
    config.url = "az://pstaccount/container/p";
    config.endpoint = endpoint;
    config.max_tries = 3;
    config.request_timeout_ms = request_timeout_ms;
    std::string why;
    auto made = MakeOrigin(config, &why);
    EXPECT_TRUE(made) << why;
    return *std::move(made);
  }

  static ReadOutcome Read(Origin& origin, const std::string& version = "v1",
                          std::int64_t timeout_ms = 10'000) {
    return ReadNow(origin, "f", 5'000, 1'000, version, 300, timeout_ms);
  }

  // Reads from a server that always misbehaves the same way.
  static Code Outcome(const ScriptedServer::Answer& answer, int* requests = nullptr) {
    ScriptedServer server(answer);
    const auto origin = Make(server.endpoint());
    const auto read = Read(*origin);
    if (requests != nullptr) *requests = server.requests();
    return read.error.code;
  }

  // Reads from a server that misbehaves once: the next try must deliver the right bytes.
  static void ExpectMended(const ScriptedReply& first) {
    ScriptedServer server(Once(first));
    const auto origin = Make(server.endpoint());
    const auto read = Read(*origin);
    EXPECT_EQ(read.error.code, Code::kOk) << read.error.context;
    EXPECT_TRUE(read.bytes == kBody);
    EXPECT_EQ(origin->Stats().retries, 1u);
  }
};

TEST_F(FaultTest, TheRightAnswerIsTaken) {
  ScriptedServer server(Always({RightAnswer(), Then::kKeep}));
  const auto origin = Make(server.endpoint());
  const auto read = Read(*origin);
  ASSERT_EQ(read.error.code, Code::kOk) << read.error.context;
  EXPECT_TRUE(read.bytes == kBody);
  EXPECT_EQ(read.info.size, 10'000u);
  EXPECT_EQ(read.info.version, "v1");
  const std::string head = server.heads().at(0);
  EXPECT_NE(head.find("GET /pstaccount/container/p/f HTTP/1.1"), std::string::npos) << head;
  EXPECT_NE(head.find("Range: bytes=5000-5999"), std::string::npos) << head;
  EXPECT_NE(head.find("If-Match: \"v1\""), std::string::npos) << head;
  EXPECT_NE(head.find("Authorization: SharedKey pstaccount:"), std::string::npos) << head;
}

// The first 2,000 bytes at most, and what the blob has to say of itself.
ReadOutcome HeadNow(Origin& origin) {
  std::string bytes(2'000, '\xEE');
  ReadOp op;
  op.name = "f";
  op.head = true;
  op.deadline_ns = InMs(10'000);
  op.buffers.push_back(std::as_writable_bytes(std::span(bytes)));
  RunOp(&op, [&](ReadOp* started) { origin.Read(started); });
  return {op.error, op.info, bytes};
}

TEST_F(FaultTest, AHeadTakesWhatTheBlobHas) {
  const std::string long_body = PatternBytes(2'000);
  const auto head = [](const std::string& range, const std::string& body, int status = 206) {
    const std::string line = "Content-Range: bytes " + range;
    ScriptedServer server(Always({HttpAnswer(status, {"ETag: \"v1\"", line}, body), Then::kKeep}));
    const auto origin = Make(server.endpoint());
    return HeadNow(*origin);
  };
  ReadOutcome read = head("0-999/1000", kBody);
  ASSERT_EQ(read.error.code, Code::kOk) << read.error.context;
  EXPECT_EQ(read.info.size, 1'000u);
  EXPECT_EQ(read.info.version, "v1");
  EXPECT_TRUE(read.bytes.substr(0, 1'000) == kBody);
  EXPECT_EQ(head("0-1999/2000", long_body).error.code, Code::kOk);
  read = head("0-1999/99999", long_body);
  ASSERT_EQ(read.error.code, Code::kOk);
  EXPECT_EQ(read.info.size, 99'999u);
  EXPECT_TRUE(read.bytes == long_body);
  // Less than the blob has; another place; more than was asked for.
  EXPECT_EQ(head("0-999/99999", kBody).error.code, Code::kTruncated);
  EXPECT_EQ(head("0-999/1500", kBody).error.code, Code::kTruncated);
  EXPECT_EQ(head("1000-1999/2000", kBody).error.code, Code::kTruncated);
  EXPECT_NE(head("0-2999/3000", PatternBytes(3'000)).error.code, Code::kOk);
  EXPECT_NE(head("*/0", "", 416).error.code, Code::kOk);
}

TEST_F(FaultTest, AHeadOfAServerThatIgnoresRanges) {
  ScriptedServer server(Always({HttpAnswer(200, {"ETag: \"v1\""}, kBody), Then::kKeep}));
  const auto origin = Make(server.endpoint());
  const ReadOutcome read = HeadNow(*origin);
  ASSERT_EQ(read.error.code, Code::kOk) << read.error.context;
  EXPECT_EQ(read.info.size, 1'000u);
  EXPECT_TRUE(read.bytes.substr(0, 1'000) == kBody);
}

TEST_F(FaultTest, BodiesTooShort) {
  const std::string half = kBody.substr(0, 500);
  const std::string promised =
      "HTTP/1.1 206 Partial\r\nETag: \"v1\"\r\nContent-Range: bytes 5000-5999/10000\r\n";
  // The connection ends in the middle.
  const ScriptedReply broken{promised + "Content-Length: 1000\r\n\r\n" + half, Then::kClose};
  EXPECT_EQ(Outcome(Always(broken)), Code::kTruncated);
  ExpectMended(broken);
  // A length that is honest about being wrong.
  const ScriptedReply honest{promised + "Content-Length: 500\r\n\r\n" + half, Then::kKeep};
  EXPECT_EQ(Outcome(Always(honest)), Code::kTruncated);
  ExpectMended(honest);
  // Chunked, ends properly, but early.
  const ScriptedReply chunked{
      promised + "Transfer-Encoding: chunked\r\n\r\n1f4\r\n" + half + "\r\n0\r\n\r\n", Then::kKeep};
  EXPECT_EQ(Outcome(Always(chunked)), Code::kTruncated);
  ExpectMended(chunked);
  // No length at all: ends with the connection.
  const ScriptedReply until_close{promised + "Connection: close\r\n\r\n" + half, Then::kClose};
  EXPECT_EQ(Outcome(Always(until_close)), Code::kTruncated);
  ExpectMended(until_close);
}

TEST_F(FaultTest, ChunkedAndWholeIsTaken) {
  const std::string answer =
      "HTTP/1.1 206 Partial\r\nETag: \"v1\"\r\nContent-Range: bytes 5000-5999/10000\r\n"
      "Transfer-Encoding: chunked\r\n\r\n3e8\r\n" +
      kBody + "\r\n0\r\n\r\n";
  EXPECT_EQ(Outcome(Always({answer, Then::kKeep})), Code::kOk);
}

TEST_F(FaultTest, BodiesTooLong) {
  const std::string longer = kBody + "surplus";
  const std::string promised =
      "HTTP/1.1 206 Partial\r\nETag: \"v1\"\r\nContent-Range: bytes 5000-5999/10000\r\n";
  const ScriptedReply by_length{promised + "Content-Length: 1007\r\n\r\n" + longer, Then::kKeep};
  EXPECT_EQ(Outcome(Always(by_length)), Code::kTruncated);
  ExpectMended(by_length);
  const ScriptedReply chunked{
      promised + "Transfer-Encoding: chunked\r\n\r\n3ef\r\n" + longer + "\r\n0\r\n\r\n",
      Then::kKeep};
  EXPECT_EQ(Outcome(Always(chunked)), Code::kTruncated);
  ExpectMended(chunked);
  const ScriptedReply until_close{promised + "Connection: close\r\n\r\n" + longer, Then::kClose};
  EXPECT_EQ(Outcome(Always(until_close)), Code::kTruncated);
  ExpectMended(until_close);
}

TEST_F(FaultTest, WrongRanges) {
  for (const char* range : {"bytes 0-999/10000", "bytes 5000-5998/10000", "bytes 5001-6000/10000",
                            "bytes 5000-5999/5999", "bytes x-y/z", "items 5000-5999/10000"}) {
    const ScriptedReply wrong{
        HttpAnswer(206, {"ETag: \"v1\"", std::string("Content-Range: ") + range}, kBody),
        Then::kKeep};
    EXPECT_EQ(Outcome(Always(wrong)), Code::kTruncated) << range;
    ExpectMended(wrong);
  }
  // A server that ignores ranges and sends the whole.
  EXPECT_EQ(Outcome(Always({HttpAnswer(200, {"ETag: \"v1\""}, PatternBytes(10'000)), Then::kKeep})),
            Code::kTruncated);
  EXPECT_EQ(Outcome(Always({HttpAnswer(200, {"ETag: \"v1\""}, kBody), Then::kKeep})),
            Code::kTruncated);
  // Nothing at all, where the range is said to be there: only its own total makes a blob too short.
  for (const char* range : {"Content-Range: bytes 5000-5999/10000", "Content-Range: bytes 1-0/1"}) {
    const ScriptedReply nothing{HttpAnswer(206, {"ETag: \"v1\"", range}, ""), Then::kKeep};
    EXPECT_EQ(Outcome(Always(nothing)), Code::kTruncated) << range;
    ExpectMended(nothing);
  }
  // A length that is none, on a connection that stays open: not waited for.
  for (const char* length : {"-1", "99999999999999999999999", "many"}) {
    const ScriptedReply odd{"HTTP/1.1 206 Partial\r\nETag: \"v1\"\r\nContent-Range: bytes 5000-5999/10000\r\n"
                            "Content-Length: " +
                                std::string(length) + "\r\n\r\n" + kBody,
                            Then::kKeep};
    const auto start = SystemClock::Get().NowNs();
    ExpectMended(odd);
    EXPECT_LT(SystemClock::Get().NowNs() - start, 2 * kNsPerSecond) << length;
  }
  // 206 without saying which part.
  EXPECT_EQ(Outcome(Always({HttpAnswer(206, {"ETag: \"v1\""}, kBody), Then::kKeep})),
            Code::kTruncated);
}

TEST_F(FaultTest, ABlobThatEndsBeforeTheRangeIsNotTriedAgain) {
  int requests = 0;
  const auto shorter = HttpAnswer(206, {"ETag: \"v1\"", "Content-Range: bytes 5000-5499/5500"},
                                  kBody.substr(0, 500));
  EXPECT_EQ(Outcome(Always({shorter, Then::kKeep}), &requests), Code::kTruncated);
  EXPECT_EQ(requests, 1);
  EXPECT_EQ(Outcome(Always({HttpAnswer(416, {}, ""), Then::kKeep}), &requests), Code::kTruncated);
  EXPECT_EQ(requests, 1);
}

TEST_F(FaultTest, WrongEtags) {
  int requests = 0;
  EXPECT_EQ(Outcome(Always({RightAnswer(kBody, "\"v2\""), Then::kKeep}), &requests),
            Code::kVersionChanged);
  EXPECT_EQ(requests, 1);
  EXPECT_EQ(Outcome(Always(
                {HttpAnswer(206, {"Content-Range: bytes 5000-5999/10000"}, kBody), Then::kKeep})),
            Code::kCorrupt);
  EXPECT_EQ(Outcome(Always({HttpAnswer(412, {"x-ms-error-code: ConditionNotMet"}, "<Error/>"),
                            Then::kKeep}),
                    &requests),
            Code::kVersionChanged);
  EXPECT_EQ(requests, 1);
}

TEST_F(FaultTest, StatusesAndTheirErrors) {
  struct Row {
    int status;
    Code code;
    int requests;
  };
  for (const Row& row : {Row{400, Code::kInvalid, 1}, Row{401, Code::kPermission, 1},
                         Row{403, Code::kPermission, 1}, Row{404, Code::kNotFound, 1},
                         Row{408, Code::kUnavailable, 3}, Row{409, Code::kUnavailable, 1},
                         Row{429, Code::kThrottled, 3}, Row{500, Code::kUnavailable, 3},
                         Row{501, Code::kCorrupt, 1}, Row{502, Code::kUnavailable, 3},
                         Row{503, Code::kThrottled, 3}, Row{504, Code::kUnavailable, 3}}) {
    int requests = 0;
    EXPECT_EQ(
        Outcome(Always({HttpAnswer(row.status, {}, "an error's body"), Then::kKeep}), &requests),
        row.code)
        << row.status;
    EXPECT_EQ(requests, row.requests) << row.status;
  }
  // Not followed: there is no second request.
  int requests = 0;
  EXPECT_EQ(Outcome(Always({HttpAnswer(302, {"Location: http://127.0.0.1:1/x"}, ""), Then::kKeep}),
                    &requests),
            Code::kInvalid);
  EXPECT_EQ(requests, 1);
}

TEST_F(FaultTest, BusyWithRetryAfterThenWell) {
  ScriptedServer server(Once({HttpAnswer(503, {"Retry-After: 1"}, ""), Then::kKeep}));
  const auto origin = Make(server.endpoint());
  const auto start = SystemClock::Get().NowNs();
  const auto read = Read(*origin);
  EXPECT_EQ(read.error.code, Code::kOk);
  EXPECT_TRUE(read.bytes == kBody);
  EXPECT_GE(SystemClock::Get().NowNs() - start, kNsPerSecond);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(FaultTest, ARetryAfterBeyondTheDeadlineIsNotWaitedFor) {
  ScriptedServer server(Always({HttpAnswer(503, {"Retry-After: 600"}, ""), Then::kKeep}));
  const auto origin = Make(server.endpoint());
  const auto start = SystemClock::Get().NowNs();
  EXPECT_EQ(Read(*origin, "v1", 3'000).error.code, Code::kThrottled);
  EXPECT_LT(SystemClock::Get().NowNs() - start, 3 * kNsPerSecond);
}

TEST_F(FaultTest, ResetsAreMended) {
  ExpectMended({"", Then::kReset});
  ExpectMended({"HTTP/1.1 206 Par", Then::kReset});
  ExpectMended({"HTTP/1.1 206 Partial\r\nETag: \"v1\"\r\n", Then::kReset});
  ExpectMended({RightAnswer().substr(0, RightAnswer().size() - 400), Then::kReset});
  ExpectMended({"", Then::kClose});
  ExpectMended({"SSH-2.0-OpenSSH_9.2\r\n\r\n", Then::kClose});
}

TEST_F(FaultTest, AlwaysResetIsUnavailable) {
  int requests = 0;
  EXPECT_EQ(Outcome(Always({"", Then::kReset}), &requests), Code::kUnavailable);
  EXPECT_EQ(requests, 3);
}

// Takes connections, reads a little and breaks them off, as a balancer under load does to a handshake.
class BreakingServer {
 public:
  BreakingServer() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
    listen(listener_, 16);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Run(); });
  }
  ~BreakingServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  int port() const { return port_; }
  int connections() const { return connections_; }

 private:
  void Run() {
    for (int fd = -1; (fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      ++connections_;
      char bytes[4096];
      (void)!recv(fd, bytes, sizeof(bytes), 0);
      const linger now{1, 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
      close(fd);
    }
  }

  const int listener_;
  int port_ = 0;
  std::atomic<int> connections_{0};
  std::thread thread_;
};

TEST_F(FaultTest, ATlsHandshakeThatBreaksIsTriedAgain) {
  BreakingServer server;
  const auto origin = Make("https://127.0.0.1:" + std::to_string(server.port()) + "/pstaccount");
  const auto read = Read(*origin);
  EXPECT_EQ(read.error.code, Code::kUnavailable) << read.error.context;
  EXPECT_TRUE(read.error.retryable);
  EXPECT_EQ(server.connections(), 3);
}

TEST_F(FaultTest, ABodyThatDoesNotComeInTimeTakesAPlaceAway) {
  ScriptedServer server(Once({RightAnswer().substr(0, 200), Then::kHang}));
  const auto origin = Make(server.endpoint(), 500);
  const auto before = origin->Stats().concurrency;
  EXPECT_EQ(Read(*origin).error.code, Code::kOk);
  EXPECT_LT(origin->Stats().concurrency, before);
  // Silence says nothing about how many are too many.
  ScriptedServer silent(Once({"", Then::kHang}));
  const auto other = Make(silent.endpoint(), 500);
  EXPECT_EQ(Read(*other).error.code, Code::kOk);
  EXPECT_EQ(other->Stats().concurrency, before);
}

TEST_F(FaultTest, AServerThatFailsQuicklyIsNotAskedForMore) {
  ScriptedServer server([](const std::string&, int) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return ScriptedReply{HttpAnswer(500, {}, ""), Then::kKeep};
  });
  OriginConfig config;
  config.url = "az://pstaccount/container/p";
  config.endpoint = server.endpoint();
  config.max_tries = 1;
  std::string why;
  const auto origin = MakeOrigin(config, &why);
  ASSERT_TRUE(origin) << why;
  const auto before = (*origin)->Stats().concurrency;
  std::counting_semaphore<> over(0);
  std::vector<StatOp> ops(1'000);
  for (StatOp& op : ops) {
    op.name = "f";
    op.deadline_ns = InMs(20'000);
    op.user = &over;
    op.done = [](Op* done) { static_cast<std::counting_semaphore<>*>(done->user)->release(); };
    (*origin)->Stat(&op);
  }
  for (std::size_t i = 0; i < ops.size(); ++i) over.acquire();
  EXPECT_EQ((*origin)->Stats().concurrency, before);
}

// What the server is asked for, in this order, if reads wait for the only place: a guess, then others.
std::string SecondRequest(bool hurry) {
  std::binary_semaphore go(0);
  ScriptedServer server([&go](const std::string&, int index) {
    if (index == 0) go.acquire();
    return ScriptedReply{RightAnswer(), Then::kKeep};
  });
  OriginConfig config;
  config.url = "az://pstaccount/container/p";
  config.endpoint = server.endpoint();
  config.max_connections = 1;
  std::string why;
  auto origin = MakeOrigin(config, &why);
  EXPECT_TRUE(origin) << why;
  std::counting_semaphore<> over(0);
  std::vector<std::string> bytes(4, std::string(1'000, '\0'));
  std::vector<ReadOp> ops(4);
  for (std::size_t i = 0; i < ops.size(); ++i) {
    ReadOp& op = ops[i];
    op.name = i == 1 ? "guess" : "wanted" + std::to_string(i);
    op.prefetch = i == 1;
    op.version = "v1";
    op.offset = 5'000;
    op.deadline_ns = InMs(20'000);
    op.buffers.push_back(std::as_writable_bytes(std::span(bytes[i])));
    op.user = &over;
    op.done = [](Op* done) { static_cast<std::counting_semaphore<>*>(done->user)->release(); };
    (*origin)->Read(&op);
  }
  if (hurry) (*origin)->Hurry(&ops[1]);
  go.release();
  for (std::size_t i = 0; i < ops.size(); ++i) over.acquire();
  for (const ReadOp& op : ops) EXPECT_TRUE(op.ok()) << op.error.context;
  if (hurry) (*origin)->Hurry(&ops[1]);  // over: nothing happens
  return server.heads().at(1);
}

TEST_F(FaultTest, AGuessThatSomebodyWaitsForIsOvertakenNoMore) {
  EXPECT_NE(SecondRequest(false).find("/wanted2 "), std::string::npos);
  EXPECT_NE(SecondRequest(true).find("/guess "), std::string::npos);
}

TEST_F(FaultTest, PlainHttpOnThisMachineGoesAroundAnyProxy) {
  ScriptedServer server(Always({RightAnswer(), Then::kKeep}));
  ScriptedServer proxy(Always({HttpAnswer(502, {}, ""), Then::kKeep}));
  setenv("http_proxy", ("http://127.0.0.1:" + std::to_string(proxy.port())).c_str(), 1);
  const auto origin = Make(server.endpoint());
  EXPECT_EQ(Read(*origin).error.code, Code::kOk);
  unsetenv("http_proxy");
  EXPECT_EQ(proxy.requests(), 0);
}

TEST_F(FaultTest, TheLongestNameThatBlobAllowsIsRead) {
  ScriptedServer server(Always({RightAnswer(), Then::kKeep}));
  const auto origin = Make(server.endpoint());
  std::string name;
  for (int i = 0; i < 1'022; ++i) name += "\xF0\x9F\x90\xA7";
  const auto read = ReadNow(*origin, name, 5'000, 1'000, "v1");
  EXPECT_EQ(read.error.code, Code::kOk) << read.error.context;
}

TEST_F(FaultTest, AVersionThatIsNoHeaderIsNotSent) {
  ScriptedServer server(Always({RightAnswer(), Then::kKeep}));
  const auto origin = Make(server.endpoint());
  EXPECT_EQ(Read(*origin, "v1\"\r\nX-Other: \"").error.code, Code::kVersionChanged);
  EXPECT_EQ(server.requests(), 0);
}

TEST_F(FaultTest, WhatIsCancelledBeforeItComesIsNotSent) {
  class Get final : public HttpExchange {
   public:
    void Prepare() override {}
    bool OnHeaders() override { return true; }
    bool OnBody(std::span<const char>) override { return true; }
    void OnOver() override { over.release(); }
    std::binary_semaphore over{0};
  };
  ScriptedServer server(Always({RightAnswer(), Then::kKeep}));
  HttpClient client(HttpLimits{});
  Get get;
  get.url = server.endpoint();
  get.deadline_ns = InMs(10'000);
  get.cancelled = true;  // and the note of it came too early
  client.Submit(&get);
  get.over.acquire();
  EXPECT_EQ(get.fault, Fault::kCancelled);
  EXPECT_EQ(server.requests(), 0);
}

TEST_F(FaultTest, HugeHeadersAreRefused) {
  const std::string flood = "HTTP/1.1 206 P\r\nETag: \"v1\"\r\n" + [] {
    std::string lines;
    for (int i = 0; i < 3'000; ++i) lines += "X-Y: " + std::string(60, 'z') + "\r\n";
    return lines;
  }();
  EXPECT_EQ(Outcome(Always({flood, Then::kClose})), Code::kUnavailable);
}

TEST_F(FaultTest, SilenceEndsAtTheDeadline) {
  ScriptedServer server(Always({"", Then::kHang}));
  const auto origin = Make(server.endpoint(), 30'000);
  const auto start = SystemClock::Get().NowNs();
  const auto read = Read(*origin, "v1", 600);
  const auto took_ms = (SystemClock::Get().NowNs() - start) / kNsPerMs;
  EXPECT_EQ(read.error.code, Code::kDeadline);
  EXPECT_GE(took_ms, 550);
  EXPECT_LT(took_ms, 5'000);
}

TEST_F(FaultTest, SilenceOnOneTryIsMendedByTheNext) {
  ScriptedServer server(Once({RightAnswer().substr(0, 200), Then::kHang}));
  const auto origin = Make(server.endpoint(), 500);
  const auto read = Read(*origin);
  EXPECT_EQ(read.error.code, Code::kOk) << read.error.context;
  EXPECT_TRUE(read.bytes == kBody);
}

TEST_F(FaultTest, CancelEndsAHangingRead) {
  ScriptedServer server(Always({"", Then::kHang}));
  const auto origin = Make(server.endpoint(), 30'000);
  std::string bytes(10, '\0');
  ReadOp op;
  op.name = "f";
  op.buffers = {std::as_writable_bytes(std::span(bytes))};
  const auto start = SystemClock::Get().NowNs();
  RunOp(&op, [&](ReadOp* started) {
    origin->Read(started);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    origin->Cancel(started);
  });
  EXPECT_EQ(op.error.code, Code::kCancelled);
  EXPECT_LT(SystemClock::Get().NowNs() - start, 3 * kNsPerSecond);
}

TEST_F(FaultTest, CancelEndsAReadThatWaitsForItsNextTry) {
  ScriptedServer server(Always({HttpAnswer(503, {"Retry-After: 5"}, ""), Then::kKeep}));
  const auto origin = Make(server.endpoint());
  std::string bytes(10, '\0');
  ReadOp op;
  op.name = "f";
  op.buffers = {std::as_writable_bytes(std::span(bytes))};
  const auto start = SystemClock::Get().NowNs();
  RunOp(&op, [&](ReadOp* started) {
    origin->Read(started);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    origin->Cancel(started);
  });
  EXPECT_EQ(op.error.code, Code::kCancelled);
  EXPECT_LT(SystemClock::Get().NowNs() - start, 4 * kNsPerSecond);
}

TEST_F(FaultTest, AnUnreachableServerEndsWithTheDeadline) {
  const auto origin = Make("http://127.0.0.1:" + std::to_string(ClosedPort()) + "/pstaccount");
  const auto start = SystemClock::Get().NowNs();
  const auto read = Read(*origin, "v1", 1'200);
  const auto took_ms = (SystemClock::Get().NowNs() - start) / kNsPerMs;
  // Refused, or cut short by the deadline in the middle of a try.
  EXPECT_TRUE(read.error.code == Code::kUnavailable || read.error.code == Code::kDeadline)
      << read.error.context;
  EXPECT_LT(took_ms, 5'000);
  EXPECT_GE(origin->Stats().retries, 2u);
  std::string why;
  EXPECT_FALSE(origin->Probe(5'000, &why));
  EXPECT_NE(why.find("cannot be reached: the connection was refused"), std::string::npos) << why;
}

TEST_F(FaultTest, AnUnknownHostIsSaidWithTheOtherReading) {
  setenv("AZURE_STORAGE_ACCOUNT", "realaccount", 1);
  const auto origin = Make("http://no-such-host.invalid/pstaccount");
  std::string why;
  EXPECT_FALSE(origin->Probe(5'000, &why));
  EXPECT_NE(why.find("az://realaccount/pstaccount/container/p"), std::string::npos) << why;
}

TEST_F(FaultTest, AManyReadersStormIsBounded) {
  ScriptedServer server(Always({HttpAnswer(500, {}, ""), Then::kKeep}));
  const auto origin = Make(server.endpoint());
  constexpr int kReads = 200;
  std::vector<ReadOp> ops(kReads);
  std::vector<std::string> results(kReads, std::string(10, '\0'));
  std::counting_semaphore<> finished(0);
  for (int i = 0; i < kReads; ++i) {
    ops[i].name = "f";
    ops[i].deadline_ns = InMs(10'000);
    ops[i].buffers = {std::as_writable_bytes(std::span(results[i]))};
    ops[i].user = &finished;
    ops[i].done = [](Op* op) { static_cast<std::counting_semaphore<>*>(op->user)->release(); };
    origin->Read(&ops[i]);
  }
  for (int i = 0; i < kReads; ++i) finished.acquire();
  for (const auto& op : ops) EXPECT_EQ(op.error.code, Code::kUnavailable);
  EXPECT_LE(origin->Stats().retries, 64u + 4u * 10u);
}

TEST_F(FaultTest, ReadsOfTwoServersBytesAreNeverMixed) {
  // The first try breaks off after 700 bytes of something else.
  const std::string other(1'000, 'Z');
  ExpectMended({RightAnswer(other).substr(0, RightAnswer(other).size() - 300), Then::kClose});
}

std::string ListAnswer(const std::string& xml) {
  return HttpAnswer(200, {"Content-Type: application/xml"}, xml);
}

std::string ListXml(const std::string& blobs, const std::string& marker) {
  return "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>" + blobs +
         "</Blobs><NextMarker>" + marker + "</NextMarker></EnumerationResults>";
}

TEST_F(FaultTest, GarbageListings) {
  for (const std::string& xml :
       {std::string("not xml"), std::string("<html></html>"), std::string(),
        ListXml("<Blob><Name>p/a</Name></Blob>", ""), std::string("<EnumerationResults><Blobs>"),
        ListXml("<Blob><Name>p/a</Name><Properties><Content-Length>-1</Content-Length>"
                "<Etag>e</Etag></Properties></Blob>",
                "")}) {
    ScriptedServer server(Always({ListAnswer(xml), Then::kKeep}));
    const auto origin = Make(server.endpoint());
    const auto list = ListNow(*origin, "");
    EXPECT_EQ(list.error.code, Code::kCorrupt) << xml;
    EXPECT_EQ(server.requests(), 3) << xml;
  }
}

TEST_F(FaultTest, AListingThatBreaksOffIsMended) {
  const std::string good =
      ListAnswer(ListXml("<Blob><Name>p/a</Name><Properties><Content-Length>7</Content-Length>"
                         "<Etag>e</Etag></Properties></Blob>",
                         ""));
  ScriptedServer server([good](const std::string&, int index) {
    if (index == 0) return ScriptedReply{good.substr(0, good.size() - 50), Then::kClose};
    return ScriptedReply{good, Then::kKeep};
  });
  const auto origin = Make(server.endpoint());
  const auto list = ListNow(*origin, "");
  ASSERT_EQ(list.error.code, Code::kOk);
  ASSERT_EQ(list.entries.size(), 1u);
  EXPECT_EQ(list.entries[0].name, "a");
}

TEST_F(FaultTest, AListingThatRepeatsItsMarkerEnds) {
  ScriptedServer server(Always({ListAnswer(ListXml("", "again")), Then::kKeep}));
  const auto origin = Make(server.endpoint());
  EXPECT_EQ(ListNow(*origin, "d").error.code, Code::kCorrupt);
  EXPECT_LE(server.requests(), 2);
}

TEST_F(FaultTest, AStatFollowsEmptyPagesButNotForEver) {
  ScriptedServer server([](const std::string& head, int index) {
    if (head.starts_with("HEAD")) return ScriptedReply{HttpAnswer(404, {}, ""), Then::kKeep};
    return ScriptedReply{ListAnswer(ListXml("", "m" + std::to_string(index))), Then::kKeep};
  });
  const auto origin = Make(server.endpoint());
  EXPECT_EQ(StatNow(*origin, "d").error.code, Code::kCorrupt);
  EXPECT_LE(server.requests(), 40);
}

TEST_F(FaultTest, AnEmptyPageWithAMarkerIsNotTheEnd) {
  ScriptedServer server([](const std::string& head, int) {
    if (head.find("marker=next") != std::string::npos) {
      return ScriptedReply{
          ListAnswer(ListXml("<BlobPrefix><Name>p/d/sub/</Name></BlobPrefix>", "")), Then::kKeep};
    }
    return ScriptedReply{ListAnswer(ListXml("", "next")), Then::kKeep};
  });
  const auto origin = Make(server.endpoint());
  const auto list = ListNow(*origin, "d");
  EXPECT_EQ(list.error.code, Code::kOk);
  EXPECT_EQ(list.pages, 2);
  EXPECT_EQ(list.entries.size(), 1u);
}

TEST_F(FaultTest, SecretsReachNoLog) {
  unsetenv("AZURE_STORAGE_KEY");
  setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2021-12-02&sp=rl&sig=TOPSECRET%3D", 1);
  ScriptedServer server(
      Always({HttpAnswer(403, {"x-ms-error-code: AuthenticationFailed"}, ""), Then::kKeep}));
  testing::internal::CaptureStderr();
  const auto origin = Make(server.endpoint());
  EXPECT_EQ(Read(*origin).error.code, Code::kPermission);
  std::string why;
  EXPECT_FALSE(origin->Probe(5'000, &why));
  const std::string logged = testing::internal::GetCapturedStderr();
  unsetenv("AZURE_STORAGE_SAS_TOKEN");
  EXPECT_NE(logged.find("AuthenticationFailed"), std::string::npos);
  EXPECT_EQ((logged + why + origin->Describe()).find("TOPSECRET"), std::string::npos);
  // It was sent, though.
  EXPECT_NE(server.heads().at(0).find("sig=TOPSECRET%3D"), std::string::npos);
}

// How often the client's thread has gone to sleep; -1 if there is none.
long SleepsOfTheHttpThread() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string line;
    std::ifstream comm(task.path() / "comm");
    if (!std::getline(comm, line) || line != "pst-http") continue;
    const std::string field = "voluntary_ctxt_switches:";
    std::ifstream status(task.path() / "status");
    while (std::getline(status, line)) {
      if (line.starts_with(field)) return std::stol(line.substr(field.size()));
    }
  }
  return -1;
}

TEST_F(FaultTest, AClientWithNothingToDoSleeps) {
  ScriptedServer server(Always({RightAnswer(), Then::kKeep}));
  auto origin = Make(server.endpoint());
  const ReadOutcome read = Read(*origin);
  EXPECT_EQ(read.bytes, kBody);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const long before = SleepsOfTheHttpThread();
  ASSERT_GT(before, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(2'500));
  EXPECT_EQ(SleepsOfTheHttpThread(), before);
  EXPECT_EQ(Read(*origin).bytes, kBody);  // and wakes
}

}  // namespace
}  // namespace penstock::origin
