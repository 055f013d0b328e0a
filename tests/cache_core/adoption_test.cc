// A successor goes on with a dead sidecar's memory: what was published is there, for readers that
// had it mapped all the time as well; what was being changed or filled is not; and whatever the
// files say, nothing unsound is believed.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "cache/memory/adoption_check.h"
#include "tests/cache_core/tier_util.h"

namespace penstock::cache {
namespace {

constexpr const char* kTmpfs = "/dev/shm";
constexpr long kTmpfsMagic = 0x01021994;
constexpr std::uint32_t kBytes = 40'000;

class AdoptionTest : public testing::Test {
 protected:
  void SetUp() override {
    struct statfs system{};
    if (statfs(kTmpfs, &system) != 0 || system.f_type != kTmpfsMagic) GTEST_SKIP() << "no tmpfs";
    std::string name = std::string(kTmpfs) + "/pst-adoption-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    base_ = name;
    config_.arena_bytes = 16ull * PST_SEGMENT_BYTES;
    config_.huge_pages = HugePages::kOff;
    config_.folder = base_ + "/memory";
    config_.identity = "a mount of an origin";
    config_.mounts = {DescribeMount(0, "/data/one", false, 1, 2)};
    Begin();
  }
  void TearDown() override {
    tier_.reset();
    if (arena_) arena_->Discard();
    arena_.reset();
    if (base_.empty()) return;
    EXPECT_EQ(rmdir(base_.c_str()), 0) << "files are left";
  }

  // Ends one sidecar as a kill does, its files as they are, and begins another.
  void Begin() {
    tier_.reset();
    arena_.reset();
    auto made = Arena::Create(config_);
    ASSERT_TRUE(made.has_value()) << made.error().context;
    arena_ = *std::move(made);
    ASSERT_TRUE(arena_->adoptable()) << arena_->explanation();
    tier_ = std::make_unique<MemoryTier>(arena_.get(), true, true);
    adopted_ = {};
    if (arena_->adopted()) adopted_ = tier_->Adopt([](const pst_entry&) { return true; });
  }

  Space Fill(std::uint64_t number, DataClass kind = DataClass::kDataset) {
    const pst_key key = KeyNumber(number);
    const auto space = tier_->Reserve(kind, key, kBytes);
    if (!space) std::abort();
    FillBytes(key, tier_->Bytes(*space), kBytes, 0);
    return *space;
  }
  void Put(std::uint64_t number, DataClass kind = DataClass::kDataset) {
    const Space space = Fill(number, kind);
    tier_->Publish(space, KeyNumber(number), Crc32c({tier_->Bytes(space), kBytes}), 0, 0);
  }
  // As a reader with this view sees it: 1 right, 0 missing, -1 wrong.
  static int Look(const pst_view& view, std::uint64_t number) {
    const pst_key key = KeyNumber(number);
    pst_entry entry;
    if (!pst_find(&view, &key, &entry)) return 0;
    std::vector<std::byte> copy(entry.length);
    std::memcpy(copy.data(), pst_entry_bytes(&view, &entry), entry.length);
    if (!pst_entry_current(&view, &entry)) return 0;
    return entry.length == kBytes && CheckBytes(key, copy.data(), kBytes, 0) ? 1 : -1;
  }
  // What a program has mapped: it outlives the arena.
  struct Program {
    void* index;
    void* arena;
    std::uint64_t index_bytes, arena_bytes;
    pst_view view;
    ~Program() {
      munmap(index, index_bytes);
      munmap(arena, arena_bytes);
    }
  };
  std::unique_ptr<Program> Join() {
    auto program = std::make_unique<Program>();
    program->index_bytes = arena_->index_bytes();
    program->arena_bytes = arena_->arena_bytes();
    program->index =
        mmap(nullptr, program->index_bytes, PROT_READ, MAP_SHARED, arena_->index_fd(), 0);
    program->arena =
        mmap(nullptr, program->arena_bytes, PROT_READ, MAP_SHARED, arena_->arena_fd(), 0);
    EXPECT_EQ(pst_view_init(&program->view, program->index, program->index_bytes, program->arena,
                            program->arena_bytes),
              0);
    return program;
  }
  pst_bucket* BucketOf(std::uint64_t number) {
    const pst_key key = KeyNumber(number);
    const std::uint64_t hash = pst_key_hash(&key);
    for (unsigned which = 0; which < 2; ++which) {
      pst_bucket* bucket =
          &arena_->buckets()[pst_hash_bucket(hash, arena_->bucket_count() - 1, which)];
      for (unsigned i = 0; i < PST_BUCKET_ENTRIES; ++i)
        if (bucket->tags[i] != 0 && pst_key_equal(&bucket->entries[i].key, &key)) return bucket;
    }
    return nullptr;
  }
  void Corrupt(const char* name, Random* random, int times) {
    const std::string path = config_.folder + "/" + name;
    const int fd = open(path.c_str(), O_RDWR);
    struct stat status{};
    ASSERT_TRUE(fd >= 0 && fstat(fd, &status) == 0);
    for (int i = 0; i < times; ++i) {
      const auto word = random->Next();
      (void)!pwrite(
          fd, &word, 1 + random->Next() % 8,
          static_cast<off_t>(random->Next() % static_cast<std::uint64_t>(status.st_size - 8)));
    }
    close(fd);
  }

