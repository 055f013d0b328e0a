// The answer of List Blobs: from XML to the entries of a directory.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/base/result.h"
#include "transport/origin/origin.h"

namespace penstock::origin {

struct ListedBlob {
  std::string name;        // whole, as in the container
  bool is_prefix = false;  // a BlobPrefix: the name ends with the delimiter
  bool is_folder = false;  // a blob that stands for a directory
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::string version;  // the ETag without quotes
};

struct ListPage {
  std::vector<ListedBlob> blobs;
  std::string next_marker;
};

// Parses `body`, which is overwritten in the process. kCorrupt if it is not a complete answer of
// List Blobs: an element that is missing or makes no sense spoils the page, so that a listing is
// never silently short.
Result<ListPage> ParseListXml(std::span<char> body);

// The direct children of a directory, made from a page that was listed with `prefix` ("" or ending
// in
// '/') and the delimiter '/'.
struct DirectoryPage {
  std::vector<ObjectInfo> entries;
  std::uint32_t skipped = 0;  // names that are no path components, files hidden by a directory
  bool is_there = false;      // the page proves that the directory exists
};

// Where a blob and a prefix have one name, the directory wins; a blob that stands for the directory
// (hdi_isfolder) becomes one entry with it. Pages are looked at one by one: the two of a pair may
// lie on different pages, and the caller then gets the name twice.
DirectoryPage MakeDirectoryPage(ListPage page, std::string_view prefix);

// All that lies below a directory, from a page that was listed without a delimiter: names are paths
// relative to `prefix`. Of a name that is no path, what comes before its first bad component is
// there as a directory, as a hierarchical listing shows it.
DirectoryPage MakeTreePage(ListPage page, std::string_view prefix);

}  // namespace penstock::origin
