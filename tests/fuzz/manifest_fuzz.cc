// Manifests from anywhere: no crash, and what is accepted can be walked to its end and found again.
// Digest and checksums are made right first, so that what lies behind them is reached.
#include <openssl/sha.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "transport/base/crc32c.h"
#include "transport/origin/names.h"
#include "transport/snapshot/manifest.h"

namespace {

using penstock::snapshot::BlockHead;
using penstock::snapshot::Foot;
using penstock::snapshot::Manifest;

void Repair(std::vector<std::byte>* bytes) {
  if (bytes->size() < sizeof(Foot)) return;
  Foot foot;
  const std::size_t foot_at = bytes->size() - sizeof foot;
  std::memcpy(&foot, bytes->data() + foot_at, sizeof foot);
  for (std::uint64_t i = 0; i < foot.blocks && i < 64; ++i) {
    const std::uint64_t index_at = foot.index_at + 8 * i;
    if (foot.index_at > foot_at || index_at > foot_at - 8) break;
    std::uint64_t at = 0;
    std::memcpy(&at, bytes->data() + index_at, sizeof at);
    BlockHead head;
    if (at > foot_at || foot_at - at < sizeof head) continue;
    std::memcpy(&head, bytes->data() + at, sizeof head);
    if (head.bytes > foot_at - at - sizeof head) continue;
    head.crc = penstock::Crc32c(std::span(*bytes).subspan(at + sizeof head, head.bytes));
    std::memcpy(bytes->data() + at, &head, sizeof head);
  }
  SHA256(reinterpret_cast<const unsigned char*>(bytes->data()),
         bytes->size() - penstock::snapshot::kDigestBytes,
         reinterpret_cast<unsigned char*>(bytes->data() + bytes->size() -
                                          penstock::snapshot::kDigestBytes));
}

std::uint64_t Walk(const Manifest& manifest, const std::string& directory, int depth) {
  std::uint64_t count = 0;
  std::string after;
  for (bool more = true; more;) {
    const auto children = manifest.List(directory, after, 3, &more);
    if (!children) std::abort();
    for (const auto& child : *children) {
      if (!penstock::origin::IsPathComponent(child.name) || child.name <= after) std::abort();
      after = child.name;
      const std::string path = penstock::origin::JoinNames(directory, child.name);
      const auto found = manifest.Find(path);
      if (!found || !*found || (*found)->size != child.size || (*found)->kind != child.kind) {
        std::abort();
      }
      ++count;
      if (child.kind == penstock::origin::ObjectKind::kDirectory && depth < 64) {
        count += Walk(manifest, path, depth + 1);
      }
    }
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::byte> bytes(size);
  if (size > 0) std::memcpy(bytes.data(), data, size);
  std::string why;
  if (!Manifest::Open(bytes, &why) && why.empty()) std::abort();
  Repair(&bytes);
  const auto manifest = Manifest::Open(bytes, &why);
  if (!manifest) return 0;
  // Names below what is no directory cannot be reached: fewer, never more.
  if (Walk(*manifest, "", 0) > manifest->info().files + manifest->info().directories) std::abort();
  return 0;
}
