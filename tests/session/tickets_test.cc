#include "cache/session/tickets.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>

namespace penstock::cache {
namespace {

Fd AnyFd() { return Fd(eventfd(0, EFD_CLOEXEC)); }

TEST(Tickets, GoodOnceAndForTheirSession) {
  const auto loop = MakeLoop(false);
  Tickets tickets(loop.get(), 8);
  const std::uint64_t ticket = tickets.Add(1, AnyFd());
  ASSERT_NE(ticket, 0u);
  EXPECT_FALSE(tickets.Take(2, ticket).valid()) << "another session's";
  EXPECT_FALSE(tickets.Take(1, ticket + 1).valid());
  EXPECT_TRUE(tickets.Take(1, ticket).valid());
  EXPECT_FALSE(tickets.Take(1, ticket).valid()) << "taken twice";
}

TEST(Tickets, AreBoundedAndGoWithTheirSession) {
  const auto loop = MakeLoop(false);
  Tickets tickets(loop.get(), 4);
  for (int i = 0; i < 4; ++i)
    EXPECT_NE(tickets.Add(static_cast<std::uint64_t>(i % 2), AnyFd()), 0u);
  EXPECT_EQ(tickets.Add(1, AnyFd()), 0u);
  tickets.Drop(1);
  EXPECT_EQ(tickets.size(), 2u);
  EXPECT_NE(tickets.Add(1, AnyFd()), 0u);
}

TEST(Tickets, CloseWhatNobodyTook) {
  const auto loop = MakeLoop(false);
  Fd fd = AnyFd();
  const int number = fd.get();
  {
    Tickets tickets(loop.get(), 4);
    tickets.Add(1, std::move(fd));
    EXPECT_GE(fcntl(number, F_GETFD), 0);
  }
  EXPECT_EQ(fcntl(number, F_GETFD), -1);
}

}  // namespace
}  // namespace penstock::cache
