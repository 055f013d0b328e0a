// List Blobs answers from anywhere: no crash, and what is accepted holds what callers rely on.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "transport/blob/az_list_xml.h"
#include "transport/origin/names.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string body(reinterpret_cast<const char*>(data), size);
  auto page = penstock::origin::ParseListXml(body);
  if (!page) return 0;
  for (const auto& blob : page->blobs) {
    if (blob.name.empty()) std::abort();
    if (!blob.is_prefix && !blob.is_folder && blob.version.empty()) std::abort();
  }
  const auto directory = penstock::origin::MakeDirectoryPage(*std::move(page), "d/");
  for (const auto& entry : directory.entries) {
    if (!penstock::origin::IsPathComponent(entry.name)) std::abort();
  }
  return 0;
}
