// One read of a file in a folder, as a chain of calls on a FileIo.
//
// The file's version is taken before the first byte and compared after the last one, through the
// open fd and through the name, so that a file that was written to or replaced meanwhile gives
// kVersionChanged and never a mix. File systems stamp changes with a clock that ticks every few
// milliseconds: a file that changed within the current tick could change once more and keep its
// times, so the read waits until the tick is over. (Writes through a shared mapping stamp a file
// only now and then; no comparison of times can see all of them.)
#pragma once

#include <sys/stat.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "transport/file/file_io.h"
#include "transport/origin/origin.h"

namespace penstock::origin {

class FileRead : private FileCall {
 public:
  // Called on the FileIo's thread when the read is over; may destroy the FileRead.
  using Finished = void (*)(void* owner, FileRead* read, Error error);

  FileRead(FileIo* io, ReadOp* op, std::string file_path, void* owner, Finished finished);
  FileRead(const FileRead&) = delete;
  FileRead& operator=(const FileRead&) = delete;

  void Start();
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  ReadOp* op() const { return op_; }
  std::uint64_t size() const { return size_; }
  std::uint64_t hole_bytes() const { return hole_bytes_; }  // of them, never read

 private:
  static FileRead* Of(FileCall* call) { return static_cast<FileRead*>(call); }
  void SubmitStep(void (FileRead::*step)());

  void Open();
  void OnOpened();
  void CheckBefore();
  void WaitForTick(std::int64_t ns);
  std::uint64_t FillHoles();
  void ReadMore();
  void Advance(std::uint64_t read);
  void OnRead();
  void CheckAfter();
  void Changed(const char* context);
  void End(Error error);
  void Fail(Code code, const char* context, bool retryable = false) {
    End(Error{code, retryable, 0, context});
  }

  FileIo* io_;
  ReadOp* op_;
  std::string path_;
  void* owner_;
  Finished finished_;
  std::atomic<bool> cancelled_{false};

  void (FileRead::*step_)() = nullptr;
  int file_ = -1;
  struct stat before_{};
  unsigned starts_ = 0;  // the whole read, again because the file changed
  unsigned tick_waits_ = 0;
  std::uint64_t size_ = 0;  // bytes asked for
  std::uint64_t done_bytes_ = 0;
  std::uint64_t hole_bytes_ = 0;
  bool sparse_ = false;            // fewer blocks than bytes
  std::size_t buffer_ = 0;         // the first buffer that is not full
  std::size_t buffer_filled_ = 0;  // bytes in it
  std::array<iovec, 64> vector_{};
};

}  // namespace penstock::origin
