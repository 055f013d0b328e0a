#include "tests/nvme/store_fixture.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "transport/base/crc32c.h"

namespace penstock::cache {

std::string RangeBytes(std::uint64_t file, std::uint32_t range, std::size_t length) {
  std::string bytes(length, 0);
  for (std::size_t i = 0; i < length; i += 8) {
    const std::uint64_t word = pst_mix64(file * 1'000'003 + range + i * 0x9e37);
    std::memcpy(bytes.data() + i, &word, std::min<std::size_t>(8, length - i));
  }
  return bytes;
}

RangeName NameOf(std::uint64_t file, std::uint32_t range) { return {{{file, ~file}, 7, 9}, range}; }

StoreTest::StoreTest() : loop_(MakeLoop(true)) {
  config_.max_bytes = 64u << 20;
  platters_.push_back(std::make_unique<Platter>());
}

StoreTest::~StoreTest() {
  if (store_) Kill();
}

void StoreTest::Open() {
  disks_.clear();
  std::vector<std::unique_ptr<BlockDevice>> devices;
  for (const auto& platter : platters_) {
    auto disk = std::make_unique<FakeDisk>(
        platter.get(),
        [this](std::move_only_function<void()> task) { loop_->Post(std::move(task)); });
    disks_.push_back(disk.get());
    devices.push_back(std::move(disk));
  }
  store_ = RegionStore::Open(loop_.get(), std::move(devices), config_);
}

void StoreTest::Kill() {
  std::vector<std::map<std::uint64_t, std::string>> left;
  for (const auto& platter : platters_) left.push_back(platter->files);
  store_.reset();
  for (std::size_t i = 0; i < left.size(); ++i) platters_[i]->files = std::move(left[i]);
}

void StoreTest::Offer(std::uint64_t file, std::uint32_t range, std::size_t length,
                      RegionClass data_class) {
  const std::string bytes = RangeBytes(file, range, length);
  const auto span = std::as_bytes(std::span(bytes));
  store_->Offer(NameOf(file, range), span, Crc32c(span), data_class);
}

std::uint64_t StoreTest::Fill(std::uint64_t first_file, std::uint64_t most,
                              RegionClass data_class) {
  const std::uint64_t before = store_->Stats().written;
  for (std::uint64_t i = 0; i < most; ++i) {
    Offer(first_file + i, 0, PST_RANGE_BYTES, data_class);
    if (i % 32 == 31) {
      store_->Flush();
      Turn();
    }
  }
  store_->Flush();
  Turn();
  return store_->Stats().written - before;
}

void StoreTest::Turn() {
  for (int i = 0; i < 4; ++i) {
    loop_->Post([this] { loop_->Stop(); });
    loop_->Run();
  }
}

int StoreTest::Read(std::uint64_t file, std::uint32_t first, std::uint32_t count,
                    std::size_t length) {
  std::vector<std::string> buffers(count, std::string(length, '?'));
  NvmeRead read;
  read.object = NameOf(file, 0).object;
  read.first = first;
  for (std::string& buffer : buffers) read.to.push_back(std::as_writable_bytes(std::span(buffer)));
  bool done = false;
  read.user = &done;
  read.done = [](NvmeRead* ended) { *static_cast<bool*>(ended->user) = true; };
  store_->StartRead(&read);
  EXPECT_FALSE(done) << "done before StartRead() has returned";
  Turn();
  EXPECT_TRUE(done);
  if (!done) store_->Cancel(&read);
  if (read.err != 0) return read.err;
  for (std::uint32_t i = 0; i < count; ++i) {
    EXPECT_TRUE(buffers[i] == RangeBytes(file, first + i, length))
        << "wrong bytes of file " << file;
    EXPECT_EQ(read.crcs[i], Crc32c(std::as_bytes(std::span(buffers[i]))));
  }
  return 0;
}

std::uint64_t StoreTest::CountReadable(std::uint64_t first_file, std::uint64_t end_file) {
  std::uint64_t readable = 0;
  for (std::uint64_t file = first_file; file < end_file; ++file) readable += Read(file, 0) == 0;
  return readable;
}

}  // namespace penstock::cache
