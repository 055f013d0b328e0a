#include "shim/calls/kept_env.h"

#include <link.h>
#include <stdint.h>
#include <string.h>

#include "shim/core/config.h"
#include "shim/core/decimal.h"
#include "shim/core/hook.h"

extern "C" __attribute__((visibility("hidden"))) const char __ehdr_start[];

namespace penstock {
namespace {

constexpr char kPreload[] = "LD_PRELOAD=";
constexpr size_t kPreloadLen = sizeof kPreload - 1;
constexpr int kVariables = 3;
constexpr const char* kNames[kVariables] = {
    "PENSTOCK_SOCKET=", "PENSTOCK_PATHS=", "PENSTOCK_WAIT="};

// Made at the first use. Two threads may make the same bytes at once.
struct Kept {
  char library[PST_PATH_MAX];
  char variables[kVariables][sizeof(Config::text) + 64];
};
Kept g_kept;
uint32_t g_kept_ready;

int FindLibrary(dl_phdr_info* object, size_t, void* data) {
  if (object->dlpi_addr != reinterpret_cast<ElfW(Addr)>(__ehdr_start)) return 0;
  strncpy(static_cast<char*>(data), object->dlpi_name, PST_PATH_MAX - 1);
  return 1;
}

void MakeKept() {
  if (__atomic_load_n(&g_kept_ready, __ATOMIC_ACQUIRE) != 0) return;
  if (g_kept.library[0] == '\0') dl_iterate_phdr(FindLibrary, g_kept.library);
  char* socket = stpcpy(g_kept.variables[0], kNames[0]);
  memcpy(socket, g_config.socket_path, g_config.socket_len);
  char* paths = stpcpy(g_kept.variables[1], kNames[1]);
  for (uint32_t i = 0; i < g_config.prefix_count; ++i) {
    const Prefix& prefix = g_config.prefixes[i];
    if (i > 0) *paths++ = ':';
    if (prefix.len == 0) *paths++ = '/';
    memcpy(paths, prefix.path, prefix.len);
    paths += prefix.len;
  }
  strcpy(PutDecimal(static_cast<uint64_t>(g_config.wait_ns) / 1'000'000,
                    stpcpy(g_kept.variables[2], kNames[2])),
         "ms");
  __atomic_store_n(&g_kept_ready, 1u, __ATOMIC_RELEASE);
}

bool StartsWith(const char* text, const char* prefix) {
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

// Is the library one of the names in a value of LD_PRELOAD?
bool Names(const char* value) {
  size_t len = strlen(g_kept.library);
  for (const char* at = value; *at != '\0';) {
    size_t part = strcspn(at, ": ");
    if (part == len && memcmp(at, g_kept.library, len) == 0) return true;
    at += part;
    while (*at == ':' || *at == ' ') ++at;
  }
  return false;
}

struct Found {
  size_t count = 0;               // entries of the environment
  const char* preload = nullptr;  // value of LD_PRELOAD
  bool complete_preload = false;
  bool variables[kVariables] = {};
  int missing = 0;
};

Found Look(char* const* envp) {
  Found found;
  for (; envp != nullptr && envp[found.count] != nullptr; ++found.count) {
    const char* entry = envp[found.count];
    if (PST_LIKELY(entry[0] != 'L' && entry[0] != 'P')) continue;
    if (StartsWith(entry, kPreload)) found.preload = entry + kPreloadLen;
    for (int i = 0; i < kVariables; ++i) found.variables[i] |= StartsWith(entry, kNames[i]);
  }
  found.complete_preload = found.preload != nullptr && Names(found.preload);
  for (bool there : found.variables) found.missing += there ? 0 : 1;
  return found;
}

}  // namespace

const char* KeptLibrary() {
  MakeKept();
  return g_kept.library;
}

void KeepLibraryAs(const char* path) {
  if (strlen(path) < sizeof g_kept.library) strcpy(g_kept.library, path);
}

KeptEnvNeed NeedToKeep(char* const* envp) {
  if (!g_config.active) return {0, 0};
  MakeKept();
  Found found = Look(envp);
  if (found.complete_preload && found.missing == 0) return {0, 0};
  size_t bytes = kPreloadLen + (found.preload != nullptr ? strlen(found.preload) : 0) + 1 +
                 strlen(g_kept.library) + 1;
  return {found.count + kVariables + 2, bytes};
}

void KeepEnvironment(char* const* envp, char** words, char* text) {
  Found found = Look(envp);
  size_t count = 0;
  for (size_t i = 0; i < found.count; ++i) {
    if (!found.complete_preload && StartsWith(envp[i], kPreload)) continue;
    words[count++] = envp[i];
  }
  if (!found.complete_preload) {
    char* at = stpcpy(text, kPreload);
    if (found.preload != nullptr && *found.preload != '\0') {
      at = stpcpy(at, found.preload);
      *at++ = ':';
    }
    strcpy(at, g_kept.library);
    words[count++] = text;
  }
  for (int i = 0; i < kVariables; ++i) {
    if (!found.variables[i]) words[count++] = g_kept.variables[i];
  }
  words[count] = nullptr;
}

}  // namespace penstock
