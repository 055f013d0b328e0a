#include "cache/engine/first_look.h"

#include <algorithm>
#include <utility>

#include "cache/base/loop.h"
#include "cache/engine/name_paths.h"

namespace penstock::cache {

bool FirstLook::Begin(std::uint32_t mount, const std::string& path, Asker asker, Done done) {
  const CatalogKey key{mount, KeyOf(path)};
  auto found = looks_.find(key);
  if (found != looks_.end() && found->second->path != path) return false;
  if (found == looks_.end()) {
    if (looks_.size() >= kMaxLooks || !mounts_[mount].origin->ReadsHeads() ||
        !names_->IsUnheardOf(mount, path) || !IsFirst(mount, path)) {
      return false;
    }
    auto look = std::make_unique<Look>();
    look->path = path;
    look->bytes = std::make_unique_for_overwrite<std::byte[]>(kBytes);
    look->expires_ns = names_->TtlFromNow(mount);
    found = looks_.emplace(key, std::move(look)).first;
    found->second->waiters.emplace(asker, std::move(done));
    places_[asker] = key;
    Start(key, found->second.get());
    return true;
  }
  found->second->waiters.emplace(asker, std::move(done));
  places_[asker] = key;
  return true;
}

bool FirstLook::IsFirst(std::uint32_t mount, const std::string& path) {
  const CatalogKey directory{mount, KeyOf(DirectoryOf(path))};
  if (!directories_.insert(directory).second) return false;
  directory_order_.push_back(directory);
  if (directory_order_.size() > kMaxDirectories) {
    directories_.erase(directory_order_.front());
    directory_order_.pop_front();
  }
  return true;
}

void FirstLook::Start(const CatalogKey& key, Look* look) {
  auto call = std::make_unique<ReadCall>();
  call->name = look->path;
  call->head = true;
  call->deadline_ns = MonotonicNs() + mounts_[key.mount].deadline_ns;
  call->buffers.emplace_back(look->bytes.get(), kBytes);
  look->call = call.get();
  calls_->Start<ReadCall>(std::move(call), mounts_[key.mount].origin,
                          [this, key](ReadCall& done) { Over(key, done); });
}

void FirstLook::Over(const CatalogKey& key, ReadCall& call) {
  auto node = looks_.extract(key);
  if (node.empty()) return;
  Look& look = *node.mapped();
  if (call.ok() && look.believed && call.info.kind == origin::ObjectKind::kFile) {
    if (const NameEntry* entry = names_->Learn(key.mount, look.path, call.info, look.expires_ns)) {
      const FileInfo file{
          {key.mount, key.id, entry->version}, look.path, entry->token, entry->size};
      fetcher_->Offer(file, {look.bytes.get(), std::min<std::uint64_t>(kBytes, file.size)});
    }
  }
  for (const auto& waiter : look.waiters) places_.erase(waiter.first);
  for (auto& [asker, done] : look.waiters) done();
}

void FirstLook::Leave(Asker asker) {
  const auto place = places_.find(asker);
  if (place == places_.end()) return;
  Look* look = looks_.at(place->second).get();
  places_.erase(place);
  look->waiters.erase(asker);
  if (look->waiters.empty()) calls_->Cancel(look->call);
}

void FirstLook::Forget(std::uint32_t mount, std::string_view path) {
  for (auto& [key, look] : looks_) {
    if (key.mount == mount && IsBelow(look->path, path)) look->believed = false;
  }
}

}  // namespace penstock::cache