  std::string base_;
  ArenaConfig config_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<MemoryTier> tier_;
  AdoptedMemory adopted_;
};

TEST_F(AdoptionTest, WhatWasPublishedGoesOnAndReadersNoticeNothing) {
  for (std::uint64_t i = 0; i < 100; ++i)
    Put(i, i % 2 == 0 ? DataClass::kDataset : DataClass::kGeneral);
  const auto program = Join();
  const std::uint64_t incarnation = arena_->incarnation();
  const std::uint64_t entries = tier_->Stats().entries, live = tier_->Stats().bytes_live;
  Begin();
  ASSERT_TRUE(arena_->adopted()) << arena_->explanation();
  EXPECT_EQ(arena_->incarnation(), incarnation);
  EXPECT_EQ(adopted_.entries.size(), entries);
  EXPECT_EQ(adopted_.torn_buckets + adopted_.dropped + adopted_.renewed_segments, 0u);
  EXPECT_EQ(tier_->Stats().entries, entries);
  EXPECT_EQ(tier_->Stats().bytes_live, live);
  const auto later = Join();
  for (std::uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(Look(program->view, i), 1) << i;
    EXPECT_EQ(Look(later->view, i), 1) << i;
  }
  // And it can be filled and overrun: generations go on, nothing that is found is wrong.
  for (std::uint64_t i = 1000; i < 3000; ++i) Put(i, DataClass::kGeneral);
  int right = 0;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    const int seen = Look(program->view, i);
    EXPECT_GE(seen, 0) << i;
    right += seen;
  }
  EXPECT_GT(right, 100);
}

TEST_F(AdoptionTest, ABucketThatWasBeingChangedIsEmptied) {
  for (std::uint64_t i = 0; i < 50; ++i) Put(i);
  const auto program = Join();
  pst_bucket* bucket = BucketOf(7);
  ASSERT_NE(bucket, nullptr);
  bucket->seq += 1;
  Begin();
  ASSERT_TRUE(arena_->adopted());
  EXPECT_EQ(adopted_.torn_buckets, 1u);
  EXPECT_EQ(Look(program->view, 7), 0);
  EXPECT_EQ(tier_->Find(KeyNumber(7)), nullptr);
  Put(7);
  EXPECT_EQ(Look(program->view, 7), 1) << "the bucket is of use again";
}

TEST_F(AdoptionTest, WhatWasBeingFilledGetsNewPagesAndKeepsWhatWasPublished) {
  for (std::uint64_t i = 0; i < 10; ++i) Put(i);
  const Space space = Fill(500);  // never published: an origin's answer was under way
  const std::uint64_t generation = arena_->generations()[space.segment];
  const auto program = Join();
  // A pipe holds the old page as the kernel's I/O would.
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::uint32_t page_at = (space.offset + 4096) & ~4095u;
  iovec page{arena_->segment(space.segment) + page_at, 16};
  std::memset(page.iov_base, 'o', 16);
  ASSERT_EQ(vmsplice(ends[1], &page, 1, 0), 16);
  Begin();
  ASSERT_TRUE(arena_->adopted());
  EXPECT_EQ(adopted_.renewed_segments, 1u);
  EXPECT_GT(arena_->generations()[space.segment], generation);
  for (std::uint64_t i = 0; i < 10; ++i) EXPECT_EQ(Look(program->view, i), 1) << i;
  EXPECT_EQ(Look(program->view, 500), 0);
  // The place belongs to another page now: what is written there is not what the pipe holds.
  std::memset(arena_->segment(space.segment) + page_at, 'n', 16);
  char held[16];
  ASSERT_EQ(read(ends[0], held, sizeof held), 16);
  EXPECT_EQ(std::string(held, 16), std::string(16, 'o'));
  close(ends[0]);
  close(ends[1]);
  Begin();
  EXPECT_EQ(adopted_.renewed_segments, 0u) << "once is enough";
}

// From now on this thread finds the file system full when it asks for pages.
void LetAllocationsFail() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSPC),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

TEST_F(AdoptionTest, DISABLED_PagesThatAreGoneAndCannotBeHadAgainAreNobodysBytes) {
  for (std::uint64_t i = 0; i < 10; ++i) Put(i);
  const Space space = Fill(500);
  const auto program = Join();
  std::thread([this] {
    LetAllocationsFail();
    Begin();
  }).join();
  ASSERT_TRUE(arena_->adopted());
  for (std::uint64_t i = 0; i < 10; ++i) EXPECT_EQ(Look(program->view, i), 0) << i;
  Begin();
  ASSERT_TRUE(arena_->adopted());
  Put(20);
  EXPECT_EQ(tier_->Find(KeyNumber(20))->segment, space.segment) << "with pages it is of use again";
  EXPECT_EQ(Look(program->view, 20), 1);
}

