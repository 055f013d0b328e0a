// dlopen, dlsym, dlvsym. The loader looks at its caller's address for search paths, name spaces and what
// comes "next", so what is not ours must leave by a jump that keeps the return address: a tail call, at every
// optimisation level.

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/launch.h"
#include "shim/calls/needed.h"
#include "shim/calls/support.h"
#include "shim/calls/uring.h"
#include "shim/core/links.h"

namespace penstock {
namespace {

// A name for /proc/self/fd/N that no earlier library was loaded by: the loader compares names
// before files. The kernel ignores the extra slashes and dots, which count in binary.
void UniqueProcPath(int fd, char* to) {
  static uint32_t counter;
  uint32_t count = __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
  char plain[32];
  ProcFdPath(fd, plain);
  to = stpcpy(to, "/proc/self/fd");
  for (; count != 0; count >>= 1) to = stpcpy(to, (count & 1) != 0 ? "/." : "/");
  strcpy(to, plain + strlen("/proc/self/fd"));
}

// Does the path lead to a covered file, directly or through a link outside?
bool LeadsIn(const char* path) {
  PathBuffer buffer;
  Route route;
  if (RouteOf(AT_FDCWD, path, &buffer, &route) == Cover::kMount) return true;
  KeepErrno keep;
  LinkedPath linked;
  return real.access(path, F_OK) != 0 && PstRouteThroughLinks(AT_FDCWD, path, true, &linked, &route) &&
         route.cover == Cover::kMount;
}

// A library whose dependencies are being looked for, and the ones that asked for it.
struct Loading {
  const char* path;
  const Loading* asked_by;
};

// Libraries that need each other in a circle cannot be loaded one by one: the loader reports what
// is missing.
bool InCircle(const Loading* loading, const char* name) {
  for (; loading != nullptr; loading = loading->asked_by) {
    const char* slash = strrchr(loading->path, '/');
    if (slash != nullptr && strcmp(slash + 1, name) == 0) return true;
  }
  return false;
}

PST_COLD void* OpenCoveredLibrary(const char* path, int flags, const Loading* asked_by);

// `part` of a search path with $ORIGIN replaced, and "/name", into `to`. False if it does not fit.
bool Candidate(const char* part, size_t len, const char* origin, size_t origin_len,
               const char* name, char* to, size_t capacity) {
  constexpr const char* kTokens[] = {"$ORIGIN", "${ORIGIN}"};
  size_t at = 0;
  for (size_t i = 0; i < len;) {
    size_t token = 0;
    for (const char* text : kTokens) {
      if (len - i >= strlen(text) && strncmp(part + i, text, strlen(text)) == 0)
        token = strlen(text);
    }
    size_t add = token != 0 ? origin_len : 1;
    if (at + add >= capacity) return false;
    memcpy(to + at, token != 0 ? origin : part + i, add);
    at += add;
    i += token != 0 ? token : 1;
  }
  if (at + strlen(name) + 2 > capacity) return false;
  to[at++] = '/';
  strcpy(to + at, name);
  return true;
}

// Loads a dependency if the first place that has it is in a mount. The loader then finds it by its
// soname.
bool LoadFrom(const char* search, const Loading& loading, const char* name) {
  const char* slash = strrchr(loading.path, '/');
  size_t origin_len = slash == nullptr ? 0 : static_cast<size_t>(slash - loading.path);
  for (const char* part = search; *part != '\0';) {
    size_t len = strcspn(part, ":");
    Scratch scratch;
    char* path = scratch.Get();
    if (path != nullptr && len > 0 &&
        Candidate(part, len, loading.path, origin_len, name, path, PST_PATH_MAX) &&
        access(path, R_OK) == 0) {
      if (LeadsIn(path)) OpenCoveredLibrary(path, RTLD_LAZY, &loading);
      return true;
    }
    part += len;
    if (*part == ':') ++part;
  }
  return false;
}

void LoadNeeded(void* context, const char* name, const char* search) {
  const auto& loading = *static_cast<const Loading*>(context);
  if (strchr(name, '/') != nullptr || InCircle(&loading, name)) return;
  if (void* loaded = real.dlopen(name, RTLD_LAZY | RTLD_NOLOAD); loaded != nullptr) {
    real.dlclose(loaded);
    return;
  }
  const char* library_path = getenv("LD_LIBRARY_PATH");
  if (library_path == nullptr || !LoadFrom(library_path, loading, name))
    LoadFrom(search, loading, name);
}

PST_COLD void* OpenCoveredLibrary(const char* path, int flags, const Loading* asked_by) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || MakeReal(fd) != 0) {
    if (fd >= 0) close(fd);
    return real.dlopen(path, flags);  // fails, and leaves the message that the program asks for
  }
  Loading loading = {path, asked_by};
  EachNeeded(fd, LoadNeeded, &loading);
  char name[256];
  UniqueProcPath(fd, name);
  void* library = real.dlopen(name, flags);
  close(fd);
  return library;
}

