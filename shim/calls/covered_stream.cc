#include "shim/calls/covered_stream.h"

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/core/raw.h"

namespace penstock {

struct CoveredStream {
  int fd;         // -1: not in use yet
  bool reopened;  // libc's functions read it, and perhaps use the donor's block
  FILE* donor;
  char buffer[4096];  // as libc's for a file on a disk, so that offsets seen by others are the same
};

namespace {

constexpr int kNeedsLock = 0x80;  // _flags2: other threads exist
constexpr uint32_t kStreams = 4096, kProbes = 16, kKept = 16;

struct Known {
  FILE* stream;
  CoveredStream* ours;
};
Known g_known[kStreams];       // by a hash of the stream's address
CoveredStream* g_kept[kKept];  // closed ones, for the next fopen
FILE* const kClaimed = (FILE*)1;

Known* PlaceOf(const FILE* stream, uint32_t probe) {
  const auto hash = (uint32_t)(((uintptr_t)stream >> 4) * 0x9E3779B97F4A7C15ull >> 40);
  return &g_known[(hash + probe) % kStreams];
}

bool Remember(FILE* stream, CoveredStream* ours) {
  for (uint32_t probe = 0; probe < kProbes; ++probe) {
    Known* place = PlaceOf(stream, probe);
    FILE* nobody = nullptr;
    if (!__atomic_compare_exchange_n(&place->stream, &nobody, kClaimed, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
      continue;
    place->ours = ours;
    __atomic_store_n(&place->stream, stream, __ATOMIC_RELEASE);
    return true;
  }
  return false;
}

Known* Find(const FILE* stream) {
  for (uint32_t probe = 0; probe < kProbes; ++probe) {
    Known* place = PlaceOf(stream, probe);
    if (__atomic_load_n(&place->stream, __ATOMIC_ACQUIRE) == stream) return place;
  }
  return nullptr;
}

ssize_t Read(void* cookie, char* to, size_t bytes) {
  return read(static_cast<CoveredStream*>(cookie)->fd, to, bytes);
}

int Seek(void* cookie, off64_t* offset, int whence) {
  const off_t at = lseek(static_cast<CoveredStream*>(cookie)->fd, *offset, whence);
  if (at < 0) return -1;
  *offset = at;
  return 0;
}

int Close(void* cookie) {
  const int fd = static_cast<CoveredStream*>(cookie)->fd;
  return fd < 0 ? 0 : close(fd);
}

#if defined(__GLIBC__)

bool IsGlibc() {
  static int8_t known;
  if (PST_UNLIKELY(known == 0)) known = FindNext("gnu_get_libc_version") != nullptr ? 1 : -1;
  return known > 0;
}

// A stream that has a block for wide characters, and no number.
FILE* MakeDonor() {
  FILE* donor = real.fopen("/dev/null", "re");
  if (donor == nullptr) return nullptr;
  const auto block = (uintptr_t)donor->_wide_data, begin = (uintptr_t)donor;
  // It lies behind the stream itself.
  if (donor->_fileno < 0 || donor->_fileno != fileno(donor) || donor->_mode != 0 ||
      block < begin + sizeof(FILE) || block > begin + 4096) {
    real.fclose(donor);
    return nullptr;
  }
  Raw(SYS_close, donor->_fileno);
  donor->_fileno = -1;
  return donor;
}

CoveredStream* Take() {
  for (CoveredStream*& kept : g_kept) {
    if (__atomic_load_n(&kept, __ATOMIC_RELAXED) == nullptr) continue;
    CoveredStream* ours = __atomic_exchange_n(&kept, nullptr, __ATOMIC_ACQUIRE);
    if (ours != nullptr) return ours;
  }
  auto* ours = static_cast<CoveredStream*>(malloc(sizeof(CoveredStream)));
  if (ours == nullptr) return nullptr;
  ours->donor = MakeDonor();
  if (ours->donor == nullptr) {
    free(ours);
    return nullptr;
  }
  return ours;
}

// Makes a stream of fopencookie one that is like a file's. False: it is not what we know.
bool Dress(FILE* stream, CoveredStream* ours, int fd) {
  if (stream->_fileno != -2 || stream->_mode != -1 || (intptr_t)stream->_wide_data != -1)
    return false;
  stream->_fileno = fd;
  if (fileno(stream) != fd) return false;
  stream->_mode = 0;  // neither bytes nor wide characters yet
  stream->_wide_data = ours->donor->_wide_data;
  // A stream with functions of a program's own is always locked; ours start no threads.
  if ((ours->donor->_flags2 & kNeedsLock) == 0) stream->_flags2 &= ~kNeedsLock;
  return setvbuf(stream, ours->buffer, _IOFBF, sizeof ours->buffer) == 0;
}

#endif

}  // namespace

void CoveredStreamPrepare() {
#if defined(__GLIBC__)
  for (CoveredStream* const& kept : g_kept) {
    if (PST_LIKELY(__atomic_load_n(&kept, __ATOMIC_RELAXED) != nullptr)) return;
  }
  if (!IsGlibc()) return;
  KeepErrno keep;
  CoveredStream* ours = Take();
  if (ours == nullptr) return;
  ours->reopened = false;
  CoveredStreamFree(ours);
#endif
}

FILE* CoveredStreamOpen(int fd) {
#if defined(__GLIBC__)
  if (!IsGlibc()) return nullptr;
  KeepErrno keep;
  CoveredStream* ours = Take();
  if (ours == nullptr) return nullptr;
  ours->fd = -1;
  ours->reopened = false;
  FILE* stream = fopencookie(ours, "r", {Read, nullptr, Seek, Close});
  if (stream != nullptr && Dress(stream, ours, fd) && Remember(stream, ours)) {
    ours->fd = fd;
    return stream;
  }
  if (stream != nullptr) real.fclose(stream);
  CoveredStreamFree(ours);
#else
  (void)fd;
#endif
  return nullptr;
}

CoveredStream* CoveredStreamOf(FILE* stream) {
  const Known* known = stream != nullptr ? Find(stream) : nullptr;
  return known != nullptr ? known->ours : nullptr;
}

void CoveredStreamWiden(FILE* stream) {
#if defined(__GLIBC__)
  CoveredStream* ours = CoveredStreamOf(stream);
  if (PST_LIKELY(ours == nullptr) || ours->reopened || stream->_mode != 0) return;
  KeepErrno keep;
  (void)MakeReal(ours->fd);  // else libc's read of the reservation says so
  ours->reopened = true;     // its functions are libc's from now on
#else
  (void)stream;
#endif
}

void CoveredStreamReopened(CoveredStream* ours) { ours->reopened = true; }
bool CoveredStreamIsReopened(const CoveredStream* ours) { return ours->reopened; }

void CoveredStreamForget(FILE* stream) {
  Known* known = Find(stream);
  if (known != nullptr) __atomic_store_n(&known->stream, nullptr, __ATOMIC_RELEASE);
}

void CoveredStreamFree(CoveredStream* ours) {
  KeepErrno keep;
  if (!ours->reopened) {
    for (CoveredStream*& kept : g_kept) {
      CoveredStream* nobody = nullptr;
      if (__atomic_load_n(&kept, __ATOMIC_RELAXED) == nullptr &&
          __atomic_compare_exchange_n(&kept, &nobody, ours, false, __ATOMIC_RELEASE,
                                      __ATOMIC_RELAXED)) {
        return;
      }
    }
  }
  real.fclose(ours->donor);
  free(ours);
}

}  // namespace penstock
