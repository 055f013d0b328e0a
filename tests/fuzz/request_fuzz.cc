// A client that writes anything into its session memory and its socket: a real session, engine and
// job folder behind it. No crash, nothing left in flight, and the next session works.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "cache/base/loop.h"
#include "cache/engine/engine.h"
#include "cache/job/job_folder.h"
#include "cache/memory/arena.h"
#include "cache/session/session.h"
#include "cache/session/tickets.h"
#include "transport/origin/origin.h"

namespace penstock::cache {
namespace {

constexpr std::int64_t kTurnNs = 2'000'000;

// Made once; the process ends with it.
struct World {
  std::string base;
  std::unique_ptr<Loop> loop;
  std::unique_ptr<origin::Origin> origin;
  std::unique_ptr<Arena> arena;
  std::unique_ptr<JobFolder> job;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Tickets> tickets;
  SessionContext context;
  std::uint64_t last_session = 0;

  World() {
    char name[] = "/tmp/penstock-fuzz-XXXXXX";
    if (mkdtemp(name) == nullptr) abort();
    base = name;
    std::filesystem::create_directories(base + "/origin/d");
    std::ofstream(base + "/origin/f") << std::string(70'000, 'x');
    std::ofstream(base + "/origin/d/g") << "g";
    loop = MakeLoop(false);
    std::string explanation;
    origin::OriginConfig from;
    from.url = "file://" + base + "/origin";
    auto made = origin::MakeOrigin(from, &explanation);
    ArenaConfig memory;
    memory.arena_bytes = kMinArenaBytes;
    memory.mounts = {DescribeMount(0, "/data", false, UINT32_MAX, UINT32_MAX)};
    auto area = Arena::Create(memory);
    auto folder = OpenJobFolder({.path = base + "/job"});
    if (!made || !area || !folder) abort();
    origin = *std::move(made);
    arena = *std::move(area);
    job = *std::move(folder);
    Mount mount;
    mount.path = "/data";
    mount.origin = origin.get();
    engine = MakeEngine(loop.get(), arena.get(), nullptr, {mount});
    tickets = std::make_unique<Tickets>(loop.get(), 64);
    context = {loop.get(), engine.get(), job.get(), tickets.get(), 1, 256, 0, nullptr};
  }
  void Turn() {
    loop->After(kTurnNs, [this] { loop->Stop(); });
    loop->Run();
  }
};

World& TheWorld() {
  static World* const world = [] {
    auto* made = new World;
    atexit([] { std::filesystem::remove_all(TheWorld().base); });
    return made;
  }();
  return *world;
}

// Takes the input apart.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  std::uint8_t Byte() {
    std::uint8_t byte = 0;
    Bytes(&byte, 1);
    return byte;
  }
  void Bytes(void* to, std::size_t count) {
    const std::size_t n = count < left_ ? count : left_;
    memcpy(to, data_, n);
    data_ += n;
    left_ -= n;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

// A request that passes most checks, so that what lies behind them is reached too.
void Plausible(pst_session* memory, Input& input) {
  static constexpr std::array<const char*, 5> kPaths = {"", "f", "d", "d/g", "none"};
  const std::uint32_t index = input.Byte() % PST_REQUEST_SLOTS;
  const std::string path = kPaths[input.Byte() % kPaths.size()];
  pst_request& request = memory->requests[index];
  request.op = 1 + input.Byte() % PST_OP_LISTING_READ;
  request.ns = PST_NS_FILES;
  request.id = KeyOf(path);
  request.path_len = static_cast<std::uint32_t>(path.size());
  memcpy(memory->buffers[index], path.data(), path.size());
  request.flags = request.op == PST_OP_FETCH ? input.Byte() & 1u : 0;
  request.offset = static_cast<std::uint64_t>(input.Byte()) << 9;
  request.length = static_cast<std::uint64_t>(input.Byte()) << 9;
  request.version = input.Byte() % 3 == 0 ? 0 : request.attr.version;
  request.deadline_ns = MonotonicNs() + 1'000'000'000;
  request.slot = PST_NO_SLOT;
  request.state = PST_REQUEST_SUBMITTED;
  memory->submitted |= 1ull << index;
}

void Act(pst_session* memory, int socket, int doorbell, Input& input) {
  const std::uint64_t one = 1;
  switch (input.Byte() % 7) {
    case 0:
      input.Bytes(&memory->requests[input.Byte() % PST_REQUEST_SLOTS], sizeof(pst_request));
      break;
    case 1:
      input.Bytes(memory->buffers[input.Byte() % PST_REQUEST_SLOTS], input.Byte());
      break;
    case 2:
      input.Bytes(&memory->submitted, sizeof memory->submitted);
      break;
    case 3: {
      std::array<std::byte, 32> message{};
      const std::size_t size = input.Byte() % message.size();
      input.Bytes(message.data(), size);
      (void)send(socket, message.data(), size, MSG_NOSIGNAL | MSG_DONTWAIT);
      break;
    }
    case 4:
      input.Bytes(memory->log, input.Byte());
      input.Bytes(&memory->log_head, sizeof memory->log_head);
      break;
    default:
      Plausible(memory, input);
      break;
  }
  (void)!write(doorbell, &one, sizeof one);
}

}  // namespace

int RunOne(const std::uint8_t* data, std::size_t size) {
  World& world = TheWorld();
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) abort();
  const Fd client(pair[1]);
  const std::uint64_t id = ++world.last_session;
  if (!world.job->Join(id, 0, -1)) abort();
  bool ended = false;
  auto session = Session::Open(&world.context, {.id = id, .incarnation = 1}, Fd(pair[0]), Fd(),
                               [&](Session*, const char*, bool) { ended = true; });
  if (!session) abort();
  const Fd memory_fd(dup((*session)->memory_fd()));
  void* map =
      mmap(nullptr, sizeof(pst_session), PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd.get(), 0);
  if (map == MAP_FAILED || !(*session)->Start()) abort();
  const Fd doorbell(dup((*session)->doorbell_fd()));
  auto* memory = static_cast<pst_session*>(map);
  Input input(data, size);
  for (int turn = 0; turn < 32 && !input.empty() && !ended; ++turn) {
    Act(memory, client.get(), doorbell.get(), input);
    if (turn % 4 == 3) world.Turn();
  }
  world.Turn();
  if (!ended) (*session)->DrainAccessLog();
  session->reset();
  world.job->Release(id);
  for (int i = 0; i < 5'000 && world.context.requests_in_flight > 0; ++i) world.Turn();
  if (world.context.requests_in_flight != 0 || world.tickets->size() != 0) abort();
  munmap(map, sizeof(pst_session));
  return 0;
}

}  // namespace penstock::cache

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return penstock::cache::RunOne(data, size);
}
