// A disk as the NVMe tier sees it: numbered files that are written once from their beginning and
// read anywhere, in whole blocks, from and into memory aligned to a block.
//
// Interface, so that tests run the tier on a disk of their own that fails, tears and dies where it
// is told to. The real one is folder_device.h.
//
// Thread safety: the owner's thread (the core loop's), but for ReadNow(), which any number of
// threads may call while no other function runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "transport/base/result.h"

namespace penstock::cache {

// Memory that a disk can be read into without the page cache.
class BlockBuffer {
 public:
  BlockBuffer() = default;
  // `bytes` is a multiple of the block.
  explicit BlockBuffer(std::size_t bytes)
      : bytes_(static_cast<std::byte*>(std::aligned_alloc(4096, bytes))), size_(bytes) {
    if (bytes_ == nullptr) std::abort();
  }
  std::byte* data() { return bytes_.get(); }
  const std::byte* data() const { return bytes_.get(); }
  std::size_t size() const { return size_; }
  std::span<std::byte> span() { return {bytes_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
  std::size_t size_ = 0;
};

struct BlockOp {
  std::uint64_t file = 0;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;  // at most the buffer's size
  bool write = false;
  BlockBuffer buffer;
  int err = 0;  // result: 0 if all of it was moved
  // On the owner's thread, never before Start() has returned. Not called once the device is gone.
  std::move_only_function<void(BlockOp* op)> done;
};

struct BlockFile {
  std::uint64_t number = 0;
  std::uint64_t bytes = 0;
};

class BlockDevice {
 public:
  virtual ~BlockDevice() = default;
  // Starts a file that is going to have `bytes`, which are reserved where the file system can.
  virtual Result<void> Create(std::uint64_t file, std::uint64_t bytes) = 0;
  // The device owns the operation until `done` has run.
  virtual void Start(std::unique_ptr<BlockOp> op) = 0;
  // The same at once, for the start and the end of the owner: 0 or an errno.
  virtual int ReadNow(std::uint64_t file, std::uint64_t offset, std::span<std::byte> to) = 0;
  virtual int WriteNow(std::uint64_t file, std::uint64_t offset,
                       std::span<const std::byte> from) = 0;
  // Nothing follows after `bytes`: what was reserved beyond is given back.
  virtual void Trim(std::uint64_t file, std::uint64_t bytes) = 0;
  // Reads that are under way still get the file's bytes.
  virtual void Remove(std::uint64_t file) = 0;
  virtual std::vector<BlockFile> List() = 0;
  // What may still be written before the part of the disk is touched that is to stay free.
  virtual std::uint64_t FreeBytes() = 0;
  virtual std::string Describe() const = 0;
};

}  // namespace penstock::cache
