#include "tests/cache_core/engine_fixture.h"

#include "shim/abi/listing.h"

#include <cstring>
#include <set>
#include <utility>

namespace penstock::cache {

namespace {
struct Done {
  bool done = false;
};
}  // namespace

std::string Pattern(std::uint64_t bytes, std::uint64_t seed) {
  std::string text(bytes, '\0');
  for (std::uint64_t at = 0; at < bytes; at += 8) {
    const std::uint64_t word = (at + 1 + (seed << 40)) * 0x9e3779b97f4a7c15ull;
    std::memcpy(text.data() + at, &word, std::min<std::uint64_t>(8, bytes - at));
  }
  return text;
}

// ---- The origin ----

void MemoryOrigin::Put(const std::string& name, std::string bytes, const std::string& version) {
  const std::lock_guard lock(mutex_);
  objects_[name] = {std::move(bytes), version};
}
void MemoryOrigin::Remove(const std::string& name) {
  const std::lock_guard lock(mutex_);
  objects_.erase(name);
}
void MemoryOrigin::Hold(bool hold) {
  const std::lock_guard lock(mutex_);
  hold_ = hold;
}
std::size_t MemoryOrigin::held() const {
  const std::lock_guard lock(mutex_);
  return held_.size();
}
void MemoryOrigin::FailWith(Code code) {
  const std::lock_guard lock(mutex_);
  fail_ = code;
}
void MemoryOrigin::FailLists(Code code) {
  const std::lock_guard lock(mutex_);
  fail_lists_ = code;
}
void MemoryOrigin::SetPageEntries(std::size_t entries) { page_entries_ = entries; }
std::size_t MemoryOrigin::stats_seen() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}
std::size_t MemoryOrigin::lists_seen() const {
  const std::lock_guard lock(mutex_);
  return lists_;
}
std::vector<MemoryOrigin::ReadSeen> MemoryOrigin::reads_seen() const {
  const std::lock_guard lock(mutex_);
  return reads_;
}
void MemoryOrigin::ForgetSeen() {
  const std::lock_guard lock(mutex_);
  stats_ = lists_ = 0;
  reads_.clear();
}

void MemoryOrigin::Answer(origin::Op* op, std::function<Error()> work) {
  {
    const std::lock_guard lock(mutex_);
    if (hold_) {
      held_.emplace_back(op, std::move(work));
      return;
    }
  }
  op->error = work();
  op->done(op);
}

void MemoryOrigin::Release() {
  std::vector<std::pair<origin::Op*, std::function<Error()>>> held;
  {
    const std::lock_guard lock(mutex_);
    held.swap(held_);
  }
  for (auto& [op, work] : held) {
    op->error = work();
    op->done(op);
  }
}

void MemoryOrigin::Cancel(origin::Op* op) {
  {
    const std::lock_guard lock(mutex_);
    const auto erased = std::erase_if(held_, [op](const auto& held) { return held.first == op; });
    if (erased == 0) return;
  }
  op->error = Error{Code::kCancelled, false, 0, "test"};
  op->done(op);
}

void MemoryOrigin::Stat(origin::StatOp* op) {
  {
    const std::lock_guard lock(mutex_);
    ++stats_;
  }
  Answer(op, [this, op] { return DoStat(op); });
}
void MemoryOrigin::Read(origin::ReadOp* op) {
  {
    std::uint64_t length = 0;
    for (const auto& buffer : op->buffers) length += buffer.size();
    const std::lock_guard lock(mutex_);
    reads_.push_back({op->name, op->offset, length});
  }
  Answer(op, [this, op] { return DoRead(op); });
}
void MemoryOrigin::List(origin::ListOp* op) {
  {
    const std::lock_guard lock(mutex_);
    ++lists_;
  }
  Answer(op, [this, op] { return DoList(op); });
}

Error MemoryOrigin::DoStat(origin::StatOp* op) {
  const std::lock_guard lock(mutex_);
  if (fail_ != Code::kOk) return Error{fail_, true, 0, "test"};
  op->info.name = op->name;
  if (const auto found = objects_.find(op->name); found != objects_.end()) {
    op->info.kind = origin::ObjectKind::kFile;
    op->info.size = found->second.bytes.size();
    op->info.version = found->second.version;
    return Error{Code::kOk, false, 0, ""};
  }
  const auto below = objects_.lower_bound(op->name + "/");
  if (below == objects_.end() || !below->first.starts_with(op->name + "/")) {
    return Error{Code::kNotFound, false, 0, "test"};
  }
  op->info.kind = origin::ObjectKind::kDirectory;
  return Error{Code::kOk, false, 0, ""};
}

