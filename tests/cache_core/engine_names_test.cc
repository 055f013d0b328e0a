// Names and listings: how few questions, how fresh, and what errors mean.
#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "shim/abi/record.h"
#include "tests/cache_core/engine_fixture.h"

namespace penstock::cache {
namespace {

class NamesTest : public EngineTest {};

TEST_F(NamesTest, OneListAnswersForAllChildrenAndForWhatIsAbsent) {
  for (int i = 0; i < 20; ++i) origin_.Put("d/f" + std::to_string(i), "x");
  EXPECT_EQ(AttrOf("d/f3").kind, PST_KIND_FILE);
  EXPECT_EQ(AttrOf("d/f4").size, 1u);
  EngineOp absent = Lookup("d/nothing");
  Run({&absent});
  EXPECT_EQ(absent.err, 0);
  EXPECT_EQ(absent.attr.kind, PST_KIND_ABSENT);
  EXPECT_EQ(absent.attr.err, ENOENT);
  EXPECT_EQ(origin_.lists_seen(), 1u);
  EXPECT_EQ(origin_.stats_seen(), 0u);
  ASSERT_TRUE(Published("d/f9").has_value());  // nobody asked for it
  EXPECT_EQ(Published("d/f9")->size, 1u);
  EXPECT_EQ(Published("d/f9")->version, AttrOf("d/f9").version);
  EXPECT_EQ(Published("d/nothing")->kind, PST_KIND_ABSENT);
  // All from one page: no name has a record of its own, and nobody needs to ask for one.
  EXPECT_FALSE(Record("d/f3").has_value());
  EXPECT_FALSE(Record("d/nothing").has_value());
}

TEST_F(NamesTest, ConcurrentLookupsShareOneList) {
  for (int i = 0; i < 100; ++i) origin_.Put("d/f" + std::to_string(i), "x");
  std::vector<EngineOp> ops;
  for (int i = 0; i < 100; ++i) ops.push_back(Lookup("d/f" + std::to_string(i)));
  std::vector<EngineOp*> pointers;
  for (EngineOp& op : ops) pointers.push_back(&op);
  origin_.Hold(true);
  for (EngineOp* op : pointers) loop_->Post([this, op] { engine_->Start(op); });
  TurnFor(20'000'000);
  EXPECT_EQ(origin_.held(), 1u);
  origin_.Hold(false);
  origin_.Release();
  TurnFor(20'000'000);
  for (const EngineOp& op : ops) EXPECT_EQ(op.attr.kind, PST_KIND_FILE);
  EXPECT_EQ(origin_.lists_seen(), 1u);
}

TEST_F(NamesTest, ALargeDirectoryIsAskedByName) {
  origin_.SetPageEntries(10);
  for (int i = 100; i < 200; ++i) origin_.Put("d/f" + std::to_string(i), "x");
  EXPECT_EQ(AttrOf("d/f105").kind, PST_KIND_FILE);  // on the first page
  EXPECT_EQ(origin_.stats_seen(), 0u);
  EXPECT_EQ(AttrOf("d/f177").kind, PST_KIND_FILE);
  EXPECT_EQ(AttrOf("d/nothing").kind, PST_KIND_ABSENT);
  EXPECT_EQ(origin_.lists_seen(), 1u);
  EXPECT_EQ(origin_.stats_seen(), 2u);
  (void)AttrOf("d/f177");
  (void)AttrOf("d/nothing");
  EXPECT_EQ(origin_.stats_seen(), 2u);
}

TEST_F(NamesTest, TheRootIsADirectoryEvenWhenTheOriginIsEmpty) {
  EXPECT_EQ(AttrOf("").kind, PST_KIND_DIRECTORY);
  EXPECT_EQ(origin_.lists_seen() + origin_.stats_seen(), 0u);
  EngineOp list = Op(EngineOpKind::kList, "");
  Run({&list});
  EXPECT_EQ(list.err, 0);
  EXPECT_EQ(list.result_length, 1u);
  EXPECT_TRUE(ListedNames("").empty());
}

TEST_F(NamesTest, APathThroughAFileIsNotADirectory) {
  origin_.Put("d/file", "x");
  EngineOp op = Lookup("d/file/below/it");
  Run({&op});
  EXPECT_EQ(op.attr.err, ENOTDIR);
  EngineOp again = Lookup("d/file/other");
  Run({&again});
  EXPECT_EQ(again.attr.err, ENOTDIR);
  EngineOp missing = Lookup("none/at/all");
  Run({&missing});
  EXPECT_EQ(missing.attr.err, ENOENT);
}

TEST_F(NamesTest, NamesExpireAndARevalidatedFileKeepsItsBytes) {
  Build(&origin_, 64, 200'000'000);
  origin_.Put("f", Pattern(1000, 1));
  EngineOp fetch = Fetch("f", 0, 1000);
  Run({&fetch});
  ASSERT_EQ(fetch.err, 0);
  const std::uint64_t version = fetch.version;
  origin_.ForgetSeen();
  TurnFor(250'000'000);
  EXPECT_EQ(AttrOf("f").version, version);
  EXPECT_EQ(origin_.lists_seen(), 1u);
  EXPECT_EQ(Bytes("f", version, 0), Pattern(1000, 1));
  EXPECT_TRUE(origin_.reads_seen().empty());
}

TEST_F(NamesTest, AnExpiredNameWhoseVersionChangedIsANewVersion) {
  Build(&origin_, 64, 100'000'000);
  origin_.Put("f", "old", "v1");
  const std::uint64_t old_version = AttrOf("f").version;
  origin_.Put("f", "newer", "v2");
  TurnFor(150'000'000);
  const pst_attr attr = AttrOf("f");
  EXPECT_NE(attr.version, old_version);
  EXPECT_EQ(attr.size, 5u);
  EXPECT_EQ(Published("f")->version, attr.version);
  origin_.Remove("f");
  origin_.Put("g", "x");
  TurnFor(150'000'000);
  EXPECT_EQ(AttrOf("f").kind, PST_KIND_ABSENT);
  EXPECT_EQ(Published("f")->kind, PST_KIND_ABSENT);
}

TEST_F(NamesTest, ATtlOfZeroAsksEachTimeAndEnds) {
  Build(&origin_, 64, 0);
  TurnFor(200'000'000);  // tenths of a second count, from 1 on
  origin_.Put("d/f", "x");
  EXPECT_EQ(AttrOf("d/f").kind, PST_KIND_FILE);
  EXPECT_EQ(AttrOf("d/none").kind, PST_KIND_ABSENT);
  EXPECT_GE(origin_.lists_seen(), 2u);
}

TEST_F(NamesTest, AListingIsSortedCompleteAndSharedByConcurrentReaders) {
  origin_.SetPageEntries(100);
  std::vector<std::string> expected;
  for (int i = 0; i < 3000; ++i) {
    const std::string name = "a rather long name to fill pages " + std::to_string(10'000 + i);
    origin_.Put("d/" + name, "x");
    expected.push_back(name);
  }
  EngineOp a = Op(EngineOpKind::kList, "d");
  EngineOp b = Op(EngineOpKind::kList, "d");
  Run({&a, &b});
  EXPECT_EQ(a.err, 0);
  EXPECT_EQ(a.result_version, b.result_version);
  EXPECT_EQ(ListedNames("d"), expected);
  EXPECT_EQ(origin_.lists_seen(), 30u);
  EXPECT_TRUE(Published("d/" + expected[2999]).has_value());
  EngineOp again = Op(EngineOpKind::kList, "d");
  Run({&again});
  EXPECT_EQ(again.result_version, a.result_version);
  EXPECT_GT(again.result_length, 1u);
  EXPECT_EQ(origin_.lists_seen(), 30u);
  EXPECT_EQ(AttrOf("d/absent").kind, PST_KIND_ABSENT);  // the whole is known now
  EXPECT_EQ(origin_.stats_seen(), 0u);
}

TEST_F(NamesTest, TheSlowLaneOfAListingGivesTheSameBytes) {
  for (int i = 0; i < 5000; ++i) origin_.Put("d/" + std::to_string(i), "x");
  EXPECT_EQ(ListedNames("d").size(), 5000u);
  EngineOp list = Op(EngineOpKind::kList, "d");
  Run({&list});
  ASSERT_GT(list.result_length, 1u);
  for (std::uint32_t page = 0; page <= list.result_length; ++page) {
    std::string got;
    while (got.size() < PST_RANGE_BYTES) {  // a full page ends where the next one begins
      std::vector<std::byte> buffer(4096);
      EngineOp read = Op(EngineOpKind::kListingRead, "d");
      read.version = list.result_version;
      read.offset = static_cast<std::uint64_t>(page) * PST_RANGE_BYTES + got.size();
      read.length = buffer.size();
      read.buffer = buffer;
      Run({&read});
      ASSERT_EQ(read.err, 0);
      if (read.result_length == 0) break;
      got.append(reinterpret_cast<const char*>(buffer.data()), read.result_length);
    }
    const auto published = Bytes("d", 0, PST_RANGE_LISTING + page);
    EXPECT_EQ(published.has_value(), page < list.result_length);
    // The entries, without what stat finds behind them.
    EXPECT_TRUE(published.value_or("").starts_with(got)) << "page " << page;
    EXPECT_EQ(got.empty(), page >= list.result_length) << "page " << page;
  }
  std::vector<std::byte> buffer(64);
  EngineOp stale = Op(EngineOpKind::kListingRead, "d");
  stale.version = list.result_version + 1;
  stale.buffer = buffer;
  Run({&stale});
  EXPECT_EQ(stale.err, ESTALE);
}

TEST_F(NamesTest, AnUnchangedListingKeepsItsIdAndAChangedOneDoesNot) {
  Build(&origin_, 64, 50'000'000);
  origin_.Put("d/a", "x");
  EngineOp list = Op(EngineOpKind::kList, "d");
  Run({&list});
  const std::uint64_t id = list.result_version;
  EXPECT_NE(id, 0u);
  TurnFor(60'000'000);
  Run({&list});
  EXPECT_EQ(list.result_version, id);
  origin_.Put("d/b", "x");
  TurnFor(60'000'000);
  Run({&list});
  EXPECT_NE(list.result_version, id);
  EXPECT_EQ(ListedNames("d"), (std::vector<std::string>{"a", "b"}));
}

TEST_F(NamesTest, ListingAFileOrNothingFails) {
  origin_.Put("f", "x");
  EngineOp file = Op(EngineOpKind::kList, "f");
  Run({&file});
  EXPECT_EQ(file.err, ENOTDIR);
  EngineOp none = Op(EngineOpKind::kList, "none");
  Run({&none});
  EXPECT_EQ(none.err, ENOENT);
}

TEST_F(NamesTest, ErrorsOfTheOriginAreNotCached) {
  origin_.Put("d/f", "x");
  origin_.FailWith(Code::kUnavailable);
  EngineOp op = Lookup("d/f");
  Run({&op});
  EXPECT_EQ(op.err, EIO);
  origin_.FailWith(Code::kPermission);
  Run({&op});
  EXPECT_EQ(op.err, EACCES);
  EXPECT_FALSE(Published("d/f").has_value());
  origin_.FailWith(Code::kOk);
  Run({&op});
  EXPECT_EQ(op.err, 0);
}

TEST_F(NamesTest, WithoutTheRightToListNamesAreAskedOneByOne) {
  origin_.Put("d/f", "x");
  origin_.FailLists(Code::kPermission);
  EXPECT_EQ(AttrOf("d/f").kind, PST_KIND_FILE);
  EXPECT_EQ(AttrOf("d/none").err, ENOENT);
}

TEST_F(NamesTest, ForgetDropsNamesListingsAndRecords) {
  origin_.Put("d/e/f", "x");
  origin_.Put("other", "x");
  EngineOp list = Op(EngineOpKind::kList, "d/e");
  Run({&list});
  (void)AttrOf("d/e/f");
  (void)AttrOf("other");
  engine_->Forget(0, "d");
  EXPECT_FALSE(Published("d/e/f").has_value());
  EXPECT_FALSE(Bytes("d/e", 0, PST_RANGE_LISTING).has_value());
  EXPECT_FALSE(Published("other").has_value());  // the parent's listing may be another one by now
  origin_.Put("d/e/g", "x");
  EXPECT_EQ(AttrOf("d/e/g").kind, PST_KIND_FILE);
  (void)AttrOf("other");
  EXPECT_TRUE(Published("other").has_value());
  engine_->Forget(0, "");
  EXPECT_FALSE(Published("other").has_value());
}

TEST_F(NamesTest, AKeyGivesItsNameBack) {
  origin_.Put("d/f", "x");
  const pst_attr attr = AttrOf("d/f");
  std::vector<std::byte> buffer(4096);
  EngineOp op = Op(EngineOpKind::kName, "");
  op.id = KeyOf("d/f");
  op.buffer = buffer;
  Run({&op});
  EXPECT_EQ(op.err, 0);
  EXPECT_EQ(std::string(reinterpret_cast<char*>(buffer.data()), op.result_length), "d/f");
  EXPECT_EQ(op.attr.version, attr.version);
  op = Op(EngineOpKind::kName, "");
  op.id = {1, 2};
  op.buffer = buffer;
  Run({&op});
  EXPECT_EQ(op.err, ENOENT);
}

TEST_F(NamesTest, AWaiterGivesUpAtItsDeadlineAndOneMayBeCancelled) {
  origin_.Put("d/f", "x");
  origin_.Hold(true);
  EngineOp late = Lookup("d/f");
  late.deadline_ns = MonotonicNs() + 50'000'000;
  const std::int64_t begin = MonotonicNs();
  Run({&late});
  EXPECT_EQ(late.err, EIO);
  EXPECT_LT(MonotonicNs() - begin, 2'000'000'000);
  EngineOp cancelled = Lookup("d/f");
  Begin(&cancelled);
  engine_->Cancel(&cancelled);
  EXPECT_EQ(cancelled.err, ECANCELED);
  EngineOp patient = Lookup("d/f");
  Begin(&patient);
  origin_.Hold(false);
  origin_.Release();
  TurnFor(20'000'000);
  EXPECT_EQ(patient.attr.kind, PST_KIND_FILE);
}

TEST_F(NamesTest, ManyNamesInABoundedCatalogAreStillAnsweredRight) {
  EngineOptions options;
  options.catalog_bytes = 64 << 10;  // some 200 names
  Mount mount;
  mount.origin = &origin_;
  engine_.reset();
  engine_ = MakeEngine(loop_.get(), arena_.get(), nullptr, {mount}, options);
  for (int i = 0; i < 3000; ++i) origin_.Put("d/f" + std::to_string(i), "x");
  origin_.SetPageEntries(5000);
  for (int i = 0; i < 3000; i += 7) {
    ASSERT_EQ(AttrOf("d/f" + std::to_string(i)).kind, PST_KIND_FILE) << i;
    ASSERT_EQ(AttrOf("d/g" + std::to_string(i)).kind, PST_KIND_ABSENT) << i;
  }
}

// A child's version has changed: neither its old attributes nor "all children are known" may speak.
TEST_F(NamesTest, AChildThatWasForgottenIsAskedForAndNotAbsent) {
  origin_.Put("d/f", Pattern(1000, 1));
  origin_.Put("d/g", "x");
  EngineOp fetch = Fetch("d/f", 0, 1000);
  EngineOp list = Op(EngineOpKind::kList, "d");
  Run({&list});
  origin_.Put("d/f", Pattern(1000, 2), "v2");
  Run({&fetch});
  EXPECT_EQ(fetch.err, ESTALE);
  EXPECT_FALSE(Published("d/f").has_value()) << "a reader would open the old version again";
  EXPECT_TRUE(Published("d/g").has_value());
  origin_.Hold(true);
  EngineOp lookup = Lookup("d/f");
  Begin(&lookup);
  EXPECT_NE(lookup.impl, nullptr) << "answered before the origin did";
  origin_.Hold(false);
  origin_.FailWith(Code::kUnavailable);
  origin_.Release();
  TurnFor(20'000'000);
  origin_.FailWith(Code::kOk);
  EXPECT_EQ(AttrOf("d/f").kind, PST_KIND_FILE);
}

// What follows from a listing, or from an absent ancestor, ends with it and not a ttl after it was asked.
TEST_F(NamesTest, WhatIsDeducedIsNoFresherThanWhatItFollowsFrom) {
  Build(&origin_, 64, 600'000'000);
  origin_.Put("d/f", "x");
  EXPECT_EQ(AttrOf("d/f").kind, PST_KIND_FILE);   // lists d
  EXPECT_EQ(AttrOf("none").kind, PST_KIND_ABSENT);  // lists the root
  TurnFor(400'000'000);
  EXPECT_EQ(AttrOf("d/new").kind, PST_KIND_ABSENT);
  EXPECT_EQ(AttrOf("none/below").kind, PST_KIND_ABSENT);
  origin_.Put("d/new", "x");
  origin_.Put("none/below", "x");
  TurnFor(300'000'000);
  EXPECT_EQ(AttrOf("d/new").kind, PST_KIND_FILE);
  EXPECT_EQ(AttrOf("none/below").kind, PST_KIND_FILE);
}

TEST_F(NamesTest, ANameThatAListingLeftOutIsAskedForAndNotAbsent) {
  origin_.Put("d/odd", "x");
  origin_.Put("d/f", "x");
  origin_.SkipInLists("odd");
  EXPECT_EQ(AttrOf("d/f").kind, PST_KIND_FILE);
  EXPECT_EQ(AttrOf("d/odd").kind, PST_KIND_FILE);
  EXPECT_EQ(AttrOf("d/nothing").kind, PST_KIND_ABSENT);
}

// An origin that does not answer, and clients that give up and ask again: what they leave behind is bounded.
TEST_F(NamesTest, QuestionsAndTheirWaitersAreBoundedAndGoWithTheirAskers) {
  EngineOptions options;
  options.max_questions = 8;
  options.max_waiters = 20;
  Mount mount;
  mount.path = "/data";
  mount.origin = &origin_;
  engine_ = MakeEngine(loop_.get(), arena_.get(), nullptr, {mount}, options);
  origin_.Put("d0/f", "x");
  origin_.Hold(true);
  std::vector<EngineOp> asked;
  asked.reserve(40);
  const auto ask = [&](const std::string& path) {
    asked.push_back(Lookup(path));
    Begin(&asked.back());
    return asked.back().impl != nullptr;
  };
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(ask("d" + std::to_string(i) + "/f"));
  EXPECT_FALSE(ask("one/more"));
  EXPECT_EQ(asked.back().err, EIO);
  for (int i = 0; i < 12; ++i) EXPECT_TRUE(ask("d0/f"));
  EXPECT_FALSE(ask("d0/f"));
  EXPECT_EQ(origin_.held(), 8u);
  for (EngineOp& op : asked) engine_->Cancel(&op);
  EXPECT_EQ(origin_.held(), 0u) << "nobody waits: the questions are taken back";
  TurnFor(5'000'000);
  // As often as one likes: what was given up leaves nothing behind.
  for (int i = 0; i < 100; ++i) {
    EngineOp op = Lookup("again" + std::to_string(i) + "/f");
    op.deadline_ns = MonotonicNs() + 200'000;
    Run({&op});
    EXPECT_EQ(op.err, EIO);
    TurnFor(100'000);
  }
  EXPECT_EQ(origin_.held(), 0u);
  EXPECT_EQ(engine_->Stats().inflight, 0u);
  origin_.Hold(false);
  EXPECT_EQ(AttrOf("d0/f").kind, PST_KIND_FILE);
  EXPECT_EQ(AttrOf("one/more").kind, PST_KIND_ABSENT);
}

// Longer than the arena has room for: its pages come back from disk, and no question is asked twice.
TEST_F(NamesTest, AListingThatDoesNotFitIsReadWithoutAskingAgain) {
  Build(&origin_, 8);
  origin_.SetPageEntries(5000);
  std::vector<std::string> expected;
  for (int i = 0; i < 60'000; ++i) {
    expected.push_back("a name of some length " + std::to_string(100'000 + i));
    origin_.Put("d/" + expected.back(), std::string(static_cast<std::size_t>(i % 7), 'x'));
  }
  for (int pass = 0; pass < 3; ++pass) EXPECT_TRUE(ListedNames("d") == expected) << pass;
  for (int i = 0; i < 60'000; i += 1777) {
    const pst_attr attr = AttrOf("d/" + expected[static_cast<std::size_t>(i)]);
    EXPECT_EQ(attr.kind, PST_KIND_FILE) << i;
    EXPECT_EQ(attr.size, static_cast<std::uint64_t>(i % 7)) << i;
    EXPECT_EQ(AttrOf("d/" + expected[static_cast<std::size_t>(i)] + "+").kind, PST_KIND_ABSENT) << i;
  }
  EXPECT_EQ(origin_.lists_seen(), 12u);
  EXPECT_EQ(origin_.stats_seen(), 0u);
}

TEST_F(NamesTest, ALongListingIsReadWhileItComesAndNotFurtherThanSomebodyReads) {
  origin_.SetPageEntries(100);
  for (int i = 0; i < 10'000; ++i) origin_.Put("d/f" + std::to_string(10'000 + i), "x");
  EngineOp list = Op(EngineOpKind::kList, "d");
  Run({&list});
  EXPECT_EQ(list.err, 0);
  EXPECT_EQ(list.result_length, 0u) << "more is to come";
  TurnFor(20'000'000);
  const std::size_t lists = origin_.lists_seen();
  EXPECT_LT(lists, 20u);
  EXPECT_EQ(Published("d/f10003")->size, 1u);
  EXPECT_FALSE(Published("d/f19999").has_value());
  EXPECT_FALSE(Published("d/g").has_value()) << "what has come does not say what is absent";
  // Whoever comes later goes on with it.
  EXPECT_EQ(ListedNames("d").size(), 10'000u);
  EXPECT_EQ(origin_.lists_seen(), 100u);
  EXPECT_EQ(Published("d/f19999")->size, 1u);
  EXPECT_EQ(Published("d/g")->kind, PST_KIND_ABSENT);
  EXPECT_EQ(origin_.stats_seen(), 0u);
}

// Names of a directory and of a file that begins like it lie between "a" the file and "a" the directory.
TEST_F(NamesTest, AFileAndADirectoryOfOneNameAreADirectoryAlsoOnDifferentPages) {
  origin_.SetPageEntries(3);
  origin_.Put("d/a", "file");
  for (int i = 0; i < 9; ++i) origin_.Put("d/a-" + std::to_string(i), "x");
  origin_.Put("d/a/below", "x");
  origin_.Put("d/b", "x");
  const std::vector<std::string> names = ListedNames("d");
  // The file had been given out when the directory came.
  EXPECT_EQ(std::count(names.begin(), names.end(), "a"), 2) << "as two names in a row of pages";
  EXPECT_EQ(Published("d/a")->kind, PST_KIND_DIRECTORY);
  EXPECT_EQ(Published("d/b")->kind, PST_KIND_FILE);
}

TEST_F(NamesTest, AnswersThatDoNotFollowEachOtherAreCollected) {
  origin_.SetInOrder(false);
  origin_.SetPageEntries(2);
  std::vector<std::string> expected;
  for (int i = 0; i < 9; ++i) {
    origin_.Put("d/a/below", "x");
    origin_.Put("d/a-" + std::to_string(i), "x");
    expected.push_back("a-" + std::to_string(i));
  }
  expected.emplace_back("a");
  EXPECT_EQ(ListedNames("d"), expected);
  EXPECT_EQ(Published("d/a")->kind, PST_KIND_DIRECTORY);
  EXPECT_EQ(Published("d/a-8")->kind, PST_KIND_FILE);
}

TEST_F(NamesTest, ARefreshMakesQuestionsUnderWayStartOver) {
  origin_.SetPageEntries(4);
  for (int i = 0; i < 10; ++i) origin_.Put("d/f" + std::to_string(i), "x");
  origin_.Hold(true);
  EngineOp list = Op(EngineOpKind::kList, "d");
  Begin(&list);
  origin_.Release();  // the first page, with f0 as it was
  TurnUntil([this] { return origin_.held() == 1; });
  origin_.Put("d/f0", "longer", "v2");
  engine_->Forget(0, "d/f0");
  EXPECT_EQ(origin_.held(), 1u) << "one was cancelled, one began";
  origin_.Hold(false);
  origin_.Release();
  EXPECT_EQ(ListedNames("d").size(), 10u);
  EXPECT_EQ(AttrOf("d/f0").size, 6u);
  EXPECT_EQ(origin_.lists_seen(), 1u + 1 + 3);
  EXPECT_EQ(origin_.stats_seen(), 0u);
}

}  // namespace
}  // namespace penstock::cache
