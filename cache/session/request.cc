#include "cache/session/request.h"

#include <errno.h>

#include <algorithm>

#include "cache/engine/engine.h"
#include "shim/abi/open_file.h"

namespace penstock::cache {
namespace {

RequestCheck Rubbish(const char* why) { return {RequestVerdict::kRubbish, 0, why}; }
RequestCheck Refused(int err, const char* why) { return {RequestVerdict::kRefused, err, why}; }

// Which operations take a place in a file, and may be asked for by key alone.
bool HasPlace(std::uint32_t op) {
  return op == PST_OP_FETCH || op == PST_OP_MATERIALIZE || op == PST_OP_READ;
}
// Their buffer is for the answer; a READ may bring its path all the same.
bool KeyIsEnough(std::uint32_t op, std::uint32_t path_len) {
  return op == PST_OP_NAME || (op == PST_OP_READ && path_len == 0);
}

RequestCheck CheckPlace(const SessionRequest& request) {
  if (request.offset > PST_MAX_FILE_BYTES) return Refused(EINVAL, "offset beyond the largest file");
  if (request.length > PST_MAX_FILE_BYTES - request.offset)
    return Refused(EINVAL, "length beyond the largest file");
  return {};
}

}  // namespace

int CheckRelativePath(std::string_view path) {
  if (path.empty()) return 0;
  if (path.find('\0') != std::string_view::npos) return EINVAL;
  int result = 0;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") return EINVAL;
    if (part.size() > kMaxComponentBytes) result = ENAMETOOLONG;
    at = end + 1;
  }
  return result;
}

RequestCheck CheckRequest(const pst_request& copy, const void* buffer, std::uint32_t mount_count,
                          std::int64_t now_ns, SessionRequest* out) {
  if (copy.op < PST_OP_LOOKUP || copy.op > PST_OP_UNLOCK) return Rubbish("unknown operation");
  if ((copy.flags & ~(PST_REQUEST_NOWAIT | PST_REQUEST_OPENS)) != 0) return Rubbish("unknown flags");
  if ((copy.flags & PST_REQUEST_OPENS) != 0 && copy.op != PST_OP_LOOKUP)
    return Rubbish("opens what it does not look up");
  const bool is_hint = (copy.flags & PST_REQUEST_NOWAIT) != 0;
  if (is_hint && copy.op != PST_OP_FETCH && copy.op != PST_OP_UNLOCK)
    return Rubbish("a hint that is no fetch");
  if (copy.op == PST_OP_UNLOCK && (!is_hint || copy.slot == PST_NO_SLOT))
    return Rubbish("an unlock that is no hint, or of nothing");
  const bool about_file = copy.op != PST_OP_LEASE && copy.op != PST_OP_UNLOCK;
  if (about_file && ((copy.ns & ~PST_NS_INDEX_MASK) != PST_NS_FILES ||
                     (copy.ns & PST_NS_INDEX_MASK) >= mount_count))
    return Rubbish("unknown namespace");
  if (copy.path_len >= PST_PATH_MAX) return Rubbish("path longer than its buffer");
  if (copy.slot != PST_NO_SLOT && copy.slot >= PST_OPEN_FILE_SLOTS)
    return Rubbish("slot beyond the table");
  out->op = copy.op;
  out->mount = copy.ns & PST_NS_INDEX_MASK;
  out->flags = copy.flags;
  out->id = copy.id;
  out->version = copy.version;
  out->offset = copy.offset;
  out->length = copy.length;
  out->late = copy.deadline_ns <= now_ns;
  out->deadline_ns = std::clamp(copy.deadline_ns, now_ns, now_ns + kMaxRequestNs);
  out->slot = copy.slot;
  out->slot_generation = copy.slot_generation;
  out->path.clear();
  out->by_key = false;
  if (!about_file) return {};
  out->path.assign(static_cast<const char*>(buffer), copy.path_len);
  if (HasPlace(copy.op)) {
    if (const RequestCheck place = CheckPlace(*out); place.verdict != RequestVerdict::kGood)
      return place;
  }
  if (KeyIsEnough(copy.op, copy.path_len)) {
    out->path.clear();
    out->by_key = true;
    return {};
  }
  if (const int err = CheckRelativePath(out->path); err != 0) return Refused(err, "bad path");
  const pst_key128 key = KeyOf(out->path);
  if (key.lo != copy.id.lo || key.hi != copy.id.hi) return Refused(EINVAL, "key of another path");
  return {};
}

}  // namespace penstock::cache
