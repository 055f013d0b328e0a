// Limits of a node: several sidecars, one that died, and a file that holds anything.
#include "transport/traffic/node_share.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <vector>

#include "transport/base/clock.h"
#include "transport/traffic/fair_pacer.h"

namespace penstock::origin {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kSecond = 1'000 * kMs;

class NodeShareTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/penstock-node-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/made/node-limits";
  }
  void TearDown() override {
    unlink(path_.c_str());
    rmdir((folder_ + "/made").c_str());
    rmdir(folder_.c_str());
  }
  std::unique_ptr<NodeShare> Open(const TrafficLimits& limits) {
    auto share = NodeShare::Open(path_, limits);
    EXPECT_TRUE(share.has_value());
    return share ? *std::move(share) : nullptr;
  }
  std::string folder_;
  std::string path_;
};

// Asks every millisecond for as long as it may; gives how many went out.
std::uint64_t Step(Pacer* pacer, std::int64_t now_ns, std::int64_t* ask_at_ns) {
  std::uint64_t sent = 0;
  while (now_ns >= *ask_at_ns) {
    const std::int64_t wait_ns = pacer->Ask(true, 0, now_ns);
    if (wait_ns > 0) {
      *ask_at_ns = now_ns + wait_ns;
      break;
    }
    ++sent;
  }
  return sent;
}

TEST_F(NodeShareTest, SidecarsShareOneRate) {
  std::vector<std::unique_ptr<FairPacer>> jobs;
  std::vector<Pacer*> pacers;
  for (int i = 0; i < 4; ++i) {
    jobs.push_back(std::make_unique<FairPacer>(TrafficLimits{}, Open({0, 1'000})));
    pacers.push_back(jobs.back()->MakePacer(1));
  }
  std::vector<std::uint64_t> sent(4);
  std::vector<std::int64_t> ask_at_ns(4);
  for (std::int64_t now_ns = kSecond; now_ns < 11 * kSecond; now_ns += kMs)
    for (std::size_t i = 0; i < 4; ++i) sent[i] += Step(pacers[i], now_ns, &ask_at_ns[i]);
  EXPECT_NEAR(static_cast<double>(sent[0] + sent[1] + sent[2] + sent[3]), 10'000, 300);
  for (const std::uint64_t one : sent) EXPECT_NEAR(static_cast<double>(one), 2'500, 500);
}

TEST_F(NodeShareTest, ADeadSidecarCostsOnePlaceInLine) {
  const pid_t child = fork();
  if (child == 0) {
    const auto share = NodeShare::Open(path_, {0, 10});
    for (int i = 0; i < 3; ++i) (*share)->Take(0, SystemClock::Get().NowNs());
    _exit(0);  // in the middle of it all
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  const auto share = Open({0, 10});
  const std::int64_t now_ns = SystemClock::Get().NowNs();
  EXPECT_LE(share->Take(0, now_ns), now_ns + 300 * kMs);
}

TEST_F(NodeShareTest, GarbageDelaysNobodyForLong) {
  Open({1 << 20, 10});
  for (const std::int64_t garbage :
       {INT64_MAX, INT64_MIN, std::int64_t{-1}, INT64_MAX - kSecond, 400 * kSecond}) {
    const int fd = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_EQ(pwrite(fd, &garbage, sizeof garbage, 8), 8);
    ASSERT_EQ(pwrite(fd, &garbage, sizeof garbage, 16), 8);
    close(fd);
    const auto share = Open({1 << 20, 10});
    const std::int64_t now_ns = 200 * kSecond;
    EXPECT_LE(share->Take(4096, now_ns), now_ns) << garbage;
    EXPECT_GE(share->Take(4096, now_ns), now_ns + 50 * kMs) << "and the limit holds again";
  }
}

TEST_F(NodeShareTest, ManyProcessesAtOnceLoseNothing) {
  constexpr int kProcesses = 4;
  constexpr int kTakes = 20'000;
  constexpr std::int64_t kNow = 1'000 * kSecond;
  constexpr std::uint64_t kRate = 100'000'000;  // 10 ns each
  Open({0, kRate});
  std::vector<pid_t> children;
  for (int i = 0; i < kProcesses; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      const auto share = NodeShare::Open(path_, {0, kRate});
      if (!share) _exit(1);
      for (int j = 0; j < kTakes; ++j) (*share)->Take(0, kNow);
      _exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  // Each took its 10 ns, from the burst before now on.
  EXPECT_EQ(Open({0, 1})->Take(0, kNow), kNow);
  const std::int64_t all_ns = kProcesses * kTakes * 10;
  const auto share = Open({0, kRate});
  std::int64_t moment = 0;
  const int fd = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(pread(fd, &moment, sizeof moment, 8), 8);
  close(fd);
  EXPECT_EQ(moment, kNow - kBurstNs + all_ns + kSecond) << "the last is the look's own";
}

TEST_F(NodeShareTest, RefusesWhatIsNoFileOfItsOwn) {
  Open({0, 1});
  const int fd = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(pwrite(fd, "precious", 8, 0), 8);
  close(fd);
  EXPECT_FALSE(NodeShare::Open(path_, {0, 1}).has_value());
  EXPECT_FALSE(NodeShare::Open(folder_, {0, 1}).has_value());
  EXPECT_FALSE(NodeShare::Open("/proc/penstock/none", {0, 1}).has_value());
  unlink(path_.c_str());
  ASSERT_EQ(symlink("/dev/null", path_.c_str()), 0);
  EXPECT_FALSE(NodeShare::Open(path_, {0, 1}).has_value()) << "a link leads elsewhere";
}

}  // namespace
}  // namespace penstock::origin
