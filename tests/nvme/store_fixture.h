// A region store on fake disks and a loop that the test turns.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cache/base/loop.h"
#include "cache/nvme/region_store.h"
#include "tests/nvme/fake_disk.h"

namespace penstock::cache {

// Bytes that tell where they belong: of range `range` of file `file`.
std::string RangeBytes(std::uint64_t file, std::uint32_t range,
                       std::size_t length = PST_RANGE_BYTES);
RangeName NameOf(std::uint64_t file, std::uint32_t range);

class StoreTest : public testing::Test {
 protected:
  StoreTest();
  ~StoreTest() override;

  // A store on the platters, as a start of the sidecar makes it.
  void Open();
  // As a clean end; or as kill -9 does: nothing more reaches the platters.
  void CloseCleanly() { store_.reset(); }
  void Kill();

  void Offer(std::uint64_t file, std::uint32_t range, std::size_t length = PST_RANGE_BYTES,
             RegionClass data_class = RegionClass::kDataset);
  // Offers until the store is full or `most` were offered, writing out as it goes. How many were
  // kept.
  std::uint64_t Fill(std::uint64_t first_file, std::uint64_t most, RegionClass data_class);
  void Turn();  // until nothing is left to do
  // 0 and the bytes compared, or the errno.
  int Read(std::uint64_t file, std::uint32_t first, std::uint32_t count = 1,
           std::size_t length = PST_RANGE_BYTES);
  // Reads range 0 of all these files: every one is right or a miss. How many were there.
  std::uint64_t CountReadable(std::uint64_t first_file, std::uint64_t end_file);

  RegionStoreConfig config_;
  std::unique_ptr<Loop> loop_;
  std::vector<std::unique_ptr<Platter>> platters_;
  std::vector<FakeDisk*> disks_;  // the store's
  std::unique_ptr<RegionStore> store_;
};

}  // namespace penstock::cache
