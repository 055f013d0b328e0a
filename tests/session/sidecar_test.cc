// A real penstockd, a folder as its origin, and a client that speaks the shared-memory protocol
// itself.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "cache/admin/client.h"
#include "tests/session/raw_client.h"

namespace penstock::cache {
namespace {

class SidecarTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/penstock-sidecar-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    base_ = name;
    std::filesystem::create_directories(base_ + "/origin/sub");
    Write("text.txt", "hello, world\n");
    big_.resize(300'000);
    for (std::size_t i = 0; i < big_.size(); ++i)
      big_[i] = static_cast<char>((i * 2654435761u) >> 13);
    Write("sub/big.bin", big_);
    socket_ = base_ + "/job.sock";
    Configure("", "");
    Start();
  }

  void Configure(const std::string& sidecar, const std::string& mounts) {
    std::ofstream(base_ + "/job.toml")
        << "version = 1\n[sidecar]\nsocket = \"" << socket_ << "\"\n"
        << sidecar << "[cache]\ndir = \"" << base_ << "/cache\"\nmemory = \"32MiB\"\nnvme = \"64MiB\"\n"
        << "[[mount]]\npath = \"/data\"\norigin = \"file://" << base_ << "/origin\"\n"
        << mounts;
  }

  void Restart(const std::string& sidecar, const std::string& mounts = "") {
    kill(pid_, SIGTERM);
    ASSERT_EQ(WaitExit(), 0) << Log();
    Configure(sidecar, mounts);
    Start();
  }

  // Runs `body` as user and group 65534, and `meanwhile` here while what it opened is still open; gives
  // what the body returns.
  int AsNobody(const std::function<int()>& body, const std::function<void()>& meanwhile = [] {}) {
    chmod(base_.c_str(), 0711);
    int over[2], go[2];
    if (pipe(over) != 0 || pipe(go) != 0) return 98;
    const pid_t child = fork();
    if (child == 0) {
      close(go[1]);
      if (setgid(65534) != 0 || setuid(65534) != 0) _exit(99);
      const int rc = body();
      char byte = 0;
      (void)!write(over[1], &byte, 1);
      (void)!read(go[0], &byte, 1);
      _exit(rc);
    }
    char byte = 0;
    (void)!read(over[0], &byte, 1);
    meanwhile();
    for (const int fd : {over[0], over[1], go[0], go[1]}) close(fd);
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  // A connection that says nothing.
  int Connect() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, socket_.c_str(), sizeof address.sun_path - 1);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    return connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ? fd : -1;
  }

  void TearDown() override {
    if (pid_ > 0) {
      kill(pid_, SIGTERM);
      EXPECT_EQ(WaitExit(), 0) << Log();
    }
    std::filesystem::remove_all(base_);
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(base_ + "/origin/" + name, std::ios::binary) << text;
  }

  std::string Log() {
    std::ifstream in(base_ + "/log");
    return {std::istreambuf_iterator<char>(in), {}};
  }

  void Start() {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    pid_ = fork();
    if (pid_ == 0) {
      const rlimit limit{nofile_, nofile_};
      if (nofile_ != 0) (void)setrlimit(RLIMIT_NOFILE, &limit);
      const int log = open((base_ + "/log").c_str(), O_CREAT | O_APPEND | O_WRONLY, 0600);
      dup2(log, 1);
      dup2(log, 2);
      const std::string fd = std::to_string(ready[1]);
      execl(PENSTOCKD, PENSTOCKD, "-c", (base_ + "/job.toml").c_str(), "--ready-fd", fd.c_str(),
            nullptr);
      _exit(127);
    }
    close(ready[1]);
    char byte = 0;
    ASSERT_EQ(read(ready[0], &byte, 1), 1) << Log();
    close(ready[0]);
  }

