#include "transport/file/file_io.h"

#include <cstdlib>
#include <cstring>

#include "transport/base/limits.h"
#include "transport/base/log.h"

namespace penstock::origin {

void FileCallQueue::Push(FileCall* call) {
  call->next = nullptr;
  (head_ == nullptr ? head_ : tail_->next) = call;
  tail_ = call;
}

FileCall* FileCallQueue::Pop() {
  FileCall* call = head_;
  head_ = call->next;
  return call;
}

std::unique_ptr<FileIo> MakeFileIo() {
  const char* forbidden = std::getenv("PENSTOCK_NO_IO_URING");
  if (forbidden == nullptr || std::strcmp(forbidden, "1") != 0) {
    if (auto ring = MakeUringFileIo()) return ring;
    log::Info("io_uring is not available here: files are read by {} threads instead",
              limits::kFileReadThreads);
  }
  return MakePoolFileIo(limits::kFileReadThreads, "pst-file");
}

}  // namespace penstock::origin
