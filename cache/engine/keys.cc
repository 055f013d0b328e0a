#include <cstdint>
#include <string_view>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cache/engine/engine.h"

namespace penstock::cache {

pst_key128 KeyOf(std::string_view relative_path) {
  const XXH128_hash_t hash = XXH3_128bits(relative_path.data(), relative_path.size());
  return {hash.low64, hash.high64};
}

std::uint64_t VersionOf(pst_key128 id, std::string_view origin_version) {
  const std::uint64_t digest = XXH3_64bits_withSeed(origin_version.data(), origin_version.size(),
                                                    id.lo ^ (id.hi * 0x9e3779b97f4a7c15ull));
  return digest != 0 ? digest : 1;  // 0 means "no version"
}

}  // namespace penstock::cache
