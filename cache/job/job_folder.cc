#include "cache/job/job_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string>
#include <unordered_map>
#include <utility>

#include "cache/job/fd.h"
#include "cache/job/job_identity.h"
#include "cache/job/kept_files.h"
#include "cache/job/open_file_table.h"
#include "cache/job/shadow_directories.h"
#include "cache/job/slot_leases.h"
#include "transport/base/log.h"

namespace penstock::cache {
namespace {

constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr mode_t kFolderMode = 0711;  // others may reach what they know the name of

// Opens a folder below `parent`, making it if it is missing. It must be ours and no link.
Result<Fd> OpenFolder(int parent, const char* name) {
  if (::mkdirat(parent, name, 0700) != 0 && errno != EEXIST)
    return FailErrno("making the job's folder");
  Fd fd(::openat(parent, name, kFolderFlags));
  if (!fd.valid()) return FailErrno("opening the job's folder");
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return FailErrno("opening the job's folder");
  if (st.st_uid != ::geteuid())
    return Fail(Code::kPermission, "the job's folder belongs to another user");
  if (::fchmod(fd.get(), kFolderMode) != 0) return FailErrno("opening the job's folder to others");
  return fd;
}

class JobFolderImpl final : public JobFolder {
 public:
  explicit JobFolderImpl(JobFolderConfig config)
      : config_(std::move(config)),
        leases_([this](auto session, auto slot) { return MaybeHeld(session, slot); },
                [this](auto session, auto slot) { kept_.Drop(TableOf(session), slot); }),
        kept_(config_.max_kept_files, [this](auto table, auto slot, SlotState* state) {
          return table < tables_.size() && tables_[table]->Load(slot, state);
        }) {}

  Result<void> Open();

  std::uint64_t job() const override { return identity_.id; }
  std::uint64_t starts() const override { return identity_.starts; }
  int directory_fd() const override { return sockets_path_fd_.get(); }
  const std::string& path() const override { return config_.path; }

  Result<int> Join(std::uint64_t session, std::uint64_t parent, int table_fd) override;
  Result<int> Adopt(int table_fd) override;
  void Release(std::uint64_t session) override;
  Result<std::vector<std::uint32_t>> Lease(std::uint64_t session, std::uint32_t count) override;
  Result<SlotState> Slot(std::uint64_t session, std::uint32_t slot) const override;
  Result<int> KeepFile(std::uint64_t session, std::uint32_t slot, std::uint32_t generation,
                       const FileIdentity& file, int fd) override;
  int FileFor(std::uint64_t session, std::uint32_t slot, std::uint32_t generation,
              const FileIdentity& file) override;
  void Unlock(std::uint64_t session, std::uint32_t slot, std::uint32_t generation) override;
  Result<int> Directory(std::uint32_t mount_index, std::string_view path,
                        std::uint64_t above) override {
    return shadows_.Open(mount_index, path, above);
  }
  void Remove() override;
  Stats GetStats() const override;

 private:
  static constexpr std::uint32_t kNoTable = UINT32_MAX;

  std::uint32_t TableOf(std::uint64_t session) const {
    auto it = table_of_.find(session);
    return it == table_of_.end() ? kNoTable : it->second;
  }
  bool MaybeHeld(std::uint64_t session, std::uint32_t slot) const;
  Result<std::uint32_t> AdoptTable(int table_fd);
  Result<void> QuarantineOldSockets();
  Result<void> MakeSocket(std::uint32_t slot);
  bool FreeInAllTables(std::uint32_t slot) const;
  void ForgetDeadTableLinks();

