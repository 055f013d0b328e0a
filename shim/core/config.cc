#include "shim/core/config.h"

#include <string.h>

namespace penstock {

Config g_config;

namespace {

const char* Find(char** envp, const char* name) {
  size_t len = strlen(name);
  for (char** at = envp; at != nullptr && *at != nullptr; ++at) {
    if (strncmp(*at, name, len) == 0 && (*at)[len] == '=') return *at + len + 1;
  }
  return nullptr;
}

// Appends [from, from + len) normalised ("//" and "/./" folded, no trailing slash) to `to`.
// Its length, or -1 if it is not absolute, holds ".." or does not fit.
int Normalise(const char* from, size_t len, char* to, size_t room) {
  size_t out = 0;
  if (len == 0 || from[0] != '/') return -1;
  for (size_t i = 0; i < len;) {
    while (i < len && from[i] == '/') ++i;
    size_t start = i;
    while (i < len && from[i] != '/') ++i;
    size_t part = i - start;
    if (part == 0 || (part == 1 && from[start] == '.')) continue;
    if (part == 2 && from[start] == '.' && from[start + 1] == '.') return -1;
    if (out + 1 + part + 1 > room) return -1;
    to[out++] = '/';
    memcpy(to + out, from + start, part);
    out += part;
  }
  if (out + 1 > room) return -1;
  to[out] = 0;
  return (int)out;
}

}  // namespace

int64_t ParseDurationNs(const char* text) {
  if (text == nullptr || *text < '0' || *text > '9') return -1;
  int64_t whole = 0;
  const char* at = text;
  for (; *at >= '0' && *at <= '9'; ++at) {
    whole = whole * 10 + (*at - '0');
    if (whole > kMaxWaitNs / 1000) return -1;
  }
  const char* fraction = nullptr;
  if (*at == '.') {
    fraction = ++at;
    while (*at >= '0' && *at <= '9') ++at;
    if (at == fraction) return -1;
  }
  int64_t unit;
  if (*at == 0 || strcmp(at, "s") == 0) {
    unit = 1'000'000'000;
  } else if (strcmp(at, "ms") == 0) {
    unit = 1'000'000;
  } else if (strcmp(at, "m") == 0) {
    unit = 60'000'000'000;
  } else if (strcmp(at, "h") == 0) {
    unit = 3'600'000'000'000;
  } else {
    return -1;
  }
  if (whole > kMaxWaitNs / unit) return kMaxWaitNs;
  int64_t value = whole * unit;
  for (int64_t place = unit / 10; fraction != nullptr && *fraction >= '0' && *fraction <= '9' && place > 0; place /= 10)
    value += (*fraction++ - '0') * place;
  return value;
}

void ConfigInit(char** envp) {
  const char* socket = Find(envp, "PENSTOCK_SOCKET");
  const char* paths = Find(envp, "PENSTOCK_PATHS");
  if (socket == nullptr || *socket == 0 || paths == nullptr || *paths == 0) return;
  Config& c = g_config;
  size_t used = 0, socket_len = strlen(socket);
  if (socket_len >= 1024) return;
  memcpy(c.text, socket, socket_len + 1);
  c.socket_path = c.text;
  c.socket_len = (uint32_t)socket_len;
  used = socket_len + 1;
  c.shortest_prefix = UINT32_MAX;
  while (*paths != 0 && c.prefix_count < kMaxPrefixes) {
    const char* end = strchr(paths, ':');
    size_t len = end != nullptr ? (size_t)(end - paths) : strlen(paths);
    int out = Normalise(paths, len, c.text + used, sizeof c.text - used);
    if (out >= 0 && out < (int)PST_MOUNT_PATH_MAX) {
      c.prefixes[c.prefix_count++] = {c.text + used, (uint32_t)out};
      used += (size_t)out + 1;
      if ((uint32_t)out < c.shortest_prefix) c.shortest_prefix = (uint32_t)out;
    }
    paths += len + (end != nullptr ? 1 : 0);
  }
  c.wait_ns = ParseDurationNs(Find(envp, "PENSTOCK_WAIT"));
  if (c.wait_ns < 0) c.wait_ns = kDefaultWaitNs;
  c.active = c.prefix_count > 0;
}

}  // namespace penstock
