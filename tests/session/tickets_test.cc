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

TEST(Tickets, OneSessionLeavesRoomForTheOthers) {
  const auto loop = MakeLoop(false);
  Tickets few(loop.get(), 16);
  int got = 0;
  while (few.Add(1, AnyFd()) != 0) ++got;
  EXPECT_LE(got, 9);
  EXPECT_NE(few.Add(2, AnyFd()), 0u);
  Tickets many(loop.get(), 4096);
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < kMaxTicketsEach; ++i) last = many.Add(1, AnyFd());
  EXPECT_NE(last, 0u);
  EXPECT_EQ(many.Add(1, AnyFd()), 0u);
  EXPECT_TRUE(many.Take(1, last).valid());
  EXPECT_NE(many.Add(1, AnyFd()), 0u) << "what was fetched counts no more";
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