Error MemoryOrigin::DoRead(origin::ReadOp* op) {
  const std::lock_guard lock(mutex_);
  if (fail_ != Code::kOk) {
    for (auto& buffer : op->buffers) std::memset(buffer.data(), 0xee, buffer.size());
    return Error{fail_, true, 0, "test"};
  }
  const auto found = objects_.find(op->name);
  if (found == objects_.end()) return Error{Code::kNotFound, false, 0, "test"};
  if (!op->version.empty() && op->version != found->second.version) {
    return Error{Code::kVersionChanged, false, 0, "test"};
  }
  std::uint64_t at = op->offset;
  if (op->head) {
    const std::string& bytes = found->second.bytes;
    if (bytes.empty() || op->buffers.size() != 1) return Error{Code::kTruncated, false, 0, "test"};
    std::memcpy(op->buffers[0].data(), bytes.data(), std::min(bytes.size(), op->buffers[0].size()));
    op->buffers.clear();
  }
  for (auto& buffer : op->buffers) {
    if (at + buffer.size() > found->second.bytes.size()) return Error{Code::kTruncated, true, 0, "test"};
    std::memcpy(buffer.data(), found->second.bytes.data() + at, buffer.size());
    at += buffer.size();
  }
  op->info.size = found->second.bytes.size();
  op->info.version = found->second.version;
  return Error{Code::kOk, false, 0, ""};
}

Error MemoryOrigin::DoList(origin::ListOp* op) {
  const std::lock_guard lock(mutex_);
  if (fail_ != Code::kOk) return Error{fail_, true, 0, "test"};
  if (fail_lists_ != Code::kOk) return Error{fail_lists_, false, 0, "test"};
  if (op->recursive) {
    DoFlatList(op);
    return Error{Code::kOk, false, 0, ""};
  }
  const std::string prefix = op->directory.empty() ? "" : op->directory + "/";
  std::map<std::string, origin::ObjectInfo> children;
  for (auto at = objects_.lower_bound(prefix); at != objects_.end() && at->first.starts_with(prefix); ++at) {
    const std::string rest = at->first.substr(prefix.size());
    const std::size_t slash = rest.find('/');
    origin::ObjectInfo info;
    info.name = rest.substr(0, slash);
    info.kind = slash == std::string::npos ? origin::ObjectKind::kFile : origin::ObjectKind::kDirectory;
    if (slash == std::string::npos) {
      info.size = at->second.bytes.size();
      info.version = at->second.version;
    }
    const bool slash_last = in_order_ && info.kind == origin::ObjectKind::kDirectory;
    children.emplace(slash_last ? info.name + "/" : info.name, info);
  }
  if (children.empty() && op->marker.empty()) return Error{Code::kNotFound, false, 0, "test"};
  for (auto at = children.upper_bound(op->marker); at != children.end(); ++at) {
    if (op->entries.size() == page_entries_) {
      op->next_marker = std::prev(at)->first;
      break;
    }
    if (at->second.name == skip_) {
      ++op->skipped;
      continue;
    }
    op->entries.push_back(at->second);
  }
  return Error{Code::kOk, false, 0, ""};
}

// A name with a slash at its end is a blob that stands for a directory.
void MemoryOrigin::DoFlatList(origin::ListOp* op) {
  ++flat_lists_;
  const std::string directory = op->directory.empty() ? "" : op->directory + "/";
  const std::string prefix = directory + op->name_prefix;
  for (auto at = objects_.upper_bound(op->marker.empty() ? prefix : op->marker);
       at != objects_.end() && at->first.starts_with(prefix); ++at) {
    if (op->entries.size() == page_entries_) {
      op->next_marker = directory + op->entries.back().name;
      return;
    }
    origin::ObjectInfo info;
    info.name = at->first.substr(directory.size());
    info.size = at->second.bytes.size();
    info.version = at->second.version;
    op->entries.push_back(info);
  }
}

std::size_t MemoryOrigin::flat_lists_seen() const {
  const std::lock_guard lock(mutex_);
  return flat_lists_;
}

// ---- The engine ----

void EngineTest::Build(origin::Origin* origin, std::uint32_t segments, std::int64_t ttl_ns,
                       std::int64_t deadline_ns, MountClass mount_class) {
  engine_.reset();
  arena_.reset();
  if (!loop_) loop_ = MakeLoop(true);
  ArenaConfig config;
  config.arena_bytes = static_cast<std::uint64_t>(segments) << PST_SEGMENT_SHIFT;
  config.mounts = {DescribeMount(0, "/data", false, UINT32_MAX, UINT32_MAX)};
  auto arena = Arena::Create(config);
  ASSERT_TRUE(arena.has_value());
  arena_ = std::move(*arena);
  view_ = arena_->View();
  Mount mount;
  mount.path = "/data";
  mount.mount_class = mount_class;
  mount.metadata_ttl_ns = ttl_ns;
  mount.deadline_ns = deadline_ns;
  mount.origin = origin;
  engine_ = MakeEngine(loop_.get(), arena_.get(), nullptr, {mount}, {}, nvme_);
}

void EngineTest::TearDown() {
  engine_.reset();
  arena_.reset();
  loop_.reset();
}

EngineOp EngineTest::Op(EngineOpKind kind, const std::string& path) {
  EngineOp op;
  op.kind = kind;
  op.path = path;
  op.id = KeyOf(path);
  op.done = [](EngineOp* done) {
    if (done->user != nullptr) static_cast<Done*>(done->user)->done = true;
  };
  return op;
}

EngineOp EngineTest::Lookup(const std::string& path) { return Op(EngineOpKind::kLookup, path); }

