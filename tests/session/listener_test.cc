// The job's socket while two sidecars change places.
#include "cache/session/listener.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

namespace penstock::cache {
namespace {

bool IsThere(const std::string& path) {
  struct stat status{};
  return lstat(path.c_str(), &status) == 0;
}

class ListenerTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/pst-listener-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    socket_ = folder_ + "/socket";
    auto opened = Listener::Open(socket_, false, 0, &explanation_);
    ASSERT_TRUE(opened) << explanation_;
    old_ = *std::move(opened);
  }
  void TearDown() override {
    old_.reset();
    EXPECT_EQ(rmdir(folder_.c_str()), 0) << "something is left";
  }
  std::unique_ptr<Listener> TakeOver() {
    auto taken = Listener::TakeOver(socket_, Fd(dup(old_->socket_fd())), Fd(dup(old_->lock_fd())), &explanation_);
    EXPECT_TRUE(taken) << explanation_;
    return taken ? *std::move(taken) : nullptr;
  }

  std::string folder_, socket_, explanation_;
  std::unique_ptr<Listener> old_;
};

TEST_F(ListenerTest, ASuccessorThatCannotStartLeavesTheSocketToItsPredecessor) {
  TakeOver().reset();
  EXPECT_TRUE(IsThere(socket_)) << "programs would find nobody";
  EXPECT_TRUE(IsThere(socket_ + ".lock")) << "two sidecars could serve";
  std::uint32_t holder = 0;
  EXPECT_FALSE(FileLock::Acquire(socket_ + ".lock", 0, &holder));
}

TEST_F(ListenerTest, ASuccessorThatServesRemovesTheSocketAtItsEnd) {
  const auto loop = MakeLoop(false);
  auto successor = TakeOver();
  ASSERT_TRUE(successor->Start(loop.get(), [](Fd) {}));
  old_->Release();
  successor.reset();
  EXPECT_FALSE(IsThere(socket_));
  EXPECT_FALSE(IsThere(socket_ + ".lock"));
}

}  // namespace
}  // namespace penstock::cache
