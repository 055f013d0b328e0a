// The sidecar as a whole: everything that penstockd owns, in the order it is made, and how it ends.
//
// Thread safety: Create, Run and the destructor on one thread, which becomes the core thread.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/admin/service.h"
#include "cache/base/loop.h"
#include "cache/config/config.h"
#include "cache/daemon/fd_budget.h"
#include "cache/daemon/handover.h"
#include "cache/daemon/probes.h"
#include "cache/engine/engine.h"
#include "cache/job/job_folder.h"
#include "cache/job/program_list.h"
#include "cache/memory/arena.h"
#include "cache/nvme/region_store.h"
#include "cache/object/object_store.h"
#include "cache/session/listener.h"
#include "cache/session/registry.h"
#include "transport/traffic/fair_pacer.h"

namespace penstock::snapshot {
struct ManifestInfo;
}

namespace penstock::cache {

struct SidecarOptions {
  bool linger = false;  // end by itself after the last program
  int ready_fd = -1;    // a byte is written here once it listens
  std::uint64_t descriptors = 65'536;  // RLIMIT_NOFILE
  Predecessor* predecessor = nullptr;  // to take over from; outlives the sidecar
  std::string upgrade_problem;         // why the last upgrade did not take place
};

// What is left of a sidecar that has let go of everything for its successor.
struct Handover {
  Successor successor;
  std::unique_ptr<Listener> listener;
  std::string program;
};

// Why it could not start, and the exit code for it: 2 the configuration, 1 all else.
struct StartProblem {
  int exit_code = 1;
  std::vector<std::string> lines;
};

class Sidecar final : public SidecarControl {
 public:
  // `listener`: of the sidecar that this process was before; null: take or make one.
  static std::expected<std::unique_ptr<Sidecar>, StartProblem> Create(
      const Config& config, const SidecarOptions& options, std::unique_ptr<Listener> listener = nullptr);
  ~Sidecar() override;

  // Serves until a signal, `penstock stop` or the linger ends it. The exit code.
  int Run();
  // After Run(): the successor that is ready, if that was why it ended. This sidecar is to be destroyed before the
  // successor gets the rest.
  std::optional<Handover> TakeHandover();

  // SidecarControl: what the admin service asks for.
  const Config& config() const override { return config_; }
  Json StatusJson() override;
  Json StatJson() override;
  std::vector<MountTraffic> Traffic() override;
  void Probe(std::int64_t max_age_ns, std::move_only_function<void()> done) override;
  Registry& registry() override { return *registry_; }
  Engine& engine() override { return *engine_; }
  Loop& loop() override { return *loop_; }
  void BeginStop(const char* why) override;
  void Upgrade(const std::string& program, UpgradeReply reply) override;

 private:
  Sidecar(const Config& config, const SidecarOptions& options);
  bool MakeOrigins(StartProblem* problem);
  void MakePacer();
  bool MakeCacheFolders(StartProblem* problem);
  bool LoadSnapshots(StartProblem* problem);
  bool MakeListener(std::unique_ptr<Listener> kept, StartProblem* problem);
  void OnSuccessor();
  void EndUpgrade(const std::string& problem);
  bool MakeMemory(StartProblem* problem);
  void ChooseMemoryFolder(ArenaConfig* arena) const;
  bool MakeEngineParts(StartProblem* problem);
  bool WatchSignals(StartProblem* problem);
  void ShareOut();
  void ListPrograms();
  void Serve();
  void PrepareSlots(std::uint32_t made);
  void OnSignal();
  void OnProgramsChanged();
  void CheckDrained();
  Json SnapshotJson(std::size_t mount) const;

  Config config_;
  SidecarOptions options_;
  FdBudget budget_;
  std::unique_ptr<origin::FairPacer> pacer_;  // null without limits; before its users
  std::vector<std::unique_ptr<origin::Origin>> origins_;
  std::vector<const snapshot::ManifestInfo*> snapshots_;  // of each mount, in its origin; or null
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<FileLock> cache_lock_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<JobFolder> job_;
  std::unique_ptr<ProgramList> programs_;  // null without a linger
  std::vector<ProgramList::Survivor> survivors_;
  std::unique_ptr<ObjectStore> objects_;
  std::unique_ptr<RegionStore> nvme_;  // null where the folder is too small or unusable
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Tickets> tickets_;
  SessionContext context_;
  std::unique_ptr<AdminService> admin_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Probes> probes_;
  std::optional<Successor> successor_;
  std::string successor_program_;
  UpgradeReply upgrade_reply_;
  Loop::TimerId upgrade_timer_ = 0;
  bool handing_over_ = false;
  Fd signals_;
  std::int64_t started_ns_ = 0;
  std::int64_t drain_until_ns_ = 0;
  Loop::TimerId linger_timer_ = 0;
  bool stopping_ = false;
  bool gave_up_ = false;
};

}  // namespace penstock::cache
