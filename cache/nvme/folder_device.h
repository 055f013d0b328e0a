// The disk below a folder: file n is <folder>/<16 hex digits of n>.region. Reads and writes go
// through the loop (io_uring, or its twin's threads) and past the page cache where the file system
// allows it.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "cache/base/loop.h"
#include "cache/job/fd.h"
#include "cache/nvme/block_device.h"

namespace penstock::cache {

class FolderDevice final : public BlockDevice {
 public:
  struct Options {
    std::uint64_t reserve_bytes = UINT64_MAX;  // UINT64_MAX: 5 % of the disk, at most 1 GiB
    std::size_t max_open = 64;                 // descriptors at once: what needs one more waits
    bool read_only = false;                    // makes and changes nothing
    std::shared_ptr<void> keep;                // what is to live as long: a lock of the folder
  };
  // Makes the folder (0700) if need be. `loop` may be null for a device that only ReadNow() is
  // asked of.
  static Result<std::unique_ptr<FolderDevice>> Open(Loop* loop, const std::string& folder,
                                                    const Options& options);
  ~FolderDevice() override;

  Result<void> Create(std::uint64_t file, std::uint64_t bytes) override;
  void Start(std::unique_ptr<BlockOp> op) override;
  int ReadNow(std::uint64_t file, std::uint64_t offset, std::span<std::byte> to) override;
  int WriteNow(std::uint64_t file, std::uint64_t offset, std::span<const std::byte> from) override;
  void Trim(std::uint64_t file, std::uint64_t bytes) override;
  void Remove(std::uint64_t file) override;
  std::vector<BlockFile> List() override;
  std::uint64_t FreeBytes() override;
  std::string Describe() const override { return path_; }

 private:
  struct Handle {
    Fd fd;
    std::list<std::uint64_t>::iterator age;
  };
  struct Io;

  FolderDevice(Loop* loop, std::string path, const Options& options);
  Result<Fd> OpenFile(std::uint64_t file, int flags) const;
  Result<std::shared_ptr<Handle>> Acquire(std::uint64_t file);
  bool CanOpen(std::uint64_t file);
  void CloseSome(std::size_t wanted);
  void StartWaiting();
  void Begin(Io* io);
  void Step(Io* io);
  void Finish(Io* io, int err);

  Loop* loop_;
  std::string path_;
  Options options_;
  Fd folder_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Handle>> handles_;
  std::list<std::uint64_t> by_age_;  // oldest use first
  std::unordered_map<Io*, std::unique_ptr<Io>> running_;
  std::deque<Io*> waiting_;  // of those: for a descriptor, in turn
};

}  // namespace penstock::cache
