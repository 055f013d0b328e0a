#include "cache/daemon/sidecar.h"

#include <errno.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "cache/base/test_point.h"
#include "cache/config/machine.h"
#include "cache/config/units.h"
#include "cache/config/version.h"
#include "cache/crash/crash_report.h"
#include "cache/daemon/mount_origin.h"
#include "cache/daemon/nvme_setup.h"
#include "cache/session/handshake.h"
#include "shim/abi/open_file.h"
#include "transport/base/clock.h"
#include "transport/base/log.h"
#include "transport/base/thread.h"
#include "transport/snapshot/snapshot_origin.h"

namespace penstock::cache {
namespace {

constexpr std::int64_t kPredecessorMs = 15'000;              // a sidecar that is ending
constexpr std::int64_t kFirstProgramNs = 30 * kNsPerSecond;  // the program that started us joins
constexpr std::int64_t kDrainPollNs = 5 * kNsPerMs;
constexpr std::int64_t kCancelNs = 5 * kNsPerSecond;  // for cancelled operations to end
constexpr std::int64_t kEndNs = 8 * kNsPerSecond;     // for origins to let go of what is cancelled
constexpr std::uint32_t kPreparedSlots = 256;
constexpr std::uint32_t kSlotsAtOnce = 4;
constexpr std::int64_t kSlotsPauseNs = kNsPerMs;
constexpr std::uint64_t kLeastNvmeBytes = 64ull << 20;
// How keys, versions and records are made; another number, and a successor begins with empty memory.
constexpr int kMemoryFormat = 1;
constexpr std::uint32_t kFewSessions = 256;  // a person should hear of such a limit

std::string Why(const Error& error) {
  return error.errno_value == 0 ? fmt::format("{} ({})", error.context, CodeName(error.code))
                                : fmt::format("{}: {}", error.context, strerror(error.errno_value));
}

// mkdir -p with 0700 for the last.
bool MakeFolder(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
    mkdir(path.substr(0, at).c_str(), 0755);
  if (mkdir(path.c_str(), 0700) == 0) return true;
  struct stat status{};
  if (errno == EEXIST && stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode))
    return access(path.c_str(), W_OK | X_OK) == 0;
  return false;
}

std::uint64_t HalfOfFree(const std::string& path) {
  struct statvfs room{};
  if (statvfs(path.c_str(), &room) != 0) return kLeastNvmeBytes;
  return std::max(static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize / 2, kLeastNvmeBytes);
}

MountClass ClassOf(MountDataClass data_class) {
  switch (data_class) {
    case MountDataClass::kDataset:
      return MountClass::kDataset;
    case MountDataClass::kGeneral:
      return MountClass::kGeneral;
    case MountDataClass::kCheckpoint:
      return MountClass::kCheckpoint;
  }
  return MountClass::kDataset;
}

HugePages HugePagesOf(HugePageMode mode) {
  switch (mode) {
    case HugePageMode::kAuto:
      return HugePages::kAuto;
    case HugePageMode::kOn:
      return HugePages::kOn;
    case HugePageMode::kOff:
      return HugePages::kOff;
  }
  return HugePages::kAuto;
}

// Ends the process where an origin does not let go of its operations: a folder whose server is gone keeps
// a call in the kernel for as long as it likes. What is on disk is good at every moment. With a successor that
// waits for what we hold this is no end but a death: whoever keeps us starts another one.
class EndWatch {
 public:
  EndWatch(std::int64_t limit_ns, bool handing_over)
      : thread_(StartThread("end-watch", [this, limit_ns, handing_over] {
          std::unique_lock lock(mutex_);
          if (over_.wait_for(lock, std::chrono::nanoseconds(limit_ns), [this] { return done_; })) return;
          log::Warning("an origin does not answer; ending without it");
          if (handing_over) kill(getpid(), SIGKILL);
          _exit(0);
        })) {}
  ~EndWatch() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    over_.notify_all();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool done_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace

Sidecar::Sidecar(const Config& config, const SidecarOptions& options)
    : config_(config), options_(options) {}

std::expected<std::unique_ptr<Sidecar>, StartProblem> Sidecar::Create(
    const Config& config, const SidecarOptions& options, std::unique_ptr<Listener> kept) {
  std::unique_ptr<Sidecar> sidecar(new Sidecar(config, options));
  StartProblem problem;
  if (!sidecar->MakeOrigins(&problem) || !sidecar->MakeCacheFolders(&problem) ||
      !sidecar->LoadSnapshots(&problem))
    return std::unexpected(problem);
  sidecar->ShareOut();
  CrashReportConfig crash;
  crash.folder = config.cache.dir;
  crash.version = fmt::format("penstockd {}", kVersion);
  if (const auto installed = InstallCrashReport(crash); !installed)
    log::Warning("a crash would not be reported: {}", Why(installed.error()));
  sidecar->loop_ = MakeLoop(true);
  if (!sidecar->MakeListener(std::move(kept), &problem)) return std::unexpected(problem);
  if (!sidecar->MakeMemory(&problem) || !sidecar->MakeEngineParts(&problem) ||
      !sidecar->WatchSignals(&problem))
    return std::unexpected(problem);
  return sidecar;
}

// Three ways: this process's own from before, a predecessor's, or a new one.
bool Sidecar::MakeListener(std::unique_ptr<Listener> kept, StartProblem* problem) {
  listener_ = std::move(kept);
  if (listener_ != nullptr) return true;
  std::string explanation;
  if (options_.predecessor != nullptr) {
    TestPoint("successor.before-ready");
    (void)options_.predecessor->Say(HandoverKind::kReady, config_.sidecar.socket);
    TestPoint("successor.ready");
    auto taken = options_.predecessor->Take();
    if (!taken) {
      problem->lines.emplace_back(taken.error().context);
      return false;
    }
    TestPoint("successor.taken");
    auto listener = Listener::TakeOver(config_.sidecar.socket, std::move((*taken)[0]), std::move((*taken)[1]), &explanation);
    if (listener) listener_ = *std::move(listener);
  } else {
    const bool others = config_.sidecar.allow_any_uid || config_.sidecar.allow_uids.size() > 1 ||
                        !config_.sidecar.admin_uids.empty();
    auto listener = Listener::Open(config_.sidecar.socket, others, kPredecessorMs, &explanation);
    if (listener) listener_ = *std::move(listener);
  }
  if (listener_ == nullptr) problem->lines.push_back(explanation);
  return listener_ != nullptr;
}

// The limits of the job and of the node. Without the node's file the job keeps the node's limits by
// itself: rather too slow than more than was allowed.
void Sidecar::MakePacer() {
  const LimitsConfig& limits = config_.limits;
  origin::TrafficLimits job{limits.bytes_per_second, limits.requests_per_second};
  const origin::TrafficLimits node{limits.node_bytes_per_second, limits.node_requests_per_second};
  std::unique_ptr<origin::NodeShare> share;
  if (node.any()) {
    auto opened = origin::NodeShare::Open(limits.node_file, node);
    if (opened) {
      share = *std::move(opened);
    } else {
      log::Error(
          "{} cannot be used ({}): this job keeps the node's limits by itself, whatever the "
          "node's other jobs do",
          limits.node_file, Why(opened.error()));
      job = origin::TighterOf(job, node);
    }
  }
  if (job.any() || share != nullptr)
    pacer_ = std::make_unique<origin::FairPacer>(job, std::move(share));
}

bool Sidecar::MakeOrigins(StartProblem* problem) {
  MakePacer();
  for (std::size_t i = 0; i < config_.mounts.size(); ++i) {
    const MountConfig& mount = config_.mounts[i];
    origin::OriginConfig origin = OriginConfigOf(mount);
    if (pacer_ != nullptr) origin.pacer = pacer_->MakePacer(mount.weight);
    origin.verify = mount.verify;
    origin.http_version = mount.http_version;
    std::string explanation;
    auto made = origin::MakeOrigin(origin, &explanation);
    if (!made) {
      problem->exit_code = 2;
      const ConfigError error{config_.file, mount.line, fmt::format("mount[{}].origin", i),
                              explanation.empty() ? Why(made.error()) : explanation};
      problem->lines.push_back(error.ToString());
      continue;
    }
    origins_.push_back(*std::move(made));
    if (const std::string risk = origins_.back()->Risk(); !risk.empty())
      log::Warning("{}: {}", mount.path, risk);
    if (mount.mode == MountMode::kReadWrite)
      log::Warning("{}: mode \"rw\" is served read-only for now: opening for write gives EROFS",
                   mount.path);
  }
  return problem->lines.empty();
}

// Every pool of descriptors, from the limit of open files.
void Sidecar::ShareOut() {
  FdWish wish;
  wish.limit = options_.descriptors;
  wish.sessions = config_.limits.sessions;
  wish.tickets = config_.limits.tickets;
  for (const MountConfig& mount : config_.mounts) {
    if (mount.origin.starts_with("file:"))
      ++wish.folders;
    else
      wish.connections += mount.max_connections;
  }
  budget_ = ShareDescriptors(wish);
  if (budget_.tight)
    log::Write(budget_.sessions < kFewSessions ? log::Level::kInfo : log::Level::kDebug,
               fmt::format("the limit of {} open files is enough for {} programs at once and {} files "
                           "that they map",
                           wish.limit, budget_.sessions, budget_.kept_files));
}

bool Sidecar::MakeCacheFolders(StartProblem* problem) {
  const std::string& dir = config_.cache.dir;
  if (!MakeFolder(dir)) {
    problem->lines.push_back(
        fmt::format("the cache folder {} cannot be used: {}; set cache.dir to "
                    "a folder that user {} can write",
                    dir, strerror(errno), geteuid()));
    return false;
  }
  for (const std::string& more : config_.cache.more_dirs)
    if (!MakeFolder(more)) log::Warning("the cache folder {} cannot be used: {}", more, strerror(errno));
  if (config_.cache.nvme_bytes == 0) {
    config_.cache.nvme_bytes = HalfOfFree(config_.cache.dir);
    for (const std::string& more : config_.cache.more_dirs) config_.cache.nvme_bytes += HalfOfFree(more);
  }
  return true;
}

// A manifest that cannot be used ends the start: names must not come from elsewhere than was asked.
bool Sidecar::LoadSnapshots(StartProblem* problem) {
  snapshots_.resize(config_.mounts.size());
  for (std::size_t i = 0; i < config_.mounts.size(); ++i) {
    const MountConfig& mount = config_.mounts[i];
    if (mount.snapshot.empty()) continue;
    std::string explanation;
    auto file = snapshot::SnapshotFile::Load(mount.snapshot, OriginConfigOf(mount),
                                             config_.cache.dir, &explanation);
    const ConfigError error{config_.file, mount.line, fmt::format("mount[{}].snapshot", i),
                            fmt::format("{}: {}", mount.snapshot, explanation)};
    if (!file) {
      problem->lines.push_back(error.ToString());
      continue;
    }
    const std::string& made_of = (*file)->manifest().info().origin;
    if (made_of != origins_[i]->Describe()) {
      explanation = fmt::format("is a snapshot of {}, and this mount's origin is {}", made_of,
                                origins_[i]->Describe());
      problem->exit_code = 2;
      problem->lines.push_back(
          ConfigError{error.file, error.line, error.key,
                      fmt::format("{} {}", mount.snapshot, explanation)}.ToString());
      continue;
    }
    auto names = std::make_unique<snapshot::SnapshotOrigin>(std::move(origins_[i]),
                                                            *std::move(file));
    const snapshot::ManifestInfo& info = names->info();
    snapshots_[i] = &info;
    log::Info("{}: names come from the snapshot {} of {}: {} files, sha256:{}", mount.path,
              mount.snapshot, FormatUtc(info.created_ns), info.files, info.digest);
    origins_[i] = std::move(names);
  }
  return problem->lines.empty();
}

bool Sidecar::MakeMemory(StartProblem* problem) {
  ArenaConfig arena;
  arena.arena_bytes = config_.cache.memory_bytes;
  arena.huge_pages = HugePagesOf(config_.cache.hugepages);
  for (std::size_t i = 0; i < config_.mounts.size(); ++i) {
    const MountConfig& mount = config_.mounts[i];
    arena.mounts.push_back(DescribeMount(static_cast<std::uint32_t>(i), mount.path, false,
                                         mount.uid.value_or(UINT32_MAX),
                                         mount.gid.value_or(UINT32_MAX)));
  }
  ChooseMemoryFolder(&arena);
  auto made = Arena::Create(arena);
  if (!made) {
    problem->lines.push_back(fmt::format(
        "{} of shared memory cannot be had: {}; lower cache.memory{}",
        FormatBytesForPeople(config_.cache.memory_bytes), Why(made.error()),
        config_.cache.hugepages == HugePageMode::kOn ? ", or set cache.hugepages to \"auto\""
                                                     : ""));
    return false;
  }
  arena_ = *std::move(made);
  if (!arena.folder.empty() && !arena_->adoptable())
    log::Info("a restart will begin with empty memory: {}", arena_->explanation());
  else if (!arena_->adopted() && !arena_->explanation().empty())
    log::Info("the memory of the sidecar before was not adopted: {}", arena_->explanation());
  return true;
}

// Memory in files can be adopted by a successor, and mode 0600 is what keeps programs from writing to it: so only
// where they run as other users. (Sealed memfds keep our own user out as well.)
void Sidecar::ChooseMemoryFolder(ArenaConfig* arena) const {
  const auto& uids = config_.sidecar.allow_uids;
  if (config_.sidecar.allow_any_uid ||
      std::none_of(uids.begin(), uids.end(), [](std::uint32_t uid) { return uid != geteuid(); }))
    return;
  arena->folder = config_.sidecar.socket + ".memory";
  // What the cached bytes are of: another origin below the same path is another cache.
  arena->identity = fmt::format("penstock memory {}\n", kMemoryFormat);
  for (std::size_t i = 0; i < config_.mounts.size(); ++i) {
    const MountConfig& mount = config_.mounts[i];
    arena->identity += fmt::format("{}\n{}\n{}\n{}\n", mount.path, origins_[i]->Describe(), ClassName(mount.data_class),
                                   snapshots_[i] != nullptr ? snapshots_[i]->digest : "");
  }
}

bool Sidecar::MakeEngineParts(StartProblem* problem) {
  JobFolderConfig job;
  job.path = config_.sidecar.socket + PST_JOB_FOLDER_SUFFIX;
  job.max_kept_files = budget_.kept_files;
  auto folder = OpenJobFolder(job);
  if (!folder) {
    problem->lines.push_back(
        fmt::format("the job's folder {} cannot be used: {}", job.path, Why(folder.error())));
    return false;
  }
  job_ = *std::move(folder);
  ObjectStoreConfig objects;
  objects.dir = config_.cache.dir;
  objects.max_bytes = config_.cache.nvme_bytes;
  objects.max_open = budget_.objects - budget_.objects / 4;  // two each; the rest is for regions
  // Memory files are nobody's arena and count against the container all the same.
  objects.fallback_bytes = std::min(objects.fallback_bytes, MemoryLimitBytes() / 8);
  for (const auto& one : origins_) objects.origins.push_back(one->Describe());
  objects.others_bytes = [this] { return nvme_ ? nvme_->bytes() : 0; };
  objects.others_drop = [this] { return nvme_ && nvme_->DropOldest(); };
  auto store = MakeObjectStore(loop_.get(), objects);
  if (!store) {
    problem->lines.push_back(
        fmt::format("object files cannot be kept in {}: {}", objects.dir, Why(store.error())));
    return false;
  }
  objects_ = *std::move(store);
  nvme_ = MakeNvmeTier(loop_.get(), config_, objects_.get(), std::max(budget_.objects / 2, 8u));
  std::vector<Mount> mounts;
  std::vector<Probes::Target> targets;
  for (std::size_t i = 0; i < config_.mounts.size(); ++i) {
    const MountConfig& from = config_.mounts[i];
    Mount mount;
    mount.path = from.path;
    mount.mount_class = ClassOf(from.data_class);
    // What a snapshot says does not get old.
    mount.metadata_ttl_ns = snapshots_[i] != nullptr ? INT64_MAX : from.metadata_ttl_ns;
    mount.uid = from.uid.value_or(UINT32_MAX);
    mount.gid = from.gid.value_or(UINT32_MAX);
    mount.deadline_ns = from.deadline_ns;
    mount.origin = origins_[i].get();
    mounts.push_back(std::move(mount));
    targets.push_back({from.path, origins_[i].get()});
  }
  EngineOptions options;
  options.cpus = config_.sidecar.cpus;
  options.spool_folder = config_.cache.dir;
  engine_ = MakeEngine(loop_.get(), arena_.get(), objects_.get(), std::move(mounts), options,
                       nvme_.get());
  tickets_ = std::make_unique<Tickets>(loop_.get(), budget_.tickets);
  context_.loop = loop_.get();
  context_.engine = engine_.get();
  context_.job = job_.get();
  context_.tickets = tickets_.get();
  context_.mount_count = static_cast<std::uint32_t>(config_.mounts.size());
  context_.max_requests = config_.limits.requests;
  admin_ = std::make_unique<AdminService>(this);
  RegistryConfig registry;
  registry.allow_any_uid = config_.sidecar.allow_any_uid;
  registry.allow_uids = config_.sidecar.allow_uids;
  registry.admin_uids = config_.sidecar.admin_uids;
  registry.max_sessions = budget_.sessions;
  registry.max_handshakes = budget_.handshakes;
  ListPrograms();
  registry.programs = programs_.get();
  registry_ = std::make_unique<Registry>(&context_, arena_.get(), registry,
                                         [this](AdminRequest request, AdminReply reply) {
                                           admin_->Handle(std::move(request), std::move(reply));
                                         });
  probes_ = std::make_unique<Probes>(loop_.get(), std::move(targets));
  return true;
}

// Programs that a sidecar before us served keep us alive, also those that have not asked us anything yet.
void Sidecar::ListPrograms() {
  if (!options_.linger) return;
  auto list = ProgramList::Open(job_->path() + "/programs", &survivors_);
  if (list)
    programs_ = *std::move(list);
  else
    log::Warning("a successor would not know which programs there are: {}", Why(list.error()));
}

bool Sidecar::WatchSignals(StartProblem* problem) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  signals_ = Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (signals_.valid() &&
      loop_->Watch(signals_.get(), POLLIN, [this](std::uint32_t) { OnSignal(); }))
    return true;
  problem->lines.push_back("signals cannot be watched");
  return false;
}

Sidecar::~Sidecar() {
  if (signals_.valid() && loop_) loop_->Unwatch(signals_.get());
  const EndWatch watch(kEndNs, handing_over_);
  // In the order of who uses whom. The lock goes last, when nothing of this one is left.
  if (listener_) listener_->Close();
  probes_.reset();
  registry_.reset();
  programs_.reset();
  admin_.reset();
  tickets_.reset();
  engine_.reset();
  nvme_.reset();
  objects_.reset();
  job_.reset();
  arena_.reset();
  listener_.reset();
  loop_.reset();
  origins_.clear();
}

int Sidecar::Run() {
  Serve();
  loop_->Run();
  if (handing_over_) {
    listener_->Pause();
    registry_->EndAll();
    return 0;
  }
  // Programs whose requests were given up are still there, with files open: the next sidecar needs the folder.
  const bool clean = !gave_up_ && registry_->Stats().sessions == 0;
  registry_->EndAll();
  if (clean && programs_ != nullptr) programs_->Discard();
  if (clean) {
    job_->Remove();
    arena_->Discard();
  }
  log::Info("ended");
  return 0;
}

// ---- another one takes over ----

void Sidecar::Upgrade(const std::string& named, UpgradeReply reply) {
  const auto no = [&reply](const std::string& why) { reply(0, why); };
  if (stopping_) return no("the sidecar is ending");
  if (successor_) return no(fmt::format("an upgrade is under way (process {})", successor_->pid()));
  const std::string program = named.empty() ? OwnProgram() : named;
  if (program.empty() || program[0] != '/' || access(program.c_str(), X_OK) != 0)
    return no(fmt::format("{} cannot be executed by the sidecar: {}", program, strerror(errno)));
  std::vector<std::string> arguments = {"-c", config_.file, "--kept", "--take-over", std::to_string(kHandoverFd)};
  if (options_.linger) arguments.emplace_back("--linger");
  auto started = Successor::Start(program, arguments);
  if (!started) return no(fmt::format("{} cannot be started: {}", program, Why(started.error())));
  log::Info("upgrade: {} is started as process {}", program, started->pid());
  successor_.emplace(*std::move(started));
  successor_program_ = program;
  upgrade_reply_ = std::move(reply);
  if (!loop_->Watch(successor_->fd(), POLLIN, [this](std::uint32_t) { OnSuccessor(); }))
    return EndUpgrade("its socket cannot be watched");
  upgrade_timer_ = loop_->After(kReadyMs * kNsPerMs, [this] {
    upgrade_timer_ = 0;
    EndUpgrade(fmt::format("it was not ready within {} s", kReadyMs / 1000));
  });
}

// It is ready or it has failed. Ready: the sessions end at once; what was in flight is asked for again, by
// programs that wait in the queue of the socket.
void Sidecar::OnSuccessor() {
  const HandoverMessage message = successor_->Await(0);
  if (message.kind != HandoverKind::kReady) return EndUpgrade(message.text);
  if (message.text != config_.sidecar.socket)
    return EndUpgrade(fmt::format("its configuration names another socket, {}", message.text));
  loop_->Unwatch(successor_->fd());
  if (upgrade_timer_ != 0) loop_->CancelTimer(std::exchange(upgrade_timer_, 0));
  if (stopping_) return EndUpgrade("the sidecar is ending");
  log::Info("upgrade: process {} is ready", successor_->pid());
  upgrade_reply_(successor_->pid(), "");
  TestPoint("old.ready");
  stopping_ = handing_over_ = true;
  (void)admin_->CancelAll();
  loop_->Stop();
}

void Sidecar::EndUpgrade(const std::string& problem) {
  if (!successor_) return;
  if (upgrade_timer_ != 0) loop_->CancelTimer(std::exchange(upgrade_timer_, 0));
  loop_->Unwatch(successor_->fd());
  options_.upgrade_problem = problem;
  log::Warning("upgrade: {} does not take over: {}", successor_program_, problem);
  successor_.reset();
  upgrade_reply_(0, fmt::format("{} does not take over: {}; the sidecar's log says more", successor_program_, problem));
}

std::optional<Handover> Sidecar::TakeHandover() {
  if (!handing_over_) return std::nullopt;
  return Handover{*std::move(successor_), std::move(listener_), successor_program_};
}

void Sidecar::Serve() {
  started_ns_ = MonotonicNs();
  registry_->OnProgramsChanged([this] { OnProgramsChanged(); });
  if (!listener_->Start(loop_.get(), [this](Fd fd) { registry_->Accepted(std::move(fd)); })) {
    log::Error("{} cannot be watched", listener_->path());
    return loop_->Stop();
  }
  log::Info("penstockd {} serves {} on {}: {} of memory{}, {} mount(s), {}", kVersion, config_.file,
            config_.sidecar.socket, FormatBytesForPeople(arena_->arena_bytes()),
            arena_->hugetlb() ? " in huge pages" : "", config_.mounts.size(), loop_->Name());
  if (options_.predecessor != nullptr) {
    TestPoint("successor.before-serving");
    (void)options_.predecessor->Say(HandoverKind::kServing, "");
    TestPoint("successor.serving");
  }
  if (options_.ready_fd >= 0) {
    (void)!write(options_.ready_fd, "1", 1);
    close(options_.ready_fd);
  }
  probes_->Ask(0, [] {});
  PrepareSlots(0);
  for (ProgramList::Survivor& one : std::exchange(survivors_, {}))
    (void)registry_->Announce(std::move(one.pidfd), Peer{geteuid(), one.pid});
  if (options_.linger && registry_->Stats().programs == 0)
    linger_timer_ = loop_->After(std::max(config_.sidecar.linger_ns, kFirstProgramNs),
                                 [this] { BeginStop("no program came"); });
}

// A slot's first lease makes an inode, which a busy disk can take a millisecond for: make some
// before programs come, a few at a time. They are leased to a session that nobody is, and released.
void Sidecar::PrepareSlots(std::uint32_t made) {
  const std::uint64_t nobody = job_->starts() << 32;  // the registry counts on from here
  if (made == 0 && !job_->Join(nobody, 0, -1)) return;
  const auto slots = job_->Lease(nobody, kSlotsAtOnce);
  if (stopping_ || !slots || slots->empty() || made + slots->size() >= kPreparedSlots)
    return job_->Release(nobody);
  const auto next = made + static_cast<std::uint32_t>(slots->size());
  loop_->After(kSlotsPauseNs, [this, next] { PrepareSlots(next); });
}

void Sidecar::OnProgramsChanged() {
  if (!options_.linger || stopping_) return;
  const bool none = registry_->Stats().programs == 0;
  if (linger_timer_ != 0) loop_->CancelTimer(std::exchange(linger_timer_, 0));
  if (none)
    linger_timer_ = loop_->After(config_.sidecar.linger_ns, [this] {
      linger_timer_ = 0;
      if (registry_->Programs() == 0)
        BeginStop("the last program has ended");
      else
        OnProgramsChanged();
    });
}

// ---- the end ----

void Sidecar::OnSignal() {
  signalfd_siginfo info{};
  if (read(signals_.get(), &info, sizeof info) != sizeof info) return;
  if (stopping_) drain_until_ns_ = 0;  // said twice: do not wait any longer
  BeginStop(strsignal(static_cast<int>(info.ssi_signo)));
}

void Sidecar::BeginStop(const char* why) {
  if (std::exchange(stopping_, true)) return;
  log::Info("ending: {}", why);
  EndUpgrade("the sidecar is ending");
  registry_->Drain();
  drain_until_ns_ = MonotonicNs() + config_.sidecar.grace_ns;
  CheckDrained();
}

// Requests in flight are answered until the grace is over; what is left then is cancelled.
void Sidecar::CheckDrained() {
  const bool idle = admin_->CancelAll() && context_.requests_in_flight == 0;
  if (idle) return loop_->Stop();
  if (MonotonicNs() >= drain_until_ns_) {
    if (std::exchange(gave_up_, true)) return loop_->Stop();
    log::Warning("{} request(s) are given up", context_.requests_in_flight);
    registry_->EndAll();
    drain_until_ns_ = MonotonicNs() + kCancelNs;
  }
  loop_->After(kDrainPollNs, [this] { CheckDrained(); });
}

// ---- what the admin service shows ----

void Sidecar::Probe(std::int64_t max_age_ns, std::move_only_function<void()> done) {
  probes_->Ask(max_age_ns, std::move(done));
}

Json Sidecar::StatusJson() {
  Json problems = Json::array();
  Json mounts = Json::array();
  if (stopping_) problems.push_back("the sidecar is ending");
  for (std::size_t i = 0; i < config_.mounts.size(); ++i) {
    const ProbeResult& result = probes_->results()[i];
    const bool known = probes_->probed();
    mounts.push_back({{"path", config_.mounts[i].path},
                      {"origin", origins_[i]->Describe()},
                      {"mode", ModeName(config_.mounts[i].mode)},
                      {"class", ClassName(config_.mounts[i].data_class)},
                      {"ok", known && result.ok}});
    if (snapshots_[i] != nullptr) mounts.back()["snapshot"] = SnapshotJson(i);
    if (known && !result.ok) problems.push_back(result.problem);
  }
  const RegistryStats stats = registry_->Stats();
  return {{"pid", getpid()},
          {"version", kVersion},
          {"config", config_.file},
          {"loop", loop_->Name()},
          {"uptime_s", (MonotonicNs() - started_ns_) / kNsPerSecond},
          {"probed", probes_->probed()},
          {"ending", stopping_},
          {"upgrade_problem", options_.upgrade_problem},
          {"sessions", stats.sessions},
          {"programs", stats.programs},
          {"problems", std::move(problems)},
          {"mounts", std::move(mounts)}};
}

std::vector<MountTraffic> Sidecar::Traffic() {
  std::vector<MountTraffic> traffic;
  for (std::size_t i = 0; i < origins_.size(); ++i)
    traffic.push_back({config_.mounts[i].path, origins_[i]->Stats(), origins_[i]->Requests()});
  return traffic;
}

Json Sidecar::SnapshotJson(std::size_t mount) const {
  const snapshot::ManifestInfo& info = *snapshots_[mount];
  return {{"path", config_.mounts[mount].path}, {"from", config_.mounts[mount].snapshot},
          {"created", FormatUtc(info.created_ns)},   {"digest", "sha256:" + info.digest},
          {"files", info.files},                 {"directories", info.directories},
          {"bytes", info.bytes},                 {"manifest_bytes", info.manifest_bytes}};
}

Json Sidecar::StatJson() {
  Json snapshots = Json::array();
  for (std::size_t i = 0; i < snapshots_.size(); ++i)
    if (snapshots_[i] != nullptr) snapshots.push_back(SnapshotJson(i));
  const RegistryStats sessions = registry_->Stats();
  const EngineStats engine = engine_->Stats();
  const ObjectStoreStats objects = objects_->Stats();
  const NvmeStats nvme = nvme_ ? nvme_->Stats() : NvmeStats();
  const JobFolder::Stats job = job_->GetStats();
  const ArenaStats arena = arena_->Stats();
  origin::OriginStats origin;
  Json mounts = Json::object();
  const std::vector<MountTraffic> traffic = Traffic();
  std::uint64_t throttled = 0;
  for (const MountTraffic& one : traffic) {
    origin.requests += one.stats.requests;
    origin.bytes_read += one.stats.bytes_read;
    origin.errors += one.stats.errors;
    origin.retries += one.stats.retries;
    origin.hedges += one.stats.hedges;
    origin.hedges_won += one.stats.hedges_won;
    origin.connects += one.stats.connects;
    origin.concurrency += one.stats.concurrency;
    throttled += one.requests.throttled;
    mounts[one.path] = MountTrafficJson(one, config_.cost);
  }
  const SessionCounters& c = sessions.counters;
  return {{"ok", true},
          {"mounts", std::move(mounts)},
          {"cost", CostJson(traffic, config_.cost)},
          {"snapshots", std::move(snapshots)},
          {"counters",
           {{"hits_memory", c.hits_memory},
            {"hits_nvme", c.hits_nvme},
            {"misses", c.misses},
            {"hits_name", c.hits_name},
            {"bytes_memory", c.bytes_memory},
            {"passthrough", c.passthrough},
            {"origin_requests", origin.requests},
            {"origin_bytes_read", origin.bytes_read},
            {"origin_bytes_written", 0},
            {"origin_errors", origin.errors},
            {"origin_retries", origin.retries},
            {"origin_throttled", throttled},
            {"origin_hedges", origin.hedges},
            {"origin_hedges_won", origin.hedges_won},
            {"origin_connects", origin.connects},
            {"evictions", engine.evictions},
            {"corrupt_dropped", engine.corrupt_dropped + objects.corrupt + nvme.corrupt},
            {"fetches", engine.fetches},
            {"single_flight_joins", engine.single_flight_joins},
            {"readahead_ranges", engine.readahead_ranges},
            {"sibling_prefetches", engine.sibling_prefetches},
            {"ranges_published", engine.ranges_published},
            {"adopted_bytes", engine.adopted_bytes},
            {"adopted_entries", engine.adopted_entries},
            {"object_hits", objects.hits},
            {"objects_dropped", objects.dropped},
            {"nvme_ranges_read", nvme.hits},
            {"nvme_ranges_written", nvme.written},
            {"nvme_ranges_refused", nvme.refused},
            {"nvme_ranges_evicted", nvme.evicted},
            {"nvme_io_errors", nvme.io_errors},
            {"requests", c.requests},
            {"requests_refused", c.requests_refused},
            {"sessions_total", sessions.sessions_total},
            {"sessions_rubbish", sessions.sessions_rubbish},
            {"handshakes_refused", sessions.handshakes_refused}}},
          {"now",
           {{"sessions", sessions.sessions},
            {"programs", sessions.programs},
            {"requests_in_flight", sessions.requests_in_flight},
            {"origin_concurrency", origin.concurrency},
            {"tickets", sessions.tickets},
            {"arena_bytes_used", engine.arena_bytes_used},
            {"arena_bytes_live", engine.arena_bytes_live},
            {"arena_bytes_total", engine.arena_bytes_total},
            {"arena_bytes_prepared", arena.bytes_prepared},
            {"index_bytes", arena_->index_bytes()},
            {"arena_segments_huge", arena.segments_huge},
            {"index_entries", engine.index_entries},
            {"inflight", engine.inflight},
            {"objects", objects.objects},
            {"object_bytes", objects.bytes},
            {"nvme_bytes", nvme.bytes + objects.bytes},
            {"nvme_files", nvme.files + objects.objects},
            {"nvme_ranges", nvme.ranges},
            {"slots_leased", job.slots_leased},
            {"kept_files", job.kept_files},
            {"directories", job.directories},
            {"uptime_s", (MonotonicNs() - started_ns_) / kNsPerSecond}}}};
}

}  // namespace penstock::cache
