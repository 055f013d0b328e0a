#include "cache/daemon/fd_budget.h"

#include <gtest/gtest.h>

namespace penstock::cache {
namespace {

FdWish Wish(std::uint64_t limit) {
  return {.limit = limit, .connections = 32, .folders = 1, .sessions = 10'000, .tickets = 16'384};
}

TEST(FdBudget, FitsTheLimitWhateverItIs) {
  for (const std::uint64_t limit : {512, 1024, 4096, 65'536, 1'048'576}) {
    const FdBudget budget = ShareDescriptors(Wish(limit));
    EXPECT_LE(DescriptorsFor(Wish(limit), budget), limit) << limit;
    EXPECT_GE(budget.sessions, 16u) << limit;
    EXPECT_GE(budget.kept_files, 16u) << limit;
  }
}

TEST(FdBudget, ASmallLimitIsStillOfUseAndALargeOneGivesAllThatIsWished) {
  const FdBudget small = ShareDescriptors(Wish(1024));
  EXPECT_TRUE(small.tight);
  EXPECT_GE(small.sessions, 90u);
  EXPECT_GE(small.kept_files, 150u);
  const FdBudget large = ShareDescriptors(Wish(1'048'576));
  EXPECT_FALSE(large.tight);
  EXPECT_EQ(large.sessions, 10'000u);
  EXPECT_EQ(large.tickets, 16'384u);
  EXPECT_EQ(large.kept_files, 8'192u);
  EXPECT_EQ(large.objects, 256u);
}

}  // namespace
}  // namespace penstock::cache
