#include "shim/core/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/calls/uring.h"
#include "shim/core/client.h"
#include "shim/core/config.h"
#include "shim/core/cwd.h"
#include "shim/core/fd_table.h"
#include "shim/core/fork_gate.h"
#include "shim/core/job_path.h"
#include "shim/core/materialize.h"
#include "shim/core/name_table.h"
#include "shim/core/names.h"
#include "shim/core/outside.h"
#include "shim/core/raw.h"
#include "shim/core/serve.h"
#include "shim/core/slots.h"
#include "shim/core/stream.h"
#include "shim/hooks/real.h"
#include "shim/supervise/probe.h"

namespace penstock {

namespace {

// A reservation: the slot tells the rest. A slot that nobody announced as shared has been opened again since
// this number was inherited (a fork that no hook saw): the number stays a reservation, which fails loudly.
bool AdoptFile(int fd, uint32_t slot_number) {
  int err = EIO;
  const View* view = PstJoinedView(&err);
  pst_slot* slot = view != nullptr ? PstSlotOf(view, slot_number) : nullptr;
  if (slot == nullptr) return false;
  uint64_t word = PST_LOAD_ACQUIRE(&slot->word);
  uint32_t state = PST_LOAD_ACQUIRE(&slot->state);
  if (state != PST_SLOT_OPEN && state != PST_SLOT_MATERIALIZED) return false;
  if (PST_LOAD_ACQUIRE(&slot->shared) == 0) return false;
  FdEntry entry;
  memset(&entry, 0, sizeof entry);
  entry.slot = slot_number;
  entry.generation = pst_word_generation(word) & ~1u;
  entry.kind = kFdFile;
  entry.warm = kNoWarm;
  entry.ns = slot->ns;
  entry.mount = (uint16_t)(slot->ns & PST_NS_INDEX_MASK);
  entry.flags = slot->open_flags;
  entry.id = slot->id;
  entry.version = slot->version;
  entry.size = slot->size;
  entry.mtime_ns = INT64_MIN;  // not known yet: PstCompleteEntry
  if (entry.mount >= view->mount_count || entry.size > PST_MAX_FILE_BYTES) return false;
  PST_FENCE_ACQUIRE();
  if ((pst_word_generation(PST_LOAD_RELAXED(&slot->word)) & ~1u) != entry.generation) return false;
  if (!PstFdRoom(fd)) return false;
  PstSlotAddRef(slot_number);
  PstFdSet(fd, entry, "", 0);
  return true;
}

bool HexWord(const char* text, uint64_t* out) {
  uint64_t value = 0;
  for (int i = 0; i < 16; ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return false;
    value = value << 4 | (uint64_t)digit;
  }
  *out = value;
  return true;
}

// <cache.dir>/objects/<xx>/<key's halves>-<version>-<origin> (docs/object-format.md), the kernel's mark of an
// unlinked one cut off.
bool ParseObjectName(char* path, int len, pst_key128* id, uint64_t* version) {
  constexpr char kGone[] = " (deleted)";
  constexpr int kGoneLen = sizeof kGone - 1, kNameLen = 66;
  if (len > kGoneLen && memcmp(path + len - kGoneLen, kGone, kGoneLen) == 0) len -= kGoneLen;
  const char* name = path + len - kNameLen;
  return len > kNameLen + 4 && name[-1] == '/' && name[-4] == '/' && name[32] == '-' && name[49] == '-' &&
         HexWord(name, &id->hi) && HexWord(name + 16, &id->lo) && HexWord(name + 33, version);
}

// The file of an object, which an earlier program has made real: this one's stat shall not show the cache's
// file. The sidecar says whose it is; if its name has another version by now, it stays what the kernel shows.
bool AdoptObject(int fd, char* path, int len, uint64_t size) {
  FdEntry entry;
  memset(&entry, 0, sizeof entry);
  if (!ParseObjectName(path, len, &entry.id, &entry.version)) return false;
  int err = EIO;
  const View* view = PstJoinedView(&err);
  for (uint32_t i = 0; view != nullptr && i < view->mount_count; ++i) {
    Ask ask;
    Answer answer;
    ask.op = PST_OP_NAME;
    ask.ns = view->mounts[i].ns;
    ask.id = entry.id;
    ask.length = PST_PATH_MAX;
    ask.reply = path;
    ask.reply_capacity = kFdPathBytes;
    if (PstAsk(ask, &answer) != 0 || answer.attr.version != entry.version || answer.attr.size != size) continue;
    entry.slot = PST_NO_SLOT;
    entry.kind = kFdMaterialized;
    entry.warm = kNoWarm;
    entry.mount = (uint16_t)i;
    entry.ns = view->mounts[i].ns;
    entry.size = size;
    entry.mtime_ns = answer.attr.mtime_ns;
    entry.ino = answer.attr.ino;
    entry.mode = answer.attr.mode;
    entry.nlink = answer.attr.nlink;
    entry.epoch = PstForkEpoch();
    if (!PstFdRoom(fd)) return false;
    PstFdSet(fd, entry, path, answer.path_len);
    return true;
  }
  return false;
}

// A directory above a mount, by its name.
bool AdoptAncestor(int fd, const char* path) {
  FdEntry entry;
  memset(&entry, 0, sizeof entry);
  entry.slot = PST_NO_SLOT;
  entry.warm = kNoWarm;
  entry.kind = kFdAncestor;
  entry.epoch = PstForkEpoch();
  if (!PstFdRoom(fd)) return false;
  PstFdSet(fd, entry, path, (uint32_t)strlen(path));
  return true;
}

// A shadow directory.
bool AdoptDirectory(int fd, const JobPath& shadow) {
  int err = EIO;
  const View* view = PstJoinedView(&err);
  Scratch scratch;
  char* text = scratch.Get();
  if (view == nullptr || text == nullptr || PstShadowedPath(view, shadow, text) < 0) return false;
  if (shadow.levels > 0) return AdoptAncestor(fd, text);
  PathBuffer buffer;
  Route route;
  pst_attr attr;
  if (PstRoute(AT_FDCWD, text, &buffer, &route) != Cover::kMount || PstLookup(route, &attr) != 0) return false;
  FdEntry entry;
  memset(&entry, 0, sizeof entry);
  entry.slot = PST_NO_SLOT;
  entry.kind = kFdDirectory;
  entry.warm = kNoWarm;
  entry.mount = (uint16_t)route.mount;
  entry.ns = view->mounts[route.mount].ns;
  entry.flags = O_RDONLY | O_DIRECTORY;
  entry.id = route.id;
  entry.mtime_ns = attr.mtime_ns;
  entry.ino = attr.ino;
  entry.mode = attr.mode;
  entry.nlink = attr.nlink;
  if (!PstFdRoom(fd)) return false;
  PstFdSet(fd, entry, route.rel, route.rel_len);
  return true;
}

// Looks at every number that the program was started with. getdents and readlink only.
void AdoptAllInherited() {
  // A program that was not started by one of ours usually has 0, 1 and 2 and nothing else. The link of each
  // costs a microsecond: only sockets (the reservation's inode), directories and files of an object's mode can
  // be ours.
  long folder = Raw(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (folder < 0) return;
  alignas(8) char bytes[1024];
  for (;;) {
    long n = Raw(SYS_getdents64, folder, bytes, sizeof bytes);
    if (n <= 0) break;
    for (long at = 0; at < n;) {
      uint16_t record;
      memcpy(&record, bytes + at + 16, sizeof record);
      const char* end;
      int64_t fd = PstDecimal(bytes + at + 19, &end);
      if (*end != 0) fd = -1;
      at += record;
      if (fd >= 0 && fd != folder && fd < (int64_t)kMaxFds) PstAdoptInherited((int)fd);
    }
  }
  Raw(SYS_close, folder);
}

}  // namespace

bool PstAdoptInherited(int fd) {
  struct stat info;
  if (Raw(SYS_fstat, fd, &info) != 0) return false;
  const bool object = info.st_mode == (S_IFREG | PST_OBJECT_MODE);
  if (!object && !S_ISSOCK(info.st_mode) && !S_ISDIR(info.st_mode)) return false;
  Scratch scratch;
  char* path = scratch.Get();
  int len = path != nullptr ? OutsideFdPath(fd, path, PST_PATH_MAX) : -1;
  if (len <= 0) return false;
  if (object) return AdoptObject(fd, path, len, (uint64_t)info.st_size);
  JobPath known = PstOwnJobPath(fd, path);
  if (S_ISDIR(info.st_mode)) return known.kind == JobPathKind::kDirectory && AdoptDirectory(fd, known);
  return known.kind == JobPathKind::kFile && known.number < PST_OPEN_FILE_SLOTS &&
         AdoptFile(fd, known.number);
}

void PstBeforeFork() {
  if (g_config.active) PstFdShareAll();
}

void PstAfterForkChild() {
  PstForkGateReset();
  PstFdAfterFork();
  PstStreamsAfterFork();
  NameTableForked();
  PstForgetIds();
  t_line = 0;  // its owners were wiped: this thread has another id now
  // The wiped page does the work. Where the kernel could not wipe it, do it here.
  if (g_client.session == nullptr) {
    // The fork may have come in the middle of another thread's first join, before the page was marked.
    __atomic_store_n(&g_client.joining, 0u, __ATOMIC_RELEASE);
    return;
  }
  memset((void*)&g_client, 0, sizeof g_client);
}

namespace {

// glibc passes argc, argv and envp, and has set environ unless this library was linked to run first. musl
// passes nothing, and has always set environ.
__attribute__((constructor)) void Start(int, char**, char** envp) {
  // Where the library is the main program, loader and libc may both run its constructors.
  static bool done;
  if (done) return;
  done = true;
  RealInit();
  ConfigInit(environ != nullptr ? environ : envp);
  if (g_config.active) {
    CwdInit();
    AdoptAllInherited();
    UringDetect();
    PstProbe();
    // libc reads its stdin by calls inside libc that no hook sees: `program < covered-file`.
    if (PstFdKindOf(0) == kFdFile) PstMaterialize(0);
  }
}

}  // namespace

}  // namespace penstock