// What a look-up found in libc itself, by a handle or a version, is replaced by what the program would get by
// the name alone. A symbol of another library stays.
PST_COLD void* InPlaceOf(void* found, const char* name) {
  if (found == nullptr || name == nullptr) return found;
  void* own = FindOwn(name);
  return own != nullptr && found == FindNext(name) ? own : found;
}

// The same for a version, which may be an older one of libc's.
PST_COLD void* InPlaceOfAnyVersion(void* found, const char* name) {
  // Looked up by name: a reference would ask for glibc 2.34.
  auto* place_of = reinterpret_cast<int (*)(const void*, Dl_info*)>(FindNext("dladdr"));
  Dl_info has, next;
  if (found == nullptr || place_of == nullptr || place_of(found, &has) == 0 ||
      place_of(FindNext(name), &next) == 0)
    return found;
  return has.dli_fbase == next.dli_fbase ? FindOwn(name) : found;
}

// Look-ups come before the constructor has run: interposed allocators ask for their next.
PST_COLD void FindLookups() {
  if (void* next = FindNext("dlsym"))
    __atomic_store_n(&real.dlsym, reinterpret_cast<decltype(Real::dlsym)>(next), __ATOMIC_RELAXED);
  if (void* next = FindNext("dlvsym"))
    __atomic_store_n(&real.dlvsym, reinterpret_cast<decltype(Real::dlvsym)>(next), __ATOMIC_RELAXED);
}

PST_INLINE void ResolveLookups() {
  static bool done;
  if (PST_LIKELY(__atomic_load_n(&done, __ATOMIC_RELAXED))) return;
  FindLookups();
  __atomic_store_n(&done, true, __ATOMIC_RELAXED);
}

PST_COLD bool IsCoveredLibrary(const char* path) {
  return path != nullptr && strchr(path, '/') != nullptr && LeadsIn(path);
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT __attribute__((optimize("O2", "omit-frame-pointer"))) void* dlopen(const char* path,
                                                                              int flags) {
  if (PST_UNLIKELY(g_config.active)) {
    // A library loaded with DEEPBIND would find libc's names before ours.
    flags &= ~RTLD_DEEPBIND;
    if (path != nullptr && strstr(path, "liburing.so") != nullptr) OpenRealFromNow();
    if (IsCoveredLibrary(path)) return OpenCoveredLibrary(path, flags, nullptr);
  }
  return real.dlopen(path, flags);
}

PST_EXPORT __attribute__((optimize("O2", "omit-frame-pointer"))) void* dlsym(void* handle,
                                                                             const char* name) {
  if (PST_LIKELY(!g_config.active)) {
    ResolveLookups();
    return real.dlsym(handle, name);
  }
  // Both of these find our names where they should.
  if (handle == RTLD_NEXT || handle == RTLD_DEFAULT) return real.dlsym(handle, name);
  return InPlaceOf(real.dlsym(handle, name), name);
}

PST_EXPORT __attribute__((optimize("O2", "omit-frame-pointer"))) void* dlvsym(void* handle, const char* name,
                                                                              const char* version) {
  if (PST_LIKELY(!g_config.active)) {
    ResolveLookups();
    return real.dlvsym(handle, name, version);
  }
  if (handle == RTLD_NEXT || name == nullptr || FindOwn(name) == nullptr) return real.dlvsym(handle, name, version);
  return InPlaceOfAnyVersion(real.dlvsym(handle, name, version), name);
}
