// Streams. libc reads a stream's descriptor by calls inside libc that no hook sees, so a covered
// file gets a stream that reads through us (covered_stream.h). Where that cannot be (another libc,
// a conversion by
// ",ccs=", a stream of libc's own that freopen puts onto a covered file) the file becomes real
// before libc gets it: always right, at the price of a materialisation.

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/covered_stream.h"
#include "shim/calls/landing.h"
#include "shim/calls/support.h"

namespace penstock {
namespace {

FILE* FailStream(int err) {
  PstFail(err);
  return nullptr;
}

// The open flags of a mode string, -1 if it is none.
int FlagsOf(const char* mode) {
  int flags;
  switch (*mode) {
    case 'r':
      flags = O_RDONLY;
      break;
    case 'w':
      flags = O_WRONLY | O_CREAT | O_TRUNC;
      break;
    case 'a':
      flags = O_WRONLY | O_CREAT | O_APPEND;
      break;
    default:
      return -1;
  }
  for (const char* at = mode + 1; *at != '\0' && *at != ','; ++at) {
    if (*at == '+') flags = (flags & ~O_ACCMODE) | O_RDWR;
    if (*at == 'x') flags |= O_EXCL;
    if (*at == 'e') flags |= O_CLOEXEC;
  }
  return flags;
}

PST_COLD bool LeadsThroughLinks(const char* path) {
  LinkedPath linked;
  Route route;
  return PstLands(AT_FDCWD, path, true, &linked, &route);
}

// Does fopen of this path lead to one of our files?
bool Leads(const char* path) {
  PathBuffer buffer;
  Route route;
  Cover cover = RouteOf(AT_FDCWD, path, &buffer, &route);
  if (PST_UNLIKELY(cover == Cover::kMount || cover == Cover::kError)) return true;
  // Open knows the name to give to the kernel, which stands in a shadow directory.
  if (PST_UNLIKELY(cover == Cover::kNone && route.full != nullptr)) return true;
  return PstMayLand() && LeadsThroughLinks(path);
}

// A real descriptor of a covered file. -1 with errno.
int OpenReal(const char* path, int flags) {
  int fd = open(path, flags, 0666);
  if (fd < 0) return -1;
  if (MakeReal(fd) != 0) {
    KeepErrno keep;
    close(fd);
    return -1;
  }
  return fd;
}

// The number behind a stream, -1 if it has none. errno is left alone.
int NumberOf(FILE* stream) {
  if (stream == nullptr) return -1;
  KeepErrno keep;
  return fileno(stream);
}

// fdopen knows no ",ccs=": let fopen make the stream on the null device, and put the file onto its
// number.
FILE* OpenConverted(int fd, const char* mode, int flags) {
  FILE* stream = real.fopen("/dev/null", mode);
  if (stream == nullptr) return nullptr;
  if (dup3(fd, NumberOf(stream), flags & O_CLOEXEC) < 0) {
    KeepErrno keep;
    real.fclose(stream);
    return nullptr;
  }
  close(fd);
  return stream;
}

// A stream on a number that open has given. Closes the number if there is none.
FILE* StreamOn(int fd, const char* mode, int flags) {
  const bool converts = strstr(mode, ",ccs=") != nullptr;
  FILE* stream = nullptr;
  if (PstFdKindOf(fd) == kFdFile && !converts) stream = CoveredStreamOpen(fd);
  if (stream == nullptr && MakeReal(fd) == 0)
    stream = converts ? OpenConverted(fd, mode, flags) : real.fdopen(fd, mode);
  if (stream == nullptr) {
    KeepErrno keep;
    close(fd);
  }
  return stream;
}

FILE* OpenStream(const char* path, const char* mode) {
  const int flags = FlagsOf(mode);
  if (flags < 0) return FailStream(EINVAL);
  CoveredStreamPrepare();
  const int fd = open(path, flags, 0666);
  return fd < 0 ? nullptr : StreamOn(fd, mode, flags);
}

// libc's freopen takes a path, and our file has none that anybody may open: let it open the null
// device in the stream's place and put the file onto that number.
FILE* ReopenCovered(const char* path, const char* mode, FILE* stream) {
  int flags = FlagsOf(mode);
  int fd = flags < 0 ? PstFail(EINVAL) : OpenReal(path, flags);
  if (fd < 0) {
    KeepErrno keep;
    fclose(stream);
    return nullptr;
  }
  FILE* result = real.freopen("/dev/null", mode, stream);
  if (result != nullptr && dup3(fd, NumberOf(result), flags & O_CLOEXEC) < 0) {
    KeepErrno keep;
    real.fclose(result);
    result = nullptr;
  }
  KeepErrno keep;
  close(fd);
  return result;
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT FILE* fopen(const char* path, const char* mode) {
  if (Leads(path)) return OpenStream(path, mode);
  FILE* stream = real.fopen(path, mode);
  if (stream == nullptr) {
    if (PST_LIKELY(!g_config.active) || (errno != ENOENT && errno != ENXIO)) return nullptr;
    // A symbolic link outside may lead in, or a number's own: our open walks it.
    int flags = FlagsOf(mode);
    KeepErrno keep;
    int fd = flags < 0 || (flags & O_CREAT) != 0 ? -1 : open(path, flags, 0666);
    return fd < 0 ? nullptr : StreamOn(fd, mode, flags);
  }
  if (PST_UNLIKELY(g_config.active)) Fresh(NumberOf(stream));
  return stream;
}

PST_EXPORT FILE* freopen(const char* path, const char* mode, FILE* stream) {
  if (PST_LIKELY(!g_config.active)) return real.freopen(path, mode, stream);
  int old = NumberOf(stream);
  CoveredStream* dressed = CoveredStreamOf(stream);
  if (dressed != nullptr) {
    // What was read ahead is given back while we can, and the name of the same file must be one for
    // the kernel.
    KeepErrno keep;
    fflush(stream);
    if (path == nullptr && PstFdKindOf(old) == kFdFile) (void)PstMaterialize(old);
    CoveredStreamReopened(dressed);
  }
  FdDropped dropped = {};
  bool ours = IsCovered(PstFdKindOf(old)) && path != nullptr;
  if (ours) dropped = PstFdDrop(old);
  FILE* result = path != nullptr && Leads(path) ? ReopenCovered(path, mode, stream)
                                                : real.freopen(path, mode, stream);
  KeepErrno keep;
  if (ours) PstFdDropped(dropped);
  return result;
}

PST_EXPORT FILE* fdopen(int fd, const char* mode) {
  if (PST_UNLIKELY(PstFdKindOf(fd) == kFdFile) && FlagsOf(mode) >= 0 && !IsPathOnly(fd) &&
      strstr(mode, ",ccs=") == nullptr && (FlagsOf(mode) & (O_ACCMODE | O_CREAT)) == O_RDONLY) {
    FILE* stream = CoveredStreamOpen(fd);
    if (stream != nullptr) return stream;
  }
  if (!IsPathOnly(fd) && MakeReal(fd) != 0) return nullptr;
  return real.fdopen(fd, mode);
}

PST_EXPORT int fclose(FILE* stream) {
  if (PST_LIKELY(!g_config.active)) return real.fclose(stream);
  CoveredStream* dressed = CoveredStreamOf(stream);
  const bool by_us = dressed != nullptr && !CoveredStreamIsReopened(dressed);
  if (dressed != nullptr) CoveredStreamForget(stream);
  const int fd = by_us ? -1 : NumberOf(stream);
  FdDropped dropped = {};
  const bool covered = fd >= 0 && PST_UNLIKELY(PstFdKindOf(fd) != kFdNone);
  if (covered) dropped = PstFdDrop(fd);
  const int result = real.fclose(stream);
  KeepErrno keep;
  if (covered) PstFdDropped(dropped);
  if (dressed != nullptr) CoveredStreamFree(dressed);
  return result;
}

PST_EXPORT FILE* tmpfile(void) {
  FILE* stream = real.tmpfile();
  if (stream != nullptr) Fresh(NumberOf(stream));
  return stream;
}

// libc opens the table inside. Closed by fclose, as endmntent does.
PST_EXPORT FILE* setmntent(const char* path, const char* mode) {
  char with_cloexec[16];
  if (PST_LIKELY(!g_config.active) || strlen(mode) + 2 > sizeof with_cloexec || !Leads(path))
    return real.setmntent(path, mode);
  strcpy(stpcpy(with_cloexec, mode), "e");
  return fopen(path, with_cloexec);
}
