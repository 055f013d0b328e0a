#include "cache/engine/catalog.h"

#include <utility>

namespace penstock::cache {

bool IsBelow(std::string_view path, std::string_view top) {
  return top.empty() || path == top ||
         (path.size() > top.size() && path.starts_with(top) && path[top.size()] == '/');
}

NameEntry* Catalog::Peek(std::uint32_t mount, pst_key128 id) {
  const auto found = names_.find({mount, id});
  return found == names_.end() ? nullptr : &found->second;
}

NameEntry* Catalog::FindKey(std::uint32_t mount, pst_key128 id) {
  NameEntry* entry = Peek(mount, id);
  if (entry != nullptr) entry->used = true;
  return entry;
}

NameEntry* Catalog::Find(std::uint32_t mount, pst_key128 id, std::string_view path) {
  NameEntry* entry = FindKey(mount, id);
  return entry != nullptr && entry->path == path ? entry : nullptr;
}

NameEntry* Catalog::Put(std::uint32_t mount, pst_key128 id, NameEntry entry) {
  const CatalogKey key{mount, id};
  const auto [at, added] = names_.try_emplace(key);
  if (added) {
    order_.push_back(key);
    if (order_.size() > 2 * names_.size() + 1024) {  // mostly names that were erased
      order_.clear();
      for (const auto& name : names_) order_.push_back(name.first);
    }
  } else {
    bytes_ -= Cost(at->second);
    entry.used = at->second.used;
  }
  at->second = std::move(entry);
  bytes_ += Cost(at->second);
  NameEntry* put = &at->second;
  if (bytes_ > max_bytes_) MakeRoom(key);
  return put;
}

void Catalog::MakeRoom(const CatalogKey& keep) {
  std::size_t looks = 2 * order_.size();
  while (bytes_ > max_bytes_ && looks-- > 1 && order_.size() > 1) {
    const CatalogKey key = order_.front();
    order_.pop_front();
    const auto found = names_.find(key);
    if (found == names_.end()) continue;
    if (found->second.used || key == keep) {
      found->second.used = false;
      order_.push_back(key);
      continue;
    }
    bytes_ -= Cost(found->second);
    names_.erase(found);
  }
}

void Catalog::Erase(std::uint32_t mount, pst_key128 id) {
  const auto found = names_.find({mount, id});
  if (found == names_.end()) return;
  bytes_ -= Cost(found->second);
  names_.erase(found);
}

void Catalog::EraseBelow(std::uint32_t mount, std::string_view path) {
  for (auto at = names_.begin(); at != names_.end();) {
    if (at->first.mount == mount && IsBelow(at->second.path, path)) {
      bytes_ -= Cost(at->second);
      at = names_.erase(at);
    } else {
      ++at;
    }
  }
  std::erase_if(order_, [this](const CatalogKey& key) { return !names_.contains(key); });
}

}  // namespace penstock::cache
