// Fetching: single flight, windows, versions, failures, deadlines.
#include <cerrno>
#include <cstring>
#include <numeric>

#include "cache/nvme/nvme_tier.h"
#include "tests/cache_core/engine_fixture.h"
#include "transport/base/crc32c.h"
#include "transport/base/random.h"

namespace penstock::cache {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
using Offsets = std::vector<std::uint64_t>;
using FetchTest = EngineTest;

TEST_F(FetchTest, ASmallFileIsReadInOneRequestAndPublishedWithItsCrc) {
  const std::string bytes = Pattern(150'000, 1);
  origin_.Put("f", bytes);
  EngineOp op = Fetch("f", 0, 10);
  Run({&op});
  ASSERT_EQ(op.err, 0);
  ASSERT_EQ(origin_.reads_seen().size(), 1u);
  EXPECT_EQ(origin_.reads_seen()[0].length, bytes.size());
  for (std::uint32_t range = 0; range < 3; ++range) {
    EXPECT_EQ(Bytes("f", op.version, range), bytes.substr(range * 65536ull, 65536));
    const pst_key key{KeyOf("f"), op.version, PST_NS_FILES, range};
    pst_entry entry{};
    ASSERT_TRUE(pst_find(&view_, &key, &entry));
    const std::string part = bytes.substr(range * 65536ull, 65536);
    EXPECT_EQ(entry.crc32c, Crc32c(std::as_bytes(std::span(part))));
  }
}

TEST_F(FetchTest, AnEmptyFileAndTheEndOfAFileNeedNothing) {
  origin_.Put("empty", "");
  origin_.Put("f", "abc");
  EngineOp empty = Fetch("empty", 0, 100);
  EngineOp end = Fetch("f", 3, 100);
  Run({&empty, &end});
  EXPECT_EQ(empty.err, 0);
  EXPECT_EQ(end.err, 0);
  EXPECT_TRUE(origin_.reads_seen().empty());
}

TEST_F(FetchTest, ConcurrentMissesOfARangeAreOneRead) {
  origin_.Put("f", Pattern(4 * kMiB, 1));
  std::vector<EngineOp> ops;
  for (std::uint64_t i = 0; i < 50; ++i) ops.push_back(Fetch("f", 65536 * 7 + i, 10, 100 + i));
  std::vector<EngineOp*> pointers;
  for (EngineOp& op : ops) pointers.push_back(&op);
  Run(pointers);
  for (const EngineOp& op : ops) EXPECT_EQ(op.err, 0);
  EXPECT_EQ(origin_.reads_seen().size(), 1u);
  EXPECT_EQ(origin_.reads_seen()[0].length, 65536u);
  EXPECT_EQ(engine_->Stats().single_flight_joins, 49u);
}

// A local disk that has everything and never says a word.
class SilentDisk final : public NvmeTier {
 public:
  bool Has(const RangeName&) const override { return true; }
  void StartRead(NvmeRead*) override { ++reads; }
  void Cancel(NvmeRead*) override { ++cancelled; }
  void Offer(const RangeName&, std::span<const std::byte>, std::uint32_t, RegionClass) override {}
  NvmeStats Stats() const override { return {}; }
  int reads = 0, cancelled = 0;
};

TEST_F(FetchTest, ALocalDiskThatHangsIsNotWaitedFor) {
  SilentDisk disk;
  nvme_ = &disk;
  engine_.reset();
  Build(&origin_, 64, 60'000'000'000, 2'000'000'000);
  const std::string bytes = Pattern(1000, 1);
  origin_.Put("f", bytes);
  EngineOp op = Fetch("f", 0, 10);
  Run({&op});
  EXPECT_EQ(op.err, 0);
  EXPECT_EQ(disk.reads, 1);
  EXPECT_EQ(disk.cancelled, 1);
  EXPECT_EQ(Bytes("f", op.version, 0), bytes);
  engine_.reset();
}

TEST_F(FetchTest, RandomFirstTouchesFetchSmallRangesOnly) {
  origin_.Put("f", Pattern(64 * kMiB, 1));
  Random random(3);
  std::uint64_t asked = 0;
  for (int i = 0; i < 50; ++i) {
    EngineOp op = Fetch("f", random.Below(1000) * 65536 + 100, 4096);
    Run({&op});
    ASSERT_EQ(op.err, 0);
    ++asked;
  }
  std::uint64_t bytes = 0;
  for (const auto& read : origin_.reads_seen()) bytes += read.length;
  EXPECT_LE(bytes, asked * 65536 + 8 * 65536);
}

// What a client does: take what is there, ask when it is not, report the flag once it stands on it.
TEST_F(FetchTest, ASequentialReaderIsReadAheadInGrowingWindows) {
  const std::uint64_t ranges = 64 * kMiB / 65536;
  origin_.Put("f", Pattern(64 * kMiB, 1));
  Build(&origin_, 128);
  const std::uint64_t version = AttrOf("f").version;
  std::uint64_t misses = 0;
  std::uint64_t hints = 0;
  for (std::uint32_t range = 0; range < ranges; ++range) {
    const pst_key key{KeyOf("f"), version, PST_NS_FILES, range};
    pst_entry entry{};
    if (!pst_find(&view_, &key, &entry)) {
      ++misses;
      EngineOp op = Fetch("f", range * 65536ull, 65536);
      Run({&op});
      ASSERT_EQ(op.err, 0);
      ASSERT_TRUE(pst_find(&view_, &key, &entry));
    }
    if (entry.flags & PST_ENTRY_READAHEAD) {
      ++hints;
      EngineOp op = Fetch("f", (range + 1) * 65536ull, 65536);
      op.hint = true;
      Run({&op});
      TurnFor(5'000'000);
    }
  }
  EXPECT_LE(misses, 4u);
  EXPECT_GE(hints, 5u);
  EXPECT_LE(hints, 30u);
  std::uint64_t largest = 0;
  std::uint64_t total = 0;
  for (const auto& read : origin_.reads_seen()) {
    largest = std::max(largest, read.length);
    total += read.length;
  }
  EXPECT_GE(largest, kMiB);
  EXPECT_LE(largest, 4 * kMiB);
  EXPECT_EQ(total, 64 * kMiB);  // each byte once
  EXPECT_GT(engine_->Stats().readahead_ranges, 900u);
  // The second pass finds everything, and no flag that would make it report again.
  for (std::uint32_t range = 0; range < ranges; ++range) {
    const pst_key key{KeyOf("f"), version, PST_NS_FILES, range};
    pst_entry entry{};
    ASSERT_TRUE(pst_find(&view_, &key, &entry));
    EXPECT_FALSE(entry.flags & PST_ENTRY_READAHEAD) << range;
  }
}

TEST_F(FetchTest, TheFirstRangeOfALongAskComesBeforeTheRest) {
  origin_.Put("f", Pattern(32 * kMiB, 1));
  EngineOp op = Fetch("f", 0, 8 * kMiB);
  origin_.Hold(true);
  Begin(&op);
  TurnFor(5'000'000);
  ASSERT_GE(origin_.held(), 2u);
  EXPECT_LE(origin_.reads_seen()[0].length, 256u << 10);
  origin_.Hold(false);
  origin_.Release();
  TurnFor(50'000'000);
  EXPECT_EQ(op.err, 0);
  for (std::uint32_t range = 0; range < 128; ++range) {
    TurnUntil([&] { return Cached("f", range); });
  }
  EXPECT_FALSE(Cached("f", 128));
}

TEST_F(FetchTest, AReplacedObjectGivesEstaleAndNeverAMix) {
  origin_.Put("f", Pattern(4 * kMiB, 1), "v1");
  EngineOp first = Fetch("f", 0, 65536);
  Run({&first});
  const std::uint64_t old_version = first.version;
  origin_.Put("f", Pattern(4 * kMiB, 2), "v2");
  EngineOp op = Fetch("f", 20 * 65536, 65536);
  ASSERT_EQ(op.version, old_version);  // nobody knows of it yet
  Run({&op});
  EXPECT_EQ(op.err, ESTALE);
  EXPECT_FALSE(Bytes("f", old_version, 20).has_value());
  EXPECT_EQ(Bytes("f", old_version, 0), Pattern(4 * kMiB, 1).substr(0, 65536));
  const pst_attr attr = AttrOf("f");  // forgotten, so asked again
  EXPECT_NE(attr.version, old_version);
  EngineOp again = Fetch("f", 20 * 65536, 65536);
  Run({&again});
  EXPECT_EQ(again.err, 0);
  EXPECT_EQ(Bytes("f", attr.version, 20), Pattern(4 * kMiB, 2).substr(20 * 65536, 65536));
  op.version = old_version;
  Run({&op});
  EXPECT_EQ(op.err, ESTALE);
}

// The origin's token is forgotten: then what is served is known by its digest alone.
TEST_F(FetchTest, AReplacedObjectIsFoundOutWithoutTheTokenToo) {
  EngineOptions options;
  options.catalog_bytes = 4096;
  Mount mount;
  mount.origin = &origin_;
  engine_.reset();
  engine_ = MakeEngine(loop_.get(), arena_.get(), nullptr, {mount}, options);
  origin_.Put("d/f", Pattern(300'000, 1), "v1");
  origin_.Put("d/g", Pattern(300'000, 3), "v1");
  EngineOp f = Fetch("d/f", 0, 10);
  EngineOp g = Fetch("d/g", 0, 10);
  for (int i = 0; i < 100; ++i) (void)AttrOf("other/" + std::to_string(i));
  origin_.Put("d/f", Pattern(300'000, 2), "v2");
  origin_.ForgetSeen();
  Run({&g});
  EXPECT_EQ(g.err, 0);
  EXPECT_EQ(origin_.lists_seen() + origin_.stats_seen(), 0u);  // its record still says enough
  EXPECT_EQ(Bytes("d/g", g.version, 4), Pattern(300'000, 3).substr(4 * 65536));
  Run({&f});
  EXPECT_EQ(f.err, ESTALE);
  EXPECT_FALSE(Bytes("d/f", f.version, 0).has_value());
}

TEST_F(FetchTest, ARemovedObjectGivesEstaleToWhoHasItOpen) {
  origin_.Put("f", Pattern(4 * kMiB, 1));
  EngineOp op = Fetch("f", 0, 10);
  origin_.Remove("f");
  Run({&op});
  EXPECT_EQ(op.err, ESTALE);
}

TEST_F(FetchTest, ABodyOfTheWrongLengthIsNeverPublished) {
  origin_.Put("f", Pattern(100'000, 1));
  EngineOp op = Fetch("f", 0, 10);
  origin_.FailWith(Code::kTruncated);
  Run({&op});
  EXPECT_EQ(op.err, EIO);
  EXPECT_FALSE(Bytes("f", op.version, 0).has_value());
  EXPECT_FALSE(Bytes("f", op.version, 1).has_value());
  origin_.FailWith(Code::kOk);
  Run({&op});
  EXPECT_EQ(op.err, 0);
  EXPECT_EQ(Bytes("f", op.version, 0), Pattern(100'000, 1).substr(0, 65536));
}

TEST_F(FetchTest, ErrorsReachAllWhoWaitAndTheNextOneTriesAgain) {
  origin_.Put("f", Pattern(100'000, 1));
  EngineOp a = Fetch("f", 0, 10);
  EngineOp b = Fetch("f", 70'000, 10);
  origin_.FailWith(Code::kPermission);
  Run({&a, &b});
  EXPECT_EQ(a.err, EACCES);
  EXPECT_EQ(b.err, EACCES);
  EXPECT_EQ(origin_.reads_seen().size(), 1u);
  origin_.FailWith(Code::kOk);
  Run({&a});
  EXPECT_EQ(a.err, 0);
}

TEST_F(FetchTest, AReadIsCancelledWhenItsLastWaiterGivesUp) {
  origin_.Put("f", Pattern(100'000, 1));
  EngineOp first = Fetch("f", 0, 10);
  EngineOp second = Fetch("f", 0, 10);
  first.deadline_ns = MonotonicNs() + 30'000'000;
  second.deadline_ns = MonotonicNs() + 90'000'000;
  origin_.Hold(true);
  Begin(&second);
  const std::int64_t begin = MonotonicNs();
  Run({&first});
  EXPECT_EQ(first.err, EIO);
  EXPECT_EQ(origin_.held(), 1u) << "another one waits for it";
  TurnUntil([&] { return second.impl == nullptr; });
  EXPECT_EQ(second.err, EIO);
  EXPECT_LT(MonotonicNs() - begin, 2'000'000'000);
  EXPECT_EQ(origin_.held(), 0u);
  // Who comes while the cancelled one is on its way back gets a read of its own.
  EngineOp third = Fetch("f", 0, 10);
  origin_.Hold(false);
  Run({&third});
  EXPECT_EQ(third.err, 0);
  EXPECT_EQ(Bytes("f", third.version, 0), Pattern(65'536, 1));
}

TEST_F(FetchTest, AQueuedReadNobodyWaitsForIsNeverStarted) {
  EngineOptions options;
  options.inflight_reads = 1;
  Mount mount;
  mount.path = "/data";
  mount.origin = &origin_;
  engine_ = MakeEngine(loop_.get(), arena_.get(), nullptr, {mount}, options);
  for (const char* name : {"a", "b", "c"}) origin_.Put(name, Pattern(4 * kMiB, 1));
  EngineOp runs = Fetch("a", 0, 10);
  EngineOp gives_up = Fetch("b", 0, kMiB);
  EngineOp waits = Fetch("c", 0, 10);
  origin_.ForgetSeen();
  origin_.Hold(true);
  Begin(&runs);
  gives_up.deadline_ns = MonotonicNs() + 20'000'000;
  Begin(&waits);
  Run({&gives_up});
  EXPECT_EQ(gives_up.err, EIO);
  origin_.Hold(false);
  origin_.Release();
  TurnUntil([&] { return runs.impl == nullptr && waits.impl == nullptr; });
  EXPECT_EQ(runs.err, 0);
  EXPECT_EQ(waits.err, 0);
  for (const auto& read : origin_.reads_seen()) EXPECT_NE(read.name, "b");
}

TEST_F(FetchTest, AReadThatAPolicyWantsTooGoesOnWithoutWaiters) {
  origin_.Put("f", Pattern(100'000, 1));
  EngineOp hint = Fetch("f", 0, 10);
  hint.hint = true;
  EngineOp op = Fetch("f", 0, 10);
  op.deadline_ns = MonotonicNs() + 20'000'000;
  origin_.Hold(true);
  Run({&hint});
  EXPECT_EQ(origin_.hurried(), 0);
  Run({&op});
  EXPECT_EQ(op.err, EIO);
  EXPECT_EQ(origin_.held(), 1u);
  EXPECT_EQ(origin_.hurried(), 1);  // it was told that somebody waits
  origin_.Hold(false);
  origin_.Release();
  TurnFor(20'000'000);
  EXPECT_TRUE(Bytes("f", op.version, 0).has_value());
}

TEST_F(FetchTest, CancelEndsTheWaitOnce) {
  origin_.Put("f", Pattern(100'000, 1));
  EngineOp op = Fetch("f", 0, 10);
  origin_.Hold(true);
  Begin(&op);
  engine_->Cancel(&op);
  EXPECT_EQ(op.err, ECANCELED);
  engine_->Cancel(&op);
  EXPECT_EQ(engine_->Stats().inflight, 0u);
  origin_.Hold(false);
  origin_.Release();
  TurnFor(10'000'000);
  EXPECT_EQ(op.err, ECANCELED);
}

TEST_F(FetchTest, TheEngineCanEndWhileReadsAreInFlight) {
  origin_.Put("f", Pattern(4 * kMiB, 1));
  EngineOp op = Fetch("f", 0, 10);
  origin_.Hold(true);
  Begin(&op);
  EXPECT_EQ(origin_.held(), 1u);
  engine_.reset();
  EXPECT_EQ(op.err, ECANCELED);
  EXPECT_EQ(origin_.held(), 0u);
  origin_.Hold(false);
}

TEST_F(FetchTest, FilesOpenedInOrderBringTheirSiblings) {
  for (int i = 100; i < 200; ++i) origin_.Put("d/f" + std::to_string(i), Pattern(10'000, 1));
  const auto read = [this](int i) {
    EngineOp op = Fetch("d/f" + std::to_string(i), 0, 100, 5 << 16);
    Run({&op});
    TurnFor(5'000'000);
    return op.err;
  };
  EXPECT_EQ(read(110), 0);
  EXPECT_FALSE(Cached("d/f111", 0));  // one open says nothing
  EXPECT_EQ(read(111), 0);
  for (int i = 112; i < 116; ++i) EXPECT_TRUE(Cached("d/f" + std::to_string(i), 0)) << i;
  EXPECT_FALSE(Cached("d/f120", 0));
  EXPECT_EQ(read(116), 0);
  for (int i = 117; i < 124; ++i) EXPECT_TRUE(Cached("d/f" + std::to_string(i), 0)) << i;
  EXPECT_GE(engine_->Stats().sibling_prefetches, 12u);
}

// Opened by name, as from a list of files: nobody has listed the parent.
TEST_F(FetchTest, AWalkFromDirectoryToDirectoryIsExpectedInTheNextOne) {
  const auto path = [](char directory, int i) {
    return std::string("w/") + directory + "/f" + std::to_string(i);
  };
  for (char directory = 'a'; directory <= 'f'; ++directory) {
    for (int i = 10; i < 30; ++i) origin_.Put(path(directory, i), Pattern(10'000, 1));
  }
  int misses = 0;
  const auto walk = [&](char directory) {
    for (int i = 10; i < 30; ++i) {
      const std::uint64_t version = AttrOf(path(directory, i)).version;
      const pst_key key{KeyOf(path(directory, i)), version, PST_NS_FILES, 0};
      pst_entry entry{};
      const bool there = pst_find(&view_, &key, &entry);
      if (!there) ++misses;
      if (there && (entry.flags & PST_ENTRY_READAHEAD) == 0) continue;
      EngineOp op = Fetch(path(directory, i), 0, 100, 5 << 16);
      op.hint = there;
      Run({&op});
      ASSERT_EQ(op.err, 0);
      TurnFor(5'000'000);
    }
  };
  walk('a');
  EXPECT_FALSE(Cached(path('b', 10), 0));  // the first time nobody can know
  walk('b');
  EXPECT_TRUE(Cached(path('c', 10), 0));
  EXPECT_TRUE(Cached(path('c', 11), 0));
  misses = 0;
  for (const char directory : {'c', 'd', 'e', 'f'}) walk(directory);
  EXPECT_EQ(misses, 0);
  EXPECT_EQ(origin_.reads_seen().size(), 6u * 20u);
  EXPECT_LE(origin_.lists_seen(), 7u);
}

TEST_F(FetchTest, DirectoriesInAnyOtherOrderAreNotExpected) {
  const auto path = [](char directory, int i) {
    return std::string("w/") + directory + "/f" + std::to_string(i);
  };
  for (char directory = 'a'; directory <= 'f'; ++directory) {
    for (int i = 10; i < 30; ++i) origin_.Put(path(directory, i), Pattern(10'000, 1));
  }
  for (const char directory : {'e', 'c', 'a'}) {
    for (int i = 10; i < 30; ++i) {
      EngineOp op = Fetch(path(directory, i), 0, 100, 5 << 16);
      Run({&op});
      TurnFor(2'000'000);
    }
  }
  EXPECT_EQ(origin_.reads_seen().size(), 3u * 20u);
}

TEST_F(FetchTest, FilesOpenedInRandomOrderBringNoSiblings) {
  for (int i = 1000; i < 1400; ++i) origin_.Put("d/f" + std::to_string(i), Pattern(10'000, 1));
  Random random(11);
  std::vector<int> order(400);
  std::iota(order.begin(), order.end(), 1000);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
  for (int i = 0; i < 200; ++i) {
    EngineOp op = Fetch("d/f" + std::to_string(order[static_cast<std::size_t>(i)]), 0, 100, 5 << 16);
    Run({&op});
  }
  EXPECT_LE(engine_->Stats().sibling_prefetches, 8u);
}

TEST_F(FetchTest, TheSlowLaneReadsAcrossRanges) {
  const std::string bytes = Pattern(4 * kMiB, 1);
  origin_.Put("f", bytes);
  for (const std::uint64_t offset : Offsets{0, 65'536 - 100, 4 * kMiB - 50, 4 * kMiB + 1}) {
    std::vector<std::byte> buffer(4096);
    EngineOp op = Fetch("f", offset, 4096);
    op.kind = EngineOpKind::kRead;
    op.buffer = buffer;
    op.path.clear();  // by key
    Run({&op});
    ASSERT_EQ(op.err, 0);
    const std::string expected = offset < bytes.size() ? bytes.substr(offset, 4096) : "";
    ASSERT_EQ(op.result_length, expected.size());
    EXPECT_EQ(std::memcmp(buffer.data(), expected.data(), expected.size()), 0);
  }
}

// The arena is a quarter of the data, and readers go through all of it several times.
TEST_F(FetchTest, DataFourTimesTheArenaIsAlwaysRight) {
  Build(&origin_, 8);
  constexpr int kFiles = 64;
  for (int i = 0; i < kFiles; ++i) {
    origin_.Put("d/f" + std::to_string(i), Pattern(kMiB + 1000, static_cast<std::uint64_t>(i)));
  }
  Random random(5);
  for (int step = 0; step < 1500; ++step) {
    const auto file = static_cast<int>(random.Below(kFiles));
    const std::string path = "d/f" + std::to_string(file);
    const std::uint64_t offset = random.Below(kMiB);
    std::vector<std::byte> buffer(4096);
    EngineOp op = Fetch(path, offset, 4096, random.Below(4));
    op.kind = step % 2 == 0 ? EngineOpKind::kRead : EngineOpKind::kFetch;
    op.buffer = buffer;
    Run({&op});
    ASSERT_EQ(op.err, 0) << step;
    const std::string expected = Pattern(kMiB + 1000, static_cast<std::uint64_t>(file));
    if (op.kind == EngineOpKind::kRead) {
      ASSERT_EQ(op.result_length, std::min<std::uint64_t>(4096, expected.size() - offset));
      ASSERT_EQ(std::memcmp(buffer.data(), expected.data() + offset, op.result_length), 0);
    } else {
      const auto range = static_cast<std::uint32_t>(offset / 65536);
      const auto bytes = Bytes(path, op.version, range);
      ASSERT_TRUE(bytes.has_value()) << "a fresh publication is there for its reader";
      ASSERT_EQ(*bytes, expected.substr(range * 65536ull, 65536));
    }
  }
}

TEST_F(FetchTest, MoreReadsThanMayBeInFlightWaitTheirTurn) {
  EngineOptions options;
  options.inflight_reads = 4;
  Mount mount;
  mount.origin = &origin_;
  engine_.reset();
  engine_ = MakeEngine(loop_.get(), arena_.get(), nullptr, {mount}, options);
  origin_.Put("f", Pattern(32 * kMiB, 1));
  std::vector<EngineOp> ops;
  for (std::uint64_t i = 0; i < 30; ++i) ops.push_back(Fetch("f", (i * 16 + i % 3 * 2) * 65536, 10, i));
  origin_.Hold(true);
  std::vector<EngineOp*> pointers;
  for (EngineOp& op : ops) loop_->Post([this, &op] { engine_->Start(&op); });
  TurnFor(20'000'000);
  EXPECT_EQ(origin_.held(), 4u);
  while (engine_->Stats().inflight > 0) {
    EXPECT_LE(origin_.held(), 4u);
    origin_.Release();
    TurnFor(2'000'000);
  }
  for (const EngineOp& op : ops) EXPECT_EQ(op.err, 0);
}

TEST_F(FetchTest, AMountWhoseOriginIsSilentLeavesRoomForTheOthers) {
  MemoryOrigin other;
  engine_.reset();
  arena_.reset();
  ArenaConfig config;
  config.arena_bytes = 64ull << PST_SEGMENT_SHIFT;
  config.mounts = {DescribeMount(0, "/data", false, UINT32_MAX, UINT32_MAX),
                   DescribeMount(1, "/other", false, UINT32_MAX, UINT32_MAX)};
  auto arena = Arena::Create(config);
  ASSERT_TRUE(arena.has_value());
  arena_ = std::move(*arena);
  view_ = arena_->View();
  EngineOptions options;
  options.inflight_reads = 4;
  std::vector<Mount> mounts(2);
  mounts[0].path = "/data";
  mounts[0].origin = &origin_;
  mounts[1].path = "/other";
  mounts[1].origin = &other;
  engine_ = MakeEngine(loop_.get(), arena_.get(), nullptr, mounts, options);
  origin_.Put("f", Pattern(32 * kMiB, 1));
  other.Put("g", Pattern(100'000, 2));
  std::vector<EngineOp> ops;
  for (std::uint64_t i = 0; i < 20; ++i) ops.push_back(Fetch("f", (i * 16 + i % 3 * 2) * 65536, 10, i));
  EngineOp look = Lookup("g");
  look.mount = 1;
  Run({&look});
  EngineOp read = Op(EngineOpKind::kFetch, "g");
  read.mount = 1;
  read.version = look.attr.version;
  read.length = 10;
  origin_.Hold(true);
  for (EngineOp& op : ops) loop_->Post([this, &op] { engine_->Start(&op); });
  TurnFor(20'000'000);
  EXPECT_GE(origin_.held(), 2u);
  read.deadline_ns = MonotonicNs() + 5'000'000'000;
  Run({&read});
  EXPECT_EQ(read.err, 0);
  origin_.Hold(false);
  origin_.Release();
  TurnUntil([this] { return engine_->Stats().inflight == 0; });
  for (const EngineOp& op : ops) EXPECT_EQ(op.err, 0);
  engine_.reset();  // before its origin
}

TEST_F(FetchTest, AReadThatFindsNoRoomWaitsForAnotherToEnd) {
  Build(&origin_, 8);
  origin_.Put("f", Pattern(64 * kMiB, 1));
  std::vector<EngineOp> ops;
  for (std::uint64_t i = 0; i < 60; ++i) ops.push_back(Fetch("f", i * kMiB, 900'000, i));
  origin_.Hold(true);
  for (EngineOp& op : ops) loop_->Post([this, &op] { engine_->Start(&op); });
  TurnFor(50'000'000);
  const std::size_t first = origin_.held();
  EXPECT_LT(first, 60u);
  for (int i = 0; i < 2000 && engine_->Stats().inflight > 0; ++i) {
    origin_.Release();
    TurnFor(2'000'000);
  }
  EXPECT_EQ(engine_->Stats().inflight, 0u);
  for (const EngineOp& op : ops) EXPECT_EQ(op.err, 0);
}

TEST_F(FetchTest, WithoutAnObjectStoreMaterializeSaysNoSpace) {
  origin_.Put("f", "abc");
  EngineOp op = Fetch("f", 0, 0);
  op.kind = EngineOpKind::kMaterialize;
  Run({&op});
  EXPECT_EQ(op.err, ENOSPC);
}

TEST_F(FetchTest, RubbishIsRefused) {
  EngineOp op = Lookup("f");
  op.mount = 7;
  Run({&op});
  EXPECT_EQ(op.err, EINVAL);
  origin_.Put("d/f", "x");
  EngineOp directory = Op(EngineOpKind::kFetch, "d");
  directory.version = 5;
  Run({&directory});
  EXPECT_EQ(directory.err, EISDIR);
  EngineOp unknown = Op(EngineOpKind::kRead, "");
  unknown.id = {3, 4};
  Run({&unknown});
  EXPECT_EQ(unknown.err, ENOENT);
}

// Whatever the number of threads asked for: nothing of a library's goes to stderr.
TEST_F(EngineTest, MoreThreadsThanProcessorsAreNoCauseToComplain) {
  testing::internal::CaptureStderr();
  EngineOptions options;
  options.cpus = 1024;
  Mount mount;
  mount.path = "/data";
  mount.origin = &origin_;
  engine_ = MakeEngine(loop_.get(), arena_.get(), nullptr, {mount}, options);
  origin_.Put("f", Pattern(1u << 20, 1));  // enough for the checksums to go to other threads
  EngineOp fetch = Fetch("f", 0, 1u << 20);
  Run({&fetch});
  engine_.reset();
  EXPECT_EQ(fetch.err, 0);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// What is there when it is asked for may be pushed out by the room that the rest of the same question takes.
TEST_F(EngineTest, ARangeThatItsOwnQuestionPushesOutIsReadAgain) {
  Build(&origin_, 8);
  constexpr std::uint64_t kBytes = 24u << 20;
  origin_.Put("large", Pattern(kBytes, 1));
  Random random = Random::FromEnvironment();
  for (int i = 0; i < 600; ++i) {
    const std::uint64_t offset = random.Next() % (kBytes >> 16) << 16;
    EngineOp one = Fetch("large", offset, 65536);
    Run({&one});
    EngineOp many = Fetch("large", offset, 8u << 20);
    Run({&many});
    ASSERT_EQ(one.err, 0) << i;
    ASSERT_EQ(many.err, 0) << i;
  }
}

}  // namespace
}  // namespace penstock::cache
