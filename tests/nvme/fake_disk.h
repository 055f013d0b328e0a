// A disk in memory: what it was told to do is done when the test says so, in the order that it
// says, and fails, tears or dies where it says.
#pragma once

#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "cache/nvme/block_device.h"

namespace penstock::cache {

// What outlives a sidecar: the files. A store gets a FakeDisk over it, and after its "death"
// another.
struct Platter {
  std::map<std::uint64_t, std::string> files;
  std::uint64_t free_bytes = 1ull << 40;
  std::mutex mutex;  // ReadNow comes from several threads
};

class FakeDisk final : public BlockDevice {
 public:
  enum class Do { kAll, kNothing, kHalf };  // of a write: what reaches the platter
  struct Fault {
    int err = 0;
    Do what = Do::kAll;
  };

  FakeDisk(Platter* platter, std::function<void(std::move_only_function<void()>)> post)
      : platter_(platter), post_(std::move(post)) {}

  // Asked for each operation as it is carried out.
  std::function<Fault(const BlockOp& op)> fault;
  int fail_create = 0;
  bool hold = false;  // operations wait for Release()

  Result<void> Create(std::uint64_t file, std::uint64_t) override {
    if (fail_create != 0) return std::unexpected(ErrnoError(fail_create, "making a region"));
    platter_->files[file];
    return {};
  }
  void Start(std::unique_ptr<BlockOp> op) override {
    queue_.push_back(std::move(op));
    if (!hold) Release(1);
  }
  std::size_t held() const { return queue_.size(); }
  void Release(std::size_t count = SIZE_MAX) {
    for (; count > 0 && !queue_.empty(); --count) {
      std::shared_ptr<BlockOp> op = std::move(queue_.front());
      queue_.pop_front();
      const Fault what = fault ? fault(*op) : Fault{};
      op->err = what.err != 0 ? what.err : 0;
      if (op->write) {
        std::size_t bytes = what.what == Do::kAll    ? op->length
                            : what.what == Do::kHalf ? op->length / 2
                                                     : 0;
        Store(op->file, op->offset, {op->buffer.data(), bytes});
      } else if (op->err == 0) {
        op->err = ReadNow(op->file, op->offset, op->buffer.span().first(op->length));
      }
      post_([op, alive = std::weak_ptr<char>(alive_)] {
        if (!alive.expired()) op->done(op.get());
      });
    }
  }
  int ReadNow(std::uint64_t file, std::uint64_t offset, std::span<std::byte> to) override {
    const std::lock_guard lock(platter_->mutex);
    const auto found = platter_->files.find(file);
    if (found == platter_->files.end()) return ENOENT;
    if (offset + to.size() > found->second.size()) return EIO;
    std::memcpy(to.data(), found->second.data() + offset, to.size());
    return 0;
  }
  int WriteNow(std::uint64_t file, std::uint64_t offset, std::span<const std::byte> from) override {
    const std::lock_guard lock(platter_->mutex);
    Store(file, offset, from);
    return 0;
  }
  void Trim(std::uint64_t file, std::uint64_t bytes) override {
    const std::lock_guard lock(platter_->mutex);
    platter_->files[file].resize(bytes);
  }
  void Remove(std::uint64_t file) override { platter_->files.erase(file); }
  std::vector<BlockFile> List() override {
    std::vector<BlockFile> files;
    for (const auto& [number, bytes] : platter_->files) files.push_back({number, bytes.size()});
    return files;
  }
  std::uint64_t FreeBytes() override { return platter_->free_bytes; }
  std::string Describe() const override { return "fake"; }

 private:
  void Store(std::uint64_t file, std::uint64_t offset, std::span<const std::byte> from) {
    if (from.empty()) return;
    std::string& bytes = platter_->files[file];
    if (bytes.size() < offset + from.size()) bytes.resize(offset + from.size());
    std::memcpy(bytes.data() + offset, from.data(), from.size());
  }

  Platter* platter_;
  std::function<void(std::move_only_function<void()>)> post_;
  std::deque<std::unique_ptr<BlockOp>> queue_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace penstock::cache
