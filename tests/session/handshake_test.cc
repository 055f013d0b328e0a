#include "cache/session/handshake.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "cache/session/socket_files.h"

namespace penstock::cache {
namespace {

pst_hello Good() {
  pst_hello hello{};
  hello.magic = PST_HELLO_MAGIC;
  hello.major = PST_ABI_MAJOR;
  hello.minor = PST_ABI_MINOR;
  hello.role = PST_ROLE_CLIENT;
  return hello;
}

int Check(const pst_hello& raw, std::size_t fds, std::size_t bytes = sizeof(pst_hello)) {
  std::array<std::byte, sizeof(pst_hello) + 8> buffer{};
  memcpy(buffer.data(), &raw, sizeof raw);
  Hello hello;
  return CheckHello(std::span(buffer).first(bytes), fds, &hello);
}

TEST(Handshake, Hellos) {
  pst_hello hello = Good();
  EXPECT_EQ(Check(hello, 0), 0);
  EXPECT_EQ(Check(hello, 1), EINVAL) << "a descriptor that no flag speaks of";
  EXPECT_EQ(Check(hello, 0, sizeof hello - 1), EINVAL);
  EXPECT_EQ(Check(hello, 0, sizeof hello + 1), EINVAL);
  hello.flags = PST_HELLO_PIDFD | PST_HELLO_OPEN_FILES;
  EXPECT_EQ(Check(hello, 2), 0);
  EXPECT_EQ(Check(hello, 1), EINVAL);
  hello.flags = 4;
  EXPECT_EQ(Check(hello, 0), EINVAL);
  hello = Good();
  hello.magic ^= 1;
  EXPECT_EQ(Check(hello, 0), EINVAL);
  hello = Good();
  hello.major++;
  EXPECT_EQ(Check(hello, 0), EPROTO);
  hello = Good();
  hello.role = 3;
  EXPECT_EQ(Check(hello, 0), EINVAL);
}

TEST(Handshake, KnowsAPidfd) {
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  ASSERT_TRUE(pidfd.valid());
  EXPECT_TRUE(IsPidfd(pidfd.get()));
  EXPECT_TRUE(IsPidfdOf(pidfd.get(), static_cast<std::uint32_t>(getpid())));
  EXPECT_TRUE(IsPidfdOf(pidfd.get(), 0)) << "whose it is cannot be told";
  EXPECT_FALSE(IsPidfdOf(pidfd.get(), static_cast<std::uint32_t>(getppid())));
  const Fd event(eventfd(0, EFD_CLOEXEC));
  EXPECT_FALSE(IsPidfd(event.get()));
  const Fd file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(IsPidfd(file.get()));
}

TEST(Handshake, MessagesCarryDescriptorsAndTooManyAreSeen) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  const Fd a(pair[0]);
  const Fd b(pair[1]);
  std::array<std::byte, 16> buffer{};
  EXPECT_EQ(ReceiveMessage(b.get(), buffer).error().code, Code::kNotFound);
  const std::array fds = {0, 1, 2};
  ASSERT_TRUE(SendMessage(a.get(), "hello", 5, std::span(fds).first(2)));
  const auto two = ReceiveMessage(b.get(), buffer);
  ASSERT_TRUE(two);
  EXPECT_EQ(two->bytes, 5u);
  EXPECT_EQ(two->fds.size(), 2u);
  EXPECT_FALSE(two->truncated);
  ASSERT_TRUE(SendMessage(a.get(), "hello", 5, fds));
  EXPECT_TRUE(ReceiveMessage(b.get(), buffer)->truncated);
  ASSERT_TRUE(SendMessage(a.get(), "a message that is too long", 26, {}));
  EXPECT_TRUE(ReceiveMessage(b.get(), buffer)->truncated);
}

TEST(Handshake, APeerThatDoesNotReadIsNotWaitedFor) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  const Fd a(pair[0]);
  const Fd b(pair[1]);
  Result<void> sent;
  for (int i = 0; i < 100'000 && sent; ++i) sent = SendMessage(a.get(), "0123456789abcdef", 16, {});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Code::kLimit);
}

TEST(SocketFiles, OnlyAFolderOfOursHoldsTheDefaultSocket) {
  struct stat folder{};
  const auto own = [&](uid_t uid, mode_t mode) {
    folder.st_uid = uid;
    folder.st_mode = S_IFDIR | mode;
    return IsOwnFolder(folder);
  };
  EXPECT_TRUE(own(geteuid(), 0700));
  EXPECT_TRUE(own(geteuid(), 0755));
  EXPECT_TRUE(own(0, 0755));
  EXPECT_TRUE(own(0, 0777)) << "a volume of a pod";
  EXPECT_FALSE(own(geteuid() + 1, 0700));
  EXPECT_FALSE(own(4242, 0755));
  EXPECT_FALSE(own(4242, 01777));
  folder.st_mode = S_IFLNK | 0777;
  folder.st_uid = geteuid();
  EXPECT_FALSE(IsOwnFolder(folder)) << "a link leads anywhere";
  std::string why;
  EXPECT_TRUE(CheckDefaultFolder("/none/there/x.sock", &why));
  EXPECT_FALSE(CheckDefaultFolder("/dev/null/x.sock", &why)) << "no folder";
  EXPECT_NE(why.find("/dev/null"), std::string::npos);
}

TEST(SocketFiles, WhoMayServeASocket) {
  char name[] = "/tmp/penstock-trust-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  const std::string socket = std::string(name) + "/job.sock";
  EXPECT_TRUE(IsTrustedServer(geteuid(), socket));
  EXPECT_TRUE(IsTrustedServer(0, socket));
  EXPECT_FALSE(IsTrustedServer(4242, socket));
  if (geteuid() == 0) {
    ASSERT_EQ(chown(name, 4242, 4242), 0);
    EXPECT_TRUE(IsTrustedServer(4242, socket)) << "the owner of the folder";
  }
  rmdir(name);
}

TEST(SocketFiles, ALockHasOneHolder) {
  const std::string path = "/tmp/penstock-lock-test-" + std::to_string(getpid());
  {
    auto first = FileLock::Acquire(path, 0);
    ASSERT_TRUE(first);
    std::uint32_t holder = 0;
    const auto second = FileLock::Acquire(path, 20, &holder);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Code::kLimit);
    EXPECT_EQ(holder, static_cast<std::uint32_t>(getpid()));
  }
  EXPECT_NE(access(path.c_str(), F_OK), 0) << "the lock file is left behind";
  EXPECT_TRUE(FileLock::Acquire(path, 0));
}

}  // namespace
}  // namespace penstock::cache
