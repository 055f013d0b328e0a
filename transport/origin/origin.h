// The interface to where data comes from: a Blob container, a folder, later capacity nodes.
//
// Work in flight is a caller-owned operation struct: the caller fills the request fields, calls
// Stat/Read/List, and must keep the struct (and every buffer it names) alive and untouched until
// `done` has been called. `done` is called exactly once per started operation, on a thread of the
// origin or inline on the caller's; it must not block and may destroy the operation or start
// others. Cancel() makes `done` come soon with Code::kCancelled unless the operation already
// finished.
//
// Names are relative to the mount's origin prefix: '/'-separated, no leading or trailing slash, ""
// for the root, raw bytes as the user wrote them (an origin encodes for its own protocol).
// Version tokens are opaque strings that change whenever content changes (an ETag; for a folder the
// file's device, inode, size, mtime and ctime).
//
// Thread safety: all methods may be called from any thread. Deadlines are absolute CLOCK_MONOTONIC
// nanoseconds; an operation is over, with an error, at its deadline at the latest (plus
// scheduling).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "transport/base/result.h"
#include "transport/identity/identity_config.h"
#include "transport/traffic/pacer.h"
#include "transport/traffic/request_counters.h"

namespace penstock::origin {

enum class ObjectKind : std::uint8_t { kFile, kDirectory };

struct ObjectInfo {
  std::string name;  // List: the last component only; Stat, Read: as asked
  ObjectKind kind = ObjectKind::kFile;
  std::uint64_t size = 0;     // bytes; 0 for a directory
  std::int64_t mtime_ns = 0;  // since 1970, UTC; 0 if the origin has none (virtual directories)
  std::string version;        // opaque; empty for a directory
  bool has_mode = false;      // false: the origin knows no permissions
  std::uint16_t mode = 0;     // permission bits, 0777 at most
};

struct Op {
  std::int64_t deadline_ns = 0;          // absolute CLOCK_MONOTONIC
  void (*done)(Op* op) = nullptr;        // called once, see above
  void* user = nullptr;                  // the caller's
  void* impl = nullptr;                  // the origin's, while the operation runs
  Error error{Code::kOk, false, 0, ""};  // kOk on success
  bool ok() const { return error.code == Code::kOk; }
};

// Attributes of one object. Not found: Code::kNotFound. In a flat Blob namespace a name that is
// only a prefix of others is a directory.
struct StatOp : Op {
  std::string name;
  ObjectInfo info;  // result
};

// Whether the origin answers and lets us in: kNotFound if the container or folder is missing, kPermission
// for the credentials. On failure `explanation` is a clear sentence for a person.
struct ProbeOp : StatOp {
  std::string explanation;  // result
};

// Reads [offset, offset + sum of buffer sizes) into `buffers` in order. Success means that every
// byte was delivered, from the version asked for; anything else is an error and the contents of the
// buffers are undefined. A `version` that no longer matches gives kVersionChanged.
struct ReadOp : Op {
  std::string name;
  std::string version;  // "" accepts any; the one served is in info.version
  std::uint64_t offset = 0;
  std::vector<std::span<std::byte>> buffers;
  bool prefetch = false;  // nobody waits for it yet: others may go first where there is a limit
  // The object may be shorter: min(size of the buffers, info.size) bytes are delivered then. With offset 0,
  // and only where Origin::ReadsHeads() says so. An empty object is an error.
  bool head = false;
  ObjectInfo info;        // result: size (whole object), version, mtime
};

// One page of a directory's direct children, in the origin's order; "" asks for the first page, and
// next_marker is "" after the last. A directory that does not exist gives kNotFound on its first
// page. A name that can't be a path component is left out and counted in `skipped`.
//
// `recursive` asks for everything below the directory instead, in one flat listing in the origin's
// order: names are then paths relative to the directory, a directory is an entry only where the
// origin has something that stands for it, and `name_prefix` leaves out what does not begin with
// it. Only where Origin::ListsRecursively() says so; kInvalid elsewhere.
struct ListOp : Op {
  std::string directory;
  std::string marker;
  bool recursive = false;
  std::string name_prefix;
  std::vector<ObjectInfo> entries;  // result
  std::string next_marker;          // result
  std::uint32_t skipped = 0;        // result
};

// Creates or replaces an object as a whole: readers see the old one or the new one. The body stays
// the caller's until `done`.
struct PutOp : Op {
  std::string name;
  std::span<const std::byte> body;
  std::string version;  // result: of what was written
};

// Plain counters, read with relaxed loads from any thread.
struct OriginStats {
  std::uint64_t requests = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t errors = 0;
  std::uint64_t retries = 0;
  std::uint64_t connects =
      0;  // connections opened: few against many requests if they are kept alive
  std::uint64_t hedges = 0;       // second requests beside slow ones
  std::uint64_t hedges_won = 0;   // that were there first
  std::uint64_t throttled = 0;    // answers 429 and 503
  std::uint32_t concurrency = 0;  // now: requests on the wire at once, as measured; 0: no limit
};

class Origin {
 public:
  virtual ~Origin() = default;  // every operation must be over
  virtual void Stat(StatOp* op) = 0;
  virtual void Read(ReadOp* op) = 0;
  virtual void List(ListOp* op) = 0;
  virtual bool ListsRecursively() const { return false; }
  // True if the pages of a directory's listing follow each other by bytes, a directory as if it had a
  // slash at its end. (Who relies on it must do without where one does not.)
  virtual bool ListsInOrder() const { return false; }
  // Whether Stat of "" tells more than that the root is there, at no cost.
  virtual bool KnowsRoot() const { return false; }
  // Whether ReadOp::head is understood, and attributes and bytes by one request are worth it.
  virtual bool ReadsHeads() const { return false; }
  // kReadOnly where an origin cannot be written.
  virtual void Put(PutOp* op);
  virtual void Cancel(Op* op) = 0;
  // Somebody waits now for a read that was begun as a prefetch: others overtake it no more. Nothing
  // happens if it is over.
  virtual void Hurry(ReadOp*) {}
  virtual OriginStats Stats() const = 0;
  // The requests behind them, where the origin is a service.
  virtual RequestCounts Requests() const { return {}; }
  // How many requests at once serve best now, as measured; 0 where that is unknown.
  virtual std::uint32_t Concurrency() const { return 0; }
  virtual void StartProbe(ProbeOp* op) = 0;
  // The same for those who have nothing else to do: blocks up to timeout_ms.
  Result<void> Probe(std::int64_t timeout_ms, std::string* explanation);
  // What a person should know although it works ("" for nothing): secrets or data that travel in clear.
  virtual std::string Risk() const { return ""; }
  // What to call it in a log: no secrets ("az://account/container/prefix").
  virtual std::string Describe() const = 0;
  // What it signs in with, for a person: no secrets. "" if it needs no credentials.
  virtual std::string DescribeCredentials() const { return ""; }
};

// How to reach an origin, as the configuration says it; secrets come from `credentials`.
struct OriginConfig {
  std::string url;                 // az://, https://...blob..., abfss://, file:///
  std::string endpoint;            // optional, e.g. "http://127.0.0.1:10000/account"
  std::string dfs_endpoint;        // optional: the same for hierarchical namespaces
  std::string auth_mode = "auto";  // key, sas, msi, workload, spn, cli, anon
  identity::IdentityConfig identity;
  std::int64_t request_timeout_ms = 30'000;
  std::int64_t connect_timeout_ms = 10'000;
  std::uint32_t max_connections = 32;
  std::uint32_t max_tries = 5;
  std::string ca_file;               // optional own CA bundle
  Pacer* pacer = nullptr;            // optional limits for requests to a service; outlives the origin
  std::string verify = "auto";       // checksums of bodies: auto (those sent), md5, crc64, off
  std::string http_version = "1.1";  // "2": HTTP/2 where the server offers it over TLS
};

// Chooses the implementation by the URL's scheme. Reads credentials from the environment (names in
// DESIGN.md) once. kInvalid with `explanation` for what a person wrote wrongly.
Result<std::unique_ptr<Origin>> MakeOrigin(const OriginConfig& config, std::string* explanation);

}  // namespace penstock::origin