EngineOp EngineTest::Fetch(const std::string& path, std::uint64_t offset, std::uint64_t length,
                           std::uint64_t cursor) {
  EngineOp op = Op(EngineOpKind::kFetch, path);
  op.version = AttrOf(path).version;
  op.offset = offset;
  op.length = length;
  op.cursor = cursor;
  return op;
}

void EngineTest::TurnUntil(const std::function<bool()>& condition) {
  const std::int64_t end_ns = MonotonicNs() + 20'000'000'000;
  while (!condition()) {
    ASSERT_LT(MonotonicNs(), end_ns) << "it did not end";
    TurnFor(1'000'000);
  }
}

void EngineTest::TurnFor(std::int64_t ns) {
  loop_->After(ns, [this] { loop_->Stop(); });
  loop_->Run();
}

void EngineTest::Begin(EngineOp* op) {
  loop_->Post([this, op] { engine_->Start(op); });
  TurnFor(1'000'000);
}

void EngineTest::Run(std::vector<EngineOp*> ops) {
  std::vector<Done> states(ops.size());
  for (std::size_t i = 0; i < ops.size(); ++i) {
    ops[i]->user = &states[i];
    loop_->Post([this, op = ops[i]] { engine_->Start(op); });
  }
  TurnUntil([&] {
    for (const Done& state : states) {
      if (!state.done) return false;
    }
    return true;
  });
  for (EngineOp* op : ops) op->user = nullptr;
}

pst_attr EngineTest::AttrOf(const std::string& path) {
  EngineOp op = Lookup(path);
  Run({&op});
  return op.attr;
}

std::optional<std::string> EngineTest::Bytes(const std::string& path, std::uint64_t version,
                                             std::uint32_t range) {
  const pst_key key{KeyOf(path), version, PST_NS_FILES, range};
  pst_entry entry{};
  if (!pst_find(&view_, &key, &entry)) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(pst_entry_bytes(&view_, &entry)), entry.length);
}

std::optional<pst_attr> EngineTest::Record(const std::string& path) {
  const auto bytes = Bytes(path, 0, PST_RANGE_NAME);
  pst_name_record record;
  if (!bytes || bytes->size() != sizeof record + path.size()) return std::nullopt;
  std::memcpy(&record, bytes->data(), sizeof record);
  if (record.magic != PST_NAME_MAGIC || bytes->substr(sizeof record) != path) return std::nullopt;
  return record.attr;
}

std::optional<pst_attr> EngineTest::Published(const std::string& path) {
  if (const auto record = Record(path)) return record;
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "" : path.substr(0, slash);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  pst_listed_name wanted{};
  wanted.ns = PST_NS_FILES;
  wanted.dir = directory.data();
  wanted.dir_len = static_cast<std::uint32_t>(directory.size());
  wanted.name = name.data();
  wanted.name_len = static_cast<std::uint32_t>(name.size());
  wanted.dir_id = KeyOf(directory);
  wanted.id = KeyOf(path);
  pst_listed listed{};
  pst_attr attr{};
  const int found = pst_listing_lookup(&view_, &wanted, &listed);
  if (found == PST_LISTED_UNKNOWN) return std::nullopt;
  if (found == PST_LISTED_NO) {
    attr.err = ENOENT;
    return attr;
  }
  if (pst_listed_attr(&wanted, &listed, 0, &attr) != PST_LISTED_YES) return std::nullopt;
  return attr;
}

std::vector<std::string> EngineTest::ListedNames(const std::string& path) {
  std::vector<std::string> names;
  std::uint64_t listing_id = 0;
  for (std::uint32_t page = 0;; ++page) {
    EngineOp list = Op(EngineOpKind::kList, path);
    list.version = listing_id;
    list.offset = page;
    Run({&list});
    EXPECT_EQ(list.err, 0) << path;
    if (list.err != 0) return names;
    if (listing_id != 0 && list.result_version != listing_id) {  // it became another one: from the start
      names.clear();
      listing_id = 0;
      page = UINT32_MAX;
      continue;
    }
    if (list.result_length != 0 && page >= list.result_length) return names;
    const auto bytes = Bytes(path, 0, PST_RANGE_LISTING + page);
    if (!bytes) {
      ADD_FAILURE() << "page " << page << " is missing";
      return names;
    }
    pst_listing_page head;
    std::memcpy(&head, bytes->data(), sizeof head);
    EXPECT_EQ(head.listing_id, list.result_version);
    EXPECT_EQ(head.first, names.size());
    listing_id = head.listing_id;
    std::size_t at = sizeof head;
    for (std::uint32_t i = 0; i < head.count; ++i) {
      pst_listing_entry entry;
      std::memcpy(&entry, bytes->data() + at, sizeof entry);
      names.emplace_back(bytes->data() + at + offsetof(pst_listing_entry, name));
      at += entry.record_bytes;
    }
    EXPECT_EQ(at, head.bytes);
  }
}

bool EngineTest::Cached(const std::string& path, std::uint32_t range) {
  return Bytes(path, AttrOf(path).version, range).has_value();
}

}  // namespace penstock::cache
