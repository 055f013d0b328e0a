#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <set>
#include <string>

#include "transport/base/clock.h"
#include "transport/base/random.h"
#include "transport/base/result.h"

namespace penstock {
namespace {

TEST(Result, EveryCodeHasAnErrnoAndANameOfItsOwn) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(Code::kInternal); ++i) {
    const auto code = static_cast<Code>(i);
    EXPECT_TRUE(names.insert(CodeName(code)).second) << CodeName(code);
    EXPECT_EQ(ErrnoOf(Error{code, false, 0, ""}) == 0, code == Code::kOk) << CodeName(code);
  }
}

TEST(Result, ProgramsSeeTheErrnoOfTheContract) {
  const auto errno_of = [](Code code) { return ErrnoOf(Error{code, false, 0, ""}); };
  EXPECT_EQ(errno_of(Code::kNotFound), ENOENT);
  EXPECT_EQ(errno_of(Code::kPermission), EACCES);
  EXPECT_EQ(errno_of(Code::kVersionChanged), ESTALE);
  EXPECT_EQ(errno_of(Code::kTruncated), EIO);
  EXPECT_EQ(errno_of(Code::kUnavailable), EIO);
  EXPECT_EQ(errno_of(Code::kNameTooLong), ENAMETOOLONG);
}

TEST(Result, OnlyAnIoErrorCarriesItsErrnoThrough) {
  EXPECT_EQ(ErrnoOf(Error{Code::kIo, false, ENXIO, ""}), ENXIO);
  EXPECT_EQ(ErrnoOf(Error{Code::kIo, false, 0, ""}), EIO);
  EXPECT_EQ(ErrnoOf(Error{Code::kNotFound, false, ENXIO, ""}), ENOENT);
}

TEST(Result, ACodeThatIsNoneOfOursIsAnInternalError) {
  EXPECT_STREQ(CodeName(static_cast<Code>(200)), "internal");
  EXPECT_EQ(ErrnoOf(Error{static_cast<Code>(200), false, 0, ""}), EIO);
}

TEST(Result, ErrnoErrorKeepsTheCause) {
  EXPECT_EQ(ErrnoError(ENOENT, "x").code, Code::kNotFound);
  EXPECT_EQ(ErrnoError(EPERM, "x").code, Code::kPermission);
  EXPECT_EQ(ErrnoError(EXDEV, "x").code, Code::kIo);
  EXPECT_EQ(ErrnoOf(ErrnoError(EXDEV, "x")), EXDEV);
}

TEST(Clock, ManualClockMovesOnlyWhenTold) {
  ManualClock clock(5, 1'000);
  EXPECT_EQ(clock.NowNs(), 5);
  clock.AdvanceNs(7);
  EXPECT_EQ(clock.NowNs(), 12);
  EXPECT_EQ(clock.WallNs(), 1'007);
}

TEST(Clock, SystemClockMovesForward) {
  const auto before = SystemClock::Get().NowNs();
  EXPECT_GE(SystemClock::Get().NowNs(), before);
  EXPECT_GT(SystemClock::Get().WallNs(), 1'700'000'000 * kNsPerSecond);
}

TEST(Random, RepeatsFromItsSeed) {
  Random a(42);
  Random b(42);
  Random c(43);
  EXPECT_EQ(a.seed(), 42u);
  const auto first = a.Next();
  EXPECT_EQ(first, b.Next());
  EXPECT_NE(first, c.Next());
}

TEST(Random, StaysBelowItsBoundAndReachesAll) {
  Random random(1);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1'000; ++i) {
    const auto value = random.Below(10);
    ASSERT_LT(value, 10u);
    seen.insert(value);
    const double fraction = random.Fraction();
    ASSERT_GE(fraction, 0.0);
    ASSERT_LT(fraction, 1.0);
  }
  EXPECT_EQ(seen.size(), 10u);
  EXPECT_EQ(random.Below(0), 0u);
}

TEST(Random, TakesItsSeedFromTheEnvironment) {
  setenv("PENSTOCK_SEED", "77", 1);
  EXPECT_EQ(Random::FromEnvironment().seed(), 77u);
  setenv("PENSTOCK_SEED", "77x", 1);
  EXPECT_NE(Random::FromEnvironment().seed(), 77u);
  unsetenv("PENSTOCK_SEED");
  EXPECT_NE(Random::FromEnvironment().seed(), Random::FromEnvironment().seed());
}

}  // namespace
}  // namespace penstock
