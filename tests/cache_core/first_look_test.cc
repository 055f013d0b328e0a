// One read instead of a list and a read, for a file that is opened alone.
#include <cerrno>

#include "cache/engine/first_look.h"
#include "tests/cache_core/engine_fixture.h"

namespace penstock::cache {
namespace {

class FirstLookTest : public EngineTest {
 protected:
  void SetUp() override {
    EngineTest::SetUp();
    origin_.SetReadsHeads(true);
  }
  EngineOp Open(const std::string& path) {
    EngineOp op = Lookup(path);
    op.opens = true;
    return op;
  }
};

TEST_F(FirstLookTest, AFileThatIsOpenedAloneTakesOneRead) {
  const std::string bytes = Pattern(100'000, 1);
  origin_.Put("d/f", bytes);
  EngineOp open = Open("d/f");
  Run({&open});
  ASSERT_EQ(open.err, 0);
  EXPECT_EQ(open.attr.kind, PST_KIND_FILE);
  EXPECT_EQ(open.attr.size, bytes.size());
  EXPECT_EQ(Bytes("d/f", open.attr.version, 0), bytes.substr(0, PST_RANGE_BYTES));
  EXPECT_EQ(Bytes("d/f", open.attr.version, 1), bytes.substr(PST_RANGE_BYTES));
  EXPECT_EQ(origin_.reads_seen().size(), 1u);
  EXPECT_EQ(origin_.lists_seen() + origin_.stats_seen(), 0u);
}

TEST_F(FirstLookTest, OfALargeFileOnlyWholeRangesAreKept) {
  const std::string bytes = Pattern(FirstLook::kBytes + 1'000, 2);
  origin_.Put("f", bytes);
  EngineOp open = Open("f");
  Run({&open});
  ASSERT_EQ(open.err, 0);
  EXPECT_EQ(open.attr.size, bytes.size());
  EXPECT_EQ(Bytes("f", open.attr.version, 1), bytes.substr(PST_RANGE_BYTES, PST_RANGE_BYTES));
  EXPECT_FALSE(Cached("f", 2));
}

TEST_F(FirstLookTest, ASecondNameBeginsAListing) {
  for (int i = 0; i < 9; ++i) origin_.Put("d/f" + std::to_string(i), Pattern(10, i));
  EngineOp first = Open("d/f1");
  EngineOp again = Open("d/f1");
  Run({&first, &again});
  EngineOp second = Open("d/f2");
  Run({&second});
  EngineOp third = Open("d/f3");
  Run({&third});
  EXPECT_EQ(first.err + again.err + second.err + third.err, 0);
  EXPECT_EQ(third.attr.size, 10u);
  EXPECT_EQ(origin_.reads_seen().size(), 1u);
  EXPECT_EQ(origin_.lists_seen(), 1u);
}

TEST_F(FirstLookTest, WhatIsNoFileWithBytesIsAskedForByName) {
  origin_.Put("a/empty", "");
  origin_.Put("b/folder/file", "x");
  EngineOp empty = Open("a/empty");
  EngineOp folder = Open("b/folder");
  EngineOp absent = Open("c/absent");
  Run({&empty, &folder, &absent});
  EXPECT_EQ(empty.attr.kind, PST_KIND_FILE);
  EXPECT_EQ(empty.attr.size, 0u);
  EXPECT_EQ(folder.attr.kind, PST_KIND_DIRECTORY);
  EXPECT_EQ(absent.attr.kind, PST_KIND_ABSENT);
  EXPECT_EQ(absent.attr.err, ENOENT);
}

TEST_F(FirstLookTest, AnAnswerFromBeforeARefreshIsNotBelieved) {
  origin_.Put("d/f", "old", "v1");
  origin_.Hold(true);
  EngineOp open = Open("d/f");
  Begin(&open);
  TurnUntil([this] { return origin_.held() == 1; });
  engine_->Forget(0, "d");
  origin_.Hold(false);
  origin_.Release();
  Run({});
  TurnUntil([&open] { return open.impl == nullptr; });
  EXPECT_EQ(open.err, 0);
  EXPECT_EQ(open.attr.size, 3u);
  EXPECT_EQ(origin_.lists_seen(), 1u);
  EXPECT_FALSE(Cached("d/f", 0));
}

TEST_F(FirstLookTest, OneThatNobodyWaitsForIsTakenBack) {
  origin_.Put("d/f", "bytes");
  origin_.Hold(true);
  EngineOp open = Open("d/f");
  Begin(&open);
  TurnUntil([this] { return origin_.held() == 1; });
  engine_->Cancel(&open);
  TurnUntil([this] { return origin_.held() == 0; });
  EXPECT_EQ(open.err, ECANCELED);
}

TEST_F(FirstLookTest, NotWhereAListingOrAnOriginKnowsBetter) {
  for (int i = 0; i < 3; ++i) origin_.Put("d/f" + std::to_string(i), "x");
  EXPECT_EQ(AttrOf("d/f0").kind, PST_KIND_FILE);
  EngineOp open = Open("d/f1");
  EngineOp absent = Open("d/absent");
  Run({&open, &absent});
  EXPECT_EQ(origin_.reads_seen().size(), 0u);
  origin_.SetReadsHeads(false);
  EngineOp other = Open("e/f");
  Run({&other});
  EXPECT_EQ(origin_.reads_seen().size(), 0u);
}

}  // namespace
}  // namespace penstock::cache
