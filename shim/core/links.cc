#include "shim/core/links.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shim/core/config.h"
#include "shim/core/outside.h"
#include "shim/core/raw.h"
#include "shim/core/time.h"

namespace penstock {
namespace {

constexpr int kMaxLinks = 40;  // as the kernel
constexpr int64_t kRememberNs = 1'000'000'000;
constexpr uint32_t kRemembered = 256;
constexpr uint32_t kLinkedBytes = 2 * PST_PATH_MAX;
static_assert(kLinkedBytes <= kScratchBytes);

// Folders (by the hash of their name as asked for) that lead nowhere, with the coarse time until which that
// holds in the low bits: one word, so that no lock is needed.
uint64_t g_nowhere[kRemembered];

uint64_t Tick(int64_t now_ns) { return (uint64_t)(now_ns / kRememberNs) & 0xFFFF; }

bool KnownNowhere(uint64_t hash, int64_t now_ns) {
  uint64_t word = __atomic_load_n(&g_nowhere[hash % kRemembered], __ATOMIC_RELAXED);
  uint64_t age = (Tick(now_ns) - (word & 0xFFFF)) & 0xFFFF;
  return word != 0 && (word >> 16) == (hash >> 16) && age <= 1;
}

void RememberNowhere(uint64_t hash, int64_t now_ns) {
  __atomic_store_n(&g_nowhere[hash % kRemembered], ((hash >> 16) << 16) | Tick(now_ns), __ATOMIC_RELAXED);
}

// Where the kernel has a mount whose path leads over a link (/data -> /mnt/x, a mount at
// /data/train): names that are resolved by somebody else begin with that.
struct Alias {
  uint32_t len;
  char path[PST_PATH_MAX];
};
Alias* g_aliases;  // one for each prefix, len 0: none. Null: there is none at all, or nobody has
                   // looked
bool g_aliases_known;

// The disk's name of what lies above a prefix, and the rest as configured. Its length, 0: as
// configured.
uint32_t AliasOf(const Prefix& prefix, char* to) {
  memcpy(to, prefix.path, prefix.len + 1);
  uint32_t end = 1, folder = 0;  // how much of the text is a folder on disk
  bool links = false;
  for (;; ++end) {
    while (end < prefix.len && to[end] != '/') ++end;
    if (end >= prefix.len) break;
    char target[1];
    to[end] = 0;
    const long n = Raw(SYS_readlinkat, AT_FDCWD, to, target, sizeof target);
    to[end] = '/';
    if (n < 0 && n != -EINVAL) break;
    links |= n >= 0;
    folder = end;
  }
  if (!links) return 0;
  to[folder] = 0;
  uint32_t len = folder;
  if (OutsideResolve(to, &len, PST_PATH_MAX) != 0) return 0;
  const uint32_t rest = prefix.len - folder;
  if (len + rest >= PST_PATH_MAX) return 0;
  memcpy(to + len, prefix.path + folder, rest + 1);
  return len + rest;
}

PST_COLD void FindAliases() {
  Scratch scratch;
  char* text = scratch.Get();
  if (text == nullptr) return;
  Alias* aliases = nullptr;
  const uint64_t bytes = g_config.prefix_count * sizeof(Alias);
  for (uint32_t i = 0; i < g_config.prefix_count; ++i) {
    const uint32_t len = AliasOf(g_config.prefixes[i], text);
    if (len == 0) continue;
    if (aliases == nullptr) {
      const long at =
          Raw(SYS_mmap, nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (at < 0 && at > -4096) return;
      aliases = (Alias*)at;
    }
    aliases[i].len = len;
    memcpy(aliases[i].path, text, len);
  }
  Alias* nobody = nullptr;
  if (aliases != nullptr && !__atomic_compare_exchange_n(&g_aliases, &nobody, aliases, false,
                                                         __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
    Raw(SYS_munmap, aliases, bytes);
  }
  __atomic_store_n(&g_aliases_known, true, __ATOMIC_RELEASE);
}

// Writes the configured path over its disk's name at the beginning of `text`. False: there is none.
bool Unalias(char* text, uint32_t len, uint32_t capacity) {
  if (PST_UNLIKELY(!__atomic_load_n(&g_aliases_known, __ATOMIC_ACQUIRE))) FindAliases();
  const Alias* aliases = __atomic_load_n(&g_aliases, __ATOMIC_ACQUIRE);
  for (uint32_t i = 0; aliases != nullptr && i < g_config.prefix_count; ++i) {
    const Alias& alias = aliases[i];
    const Prefix& prefix = g_config.prefixes[i];
    if (alias.len == 0 || len < alias.len || memcmp(text, alias.path, alias.len) != 0 ||
        (len > alias.len && text[alias.len] != '/') || len - alias.len + prefix.len >= capacity) {
      continue;
    }
    memmove(text + prefix.len, text + alias.len, len - alias.len + 1);
    memcpy(text, prefix.path, prefix.len);
    return true;
  }
  return false;
}

// The absolute text of dirfd + path. Length, or 0.
uint32_t Absolute(int dirfd, const char* path, char* to, uint32_t capacity) {
  uint32_t len = 0;
  if (path[0] != '/') {
    int start = dirfd == AT_FDCWD ? PstCwdGet(to) : OutsideFdPath(dirfd, to, PST_PATH_MAX);
    if (start <= 0) return 0;
    len = (uint32_t)start;
    if (to[len - 1] != '/') to[len++] = '/';
  }
  auto rest = (uint32_t)strnlen(path, PST_PATH_MAX);
  if (len + rest >= capacity) return 0;
  memcpy(to + len, path, rest + 1);
  return len + rest;
}

// Walks `text`, replacing links in place. True when what stands there now is covered or above a mount.
bool Walk(char* text, uint32_t len, uint32_t capacity, bool follow) {
  Scratch scratch;
  char* target = scratch.Get();
  constexpr size_t kTargetBytes = PST_PATH_MAX;
  if (target == nullptr) return false;
  int links = 0;
  for (uint32_t at = 1; at <= len;) {
    uint32_t end = at;
    while (end < len && text[end] != '/') ++end;
    if (end == at) {  // "//"
      if (end >= len) return false;
      ++at;
      continue;
    }
    bool last = end >= len;
    if (last && !follow) return false;
    char kept = text[end];
    text[end] = 0;
    long n = Raw(SYS_readlinkat, AT_FDCWD, text, target, kTargetBytes - 1);
    text[end] = kept;
    if (n < 0) {
      if (n != -EINVAL) return false;  // not there, and no link of ours before it
      at = end + 1;
      continue;
    }
    if (++links > kMaxLinks || n == 0 || n >= (long)kTargetBytes - 1) return false;
    uint32_t start = target[0] == '/' ? 0 : at;
    uint32_t rest = len - end;
    if (start + (uint32_t)n + rest + 1 >= capacity) return false;
    memmove(text + start + n, text + end, rest + 1);
    memcpy(text + start, target, (size_t)n);
    len = start + (uint32_t)n + rest;
    at = start == 0 ? 1 : start;
    Route probe;
    PathBuffer buffer;
    Cover cover = PstRoute(AT_FDCWD, text, &buffer, &probe);
    if (cover == Cover::kMount || cover == Cover::kAncestor || cover == Cover::kError) return true;
  }
  return false;
}

}  // namespace

bool PstRouteThroughLinks(int dirfd, const char* path, bool follow, LinkedPath* linked, Route* out) {
  if (!g_config.active || path == nullptr || path[0] == 0) return false;
  char* text = linked->text.Get();
  if (text == nullptr) return false;
  uint32_t len = Absolute(dirfd, path, text, kLinkedBytes);
  if (len == 0) return false;
  if (PST_UNLIKELY(Unalias(text, len, kLinkedBytes)))
    return PstRoute(AT_FDCWD, text, &linked->buffer, out) != Cover::kNone;
  uint32_t folder = len;
  while (folder > 0 && text[folder - 1] != '/') --folder;
  uint64_t hash = XXH3_64bits(text, folder) | (1ull << 63);
  int64_t now_ns = PstCoarseNs();
  if (KnownNowhere(hash, now_ns)) {
    char target[8];
    if (!follow || Raw(SYS_readlinkat, AT_FDCWD, text, target, sizeof target) < 0) return false;
  }
  if (!Walk(text, len, kLinkedBytes, follow)) {
    RememberNowhere(hash, now_ns);
    return false;
  }
  return PstRoute(AT_FDCWD, text, &linked->buffer, out) != Cover::kNone;
}

}  // namespace penstock
