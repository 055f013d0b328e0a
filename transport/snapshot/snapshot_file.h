// A manifest where the sidecar can rely on it: copied from a file or a blob into a file without a
// name, checked as a whole, mapped. What happens to the original afterwards does not matter.
//
// Thread safety: immutable after Load(); all methods from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "transport/origin/origin.h"
#include "transport/snapshot/manifest.h"

namespace penstock::snapshot {

// More than this a manifest cannot have; one Put Blob carries as much.
inline constexpr std::uint64_t kManifestMaxBytes = 4000ull << 20;

class SnapshotFile {
 public:
  // `url` is file:///path, an absolute path, or a blob's address in one of the forms of an origin;
  // `config` says how to reach a blob (its url is not looked at). The copy lies in `folder`.
  // Blocks. An explanation names what is wrong, without `url`.
  static Result<std::unique_ptr<SnapshotFile>> Load(const std::string& url,
                                                    const origin::OriginConfig& config,
                                                    const std::string& folder,
                                                    std::string* explanation);
  ~SnapshotFile();
  SnapshotFile(const SnapshotFile&) = delete;
  SnapshotFile& operator=(const SnapshotFile&) = delete;

  const Manifest& manifest() const { return manifest_; }
  // Says that about so many blocks have been looked at. Now and then the mapping is let go: its
  // pages stay in the page cache, but no longer count as this process's memory.
  void NoteBlocks(std::uint64_t blocks);

 private:
  SnapshotFile() = default;
  bool Map(int fd, std::uint64_t bytes);
  void LetGo();

  void* memory_ = nullptr;
  std::uint64_t bytes_ = 0;
  Manifest manifest_;
  std::atomic<std::uint64_t> blocks_{0};
};

// A blob's address as the origin that holds it and its name there. kInvalid.
struct BlobAddress {
  std::string origin_url;
  std::string name;
};
Result<BlobAddress> SplitBlobAddress(const std::string& url, std::string* explanation);

// A file of `folder` that has no name. -1 and errno.
int OpenUnnamed(const std::string& folder);

}  // namespace penstock::snapshot