  JobFolderConfig config_;
  JobIdentity identity_;
  Fd folder_, sockets_, sockets_path_fd_, shadow_root_;
  std::vector<std::unique_ptr<OpenFileTable>> tables_;  // [newest_] is what new families get
  std::uint32_t newest_ = 0;
  bool newest_given_ = false;
  std::vector<bool> has_socket_ = std::vector<bool>(PST_OPEN_FILE_SLOTS, false);
  std::unordered_map<std::uint64_t, std::uint32_t> table_of_;  // session -> table
  SlotLeases leases_;
  KeptFiles kept_;
  ShadowDirectories shadows_;
};

Result<void> JobFolderImpl::Open() {
  auto folder = OpenFolder(AT_FDCWD, config_.path.c_str());
  if (!folder) return std::unexpected(folder.error());
  folder_ = std::move(*folder);
  auto identity = OpenJobIdentity(folder_.get());
  if (!identity) return std::unexpected(identity.error());
  identity_ = *identity;

  auto sockets = OpenFolder(folder_.get(), PST_OPEN_FILE_DIR);
  if (!sockets) return std::unexpected(sockets.error());
  sockets_ = std::move(*sockets);
  sockets_path_fd_.Reset(::openat(sockets_.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!sockets_path_fd_.valid()) return FailErrno("opening the folder of open files");
  auto shadow = OpenFolder(folder_.get(), PST_SHADOW_DIR);
  if (!shadow) return std::unexpected(shadow.error());
  shadow_root_ = std::move(*shadow);
  shadows_ = ShadowDirectories(shadow_root_.get(), config_.max_directories);
  if (auto ok = QuarantineOldSockets(); !ok) return ok;

  auto table = OpenFileTable::Create(identity_.id);
  if (!table) return std::unexpected(table.error());
  tables_.push_back(std::move(*table));
  return {};
}

// Processes that lived through a restart still hold some of these numbers.
Result<void> JobFolderImpl::QuarantineOldSockets() {
  const int again = ::openat(sockets_.get(), ".", kFolderFlags);
  DIR* dir = again < 0 ? nullptr : ::fdopendir(again);
  if (dir == nullptr) return FailErrno("listing the folder of open files");
  while (const dirent* entry = ::readdir(dir)) {
    const std::string_view name = entry->d_name;
    std::uint32_t slot = 0;
    const auto end = std::from_chars(name.data(), name.data() + name.size(), slot);
    if (end.ec != std::errc() || end.ptr != name.data() + name.size()) continue;
    if (slot < PST_OPEN_FILE_SLOTS && identity_.resumed) leases_.Quarantine(slot);
  }
  ::closedir(dir);
  return {};
}

Result<std::uint32_t> JobFolderImpl::AdoptTable(int table_fd) {
  for (std::uint32_t i = 0; i < tables_.size(); i++) {
    if (tables_[i]->Is(table_fd)) return i;
  }
  if (tables_.size() > config_.max_tables) return Fail(Code::kLimit, "too many open-file tables");
  auto table = OpenFileTable::Adopt(table_fd, identity_.id);
  if (!table) return std::unexpected(table.error());
  tables_.push_back(std::move(*table));
  const auto index = static_cast<std::uint32_t>(tables_.size() - 1);
  // As long as nobody uses the table of this start, the whole job goes on with the old one.
  if (!newest_given_) newest_ = index;
  newest_given_ = true;
  log::Info("adopted the open-file table of a program that lived through a restart");
  return index;
}

Result<int> JobFolderImpl::Adopt(int table_fd) {
  auto index = AdoptTable(table_fd);
  if (!index) return std::unexpected(index.error());
  return tables_[*index]->fd();
}

Result<int> JobFolderImpl::Join(std::uint64_t session, std::uint64_t parent, int table_fd) {
  if (!leases_.Join(session, parent)) return Fail(Code::kInvalid, "a session's id");
  std::uint32_t table = TableOf(parent);
  if (table_fd >= 0) {
    if (auto brought = AdoptTable(table_fd)) {
      table = *brought;
    } else {
      log::Warning("a program brought an open-file table that was refused: {}",
                   brought.error().context);
    }
  }
  if (table == kNoTable) {
    table = newest_;
    newest_given_ = true;
  }
  table_of_[session] = table;
  ForgetDeadTableLinks();
  return tables_[table]->fd();
}

// A dead session's table is remembered for children that join late; not for ever.
void JobFolderImpl::ForgetDeadTableLinks() {
  constexpr std::size_t kSlack = 4096;
  if (table_of_.size() < 2 * (leases_.live_sessions() + PST_OPEN_FILE_SLOTS) + kSlack) return;
  std::erase_if(table_of_, [this](const auto& item) {
    return !leases_.IsLive(item.first) && leases_.CountOf(item.first) == 0;
  });
}

bool JobFolderImpl::MaybeHeld(std::uint64_t session, std::uint32_t slot) const {
  SlotState state;
  const std::uint32_t table = TableOf(session);
  // A line that holds rubbish is kept: the cautious reading.
  if (table == kNoTable || !tables_[table]->Load(slot, &state)) return true;
  return state.state != PST_SLOT_FREE && state.shared;
}

void JobFolderImpl::Release(std::uint64_t session) {
  leases_.Release(session);
  kept_.DropLockedUnless([this](std::uint32_t slot) { return leases_.IsHeld(slot); });
}

void JobFolderImpl::Unlock(std::uint64_t session, std::uint32_t slot, std::uint32_t generation) {
  if (const std::uint32_t table = TableOf(session); table != kNoTable) kept_.DropLocked(table, slot, generation);
}

bool JobFolderImpl::FreeInAllTables(std::uint32_t slot) const {
  return std::all_of(tables_.begin(), tables_.end(), [slot](const auto& table) {
    SlotState state;
    return table->Load(slot, &state) && state.state == PST_SLOT_FREE;
  });
}

Result<void> JobFolderImpl::MakeSocket(std::uint32_t slot) {
  if (has_socket_[slot]) return {};
  char name[16];
  *std::to_chars(name, name + sizeof name - 1, slot).ptr = '\0';
  // Readable by all, whatever the umask: a program under another user id that opens /dev/fd/N must meet a
  // socket (ENXIO, which the library understands) and not a file that it may not read.
  if (::mknodat(sockets_.get(), name, S_IFSOCK | 0666, 0) == 0) {
    if (::fchmodat(sockets_.get(), name, 0666, 0) != 0) return FailErrno("making an open file's socket");
  } else {
    if (errno != EEXIST) return FailErrno("making an open file's socket");
    struct stat st;
    if (::fstatat(sockets_.get(), name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISSOCK(st.st_mode))
      return Fail(Code::kInvalid, "an open file's socket is something else");
  }
  has_socket_[slot] = true;
  return {};
}

Result<std::vector<std::uint32_t>> JobFolderImpl::Lease(std::uint64_t session,
                                                        std::uint32_t count) {
  if (!leases_.IsLive(session)) return Fail(Code::kInvalid, "a lease for an unknown session");
  const std::uint32_t held = leases_.CountOf(session);
  // Whatever one takes, as much is left for those who come after it.
  const auto left = static_cast<std::uint32_t>(PST_OPEN_FILE_SLOTS - leases_.leased());
  const std::uint32_t share = std::min(config_.max_slots_per_session, (held + left) / 2);
  const std::uint32_t most = held >= share ? 0 : share - held;
  OpenFileTable& table = *tables_[TableOf(session)];
  std::vector<std::uint32_t> slots;
  for (count = std::min(count, most); count > 0; count--) {
    const std::int64_t taken =
        leases_.Take(session, [this](std::uint32_t slot) { return FreeInAllTables(slot); });
    if (taken < 0) break;
    const auto slot = static_cast<std::uint32_t>(taken);
    if (auto ok = MakeSocket(slot); !ok) {
      log::Warning("open-file slot {} is unusable: {} (errno {})", slot, ok.error().context,
                   ok.error().errno_value);
      leases_.Discard(slot);
      continue;
    }
    table.ResetSlot(slot);
    slots.push_back(slot);
  }
  return slots;
}

Result<SlotState> JobFolderImpl::Slot(std::uint64_t session, std::uint32_t slot) const {
  const std::uint32_t table = TableOf(session);
  SlotState state;
  if (table == kNoTable || slot >= PST_OPEN_FILE_SLOTS || !tables_[table]->Load(slot, &state))
    return Fail(Code::kInvalid, "an open-file slot");
  return state;
}

Result<int> JobFolderImpl::KeepFile(std::uint64_t session, std::uint32_t slot,
                                    std::uint32_t generation, const FileIdentity& file, int fd) {
  Fd owned(fd);
  const std::uint32_t table = TableOf(session);
  if (table == kNoTable || slot >= PST_OPEN_FILE_SLOTS)
    return Fail(Code::kInvalid, "an open-file slot");
  return kept_.Keep(session, table, slot, generation, file, std::move(owned));
}

int JobFolderImpl::FileFor(std::uint64_t session, std::uint32_t slot, std::uint32_t generation,
                           const FileIdentity& file) {
  const std::uint32_t table = TableOf(session);
  if (table == kNoTable || slot >= PST_OPEN_FILE_SLOTS) return -1;
  return kept_.Find(table, slot, generation, file);
}

void JobFolderImpl::Remove() {
  for (const char* name : {PST_SHADOW_DIR, PST_OPEN_FILE_DIR}) {
    const Fd& fd = name == std::string_view(PST_SHADOW_DIR) ? shadow_root_ : sockets_;
    if (auto ok = RemoveTreeBelow(fd.get()); !ok)
      log::Warning("cleaning the job's folder: {} (errno {})", ok.error().context,
                   ok.error().errno_value);
    (void)::unlinkat(folder_.get(), name, AT_REMOVEDIR);
  }
  has_socket_.assign(PST_OPEN_FILE_SLOTS, false);
  (void)::unlinkat(folder_.get(), kJobFile, 0);
  (void)::rmdir(config_.path.c_str());
}

JobFolder::Stats JobFolderImpl::GetStats() const {
  Stats stats;
  stats.sessions = leases_.live_sessions();
  stats.slots_leased = leases_.leased();
  stats.slots_orphaned = leases_.orphaned();
  stats.kept_files = kept_.size();
  stats.tables = tables_.size();
  stats.directories = shadows_.count();
  return stats;
}

}  // namespace

Result<std::unique_ptr<JobFolder>> OpenJobFolder(const JobFolderConfig& config) {
  auto folder = std::make_unique<JobFolderImpl>(config);
  if (auto ok = folder->Open(); !ok) return std::unexpected(ok.error());
  return folder;
}

}  // namespace penstock::cache
