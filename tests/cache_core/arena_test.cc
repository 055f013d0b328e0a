// The shared memory itself: a valid header, sealed against everybody else, huge where it can be.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "cache/memory/arena.h"

namespace penstock::cache {
namespace {

constexpr std::uint64_t kBytes = 64ull << 20;

std::unique_ptr<Arena> Make(std::uint64_t bytes = kBytes, HugePages huge = HugePages::kAuto) {
  ArenaConfig config;
  config.arena_bytes = bytes;
  config.huge_pages = huge;
  config.mounts = {DescribeMount(0, "/data/train", false, 1000, 1000),
                   DescribeMount(1, "/data/out", true, UINT32_MAX, UINT32_MAX)};
  auto arena = Arena::Create(config);
  EXPECT_TRUE(arena.has_value());
  return std::move(*arena);
}

TEST(ArenaTest, TheHeaderIsAValidViewAndDescribesTheMounts) {
  const auto arena = Make();
  void* index = mmap(nullptr, arena->index_bytes(), PROT_READ, MAP_SHARED, arena->index_fd(), 0);
  void* bytes = mmap(nullptr, arena->arena_bytes(), PROT_READ, MAP_SHARED, arena->arena_fd(), 0);
  ASSERT_NE(index, MAP_FAILED);
  ASSERT_NE(bytes, MAP_FAILED);
  pst_view view{};
  ASSERT_EQ(pst_view_init(&view, index, arena->index_bytes(), bytes, arena->arena_bytes()), 0);
  EXPECT_EQ(view.segment_count, kBytes >> PST_SEGMENT_SHIFT);
  EXPECT_GE((view.bucket_mask + 1) * PST_BUCKET_ENTRIES * 6 / 10, 60'000u);
  EXPECT_EQ(view.header->mount_count, 2u);
  EXPECT_STREQ(view.header->mounts[0].path, "/data/train");
  EXPECT_EQ(view.header->mounts[0].ns, PST_NS_FILES);
  EXPECT_EQ(view.header->mounts[1].flags, PST_MOUNT_RW);
  EXPECT_NE(view.header->incarnation, 0u);
  munmap(index, arena->index_bytes());
  munmap(bytes, arena->arena_bytes());
}

// Everything that a client of the same user id could try with the descriptor that it was given.
TEST(ArenaTest, NobodyElseCanWriteOrResize) {
  const auto arena = Make();
  for (const int fd : {arena->index_fd(), arena->arena_fd()}) {
    EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    void* readable = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
    ASSERT_NE(readable, MAP_FAILED);
    EXPECT_EQ(mprotect(readable, 4096, PROT_READ | PROT_WRITE), -1);
    munmap(readable, 4096);
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const int again = open(link.c_str(), O_RDWR | O_CLOEXEC);
    if (again >= 0) {
      EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0), MAP_FAILED);
      EXPECT_EQ(pwrite(again, "x", 1, 0), -1);
      close(again);
    }
    EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
    EXPECT_EQ(ftruncate(fd, 0), -1);
    EXPECT_EQ(ftruncate(fd, static_cast<off_t>(kBytes) * 2), -1);
    EXPECT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
    EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  }
}

TEST(ArenaTest, SegmentsAreHandedOutOnceAndPreparedAhead) {
  const auto arena = Make();
  for (int i = 0; i < 1000 && arena->Stats().segments_prepared < kPreparedSegments; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(arena->Stats().segments_prepared, kPreparedSegments);
  std::set<std::uint32_t> seen;
  bool prepared = false;
  ASSERT_TRUE(arena->TakeSegment(&prepared).has_value());
  EXPECT_TRUE(prepared);
  while (seen.size() + 1 < arena->segment_count()) {
    const auto segment = arena->TakeSegment();
    if (!segment) {  // the helper has it in its hands
      std::this_thread::yield();
      continue;
    }
    EXPECT_TRUE(seen.insert(*segment).second);
    std::memset(arena->segment(*segment), 1, PST_SEGMENT_BYTES);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(arena->segment(*segment)) % PST_SEGMENT_BYTES, 0u);
  }
  EXPECT_FALSE(arena->TakeSegment().has_value());
}

TEST(ArenaTest, MemoryFollowsUse) {
  const auto resident_kib = [] {
    std::ifstream status("/proc/self/smaps_rollup");
    std::string line;
    while (std::getline(status, line)) {
      if (line.starts_with("Rss:")) return std::stoll(line.substr(4));
    }
    return -1LL;
  };
  const long long before = resident_kib();
  const auto arena = Make(1ull << 30);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(resident_kib() - before, 32 * 1024);
}

TEST(ArenaTest, GenerationsAndIncarnationsDoNotRepeat) {
  std::set<std::uint64_t> generations;
  std::set<std::uint64_t> incarnations;
  std::set<std::uint64_t> name_epochs;
  for (int i = 0; i < 3; ++i) {
    const auto arena = Make();
    EXPECT_TRUE(name_epochs.insert(arena->header()->name_epoch).second);
    EXPECT_TRUE(incarnations.insert(arena->incarnation()).second);
    for (int k = 0; k < 100; ++k) EXPECT_TRUE(generations.insert(arena->NextGeneration()).second);
  }
}

TEST(ArenaTest, BadConfigurationsAreRefused) {
  ArenaConfig config;
  config.arena_bytes = kMinArenaBytes - 1;
  EXPECT_EQ(Arena::Create(config).error().code, Code::kInvalid);
  config.arena_bytes = kBytes;
  config.mounts.resize(PST_MAX_MOUNTS + 1);
  EXPECT_EQ(Arena::Create(config).error().code, Code::kInvalid);
}

TEST(ArenaTest, SmallPagesWorkToo) {
  const auto arena = Make(kBytes, HugePages::kOff);
  const auto segment = arena->TakeSegment();
  ASSERT_TRUE(segment.has_value());
  std::memset(arena->segment(*segment), 7, PST_SEGMENT_BYTES);
  EXPECT_EQ(arena->Stats().segments_huge, 0u);
}

TEST(ArenaTest, ExpiryCountsInTenthsFromTheClockBase) {
  const auto arena = Make();
  const std::int64_t base = arena->header()->clock_base_ns;
  EXPECT_EQ(arena->ExpiresDs(INT64_MAX), 0u);
  EXPECT_EQ(arena->ExpiresDs(base + 2'500'000'000), 25u);
  EXPECT_EQ(arena->ExpiresDs(base - 5), 1u);  // never 0 by accident: that would mean "for ever"
}

}  // namespace
}  // namespace penstock::cache
