// Somebody else's configuration from anywhere: no crash, nothing that grows, and what comes out is
// accepted by our own reader.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cache/config/config.h"
#include "cache/migrate/import_config.h"

namespace {

void Check(const std::expected<penstock::cache::Imported, std::string>& imported) {
  if (!imported) {
    if (imported.error().empty()) std::abort();
    return;
  }
  if (!penstock::cache::ParseConfig(imported->toml, "/job.toml")) std::abort();
  std::size_t bytes = 0;
  for (const std::string& note : imported->notes) bytes += note.size();
  if (bytes > (64u << 20)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::cache;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Check(ImportBlobFuse(text, "blobfuse2.yaml", {"/data", "account"}));
  Check(ImportBlobFuse(text, "blobfuse2.yaml", {}));
  Check(ImportUrl(text, {"", "account"}));
  return 0;
}