TEST_F(AdoptionTest, AFolderThatGivesItsGroupOnIsAsGoodAsAnother) {
  tier_.reset();
  arena_->Discard();
  arena_.reset();
  ASSERT_EQ(chmod(base_.c_str(), 02700), 0);  // as a pod's volumes with fsGroup are
  Begin();
  Put(1);
  Begin();
  ASSERT_TRUE(arena_->adopted()) << arena_->explanation();
}

TEST_F(AdoptionTest, AFlippedBitIsFoundAndDropped) {
  for (std::uint64_t i = 0; i < 20; ++i) Put(i);
  const pst_entry* entry = tier_->Find(KeyNumber(3));
  arena_->segment(entry->segment)[entry->offset + 100] ^= std::byte{4};
  Begin();
  const auto loop = MakeLoop(false);
  std::vector<pst_entry> wrong;
  AdoptionCheck check(loop.get(), arena_.get(), adopted_.entries, [&](const pst_entry& bad) {
    wrong.push_back(bad);
    EXPECT_TRUE(tier_->EraseExactly(bad));
    loop->Stop();
  });
  loop->Run();
  ASSERT_EQ(wrong.size(), 1u);
  EXPECT_EQ(tier_->Find(KeyNumber(3)), nullptr);
  EXPECT_NE(tier_->Find(KeyNumber(4)), nullptr);
}

TEST_F(AdoptionTest, AnotherConfigurationBeginsAnew) {
  Put(1);
  const auto program = Join();
  config_.identity = "another origin";
  Begin();
  EXPECT_FALSE(arena_->adopted());
  EXPECT_FALSE(arena_->explanation().empty());
  EXPECT_EQ(tier_->Find(KeyNumber(1)), nullptr);
  EXPECT_EQ(Look(program->view, 1), 1) << "old memory is left alone";
  config_.arena_bytes += PST_SEGMENT_BYTES;
  Begin();
  EXPECT_FALSE(arena_->adopted());
  config_.mounts = {DescribeMount(0, "/data/two", false, 1, 2)};
  Begin();
  EXPECT_FALSE(arena_->adopted());
  Begin();
  EXPECT_TRUE(arena_->adopted());
}

// Switched off: ends with SIGBUS now and then (the helper prepares a segment of a file that this test cuts).
TEST_F(AdoptionTest, DISABLED_FilesThatAreNotOursAloneAreNotBelieved) {
  for (const mode_t mode : {0644, 0660}) {
    Put(1);
    ASSERT_EQ(chmod((config_.folder + "/arena").c_str(), mode), 0);
    Begin();
    EXPECT_FALSE(arena_->adopted()) << mode;
  }
  Put(1);
  ASSERT_EQ(link((config_.folder + "/index").c_str(), (base_ + "/again").c_str()), 0);
  Begin();
  EXPECT_FALSE(arena_->adopted());
  ASSERT_EQ(unlink((base_ + "/again").c_str()), 0);
  ASSERT_EQ(truncate((config_.folder + "/arena").c_str(), 4096), 0);
  Begin();
  EXPECT_FALSE(arena_->adopted());
}

TEST_F(AdoptionTest, NobodyElseCanWrite) {
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, arena_->arena_fd(), 0),
            MAP_FAILED);
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, arena_->index_fd(), 0),
            MAP_FAILED);
  struct stat status{};
  ASSERT_EQ(fstat(arena_->arena_fd(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
}

// Rubbish anywhere: adopted or not, nothing crashes, and what is found passes its own checksum.
TEST_F(AdoptionTest, RubbishIsNeverBelieved) {
  const std::uint64_t seed = PickSeed();
  Random random(seed);
  for (int round = 0; round < 60; ++round) {
    for (std::uint64_t i = 0; i < 40; ++i)
      Put(random.Next() % 300, random.Next() % 2 == 0 ? DataClass::kDataset : DataClass::kGeneral);
    const char* victim = std::array{"index", "state", "arena"}[random.Next() % 3];
    Corrupt(victim, &random, 1 + static_cast<int>(random.Next() % 2000));
    Begin();
    const pst_view view = arena_->View();
    for (const pst_entry& entry : adopted_.entries) {
      const pst_entry* found = tier_->Find(entry.key);
      ASSERT_NE(found, nullptr) << "PENSTOCK_SEED=" << seed;
      const auto bytes = tier_->BytesOf(*found);
      if (Crc32c(bytes) == found->crc32c) continue;
      ASSERT_TRUE(tier_->EraseExactly(*found));
    }
    for (std::uint64_t i = 0; i < 300; ++i)
      ASSERT_GE(Look(view, i), 0) << "round " << round << " key " << i << " PENSTOCK_SEED=" << seed;
  }
}

}  // namespace
}  // namespace penstock::cache
