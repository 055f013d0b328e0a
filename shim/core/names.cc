#include "shim/core/names.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shim/abi/listing.h"
#include "shim/core/bytes.h"
#include "shim/core/client.h"
#include "shim/core/name_table.h"
#include "shim/core/raw.h"
#include "shim/core/time.h"

namespace penstock {
namespace {

constexpr uint32_t kShownBlock = 65536;  // st_blksize: one range

// Who the program is: asked once, and again after it has changed (PstForgetIds).
uint32_t g_uid = UINT32_MAX, g_gid = UINT32_MAX;

uint32_t Own(uint32_t* cached, long number) {
  uint32_t id = __atomic_load_n(cached, __ATOMIC_RELAXED);
  if (PST_UNLIKELY(id == UINT32_MAX)) {
    id = (uint32_t)Raw(number);
    __atomic_store_n(cached, id, __ATOMIC_RELAXED);
  }
  return id;
}

uint32_t OwnUid() { return Own(&g_uid, SYS_getuid); }
uint32_t OwnGid() { return Own(&g_gid, SYS_getgid); }

int64_t ExpiresNs(const pst_view& view, uint32_t expires_ds) {
  return expires_ds == 0 ? INT64_MAX : view.clock_base_ns + (int64_t)expires_ds * 100'000'000;
}

// A name as the table and the index know it: the first `rel_len` bytes below the mount.
struct Name {
  const Route* route;
  uint32_t rel_len;
  uint32_t text_len;   // of the absolute text, from Route::text
};

Name NameOf(const Route& route, uint32_t rel_len) {
  const uint32_t text_len = rel_len > 0 ? (uint32_t)(route.rel - route.text) + rel_len
                                        : route.view->mounts[route.mount].path_len;
  return {&route, rel_len, text_len};
}

// The name record from the index. The name is compared in place: the generation check at the end decides
// whether anything that was read counts.
__attribute__((noinline)) bool FindInIndex(const Name& name, uint64_t epoch, const pst_key128& id,
                                           pst_attr* attr) {
  const Route& route = *name.route;
  const pst_view* view = &route.view->index;
  const uint32_t len = name.rel_len;
  const pst_key key = {id, 0, route.view->mounts[route.mount].ns, PST_RANGE_NAME};
  pst_entry entry;
  if (!pst_find(view, &key, &entry)) return false;
  int64_t expires_ns = ExpiresNs(*view, entry.expires_ds);
  if (entry.length < sizeof(pst_name_record) + len || expires_ns <= PstCoarseNs()) return false;
  const unsigned char* bytes = pst_entry_bytes(view, &entry);
  pst_name_record record;
  memcpy(&record, bytes, sizeof record);
  if (record.magic != PST_NAME_MAGIC || record.name_len != len ||
      memcmp(bytes + sizeof record, route.rel, len) != 0) {
    return false;
  }
  *attr = record.attr;
  if (!pst_entry_current(view, &entry)) return false;
  NameTableKeep(epoch, route.text, name.text_len, route.mount, id, *attr, expires_ns);
  return true;
}

// What the listing of the name's directory says about it: kind file, directory or absent.
__attribute__((noinline)) bool FindInListing(const Name& name, uint64_t epoch, const pst_key128& id,
                                             pst_attr* attr) {
  const Route& route = *name.route;
  if (name.rel_len == 0) return false;
  const Mount& mount = route.view->mounts[route.mount];
  const pst_view* view = &route.view->index;
  const char* slash = (const char*)memrchr(route.rel, '/', name.rel_len);
  pst_listed_name wanted;
  wanted.ns = mount.ns;
  wanted.dir = route.rel;
  wanted.dir_len = slash != nullptr ? (uint32_t)(slash - route.rel) : 0;
  wanted.name = slash != nullptr ? slash + 1 : route.rel;
  wanted.name_len = name.rel_len - (uint32_t)(wanted.name - route.rel);
  wanted.reserved = 0;
  wanted.id = id;
  XXH128_hash_t hash = XXH3_128bits(wanted.dir, wanted.dir_len);
  wanted.dir_id = {hash.low64, hash.high64};
  pst_listed listed;
  const int found = pst_listing_lookup(view, &wanted, &listed);
  if (found == PST_LISTED_UNKNOWN) return false;
  const int64_t expires_ns = ExpiresNs(*view, listed.expires_ds);
  if (expires_ns <= PstCoarseNs()) return false;
  if (found == PST_LISTED_NO) {
    memset(attr, 0, sizeof *attr);
    attr->kind = PST_KIND_ABSENT;
    attr->err = ENOENT;
    attr->ino = pst_inode(mount.ns, id);
  } else if (pst_listed_attr(&wanted, &listed, mount.flags, attr) != PST_LISTED_YES) {
    return false;
  }
  NameTableKeep(epoch, route.text, name.text_len, route.mount, id, *attr, expires_ns);
  return true;
}

PST_COLD int AskName(const Route& route, uint32_t len, const pst_key128& id, int open_flags, pst_attr* attr) {
  Ask ask;
  Answer answer;
  ask.op = PST_OP_LOOKUP;
  ask.ns = route.view->mounts[route.mount].ns;
  ask.id = id;
  const bool reads = (open_flags & (O_ACCMODE | O_PATH | O_DIRECTORY)) == O_RDONLY;
  if (reads) ask.flags = PST_REQUEST_OPENS;
  ask.path = route.rel;
  ask.path_len = len;
  int err = PstAsk(ask, &answer);
  if (err != 0) return err;
  *attr = answer.attr;
  return 0;
}

constexpr int kNotOpened = O_PATH;

// Attributes of the first `len` bytes of the route, absent ones as a record.
PST_INLINE int Find(const Route& route, uint32_t len, int open_flags, pst_attr* attr) {
  if (PST_LIKELY(route.known && len == route.rel_len)) {
    *attr = route.attr;
    PstCount(&pst_counters::hits_name);
    return 0;
  }
  const Name name = NameOf(route, len);
  const uint64_t epoch = NameEpoch(route.view);
  NameRecord record;
  if (PST_LIKELY(NameTableFind(epoch, route.text, name.text_len, &record))) {
    *attr = NameAttr(record);
    PstCount(&pst_counters::hits_name);
    return 0;
  }
  pst_key128 id = route.id;
  if (PST_UNLIKELY(len != route.rel_len)) {
    XXH128_hash_t hash = XXH3_128bits(route.rel, len);
    id = {hash.low64, hash.high64};
  }
  if (PST_LIKELY(FindInIndex(name, epoch, id, attr) || FindInListing(name, epoch, id, attr))) {
    PstCount(&pst_counters::hits_name);
    return 0;
  }
  return AskName(route, len, id, open_flags, attr);
}

// ENOENT, or ENOTDIR if a file stands in the way.
PST_COLD int AbsentErrno(const Route& route, const pst_attr& absent) {
  int err = absent.err > 0 && absent.err < 4096 ? absent.err : ENOENT;
  if (err != ENOENT) return err;
  for (uint32_t len = route.rel_len; len > 0;) {
    do {
      --len;
    } while (len > 0 && route.rel[len] != '/');
    pst_attr above;
    if (Find(route, len, kNotOpened, &above) != 0 || above.kind == PST_KIND_DIRECTORY) return ENOENT;
    if (above.kind == PST_KIND_FILE) return ENOTDIR;
  }
  return ENOENT;
}

timespec TimeOf(int64_t ns) {
  int64_t seconds = ns / 1'000'000'000, rest = ns - seconds * 1'000'000'000;
  if (PST_UNLIKELY(rest < 0)) {
    rest += 1'000'000'000;
    --seconds;
  }
  return {(time_t)seconds, (long)rest};
}

// memset, as plain stores: what gcc makes of it here (rep stos) takes longer than the rest of a stat.
PST_INLINE void Clear(struct stat* out) {
  static_assert(sizeof(struct stat) % sizeof(TwoWords) == 0);
#pragma GCC unroll 9
  for (size_t i = 0; i < sizeof(struct stat) / sizeof(TwoWords); ++i)
    ((TwoWords*)(void*)out)[i] = TwoWords{0, 0};
}

PST_INLINE void Fill(const Mount& mount, uint64_t ino, uint64_t size, int64_t mtime_ns, uint32_t mode, uint32_t nlink,
          struct stat* out) {
  Clear(out);
  out->st_dev = makedev(mount.st_dev >> 20, mount.st_dev & 0xFFFFF);
  out->st_ino = ino;
  out->st_mode = mode;
  out->st_nlink = nlink != 0 ? nlink : 1;
  out->st_uid = mount.uid != UINT32_MAX ? mount.uid : OwnUid();
  out->st_gid = mount.gid != UINT32_MAX ? mount.gid : OwnGid();
  out->st_size = (off_t)size;
  out->st_blksize = kShownBlock;
  out->st_blocks = (blkcnt_t)((size + 4095) / 4096 * 8);  // as of a local disk, in whole pages
  const timespec time = TimeOf(mtime_ns);
  out->st_atim = time;
  out->st_mtim = time;
  out->st_ctim = time;
}

uint32_t ShownMode(uint32_t kind, uint32_t mode) {
  const bool known = (mode & (0777 | PST_MODE_GIVEN)) != 0;
  if (kind == PST_KIND_DIRECTORY) return S_IFDIR | (known ? mode & 0777 : 0555);
  return S_IFREG | (known ? mode & 0777 : 0444);
}

}  // namespace

int PstLookup(const Route& route, pst_attr* attr) { return PstLookupToOpen(route, kNotOpened, attr); }

int PstLookupToOpen(const Route& route, int open_flags, pst_attr* attr) {
  int err = Find(route, route.rel_len, open_flags, attr);
  if (PST_UNLIKELY(err != 0)) return err;
  if (PST_LIKELY(attr->kind == PST_KIND_FILE)) return PST_UNLIKELY(route.must_be_dir) ? ENOTDIR : 0;
  if (attr->kind == PST_KIND_DIRECTORY) return 0;
  return attr->kind == PST_KIND_ABSENT ? AbsentErrno(route, *attr) : EIO;
}

bool PstStatKnown(const char* path, struct stat* out) {
  const View* view = PstView();
  if (view == nullptr || path == nullptr || path[0] != '/') return false;
  const size_t len = strlen(path);
  NameRecord known;
  if (PST_UNLIKELY(len > kNameTextBytes) || !NameTableFind(NameEpoch(view), path, (uint32_t)len, &known))
    return false;
  const bool directory = known.kind == PST_KIND_DIRECTORY;
  if (PST_UNLIKELY(known.kind != PST_KIND_FILE && !directory)) return false;
  PstCount(&pst_counters::hits_name);
  Fill(view->mounts[known.mount], known.ino, directory ? 4096 : known.size, known.mtime_ns,
       ShownMode(known.kind, known.mode), known.nlink, out);
  return true;
}

void PstFillStat(const Mount& mount, const pst_attr& attr, struct stat* out) {
  Fill(mount, attr.ino, attr.kind == PST_KIND_DIRECTORY ? 4096 : attr.size, attr.mtime_ns,
       ShownMode(attr.kind, attr.mode), attr.nlink, out);
}

void PstFillStat(const Mount& mount, const FdEntry& entry, struct stat* out) {
  bool directory = entry.kind == kFdDirectory;
  Fill(mount, entry.ino, directory ? 4096 : entry.size, entry.mtime_ns,
       ShownMode(directory ? PST_KIND_DIRECTORY : PST_KIND_FILE, entry.mode), entry.nlink, out);
}

void PstCompleteEntry(int fd, FdEntry* entry) {
  Scratch scratch;
  char* path = scratch.Get();
  Ask ask;
  Answer answer;
  ask.op = PST_OP_NAME;
  ask.ns = entry->ns;
  ask.id = entry->id;
  ask.length = PST_PATH_MAX;
  ask.reply = path;
  ask.reply_capacity = kFdPathBytes;
  uint32_t path_len = 0;
  if (path != nullptr && PstAsk(ask, &answer) == 0) {
    path_len = answer.path_len;
    // Of another version by now: name and number stay, times are the best that is known.
    entry->mtime_ns = answer.attr.mtime_ns;
    entry->ino = answer.attr.ino;
    entry->mode = answer.attr.mode;
    entry->nlink = answer.attr.nlink;
  } else {
    entry->mtime_ns = 0;
    entry->ino = entry->id.lo | 1u;
  }
  PstFdRefine(fd, *entry, path, path_len);
}

void PstFillVirtualStat(const char* path, uint32_t len, struct stat* out) {
  memset(out, 0, sizeof *out);
  XXH64_hash_t hash = XXH3_64bits(path, len);
  out->st_dev = makedev(0, 0xFFFFF);
  out->st_ino = (ino_t)(hash | 1u);
  out->st_mode = S_IFDIR | 0555;
  out->st_nlink = 2;
  out->st_uid = OwnUid();
  out->st_gid = OwnGid();
  out->st_size = 4096;
  out->st_blksize = 4096;
  out->st_blocks = 8;
}

void PstForgetIds() {
  __atomic_store_n(&g_uid, UINT32_MAX, __ATOMIC_RELAXED);
  __atomic_store_n(&g_gid, UINT32_MAX, __ATOMIC_RELAXED);
}

int PstCheckAccess(const Mount& mount, const pst_attr& attr, int mode, bool effective) {
  if (mode == F_OK) return 0;
  if ((mode & ~(R_OK | W_OK | X_OK)) != 0) return EINVAL;
  if ((mode & W_OK) != 0) return EROFS;
  struct stat info;
  PstFillStat(mount, attr, &info);
  uint32_t bits = info.st_mode & 0777;
  const uint32_t uid = effective ? (uint32_t)Raw(SYS_geteuid) : OwnUid();
  const uint32_t gid = effective ? (uint32_t)Raw(SYS_getegid) : OwnGid();
  // A file of the program's own is everybody's own: what a program changes into sees it as its own
  // too.
  const bool owner = mount.uid == UINT32_MAX || info.st_uid == uid;
  const bool group = mount.gid == UINT32_MAX || info.st_gid == gid;
  if (uid == 0) {
    if ((mode & X_OK) != 0 && attr.kind == PST_KIND_FILE && (bits & 0111) == 0) return EACCES;
    return 0;
  }
  uint32_t granted = owner ? bits >> 6 : group ? bits >> 3 : bits;
  if ((mode & R_OK) != 0 && (granted & 4) == 0) return EACCES;
  if ((mode & X_OK) != 0 && (granted & 1) == 0) return EACCES;
  return 0;
}

}  // namespace penstock
