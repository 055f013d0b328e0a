// Reads objects through the Origin interface, as the sidecar does, and says what it cost.
//
//   transport_bench URL OBJECTS RANGE_BYTES CONCURRENCY ROUNDS
//
// OBJECTS is a file of lines "size name"; each object is read in ranges, CONCURRENCY of them at once, into
// memory that is larger than any cache, as the arena is. The mount is read anonymously. WIRE_CA and
// WIRE_HTTP as for wire_bare. Prints one line of JSON.
#include <sys/resource.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>
#include <vector>

#include "transport/base/clock.h"
#include "transport/origin/origin.h"

namespace penstock::bench {
namespace {

using origin::Op;
using origin::ReadOp;

constexpr std::size_t kMemoryBytes = 512u << 20;

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "transport_bench: %s\n", what.c_str());
  std::exit(1);
}

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Piece {
  std::string name;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

std::vector<Piece> ReadPieces(const char* path, std::uint64_t step) {
  std::ifstream in(path);
  std::vector<Piece> pieces;
  std::uint64_t size = 0;
  std::string name;
  while (in >> size >> name) {
    for (std::uint64_t at = 0; at < size; at += step) {
      pieces.push_back({name, at, std::min(step, size - at)});
    }
  }
  if (pieces.empty()) Die(std::string("no objects in ") + path);
  return pieces;
}

// Keeps `concurrency` reads under way until all are done.
class Run {
 public:
  Run(origin::Origin* origin, std::vector<Piece> pieces, std::size_t concurrency, std::size_t total)
      : origin_(origin), pieces_(std::move(pieces)), total_(total), reads_(concurrency) {
    std::uint64_t largest = 0;
    for (const Piece& piece : pieces_) largest = std::max(largest, piece.bytes);
    memory_.assign(std::max<std::size_t>(kMemoryBytes, largest * concurrency), std::byte{1});
    for (Read& read : reads_) read.run = this;
  }

  std::uint64_t Wait() {
    for (Read& read : reads_) Next(&read);
    std::unique_lock lock(mutex_);
    over_.wait(lock, [this] { return done_ == total_; });
    return bytes_;
  }

 private:
  struct Read : ReadOp {
    Run* run = nullptr;
  };

  static void Done(Op* op) {
    auto* read = static_cast<Read*>(op);
    Run* run = read->run;
    if (!read->ok()) Die(read->error.context);
    {
      const std::lock_guard lock(run->mutex_);
      run->bytes_ += read->buffers[0].size();
      if (++run->done_ == run->total_) run->over_.notify_all();
    }
    run->Next(read);
  }

  void Next(Read* read) {
    std::byte* place = nullptr;
    Piece piece;
    {
      const std::lock_guard lock(mutex_);
      if (next_ == total_) return;
      piece = pieces_[next_++ % pieces_.size()];
      if (at_ + piece.bytes > memory_.size()) at_ = 0;
      place = memory_.data() + at_;
      at_ += piece.bytes;
    }
    read->name = piece.name;
    read->offset = piece.offset;
    read->buffers.assign(1, {place, piece.bytes});
    read->deadline_ns = SystemClock::Get().NowNs() + 30 * kNsPerSecond;
    read->done = &Run::Done;
    origin_->Read(read);
  }

  origin::Origin* origin_;
  const std::vector<Piece> pieces_;
  const std::size_t total_;
  std::vector<Read> reads_;
  std::vector<std::byte> memory_;
  std::mutex mutex_;
  std::condition_variable over_;
  std::size_t next_ = 0;
  std::size_t done_ = 0;
  std::uint64_t bytes_ = 0;
  std::size_t at_ = 0;
};

int Main(int count, char** arguments) {
  if (count < 6) Die("URL OBJECTS RANGE_BYTES CONCURRENCY ROUNDS");
  origin::OriginConfig config;
  config.url = arguments[1];
  config.auth_mode = "anon";
  config.max_connections = 64;
  if (const char* ca = std::getenv("WIRE_CA")) config.ca_file = ca;
  if (const char* http = std::getenv("WIRE_HTTP")) config.http_version = http;
  std::string why;
  auto origin = origin::MakeOrigin(config, &why);
  if (!origin) Die(why);
  const auto number = [&](int at) { return std::strtoull(arguments[at], nullptr, 10); };
  auto pieces = ReadPieces(arguments[2], number(3));
  const std::size_t total = pieces.size() * number(5);
  Run run(origin->get(), std::move(pieces), number(4), total);
  const double cpu_before = CpuSeconds();
  const std::int64_t begin_ns = SystemClock::Get().NowNs();
  const std::uint64_t bytes = run.Wait();
  const double seconds = static_cast<double>(SystemClock::Get().NowNs() - begin_ns) * 1e-9;
  const double cpu = CpuSeconds() - cpu_before;
  const origin::OriginStats stats = (*origin)->Stats();
  std::printf(
      "{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"bytes\": %llu, \"requests\": %llu, "
      "\"connects\": %llu, \"concurrency\": %u, \"hedges\": %llu, \"hedges_won\": %llu}\n",
      seconds, cpu, static_cast<unsigned long long>(bytes),
      static_cast<unsigned long long>(stats.requests),
      static_cast<unsigned long long>(stats.connects), stats.concurrency,
      static_cast<unsigned long long>(stats.hedges),
      static_cast<unsigned long long>(stats.hedges_won));
  return 0;
}

}  // namespace
}  // namespace penstock::bench

int main(int argc, char** argv) { return penstock::bench::Main(argc, argv); }
