// What the tier keeps, gives back and gives up.
#include <cerrno>

#include "tests/nvme/store_fixture.h"

namespace penstock::cache {
namespace {

using StoreBasics = StoreTest;

TEST_F(StoreBasics, GivesBackWhatItWasOffered) {
  Open();
  for (std::uint32_t range = 0; range < 40; ++range) Offer(1, range);
  Offer(2, 0, 100);
  Offer(3, 0, 1);
  EXPECT_EQ(Read(1, 0), ENOENT) << "found before it is on the disk";
  store_->Flush();
  Turn();
  EXPECT_EQ(Read(1, 0, 40), 0);
  EXPECT_EQ(Read(1, 13, 5), 0);
  EXPECT_EQ(Read(2, 0, 1, 100), 0);
  EXPECT_EQ(Read(3, 0, 1, 1), 0);
  EXPECT_EQ(Read(1, 39, 2), ENOENT);
  EXPECT_EQ(Read(2, 0, 1, 101), ENOENT) << "a range of another length is another version's";
  EXPECT_EQ(Read(4, 0), ENOENT);
  EXPECT_EQ(store_->Stats().hits, 47u);
  EXPECT_EQ(store_->Stats().written, 42u);
}

TEST_F(StoreBasics, WritesWithoutBeingAskedTo) {
  Open();
  Offer(1, 0);
  const auto timer = loop_->After(5'000'000'000, [this] { loop_->Stop(); });
  std::function<void()> look = [&] {
    if (store_->Stats().written == 1) return loop_->Stop();
    loop_->After(1'000'000, [&] { look(); });
  };
  look();
  loop_->Run();
  loop_->CancelTimer(timer);
  EXPECT_EQ(Read(1, 0), 0);
}

TEST_F(StoreBasics, IsFoundAgainAfterACleanEnd) {
  Open();
  for (std::uint64_t file = 0; file < 300; ++file) Offer(file, 0);  // some still in a batch
  Turn();
  CloseCleanly();
  Open();
  EXPECT_EQ(CountReadable(0, 300), 300u);
  EXPECT_EQ(store_->Stats().ranges, 300u);
  EXPECT_EQ(store_->Stats().corrupt, 0u);
}

TEST_F(StoreBasics, ADatasetIsKeptWhenItIsFull) {
  Open();
  const std::uint64_t kept = Fill(0, 2000, RegionClass::kDataset);
  EXPECT_GT(kept, 900u);
  EXPECT_LT(kept, 1024u);
  EXPECT_LE(store_->Stats().bytes, config_.max_bytes);
  EXPECT_EQ(CountReadable(0, kept), kept) << "what came first stays";
  EXPECT_EQ(store_->Stats().evicted, 0u);
}

TEST_F(StoreBasics, WhatAnEarlierStartLeftGoesOnceNobodyReadsIt) {
  Open();
  const std::uint64_t old = Fill(0, 2000, RegionClass::kDataset);
  CloseCleanly();
  Open();
  for (std::uint64_t file = 0; file < 100; ++file)
    EXPECT_EQ(Read(file, 0), 0);  // the first regions
  const std::uint64_t refused_first = Fill(10'000, 200, RegionClass::kDataset);
  EXPECT_LT(refused_first, 64u) << "an early miss must not push out what the job comes to next";
  EXPECT_GT(Fill(20'000, 2000, RegionClass::kDataset), 700u);
  EXPECT_EQ(CountReadable(0, 100), 100u) << "what this start has read is kept";
  EXPECT_LT(CountReadable(100, old), 200u);
  EXPECT_LE(store_->Stats().bytes, config_.max_bytes);
}

TEST_F(StoreBasics, GeneralDataPushesOutWhatIsNotRead) {
  config_.has_dataset = false;
  config_.has_general = true;
  Open();
  Fill(0, 600, RegionClass::kGeneral);
  for (int round = 0; round < 20; ++round) {
    EXPECT_EQ(Read(3, 0), 0) << "in use all the time";
    EXPECT_EQ(Fill(1000 + static_cast<std::uint64_t>(round) * 100, 100, RegionClass::kGeneral),
              100u);
  }
  EXPECT_EQ(Read(2900, 0), 0);
  EXPECT_EQ(Read(500, 0), ENOENT);
  EXPECT_LE(store_->Stats().bytes, config_.max_bytes);
  EXPECT_GT(store_->Stats().evicted, 0u);
}

TEST_F(StoreBasics, ADatasetLeavesGeneralDataItsQuarter) {
  config_.has_general = true;
  Open();
  Fill(0, 2000, RegionClass::kDataset);
  EXPECT_GT(Fill(10'000, 100, RegionClass::kGeneral), 90u);
  EXPECT_GT(CountReadable(10'000, 10'100), 90u);
}

TEST_F(StoreBasics, OthersOfTheLimitAreRespectedAndCanHaveRoomMade) {
  std::uint64_t others = 32u << 20;
  config_.others_bytes = [&others] { return others; };
  Open();
  Fill(0, 2000, RegionClass::kDataset);
  EXPECT_LE(store_->Stats().bytes + others, config_.max_bytes);
  const std::uint64_t before = store_->bytes();
  EXPECT_TRUE(store_->DropOldest());
  EXPECT_LT(store_->bytes(), before);
  EXPECT_EQ(Read(0, 0), ENOENT);
}

TEST_F(StoreBasics, TheFilesLimitIsObeyed) {
  config_.max_files = 3;
  Open();
  Fill(0, 2000, RegionClass::kDataset);
  EXPECT_EQ(store_->Stats().files, 3u);
  EXPECT_EQ(platters_[0]->files.size(), 3u);
}

TEST_F(StoreBasics, ALoweredLimitIsObeyedAtTheStart) {
  Open();
  Fill(0, 2000, RegionClass::kDataset);
  CloseCleanly();
  config_.max_bytes = 32u << 20;
  Open();
  EXPECT_LE(store_->Stats().bytes, config_.max_bytes);
  EXPECT_GT(store_->Stats().ranges, 300u);
}

TEST_F(StoreBasics, BothDisksAreUsedAndReadAgain) {
  platters_.push_back(std::make_unique<Platter>());
  Open();
  Fill(0, 600, RegionClass::kDataset);
  EXPECT_GT(platters_[0]->files.size(), 2u);
  EXPECT_GT(platters_[1]->files.size(), 2u);
  CloseCleanly();
  Open();
  EXPECT_EQ(CountReadable(0, 600), 600u);
}

TEST_F(StoreBasics, ADiskThatCannotKeepUpIsNotWaitedFor) {
  config_.write_behind_bytes = 4u << 20;
  Open();
  disks_[0]->hold = true;
  for (std::uint64_t file = 0; file < 500; ++file) Offer(file, 0);
  EXPECT_GT(store_->Stats().refused, 400u);
  disks_[0]->hold = false;
  disks_[0]->Release();
  Turn();
  store_->Flush();
  Turn();
  EXPECT_EQ(CountReadable(0, 500), store_->Stats().written);
}

TEST_F(StoreBasics, ACancelledReadIsNotHeardOfAgain) {
  Open();
  Offer(1, 0);
  store_->Flush();
  Turn();
  disks_[0]->hold = true;
  {
    std::string buffer(PST_RANGE_BYTES, 0);
    NvmeRead read;
    read.object = NameOf(1, 0).object;
    read.to.push_back(std::as_writable_bytes(std::span(buffer)));
    read.done = [](NvmeRead*) { ADD_FAILURE() << "a cancelled read was answered"; };
    store_->StartRead(&read);
    store_->Cancel(&read);
  }
  disks_[0]->Release();
  Turn();
}

TEST_F(StoreBasics, ManyTinyRangesDoNotGrowTheIndexWithoutEnd) {
  config_.max_ranges = 10'000;
  config_.region_bytes = 4u << 20;
  Open();
  for (std::uint64_t file = 0; file < 100'000; ++file) {
    Offer(file, 0, 100);
    if (file % 1000 == 999) {
      store_->Flush();
      Turn();
    }
  }
  EXPECT_GT(store_->Stats().ranges, 10'000u);
  EXPECT_LT(store_->Stats().ranges, 40'000u) << "what fits into the region that was open, no more";
  CloseCleanly();
  Open();
  EXPECT_LE(store_->Stats().ranges, 10'000u);
}

TEST_F(StoreBasics, ADiskThatHangsIsAskedForNoMoreThanItsShare) {
  Open();
  Offer(1, 0);
  store_->Flush();
  Turn();
  disks_[0]->hold = true;
  std::string buffer(PST_RANGE_BYTES, 0);
  for (int i = 0; i < 200; ++i) {
    NvmeRead read;
    read.object = NameOf(1, 0).object;
    read.to.push_back(std::as_writable_bytes(std::span(buffer)));
    store_->StartRead(&read);
    store_->Cancel(&read);
  }
  EXPECT_LE(disks_[0]->held(), 64u) << "each holds its memory until the disk answers";
  EXPECT_EQ(Read(1, 0), EIO);
  disks_[0]->hold = false;
  disks_[0]->Release();
  Turn();
  EXPECT_EQ(Read(1, 0), 0) << "it is of use again";
}

}  // namespace
}  // namespace penstock::cache
