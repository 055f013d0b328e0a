#include "transport/blob/az_list_xml.h"

#include <cstring>
#include <optional>
#include <pugixml.hpp>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "transport/base/limits.h"
#include "transport/base/parse.h"
#include "transport/blob/az_auth.h"
#include "transport/http/http_headers.h"
#include "transport/http/percent.h"
#include "transport/origin/names.h"

namespace penstock::origin {
namespace {

std::unexpected<Error> BadXml(const char* context) { return Fail(Code::kCorrupt, context, true); }

// A name that XML cannot hold comes percent-encoded, marked by an attribute.
std::optional<std::string> ParseName(const pugi::xml_node& item) {
  const pugi::xml_node node = item.child("Name");
  const std::string_view text = node.child_value();
  if (text.empty()) return std::nullopt;
  if (std::strcmp(node.attribute("Encoded").value(), "true") == 0) return PercentDecode(text);
  return std::string(text);
}

bool SaysTrue(const char* value) {
  return std::strcmp(value, "true") == 0 || std::strcmp(value, "True") == 0;
}

bool IsFolder(const pugi::xml_node& item, const pugi::xml_node& properties) {
  return SaysTrue(item.child("Metadata").child_value("hdi_isfolder")) ||
         SaysTrue(item.child("Metadata").child_value("Hdi_isfolder")) ||
         std::strcmp(properties.child_value("ResourceType"), "directory") == 0;
}

Result<ListedBlob> ParseBlob(const pugi::xml_node& item) {
  auto name = ParseName(item);
  if (!name) return BadXml("reading a blob's name in a listing");
  const pugi::xml_node properties = item.child("Properties");
  ListedBlob blob;
  blob.name = *std::move(name);
  blob.is_folder = IsFolder(item, properties);
  const auto size = ParseUnsigned(properties.child_value("Content-Length"));
  if (!size && !blob.is_folder) return BadXml("reading a blob's size in a listing");
  blob.size = size.value_or(0);
  blob.mtime_ns = ParseHttpDate(properties.child_value("Last-Modified")).value_or(0);
  blob.version = UnquoteEtag(properties.child_value("Etag"));
  // Without a version a read could not be held to what was listed.
  if (blob.version.empty() && !blob.is_folder) return BadXml("reading a blob's ETag in a listing");
  return blob;
}

Result<ListedBlob> ParsePrefix(const pugi::xml_node& item) {
  auto name = ParseName(item);
  if (!name) return BadXml("reading a prefix in a listing");
  ListedBlob blob;
  blob.name = *std::move(name);
  blob.is_prefix = true;
  return blob;
}

// The last component of `name` below `prefix`; nullopt if it does not begin with the prefix.
std::optional<std::string_view> Below(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  return name.substr(prefix.size());
}

ObjectInfo MakeEntry(ListedBlob* blob, std::string_view name) {
  ObjectInfo info;
  info.name = name;
  info.mtime_ns = blob->mtime_ns;
  if (blob->is_prefix || blob->is_folder) {
    info.kind = ObjectKind::kDirectory;
  } else {
    info.size = blob->size;
    info.version = std::move(blob->version);
  }
  return info;
}

// Puts `entry` where another of its name stands already. Two files of one name cannot be.
void Merge(ObjectInfo* there, ObjectInfo entry, std::uint32_t* skipped) {
  const bool there_is_directory = there->kind == ObjectKind::kDirectory;
  const bool entry_is_directory = entry.kind == ObjectKind::kDirectory;
  if (!there_is_directory || !entry_is_directory) ++*skipped;
  if (entry_is_directory && (!there_is_directory || entry.mtime_ns != 0)) *there = std::move(entry);
}

}  // namespace

Result<ListPage> ParseListXml(std::span<char> body) {
  pugi::xml_document document;
  // Neither comments nor document types nor entities of one's own: pugixml knows none.
  const auto parsed = document.load_buffer_inplace(
      body.data(), body.size(), pugi::parse_default | pugi::parse_ws_pcdata_single);
  if (!parsed) return BadXml("reading the XML of a listing");
  const pugi::xml_node root = document.child("EnumerationResults");
  const pugi::xml_node blobs = root.child("Blobs");
  const pugi::xml_node marker = root.child("NextMarker");
  // The marker is always there, empty at the end: an answer without it is not whole.
  if (!blobs || !marker) return BadXml("looking for the blobs of a listing");
  ListPage page;
  page.next_marker = marker.child_value();
  if (page.next_marker.size() > limits::kMaxMarkerBytes) return BadXml("reading a listing's marker");
  for (const pugi::xml_node item : blobs.children()) {
    const std::string_view kind = item.name();
    if (kind != "Blob" && kind != "BlobPrefix") continue;
    auto blob = kind == "Blob" ? ParseBlob(item) : ParsePrefix(item);
    if (!blob) return std::unexpected(blob.error());
    page.blobs.push_back(*std::move(blob));
  }
  return page;
}

DirectoryPage MakeDirectoryPage(ListPage page, std::string_view prefix) {
  DirectoryPage directory;
  directory.entries.reserve(page.blobs.size());
  // Only directories can meet a second entry of their name.
  std::unordered_set<std::string> directories;
  for (ListedBlob& blob : page.blobs) {
    auto name = Below(blob.name, prefix);
    if (!name) {
      ++directory.skipped;
      continue;
    }
    directory.is_there = true;
    // A blob called like the prefix itself, as some tools make them, is the directory's own marker.
    if (name->empty() && !blob.is_prefix) continue;
    if (blob.is_prefix && name->ends_with('/')) name->remove_suffix(1);
    if (!IsPathComponent(*name)) {
      ++directory.skipped;
      continue;
    }
    const std::string component(*name);
    directory.entries.push_back(MakeEntry(&blob, component));
    if (directory.entries.back().kind == ObjectKind::kDirectory) {
      directories.insert(component);
    }
  }
  if (directories.empty()) return directory;

  std::vector<ObjectInfo> merged;
  merged.reserve(directory.entries.size());
  std::unordered_map<std::string, std::size_t> merged_at;
  for (ObjectInfo& entry : directory.entries) {
    if (!directories.contains(entry.name)) {
      merged.push_back(std::move(entry));
    } else if (const auto at = merged_at.find(entry.name); at != merged_at.end()) {
      Merge(&merged[at->second], std::move(entry), &directory.skipped);
    } else {
      merged_at.emplace(entry.name, merged.size());
      merged.push_back(std::move(entry));
    }
  }
  directory.entries = std::move(merged);
  return directory;
}

namespace {

// The part of a path that can be walked: up to its first bad component.
std::string_view WalkablePart(std::string_view path) {
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t slash = std::min(path.find('/', begin), path.size());
    if (!IsPathComponent(path.substr(begin, slash - begin))) {
      return path.substr(0, begin == 0 ? 0 : begin - 1);
    }
    begin = slash + 1;
  }
  return path;
}

}  // namespace

DirectoryPage MakeTreePage(ListPage page, std::string_view prefix) {
  DirectoryPage tree;
  tree.entries.reserve(page.blobs.size());
  for (ListedBlob& blob : page.blobs) {
    const auto path = Below(blob.name, prefix);
    if (!path) {
      ++tree.skipped;
      continue;
    }
    tree.is_there = true;
    if (path->empty()) continue;  // the directory's own marker
    const std::string walkable(WalkablePart(*path));
    if (walkable.size() == path->size()) {
      tree.entries.push_back(MakeEntry(&blob, walkable));
      continue;
    }
    // "dir/" is what some tools write for a directory.
    if (walkable.size() + 1 != path->size()) ++tree.skipped;
    if (walkable.empty()) continue;
    ObjectInfo directory;
    directory.name = walkable;
    directory.kind = ObjectKind::kDirectory;
    tree.entries.push_back(std::move(directory));
  }
  return tree;
}

}  // namespace penstock::origin
