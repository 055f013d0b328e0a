// Faults of the disk and of the sidecar: every one costs hits, none gives a wrong byte. Read() of
// the fixture compares all bytes.
#include <cerrno>

#include "tests/nvme/store_fixture.h"
#include "transport/base/random.h"

namespace penstock::cache {
namespace {

using StoreFaults = StoreTest;
constexpr std::uint64_t kFiles = 200;

TEST_F(StoreFaults, ASingleFlippedBitIsAMissAndACounter) {
  Open();
  Fill(0, kFiles, RegionClass::kDataset);
  Random random = Random::FromEnvironment();
  SCOPED_TRACE("PENSTOCK_SEED=" + std::to_string(random.seed()));
  for (int round = 0; round < 15; ++round) {
    auto file = platters_[0]->files.begin();
    std::advance(file, static_cast<long>(random.Below(platters_[0]->files.size())));
    const std::uint64_t at = kRegionHeaderBytes + random.Below(1u << 20);
    if (at >= file->second.size()) continue;
    const char flipped = static_cast<char>(1 << random.Below(8));
    file->second[at] = static_cast<char>(file->second[at] ^ flipped);
    const std::uint64_t corrupt = store_->Stats().corrupt;
    const std::uint64_t readable = CountReadable(0, kFiles);
    EXPECT_LE(store_->Stats().corrupt - corrupt, 1u);  // padding and lost ranges: none
    EXPECT_EQ(readable, store_->Stats().ranges);
  }
  EXPECT_GT(store_->Stats().corrupt, 3u);
  EXPECT_EQ(kFiles - store_->Stats().ranges, store_->Stats().corrupt);
}

TEST_F(StoreFaults, ADroppedRangeIsKeptAgainWhenItIsOfferedAgain) {
  Open();
  Fill(0, 10, RegionClass::kDataset);
  auto& bytes = platters_[0]->files.begin()->second;
  for (std::size_t at = kRegionHeaderBytes + 1000; at < bytes.size() - 2 * kBlockBytes; at += 4096)
    bytes[at] ^= 1;
  EXPECT_EQ(CountReadable(0, 10), 0u);
  EXPECT_EQ(Fill(0, 10, RegionClass::kDataset), 10u);
  EXPECT_EQ(CountReadable(0, 10), 10u);
}

TEST_F(StoreFaults, ZeroedAndTornBlocksAreMisses) {
  Open();
  Fill(0, kFiles, RegionClass::kDataset);
  CloseCleanly();
  for (auto& [number, bytes] : platters_[0]->files) {
    for (std::size_t at = kRegionHeaderBytes + 16 * kBlockBytes;
         at + 100 * kBlockBytes < bytes.size(); at += 64 * kBlockBytes)
      bytes.replace(at, kBlockBytes, kBlockBytes, 0);          // a block of zeros
    bytes.replace(8 * kBlockBytes + 512, 1024, 1024, '\x5a');  // two torn sectors
  }
  Open();
  const std::uint64_t readable = CountReadable(0, kFiles);
  EXPECT_GT(readable, kFiles / 4);
  EXPECT_LT(readable, kFiles - 10);
  EXPECT_GT(store_->Stats().corrupt, 10u);
}

TEST_F(StoreFaults, TruncatedRegionsLoseWhatIsCutOffAndNoMore) {
  Open();
  Fill(0, kFiles, RegionClass::kDataset);
  CloseCleanly();
  for (auto& [number, bytes] : platters_[0]->files) bytes.resize(bytes.size() / 2 + 100);
  Open();
  const std::uint64_t readable = CountReadable(0, kFiles);
  EXPECT_GT(readable, kFiles / 3);
  EXPECT_LT(readable, kFiles * 2 / 3);
  EXPECT_EQ(readable, store_->Stats().ranges);
}

TEST_F(StoreFaults, ARegionThatIsTruncatedUnderneathIsAMiss) {
  Open();
  Fill(0, kFiles, RegionClass::kDataset);
  for (auto& [number, bytes] : platters_[0]->files) bytes.resize(bytes.size() / 2);
  EXPECT_LT(CountReadable(0, kFiles), kFiles);
  EXPECT_GT(store_->Stats().io_errors, 0u);
}

TEST_F(StoreFaults, MissingAndForeignFilesAreNoTrouble) {
  Open();
  Fill(0, kFiles, RegionClass::kDataset);
  CloseCleanly();
  platters_[0]->files.erase(platters_[0]->files.begin());
  platters_[0]->files[1'000'000] = "";
  platters_[0]->files[1'000'001] = std::string(100'000, 'x');
  platters_[0]->files[1'000'002] = std::string(70u << 20, 0);
  Open();
  EXPECT_EQ(platters_[0]->files.count(1'000'001), 0u);
  EXPECT_EQ(platters_[0]->files.count(1'000'002), 0u);
  EXPECT_EQ(store_->Stats().corrupt, 2u);
  EXPECT_GT(CountReadable(0, kFiles), kFiles / 2);
}

TEST_F(StoreFaults, ARegionThatPassesForAnotherIsNotBelieved) {
  Open();
  Fill(0, kFiles, RegionClass::kDataset);
  CloseCleanly();
  // The blocks of one region in another's file, as a file system that lost its mind gives them.
  auto first = platters_[0]->files.begin(), second = std::next(first);
  first->second.replace(kRegionHeaderBytes, 1u << 20,
                        second->second.substr(kRegionHeaderBytes, 1u << 20));
  Open();
  EXPECT_LT(CountReadable(0, kFiles), kFiles);
  EXPECT_GT(store_->Stats().corrupt, 0u);
}

TEST_F(StoreFaults, ADamagedFooterCostsAWalkAndNoRange) {
  Open();
  Fill(0, kFiles, RegionClass::kDataset);
  CloseCleanly();
  for (auto& [number, bytes] : platters_[0]->files) bytes[bytes.size() - 8] ^= 1;
  Open();
  EXPECT_EQ(CountReadable(0, kFiles), kFiles);
  EXPECT_GT(store_->Stats().corrupt, 0u);
  CloseCleanly();
  Open();
  EXPECT_EQ(store_->Stats().corrupt, 0u) << "the footers were written anew";
  EXPECT_EQ(CountReadable(0, kFiles), kFiles);
}

TEST_F(StoreFaults, AFullDiskMeansNoMoreRangesAndThenMoreAgain) {
  platters_[0]->free_bytes = 10u << 20;
  Open();
  disks_[0]->fault = [&](const BlockOp& op) {
    return op.write && op.offset > (1u << 20) ? FakeDisk::Fault{ENOSPC, FakeDisk::Do::kHalf}
                                              : FakeDisk::Fault{};
  };
  const std::uint64_t kept = Fill(0, kFiles, RegionClass::kDataset);
  EXPECT_LT(kept, 40u);
  EXPECT_EQ(CountReadable(0, kFiles), kept);
  EXPECT_GT(store_->Stats().refused, 100u);
  platters_[0]->free_bytes = 0;
  CloseCleanly();
  Open();
  EXPECT_GE(CountReadable(0, kFiles), kept);  // of the batch that failed, what is whole
  EXPECT_EQ(Fill(1000, 10, RegionClass::kDataset), 0u) << "what is to stay free stays free";
  platters_[0]->free_bytes = 1ull << 40;
  CloseCleanly();
  Open();
  EXPECT_EQ(Fill(1000, 10, RegionClass::kDataset), 10u);
}

TEST_F(StoreFaults, ADiskThatMakesNoFilesIsAskedSeldom) {
  Open();
  disks_[0]->fail_create = EROFS;
  EXPECT_EQ(Fill(0, kFiles, RegionClass::kDataset), 0u);
  EXPECT_EQ(store_->Stats().refused, kFiles);
  EXPECT_EQ(store_->Stats().files, 0u);
  EXPECT_EQ(store_->bytes(), 0u);
}

TEST_F(StoreFaults, ReadErrorsAreMissesAndTheRangeIsKeptElsewhere) {
  Open();
  Fill(0, 40, RegionClass::kDataset);
  disks_[0]->fault = [](const BlockOp& op) {
    return FakeDisk::Fault{op.write ? 0 : EIO, FakeDisk::Do::kAll};
  };
  EXPECT_EQ(CountReadable(0, 40), 0u);
  EXPECT_EQ(store_->Stats().io_errors, 40u);
  EXPECT_EQ(store_->Stats().ranges, 0u);
}

TEST_F(StoreFaults, WriteErrorsLeaveNothingThatIsFound) {
  Open();
  Random random = Random::FromEnvironment();
  SCOPED_TRACE("PENSTOCK_SEED=" + std::to_string(random.seed()));
  disks_[0]->fault = [&](const BlockOp& op) -> FakeDisk::Fault {
    if (!op.write || random.Below(3) != 0) return {};
    return {EIO, random.Below(2) == 0 ? FakeDisk::Do::kHalf : FakeDisk::Do::kNothing};
  };
  Fill(0, kFiles, RegionClass::kDataset);
  EXPECT_EQ(CountReadable(0, kFiles), store_->Stats().ranges);
  EXPECT_EQ(store_->Stats().corrupt, 0u);
}

// kill -9 at every operation of the disk, that one and what follows carried out, torn, or not at
// all.
TEST_F(StoreFaults, WhateverReachedTheDiskBeforeAKillIsRightOrAMiss) {
  Random random = Random::FromEnvironment();
  SCOPED_TRACE("PENSTOCK_SEED=" + std::to_string(random.seed()));
  for (std::uint64_t dies_at = 0; dies_at < 40; dies_at += 1 + random.Below(4)) {
    platters_[0] = std::make_unique<Platter>();
    Open();
    std::uint64_t operations = 0;
    disks_[0]->fault = [&](const BlockOp&) -> FakeDisk::Fault {
      if (operations++ < dies_at) return {};
      const std::uint64_t what = random.Below(3);
      return {0, what == 0   ? FakeDisk::Do::kAll
                 : what == 1 ? FakeDisk::Do::kHalf
                             : FakeDisk::Do::kNothing};
    };
    for (std::uint64_t file = 0; file < kFiles; ++file) {
      Offer(file, 0, file % 7 == 0 ? 1 + random.Below(PST_RANGE_BYTES) : PST_RANGE_BYTES);
      if (file % 16 == 15) store_->Flush();
    }
    Turn();
    Kill();
    Open();
    std::uint64_t found = 0;
    for (std::uint64_t file = 0; file < kFiles; ++file) {
      if (file % 7 != 0) found += Read(file, 0) == 0;
    }
    if (dies_at >= 25) {
      EXPECT_GT(found, kFiles / 2) << "died at " << dies_at;
    }
    // And it can go on from there.
    EXPECT_GT(Fill(5000, 10, RegionClass::kDataset), 0u);
    EXPECT_EQ(CountReadable(5000, 5010), 10u);
    Kill();
  }
}

}  // namespace
}  // namespace penstock::cache