  int WaitExit() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  Json Ask(const Json& request) {
    auto client = AdminClient::Connect(socket_, 5'000);
    if (!client) return {{"error", client.error().text}};
    auto reply = client->Ask(request, 10'000);
    return reply ? *reply : Json{{"error", reply.error().text}};
  }

  std::uint64_t Stat(const char* group, const char* name) {
    const Json stat = Ask({{"op", "stat"}});
    return stat.contains(group) ? JsonNumber(stat[group], name, UINT64_MAX) : UINT64_MAX;
  }

  // Waits up to 10 s for a value of "now".
  bool WaitNow(const char* name, std::uint64_t value) {
    for (int i = 0; i < 500; ++i) {
      if (Stat("now", name) == value) return true;
      poll(nullptr, 0, 20);
    }
    return false;
  }

  std::string base_;
  std::string socket_;
  std::string big_;
  rlim_t nofile_ = 0;  // the sidecar's limit of open files; 0: ours
  pid_t pid_ = 0;
};

TEST_F(SidecarTest, JoinLookFetchAndReadFromTheArena) {
  RawClient client;
  ASSERT_EQ(client.Join(socket_), 0) << Log();
  EXPECT_GE(client.welcome().slot_count, 1u);
  ASSERT_EQ(client.view().header->mount_count, 1u);
  EXPECT_STREQ(client.view().header->mounts[0].path, "/data");

  ASSERT_EQ(client.Call({.op = PST_OP_LOOKUP, .path = "sub/big.bin"}), 0);
  const pst_attr attr = client.request(0).attr;
  EXPECT_EQ(attr.kind, PST_KIND_FILE);
  EXPECT_EQ(attr.size, big_.size());
  ASSERT_NE(attr.version, 0u);

  for (std::uint32_t range = 0; range * PST_RANGE_BYTES < big_.size(); ++range) {
    const std::uint64_t at = static_cast<std::uint64_t>(range) * PST_RANGE_BYTES;
    ASSERT_EQ(client.Call({.op = PST_OP_FETCH,
                           .path = "sub/big.bin",
                           .version = attr.version,
                           .offset = at,
                           .length = 1}),
              0);
    std::string bytes;
    ASSERT_TRUE(client.Read("sub/big.bin", attr.version, range, &bytes)) << range;
    EXPECT_EQ(bytes, big_.substr(at, PST_RANGE_BYTES)) << range;
  }
}

TEST_F(SidecarTest, NamesListingsAndTheSlowLane) {
  RawClient client;
  ASSERT_EQ(client.Join(socket_), 0);
  ASSERT_EQ(client.Call({.op = PST_OP_LOOKUP, .path = "none"}), 0);
  EXPECT_EQ(client.request(0).attr.kind, PST_KIND_ABSENT);
  EXPECT_EQ(client.request(0).attr.err, ENOENT);
  ASSERT_EQ(client.Call({.op = PST_OP_LOOKUP, .path = ""}), 0);
  EXPECT_EQ(client.request(0).attr.kind, PST_KIND_DIRECTORY);
  EXPECT_EQ(client.Call({.op = PST_OP_LOOKUP, .path = std::string(300, 'x')}), ENAMETOOLONG);
  EXPECT_EQ(client.Call({.op = PST_OP_LOOKUP, .path = "a/../b"}), EINVAL);

  ASSERT_EQ(client.Call({.op = PST_OP_LIST, .path = ""}), 0);
  EXPECT_EQ(client.request(0).length, 1u);
  const std::uint64_t listing = client.request(0).version;
  ASSERT_EQ(
      client.Call(
          {.op = PST_OP_LISTING_READ, .path = "", .version = listing, .length = PST_PATH_MAX}),
      0);
  pst_listing_page page;
  memcpy(&page, client.session()->buffers[0], sizeof page);
  EXPECT_EQ(page.magic, PST_LISTING_MAGIC);
  EXPECT_EQ(page.count, 2u);
  EXPECT_EQ(page.listing_id, listing);

  ASSERT_EQ(client.Call({.op = PST_OP_LOOKUP, .path = "text.txt"}), 0);
  const std::uint64_t version = client.request(0).attr.version;
  ASSERT_EQ(
      client.Call(
          {.op = PST_OP_READ, .path = "text.txt", .version = version, .offset = 7, .length = 4096}),
      0);
  EXPECT_EQ(client.request(0).length, 6u);
  EXPECT_EQ(memcmp(client.session()->buffers[0], "world\n", 6), 0);

  client.request(0).path_len = 0;
  ASSERT_EQ(client.Call({.op = PST_OP_NAME, .path = "text.txt"}), 0);
  EXPECT_EQ(client.request(0).path_len, 8u);
  EXPECT_EQ(memcmp(client.session()->buffers[0], "text.txt", 8), 0);
}

TEST_F(SidecarTest, MaterialisedFilesAreSharedBySlot) {
  RawClient client;
  ASSERT_EQ(client.Join(socket_), 0);
  ASSERT_EQ(client.Call({.op = PST_OP_LOOKUP, .path = "sub/big.bin"}), 0);
  const std::uint64_t version = client.request(0).attr.version;
  const RawClient::Ask plain{.op = PST_OP_MATERIALIZE, .path = "sub/big.bin", .version = version};
  ASSERT_EQ(client.Call(plain), 0);
  const std::uint64_t ticket = client.request(0).ticket;
  const int fd = client.Exchange(ticket);
  ASSERT_GE(fd, 0);
  std::string bytes(big_.size() + 1, '\0');
  EXPECT_EQ(pread(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(big_.size()));
  bytes.resize(big_.size());
  EXPECT_EQ(bytes, big_);
  EXPECT_EQ(write(fd, "x", 1), -1) << "a client could change what others read";
  EXPECT_EQ(client.Exchange(ticket), -ENOENT) << "a ticket is good once";
  close(fd);

  // With a slot every asker gets the same open file: one offset.
  RawClient::Ask slotted = plain;
  slotted.slot = client.welcome().slots[0];
  pst_slot line{};
  ASSERT_EQ(pread(client.fds()[4], &line, sizeof line,
                  static_cast<off_t>(PST_SLOTS_OFFSET + slotted.slot * sizeof line)),
            static_cast<ssize_t>(sizeof line));
  slotted.slot_generation = pst_word_generation(line.word);
  ASSERT_EQ(client.Call(slotted), 0);
  const int one = client.Exchange(client.request(0).ticket);
  ASSERT_EQ(client.Call(slotted), 0);
  const int two = client.Exchange(client.request(0).ticket);
  ASSERT_GE(one, 0);
  ASSERT_GE(two, 0);
  EXPECT_EQ(lseek(one, 1234, SEEK_SET), 1234);
  EXPECT_EQ(lseek(two, 0, SEEK_CUR), 1234);
  close(one);
  close(two);
}

TEST_F(SidecarTest, ShadowDirectories) {
  RawClient client;
  ASSERT_EQ(client.Join(socket_), 0);
  ASSERT_EQ(client.Call({.op = PST_OP_DIRECTORY, .path = "sub"}), 0);
  const int fd = client.Exchange(client.request(0).ticket);
  ASSERT_GE(fd, 0);
  struct stat status{};
  ASSERT_EQ(fstat(fd, &status), 0);
  EXPECT_TRUE(S_ISDIR(status.st_mode));
  close(fd);
  EXPECT_EQ(client.Call({.op = PST_OP_DIRECTORY, .path = "text.txt"}), ENOTDIR);
  EXPECT_EQ(client.Call({.op = PST_OP_DIRECTORY, .path = "none"}), ENOENT);
}

TEST_F(SidecarTest, LeasesHintsAndAbandonedRequests) {
  RawClient client;
  ASSERT_EQ(client.Join(socket_), 0);
  ASSERT_EQ(client.Call({.op = PST_OP_LEASE, .length = 100}), 0);
  EXPECT_EQ(client.request(0).length, 100u);

  ASSERT_EQ(client.Call({.op = PST_OP_LOOKUP, .path = "sub/big.bin"}), 0);
  const std::uint64_t version = client.request(0).attr.version;
  client.Submit(3, {.op = PST_OP_FETCH,
                    .path = "sub/big.bin",
                    .version = version,
                    .length = big_.size(),
                    .flags = PST_REQUEST_NOWAIT});
  EXPECT_TRUE(client.WaitState(3, PST_REQUEST_FREE)) << "the sidecar frees a hint";
  std::string bytes;
  for (int i = 0; i < 500 && !client.Read("sub/big.bin", version, 4, &bytes); ++i)
    poll(nullptr, 0, 10);
  EXPECT_EQ(bytes, big_.substr(4 * PST_RANGE_BYTES));

  // Given up before the sidecar looks: it frees the slot, and never answers.
  pst_request& request = client.request(5);
  request.op = PST_OP_LOOKUP;
  request.ns = PST_NS_FILES;
  request.flags = 0;
  request.path_len = 0;
  request.slot = PST_NO_SLOT;
  PST_STORE_RELEASE(&request.state, PST_REQUEST_ABANDONED);
  __atomic_fetch_or(&client.session()->submitted, 1ull << 5, __ATOMIC_RELEASE);
  client.Ring();
  EXPECT_TRUE(client.WaitState(5, PST_REQUEST_FREE));
  EXPECT_EQ(client.Call({.op = PST_OP_LOOKUP, .path = "text.txt"}), 0);
}

TEST_F(SidecarTest, APidfdOfAnotherProcessIsRefused) {
  RawClient client;
  client.pidfd_of = getppid();
  EXPECT_EQ(client.Join(socket_), EINVAL);
  EXPECT_EQ(Stat("now", "sessions"), 0u);
  EXPECT_EQ(Stat("now", "programs"), 0u);
}

TEST_F(SidecarTest, ALateRequestIsAnsweredAndNeverStarted) {
  RawClient client;
  ASSERT_EQ(client.Join(socket_), 0);
  ASSERT_EQ(client.Call({.op = PST_OP_LOOKUP, .path = "text.txt"}), 0);
  poll(nullptr, 0, 100);
  const std::uint64_t before = Stat("counters", "origin_requests");
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(client.Call({.op = PST_OP_LOOKUP,
                           .path = "none" + std::to_string(i) + "/x",
                           .deadline_ns = 1}),
              EIO);
  poll(nullptr, 0, 100);
  EXPECT_EQ(Stat("counters", "origin_requests"), before);
  EXPECT_EQ(Stat("counters", "requests_refused"), 50u);
}

TEST_F(SidecarTest, RubbishEndsItsOwnSessionOnly) {
  RawClient good;
  ASSERT_EQ(good.Join(socket_), 0);
  const auto ends = [&](auto spoil) {
    RawClient bad;
    EXPECT_EQ(bad.Join(socket_), 0);
    spoil(bad);
    return bad.WaitHangup();
  };
  EXPECT_TRUE(ends([](RawClient& c) { c.Submit(0, {.op = 99}); }));
  EXPECT_TRUE(ends([](RawClient& c) { c.Submit(0, {.op = PST_OP_LOOKUP, .ns = 7}); }));
  EXPECT_TRUE(ends([](RawClient& c) {
    __atomic_store_n(&c.session()->submitted, ~0ull, __ATOMIC_RELEASE);
    c.Ring();
  }));
  EXPECT_TRUE(ends([](RawClient& c) { (void)!write(c.socket(), "rubbish", 7); }));
  EXPECT_EQ(Stat("counters", "sessions_rubbish"), 4u);
  EXPECT_EQ(good.Call({.op = PST_OP_LOOKUP, .path = "text.txt"}), 0);
  memset(good.session()->log, 0xff, sizeof good.session()->log);  // places that do not exist
  good.session()->log_head = UINT64_MAX;
  EXPECT_EQ(good.Call({.op = PST_OP_LOOKUP, .path = "text.txt"}), 0);
  poll(nullptr, 0, 250);
  EXPECT_EQ(good.Call({.op = PST_OP_LOOKUP, .path = "text.txt"}), 0);
}

TEST_F(SidecarTest, BadHellosAreRefused) {
  pst_hello hello{};
  EXPECT_EQ(RawClient().SayHello(socket_, &hello, sizeof hello), EINVAL);
  EXPECT_EQ(RawClient().SayHello(socket_, "x", 1), EINVAL);
  hello.magic = PST_HELLO_MAGIC;
  hello.major = PST_ABI_MAJOR + 1;
  hello.role = PST_ROLE_CLIENT;
  EXPECT_EQ(RawClient().SayHello(socket_, &hello, sizeof hello), EPROTO);
  EXPECT_EQ(RawClient().Join(socket_), 0);
}

TEST_F(SidecarTest, MemoryCannotBeSpoiled) {
  RawClient client;
  ASSERT_EQ(client.Join(socket_), 0);
  for (const int which : {0, 1}) {
    EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, client.fds()[which], 0),
              MAP_FAILED);
    EXPECT_NE(ftruncate(client.fds()[which], 0), 0);
    EXPECT_LT(pwrite(client.fds()[which], "x", 1, 0), 0);
  }
  EXPECT_NE(ftruncate(client.fds()[2], 0), 0);
}

TEST_F(SidecarTest, ADeadClientIsReclaimedAndItsCountersStay) {
  const pid_t child = fork();
  if (child == 0) {
    RawClient client;
    if (client.Join(socket_) != 0) _exit(1);
    client.session()->counters[3].hits_memory = 41;
    client.session()->counters[63].hits_memory = 1;
    client.Submit(0, {.op = PST_OP_LOOKUP, .path = "text.txt"});
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(WaitNow("sessions", 0));
  EXPECT_EQ(Stat("counters", "hits_memory"), 42u);
  EXPECT_TRUE(WaitNow("slots_leased", 0));
  EXPECT_TRUE(WaitNow("requests_in_flight", 0));
}

TEST_F(SidecarTest, AClosedSocketIsNoDeathWhileThePidfdLives) {
  RawClient client;
  ASSERT_EQ(client.Join(socket_), 0);
  client.CloseSocket();
  poll(nullptr, 0, 50);
  EXPECT_EQ(client.Call({.op = PST_OP_LOOKUP, .path = "text.txt"}), 0);
  EXPECT_EQ(Stat("now", "sessions"), 1u);
  RawClient without;
  ASSERT_EQ(without.Join(socket_, /*with_pidfd=*/false), 0);
  EXPECT_TRUE(WaitNow("sessions", 2));
  without.CloseSocket();
  EXPECT_TRUE(WaitNow("sessions", 1));
}

TEST_F(SidecarTest, StopRefusesWhileSomebodyIsJoined) {
  RawClient client;
  ASSERT_EQ(client.Join(socket_), 0);
  const Json refused = Ask({{"op", "stop"}});
  EXPECT_FALSE(JsonBool(refused, "ok"));
  EXPECT_NE(JsonString(refused, "error").find(std::to_string(getpid())), std::string::npos);
  EXPECT_TRUE(JsonBool(Ask({{"op", "stop"}, {"force", true}}), "ok"));
  EXPECT_EQ(WaitExit(), 0);
  EXPECT_TRUE(client.WaitHangup());
  EXPECT_NE(access(socket_.c_str(), F_OK), 0) << "the socket is left behind";
  EXPECT_NE(access((socket_ + ".lock").c_str(), F_OK), 0);
}

TEST_F(SidecarTest, ASecondOneOnTheSameSocketGivesUp) {
  const std::string command = std::string(PENSTOCKD) + " -c " + base_ + "/job.toml 2>&1";
  FILE* second = popen(command.c_str(), "r");
  std::string said(4096, '\0');
  said.resize(fread(said.data(), 1, said.size(), second));
  const int status = pclose(second);
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_NE(said.find("another sidecar (process " + std::to_string(pid_) + ")"), std::string::npos)
      << said;
  EXPECT_EQ(RawClient().Join(socket_), 0);
}

TEST_F(SidecarTest, AKilledOnesSocketIsReplaced) {
  kill(pid_, SIGKILL);
  WaitExit();
  ASSERT_EQ(access(socket_.c_str(), F_OK), 0);
  Start();
  EXPECT_EQ(RawClient().Join(socket_), 0);
}

TEST_F(SidecarTest, AdminAnswersRubbishWithAnError) {
  EXPECT_FALSE(JsonBool(Ask({{"op", "no such"}}), "ok"));
  EXPECT_FALSE(JsonBool(Ask({{"op", 7}}), "ok"));
  EXPECT_FALSE(JsonBool(Ask(Json::array({1, 2})), "ok"));
  EXPECT_FALSE(JsonBool(Ask({{"op", "refresh"}, {"paths", {"/elsewhere"}}}), "ok"));
  EXPECT_TRUE(JsonBool(Ask({{"op", "refresh"}, {"paths", {"/data"}}}), "ok"));
  EXPECT_TRUE(JsonBool(Ask({{"op", "flush"}}), "ok"));
}

TEST_F(SidecarTest, WarmBringsInWhatThePatternsName) {
  Json reply = Ask({{"op", "warm"}, {"paths", {"/data/su*/b?g.*", "/data/none"}}});
  ASSERT_TRUE(JsonBool(reply, "ok"));
  const std::uint64_t id = JsonNumber(reply, "id");
  do {
    poll(nullptr, 0, 10);
    reply = Ask({{"op", "warm_status"}, {"id", id}});
    ASSERT_TRUE(JsonBool(reply, "ok"));
  } while (!JsonBool(reply, "done"));
  EXPECT_EQ(JsonNumber(reply, "files"), 1u);
  EXPECT_EQ(JsonNumber(reply, "bytes_done"), big_.size());
  ASSERT_EQ(JsonStrings(reply, "problems").size(), 1u);
  EXPECT_NE(JsonStrings(reply, "problems")[0].find("/data/none"), std::string::npos);
  RawClient client;
  ASSERT_EQ(client.Join(socket_), 0);
  ASSERT_EQ(client.Call({.op = PST_OP_LOOKUP, .path = "sub/big.bin"}), 0);
  std::string bytes;
  EXPECT_TRUE(client.Read("sub/big.bin", client.request(0).attr.version, 4, &bytes));
}

TEST_F(SidecarTest, OthersMayLookButNotStopOrChangeWhatIsKept) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  Restart("allow_uids = [65534]\n");
  const auto refused = [this](const Json& request) {
    const Json reply = Ask(request);
    return !JsonBool(reply, "ok") &&
           JsonString(reply, "error").find("sidecar.admin_uids") != std::string::npos;
  };
  EXPECT_EQ(AsNobody([&] {
              if (!JsonBool(Ask({{"op", "status"}}), "ok")) return 1;
              if (!JsonBool(Ask({{"op", "stat"}}), "ok")) return 2;
              if (RawClient().Join(socket_) != 0) return 3;
              for (const char* op : {"stop", "refresh", "warm", "pin", "unpin", "evict"})
                if (!refused({{"op", op}, {"paths", {"/data"}}, {"force", true}})) return 4;
              return 0;
            }),
            0);
  EXPECT_TRUE(JsonBool(Ask({{"op", "refresh"}, {"paths", {"/data"}}}), "ok"));
  Restart("admin_uids = [65534]\n");
  EXPECT_EQ(AsNobody([&] {
              if (RawClient().Join(socket_) != EACCES) return 1;  // an admin is no program
              return JsonBool(Ask({{"op", "refresh"}, {"paths", {"/data"}}}), "ok") ? 0 : 2;
            }),
            0);
}

TEST_F(SidecarTest, WhoMayNotJoinTakesNoPlaceAndIsToldSo) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  nofile_ = 1024;  // few places
  Restart("allow_uids = [1234]\n");
  EXPECT_EQ(AsNobody(
                [&] {
                  for (int i = 0; i < 300; ++i) (void)Connect();
                  return RawClient().Join(socket_) == EACCES ? 0 : 1;
                },
                [&] { EXPECT_TRUE(JsonBool(Ask({{"op", "status"}}), "ok")); }),
            0);
}

