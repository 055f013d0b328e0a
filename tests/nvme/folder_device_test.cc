// The tier on a real folder: what lies there after a start, and what a damaged or full disk does to
// it.
#include "cache/nvme/folder_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/nvme/store_fixture.h"
#include "transport/base/crc32c.h"

namespace penstock::cache {
namespace {

namespace fs = std::filesystem;

class FolderTest : public testing::TestWithParam<bool> {
 protected:
  FolderTest() {
    char name[] = "/var/tmp/penstock-nvme-XXXXXX";
    root_ = ::mkdtemp(name);
    config_.max_bytes = 64u << 20;
  }
  ~FolderTest() override {
    store_.reset();
    fs::remove_all(root_);
  }
  void Open() {
    store_.reset();
    FolderDevice::Options options;
    options.reserve_bytes = 0;
    options.max_open = 2;
    auto device = FolderDevice::Open(loop_.get(), root_ + "/regions", options);
    ASSERT_TRUE(device);
    std::vector<std::unique_ptr<BlockDevice>> devices;
    devices.push_back(*std::move(device));
    store_ = RegionStore::Open(loop_.get(), std::move(devices), config_);
  }
  void Offer(std::uint64_t file) {
    const std::string bytes = RangeBytes(file, 0);
    const auto span = std::as_bytes(std::span(bytes));
    store_->Offer(NameOf(file, 0), span, Crc32c(span), RegionClass::kDataset);
  }
  void TurnUntil(const std::function<bool()>& over) {
    const std::int64_t limit_ns = MonotonicNs() + 20'000'000'000;
    while (!over() && MonotonicNs() < limit_ns) {
      loop_->After(1'000'000, [this] { loop_->Stop(); });
      loop_->Run();
    }
    ASSERT_TRUE(over());
  }
  void Fill(std::uint64_t files) {
    for (std::uint64_t file = 0; file < files; ++file) {
      Offer(file);
      if (file % 64 != 63 && file + 1 != files) continue;
      store_->Flush();
      TurnUntil([&] { return store_->Stats().written + store_->Stats().refused == file + 1; });
    }
  }
  int Read(std::uint64_t file) {
    std::string buffer(PST_RANGE_BYTES, 0);
    NvmeRead read;
    read.object = NameOf(file, 0).object;
    read.to.push_back(std::as_writable_bytes(std::span(buffer)));
    bool done = false;
    read.user = &done;
    read.done = [](NvmeRead* ended) { *static_cast<bool*>(ended->user) = true; };
    store_->StartRead(&read);
    TurnUntil([&] { return done; });
    if (read.err == 0) {
      EXPECT_TRUE(buffer == RangeBytes(file, 0)) << file;
    }
    return read.err;
  }
  std::uint64_t BytesOnDisk() {
    std::uint64_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(root_ + "/regions")) {
      struct stat st;
      if (::stat(entry.path().c_str(), &st) == 0)
        bytes += static_cast<std::uint64_t>(st.st_blocks) * 512;
    }
    return bytes;
  }

  std::string root_;
  RegionStoreConfig config_;
  std::unique_ptr<Loop> loop_ = MakeLoop(GetParam());
  std::unique_ptr<RegionStore> store_;
};

TEST_P(FolderTest, KeepsRangesOverStartsAndItsLimitByWhatDuWouldSay) {
  Open();
  Fill(1200);
  const std::uint64_t kept = store_->Stats().ranges;
  EXPECT_GT(kept, 900u);
  EXPECT_LE(BytesOnDisk(), config_.max_bytes);
  EXPECT_NEAR(static_cast<double>(BytesOnDisk()), static_cast<double>(store_->bytes()), 1 << 20);
  for (std::uint64_t file = 0; file < kept; file += 17) EXPECT_EQ(Read(file), 0);
  Open();
  EXPECT_EQ(store_->Stats().ranges, kept);
  for (std::uint64_t file = 0; file < kept; ++file) EXPECT_EQ(Read(file), 0);
  for (const auto& entry : fs::directory_iterator(root_ + "/regions")) {
    struct stat st;
    ASSERT_EQ(::stat(entry.path().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u) << entry.path();
  }
}

TEST_P(FolderTest, AFileThatIsTruncatedOrRemovedUnderneathIsAMiss) {
  Open();
  Fill(400);
  std::uint64_t number = 0;
  for (const auto& entry : fs::directory_iterator(root_ + "/regions")) {
    if (number++ % 2 == 0) {
      ASSERT_EQ(::truncate(entry.path().c_str(), 1 << 20), 0);
    } else {
      fs::remove(entry.path());
    }
  }
  std::uint64_t readable = 0;
  for (std::uint64_t file = 0; file < 400; ++file) readable += Read(file) == 0;
  EXPECT_LT(readable, 250u);  // descriptors that are open still read a removed file
}

TEST_P(FolderTest, AFolderThatIsGoneIsNoTrouble) {
  Open();
  Fill(10);
  fs::remove_all(root_ + "/regions");
  for (std::uint64_t file = 100; file < 300; ++file) Offer(file);
  store_->Flush();
  TurnUntil([&] { return store_->Stats().written + store_->Stats().refused >= 200; });
  EXPECT_GT(store_->Stats().refused, 0u);
  for (std::uint64_t file = 100; file < 300; ++file) Read(file);
}

TEST_P(FolderTest, ReadsOfManyRegionsTakeNoMoreDescriptorsThanAllowed) {
  FolderDevice::Options options;
  options.max_open = 4;
  auto opened = FolderDevice::Open(loop_.get(), root_ + "/regions", options);
  ASSERT_TRUE(opened);
  FolderDevice& disk = **opened;
  constexpr std::uint64_t kFiles = 40;
  BlockBuffer block(kBlockBytes);
  for (std::uint64_t file = 1; file <= kFiles; ++file) {
    ASSERT_TRUE(disk.Create(file, kBlockBytes));
    std::memset(block.data(), static_cast<int>(file), block.size());
    ASSERT_EQ(disk.WriteNow(file, 0, block.span()), 0);
  }
  const auto open_regions = [] {
    std::size_t count = 0;
    for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      count += fs::read_symlink(entry.path(), gone).string().ends_with(".region") ? 1 : 0;
    }
    return count;
  };
  std::uint64_t good = 0, done = 0;
  for (std::uint64_t file = 1; file <= kFiles; ++file) {
    auto op = std::make_unique<BlockOp>();
    op->file = file;
    op->length = kBlockBytes;
    op->buffer = BlockBuffer(kBlockBytes);
    op->done = [&](BlockOp* ended) {
      ++done;
      good += ended->err == 0 && ended->buffer.data()[7] == static_cast<std::byte>(ended->file) ? 1 : 0;
      EXPECT_LE(open_regions(), 4u);
    };
    disk.Start(std::move(op));
    EXPECT_LE(open_regions(), 4u);
  }
  TurnUntil([&] { return done == kFiles; });
  EXPECT_EQ(good, kFiles);
}

INSTANTIATE_TEST_SUITE_P(Loops, FolderTest, testing::Values(true, false),
                         [](const auto& loop) { return loop.param ? "uring" : "threads"; });

}  // namespace
}  // namespace penstock::cache
