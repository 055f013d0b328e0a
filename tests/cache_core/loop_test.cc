// Both loops: tasks, timers, descriptors, files, and that an idle one uses no CPU.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "cache/base/loop.h"

namespace penstock::cache {
namespace {

class LoopTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    loop_ = MakeLoop(GetParam());
    if (GetParam() && std::string(loop_->Name()) != "io_uring") GTEST_SKIP() << "no io_uring here";
  }
  // Ends the test's Run() after at most ten seconds.
  void RunBounded() {
    const Loop::TimerId guard = loop_->After(10'000'000'000, [this] {
      ADD_FAILURE() << "the loop was not stopped";
      loop_->Stop();
    });
    loop_->Run();
    loop_->CancelTimer(guard);
  }
  std::unique_ptr<Loop> loop_;
};

TEST_P(LoopTest, NameSaysWhichOneItIs) {
  EXPECT_STREQ(loop_->Name(), GetParam() ? "io_uring" : "epoll");
}

TEST_P(LoopTest, PostedTasksOfAThreadRunInOrder) {
  std::vector<std::vector<int>> seen(3);
  std::atomic<int> left{3 * 1000};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 1000; ++i) {
        loop_->Post([&, t, i] {
          seen[static_cast<std::size_t>(t)].push_back(i);
          if (--left == 0) loop_->Stop();
        });
      }
    });
  }
  RunBounded();
  for (std::thread& thread : threads) thread.join();
  for (const auto& list : seen) {
    ASSERT_EQ(list.size(), 1000u);
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(list[static_cast<std::size_t>(i)], i);
  }
}