TEST_F(SidecarTest, OneUsersSilentConnectionsLeaveRoomForOthers) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  nofile_ = 1024;  // few places
  Restart("allow_uids = [65534]\n");
  EXPECT_EQ(AsNobody(
                [&] {
                  for (int i = 0; i < 300; ++i) (void)Connect();
                  return RawClient().Join(socket_) == EBUSY &&
                                 JsonString(Ask({{"op", "status"}}), "error").find("full") !=
                                     std::string::npos
                             ? 0
                             : 1;
                },
                [&] { EXPECT_TRUE(JsonBool(Ask({{"op", "status"}}), "ok")); }),
            0);
}

TEST_F(SidecarTest, ASmallLimitOfOpenFilesStopsMappingsBeforeReads) {
  nofile_ = 1024;
  Restart("");
  RawClient client;
  ASSERT_EQ(client.Join(socket_), 0);
  ASSERT_EQ(client.Call({.op = PST_OP_LOOKUP, .path = "text.txt"}), 0);
  const std::uint64_t version = client.request(0).attr.version;
  int got = 0, err = 0;
  while (got < 2000 && err == 0) {
    err = client.Call({.op = PST_OP_MATERIALIZE, .path = "text.txt", .version = version});
    got += err == 0;
  }
  EXPECT_EQ(err, ENFILE) << "tickets that nobody fetches are bounded";
  EXPECT_GT(got, 20);
  RawClient other;
  ASSERT_EQ(other.Join(socket_), 0);
  ASSERT_EQ(other.Call({.op = PST_OP_MATERIALIZE, .path = "text.txt", .version = version}), 0);
  close(other.Exchange(other.request(0).ticket));
  ASSERT_EQ(other.Call({.op = PST_OP_LOOKUP, .path = "sub/big.bin"}), 0);
  EXPECT_EQ(other.Call({.op = PST_OP_FETCH,
                        .path = "sub/big.bin",
                        .version = other.request(0).attr.version,
                        .length = 100}),
            0);
}

TEST_F(SidecarTest, StopDoesNotWaitForSilentOrigins) {
  const int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listening, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listening, 100), 0);
  ASSERT_EQ(getsockname(listening, reinterpret_cast<sockaddr*>(&address), &size), 0);
  std::string mounts;
  for (const char* path : {"/one", "/two", "/three", "/four"})
    mounts += std::string("[[mount]]\npath = \"") + path + "\"\norigin = \"az://account/container\"\n" +
              "endpoint = \"http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) +
              "/account\"\n[mount.auth]\nmode = \"anon\"\n";
  Restart("", mounts);
  const auto begin = std::chrono::steady_clock::now();
  kill(pid_, SIGTERM);
  EXPECT_EQ(WaitExit(), 0) << Log();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
  close(listening);
}

}  // namespace
}  // namespace penstock::cache