TEST_P(LoopTest, ATaskMayPostAndMorePostersThanTheQueueHoldsAllGetThrough) {
  int own = 0;
  std::atomic<int> foreign{0};
  constexpr int kForeign = 200'000;
  std::move_only_function<void()> step;
  loop_->Post([&] {
    for (int i = 0; i < 100'000; ++i) loop_->Post([&] { ++own; });
  });
  std::thread thread([&] {
    for (int i = 0; i < kForeign; ++i) {
      loop_->Post([&] {
        if (++foreign == kForeign) loop_->Stop();
      });
    }
  });
  RunBounded();
  thread.join();
  EXPECT_EQ(own, 100'000);
  EXPECT_EQ(foreign.load(), kForeign);
}

TEST_P(LoopTest, TimersRunInTimeOrderAndCancelledOnesDoNot) {
  std::string order;
  const std::int64_t begin = MonotonicNs();
  loop_->After(30'000'000, [&] { order += 'c'; });
  loop_->After(10'000'000, [&] { order += 'a'; });
  const Loop::TimerId gone = loop_->After(15'000'000, [&] { order += 'X'; });
  loop_->After(20'000'000, [&] { order += 'b'; });
  loop_->After(12'000'000, [&] { loop_->CancelTimer(gone); });
  loop_->After(40'000'000, [&] { loop_->Stop(); });
  RunBounded();
  EXPECT_EQ(order, "abc");
  EXPECT_GE(MonotonicNs() - begin, 40'000'000);
  EXPECT_LT(MonotonicNs() - begin, 5'000'000'000);
}

TEST_P(LoopTest, ManyCancelledTimersDoNotDisturb) {
  for (int i = 0; i < 10'000; ++i) loop_->CancelTimer(loop_->After(1'000'000, [] { ADD_FAILURE(); }));
  loop_->After(5'000'000, [&] { loop_->Stop(); });
  RunBounded();
}

TEST_P(LoopTest, AWatchIsLevelTriggeredUntilUnwatch) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  int calls = 0;
  ASSERT_TRUE(loop_->Watch(pair[0], POLLIN, [&](std::uint32_t events) {
    EXPECT_TRUE(events & POLLIN);
    char byte = 0;
    EXPECT_EQ(read(pair[0], &byte, 1), 1);  // one at a time: the rest must be announced again
    if (++calls == 3) {
      loop_->Unwatch(pair[0]);
      loop_->After(20'000'000, [&] { loop_->Stop(); });
    }
  }).has_value());
  EXPECT_FALSE(loop_->Watch(pair[0], POLLIN, [](std::uint32_t) {}).has_value());
  ASSERT_EQ(write(pair[1], "12345", 5), 5);
  RunBounded();
  EXPECT_EQ(calls, 3);
  close(pair[0]);
  close(pair[1]);
}

TEST_P(LoopTest, AReusedDescriptorDoesNotGetItsPredecessorsEvents) {
  const int first = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  ASSERT_TRUE(loop_->Watch(first, POLLIN, [](std::uint32_t) { ADD_FAILURE(); }).has_value());
  bool second_ready = false;
  loop_->Post([&] {
    loop_->Unwatch(first);
    close(first);
    const int second = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    EXPECT_EQ(second, first);
    EXPECT_TRUE(loop_->Watch(second, POLLIN, [&, second](std::uint32_t) {
      second_ready = true;
      loop_->Unwatch(second);
      close(second);
      loop_->Stop();
    }).has_value());
  });
  RunBounded();
  EXPECT_TRUE(second_ready);
}

TEST_P(LoopTest, AHangupIsReported) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  std::uint32_t events = 0;
  ASSERT_TRUE(loop_->Watch(pair[0], POLLIN, [&](std::uint32_t got) {
    events = got;
    loop_->Unwatch(pair[0]);
    loop_->Stop();
  }).has_value());
  close(pair[1]);
  RunBounded();
  EXPECT_TRUE(events & (POLLHUP | POLLIN));
  close(pair[0]);
}

struct Files {
  Loop* loop;
  int left;
};

TEST_P(LoopTest, FilesAreWrittenAndReadMoreThanTheRingHolds) {
  char name[] = "/tmp/penstock-loop-XXXXXX";
  const int fd = mkstemp(name);
  ASSERT_GE(fd, 0);
  unlink(name);
  constexpr std::size_t kOps = 1000;
  std::vector<std::uint64_t> values(kOps);
  std::vector<FileOp> ops(kOps);
  for (const bool write : {true, false}) {
    Files files{loop_.get(), kOps};
    for (std::size_t i = 0; i < kOps; ++i) {
      if (write) values[i] = i * 7 + 1;
      if (!write) values[i] = 0;
      ops[i] = FileOp{};
      ops[i].fd = fd;
      ops[i].buffer = &values[i];
      ops[i].length = sizeof values[i];
      ops[i].offset = i * sizeof values[i];
      ops[i].write = write;
      ops[i].user = &files;
      ops[i].done = [](FileOp* op) {
        auto* all = static_cast<Files*>(op->user);
        if (--all->left == 0) all->loop->Stop();
      };
      loop_->Start(&ops[i]);
    }
    RunBounded();
    for (std::size_t i = 0; i < kOps; ++i) {
      ASSERT_EQ(ops[i].result, 8);
      ASSERT_EQ(values[i], i * 7 + 1);
    }
  }
  close(fd);
}

TEST_P(LoopTest, AFailedFileOperationGivesItsErrno) {
  FileOp op;
  op.fd = -1;
  char byte = 0;
  op.buffer = &byte;
  op.length = 1;
  op.user = loop_.get();
  op.done = [](FileOp* done) { static_cast<Loop*>(done->user)->Stop(); };
  loop_->Start(&op);
  RunBounded();
  EXPECT_EQ(op.result, -EBADF);
}

TEST_P(LoopTest, StopFromAnotherThreadEndsASleepingLoopWhichUsedNoCpu) {
  const auto cpu_ns = [] {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
  };
  std::int64_t used_ns = 0;
  std::thread runner([&] {
    const std::int64_t begin = cpu_ns();
    loop_->Run();
    used_ns = cpu_ns() - begin;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  loop_->Stop();
  runner.join();
  EXPECT_LT(used_ns, 5'000'000);
}

INSTANTIATE_TEST_SUITE_P(Both, LoopTest, testing::Bool(),
                         [](const auto& loop) { return loop.param ? "io_uring" : "epoll"; });

TEST(LoopChoiceTest, TheEnvironmentForcesTheTwin) {
  ASSERT_EQ(setenv("PENSTOCK_NO_IO_URING", "1", 1), 0);
  EXPECT_STREQ(MakeLoop(true)->Name(), "epoll");
  unsetenv("PENSTOCK_NO_IO_URING");
}

TEST(EpollLoopEnd, WithAFullQueueAndFileOperationsUnderWay) {
  for (int round = 0; round < 20; ++round) {
    auto loop = MakeLoop(false);
    std::thread([&loop] {
      for (std::size_t i = 0; i < 65'536; ++i) loop->Post([] {});
    }).join();
    const int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    char bytes[64];
    std::vector<FileOp> ops(std::size(bytes));
    for (std::size_t i = 0; i < ops.size(); ++i) {
      ops[i].fd = fd;
      ops[i].buffer = &bytes[i];
      ops[i].length = 1;
      ops[i].done = [](FileOp*) {};
      loop->Start(&ops[i]);
    }
    loop.reset();  // file threads find no room for their answers, and nobody makes any
    close(fd);
  }
}

}  // namespace
}  // namespace penstock::cache
