// `penstock snapshot`: a data set's listing as a file, and what to configure to use it.
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <semaphore>

#include "cache/cli/command.h"
#include "cache/cli/interrupt.h"
#include "cache/config/units.h"
#include "cache/config/version.h"
#include "cache/daemon/mount_origin.h"
#include "cache/job/fd.h"
#include "transport/base/clock.h"
#include "transport/http/percent.h"
#include "transport/origin/tree_lister.h"
#include "transport/snapshot/manifest_writer.h"
#include "transport/snapshot/snapshot_file.h"

namespace penstock::cli {
namespace {

constexpr std::int64_t kUploadMs = 600'000;

struct CreateOptions {
  std::string config_file;
  std::string path;
  std::string output;
  std::string to;
  bool json = false;
  bool quiet = false;
};

bool IsBlobAddress(const std::string& url) {
  return url.find("://") != std::string::npos && !url.starts_with("file:");
}

std::string Why(const Error& error) {
  return error.errno_value == 0 ? fmt::format("{} ({})", error.context, CodeName(error.code))
                                : fmt::format("{}: {}", error.context, strerror(error.errno_value));
}

// The origin of a covered path: its mount's, or the folder of it that the path names.
std::optional<origin::OriginConfig> OriginOfPath(const cache::Config& config,
                                                 const std::string& path) {
  const auto match = cache::MatchMount(config.mounts, path);
  if (!match) {
    Complain(fmt::format("{} lies below no mount of {}", path, config.file));
    return std::nullopt;
  }
  const cache::MountConfig& mount = config.mounts[match->mount];
  origin::OriginConfig origin = cache::OriginConfigOf(mount);
  if (match->rest.empty()) return origin;
  while (origin.url.ends_with('/')) origin.url.pop_back();
  origin.url.push_back('/');
  if (origin.url.starts_with("http")) {
    origin::AppendPercentEncoded(match->rest, true, &origin.url);
  } else {
    origin.url.append(match->rest);
  }
  return origin;
}

// Lists the origin into the writer, with a line about how far it is.
bool Collect(origin::Origin* from, const origin::OriginConfig& config, bool quiet,
             snapshot::ManifestWriter* writer, origin::TreeProgress* progress) {
  CatchInterrupts();
  const bool terminal = !quiet && isatty(STDERR_FILENO) != 0;
  const std::int64_t began_ns = SystemClock::Get().NowNs();
  origin::TreeOptions options;
  options.at_once = config.max_connections;
  options.deadline_ns = config.request_timeout_ms * kNsPerMs;
  options.progress = [&](const origin::TreeProgress& now) {
    const double seconds =
        static_cast<double>(SystemClock::Get().NowNs() - began_ns) / kNsPerSecond;
    if (terminal)
      fmt::print(stderr, "\r{} names, {} lists, {:.0f} names/s\033[K", now.entries, now.lists,
                 static_cast<double>(now.entries) / std::max(seconds, 0.001));
    return !Interrupted();
  };
  std::string failed_at;
  const auto listed = origin::ListTree(
      from, options, [&](origin::ObjectInfo&& info) { writer->Add(info); }, &failed_at);
  if (terminal) fmt::print(stderr, "\r\033[K");
  if (listed) {
    *progress = *listed;
    return true;
  }
  Complain(Interrupted()
               ? "interrupted; nothing was written"
               : fmt::format("{}{}{} cannot be listed: {}", from->Describe(),
                             failed_at.empty() ? "" : "/", failed_at, Why(listed.error())));
  return false;
}

bool Upload(int fd, std::uint64_t bytes, const std::string& url, origin::OriginConfig config) {
  std::string explanation;
  const auto address = snapshot::SplitBlobAddress(url, &explanation);
  if (!address) return Complain(explanation), false;
  config.url = address->origin_url;
  config.request_timeout_ms = kUploadMs;
  auto to = origin::MakeOrigin(config, &explanation);
  if (!to) return Complain(explanation), false;
  void* memory = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return Complain(strerror(errno)), false;
  std::binary_semaphore over(0);
  origin::PutOp put;
  put.name = address->name;
  put.body = {static_cast<const std::byte*>(memory), bytes};
  put.deadline_ns = SystemClock::Get().NowNs() + kUploadMs * kNsPerMs;
  put.user = &over;
  put.done = [](origin::Op* op) { static_cast<std::binary_semaphore*>(op->user)->release(); };
  (*to)->Put(&put);
  over.acquire();
  munmap(memory, bytes);
  if (!put.ok()) Complain(fmt::format("{} cannot be written: {}", url, Why(put.error)));
  return put.ok();
}

// The manifest under its own name at once and whole, or not at all.
bool Publish(const std::string& temporary, int fd, const std::string& output) {
  if (fchmod(fd, 0644) == 0 && fsync(fd) == 0 && rename(temporary.c_str(), output.c_str()) == 0)
    return true;
  Complain(fmt::format("{} cannot be written: {}", output, strerror(errno)));
  unlink(temporary.c_str());
  return false;
}

std::string DefaultOutput(const std::string& path, std::int64_t created_ns) {
  std::string date = cache::FormatUtc(created_ns);
  std::erase_if(date, [](char c) { return c == '-' || c == ':'; });
  const std::string name = path.substr(path.rfind('/') + 1);
  return fmt::format("{}-{}.snapshot", name, date);
}

std::string Absolute(const std::string& file) {
  const auto absolute = AbsolutePaths({file});
  return absolute ? absolute->front() : file;
}

void Report(const CreateOptions& options, const std::string& made, const std::string& origin,
            const snapshot::Written& written, const origin::TreeProgress& progress,
            std::int64_t created_ns, double seconds) {
  const std::string digest = "sha256:" + snapshot::HexDigest(written.digest);
  if (options.json) {
    fmt::print("{}\n", cache::JsonText({{"snapshot", made},
                                        {"origin", origin},
                                        {"created", cache::FormatUtc(created_ns)},
                                        {"digest", digest},
                                        {"files", written.files},
                                        {"directories", written.directories},
                                        {"bytes", written.bytes},
                                        {"manifest_bytes", written.manifest_bytes},
                                        {"lists", progress.lists},
                                        {"left_out", written.left_out + progress.skipped},
                                        {"seconds", seconds}},
                                       2));
    return;
  }
  fmt::print("{}\n", made);
  fmt::print(stderr, "{} files, {} folders, {} of data; {} lists in {:.1f} s; {} of manifest\n{}\n",
             written.files, written.directories, cache::FormatBytesForPeople(written.bytes),
             progress.lists, seconds, cache::FormatBytesForPeople(written.manifest_bytes), digest);
  if (written.left_out + progress.skipped > 0)
    fmt::print(stderr, "{} names that are no paths are left out\n",
               written.left_out + progress.skipped);
  fmt::print(stderr, "to use it: penstock snapshot use -c {} {}\n", options.config_file, made);
}

int Create(const CreateOptions& options) {
  const auto config = ReadConfig(options.config_file);
  if (!config) return kUsage;
  if (!options.to.empty() && !options.output.empty()) {
    Complain("-o and --to exclude each other");
    return kUsage;
  }
  if (!options.to.empty() && !IsBlobAddress(options.to)) {
    Complain("--to takes a blob, such as az://account/container/train.snapshot; -o takes a file");
    return kUsage;
  }
  const auto paths = AbsolutePaths({options.path});
  if (!paths) return kUsage;
  const auto origin_config = OriginOfPath(*config, paths->front());
  if (!origin_config) return kUsage;
  std::string explanation;
  auto from = origin::MakeOrigin(*origin_config, &explanation);
  if (!from) return Complain(explanation), kUsage;
  const std::int64_t began_ns = SystemClock::Get().NowNs();
  const std::int64_t created_ns = SystemClock::Get().WallNs();
  const std::string output =
      !options.output.empty() ? options.output : DefaultOutput(paths->front(), created_ns);
  // Before the work: a place where nothing can be written is known at once.
  std::string temporary = options.to.empty() ? output + ".XXXXXX" : "";
  const cache::Fd fd(options.to.empty() ? mkostemp(temporary.data(), O_CLOEXEC)
                                        : snapshot::OpenUnnamed("/tmp"));
  if (!fd.valid()) {
    Complain(fmt::format("{} cannot be written: {}", options.to.empty() ? output : "/tmp",
                         strerror(errno)));
    return kFailed;
  }
  const auto fail = [&] {
    if (!temporary.empty()) unlink(temporary.c_str());
    return kFailed;
  };
  snapshot::ManifestWriter writer;
  origin::TreeProgress progress;
  const bool quiet = options.quiet || options.json;
  if (!Collect(from->get(), *origin_config, quiet, &writer, &progress)) return fail();
  const auto written = writer.Write(fd.get(), (*from)->Describe(),
                                    fmt::format("penstock {}", cache::kVersion), created_ns);
  if (!written) return Complain(Why(written.error())), fail();
  if (options.to.empty()) {
    if (!Publish(temporary, fd.get(), output)) return kFailed;
  } else if (!Upload(fd.get(), written->manifest_bytes, options.to, *origin_config)) {
    return kFailed;
  }
  const double seconds = static_cast<double>(SystemClock::Get().NowNs() - began_ns) / kNsPerSecond;
  Report(options, options.to.empty() ? Absolute(output) : options.to, (*from)->Describe(), *written,
         progress, created_ns, seconds);
  return kDone;
}

// ---- use ----

// The text of a configuration with `snapshot` set in the mount whose table begins at `line`.
std::string WithSnapshot(const std::string& text, int line, const std::string& from) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size() - 1);
    lines.push_back(text.substr(at, end + 1 - at));
    at = end + 1;
  }
  const std::string setting = fmt::format("snapshot = \"{}\"\n", from);
  std::size_t at = static_cast<std::size_t>(line);  // the one after [[mount]]
  for (std::size_t i = at; i < lines.size(); ++i) {
    const std::size_t begin = lines[i].find_first_not_of(" \t");
    if (begin == std::string::npos) continue;
    if (lines[i][begin] == '[') break;
    const std::size_t end = lines[i].find_first_of(" \t=", begin);
    if (end != std::string::npos && lines[i].substr(begin, end - begin) == "snapshot") {
      lines[i] = setting;
      at = SIZE_MAX;
      break;
    }
  }
  if (at != SIZE_MAX) {
    if (!lines.empty() && !lines.back().ends_with('\n')) lines.back().push_back('\n');
    lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(std::min(at, lines.size())), setting);
  }
  std::string out;
  for (const std::string& one : lines) out += one;
  return out;
}

std::optional<std::string> ReadWhole(const std::string& file) {
  const cache::Fd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text(cache::kConfigFileMaxBytes, '\0');
  std::size_t have = 0;
  for (ssize_t n = 1; fd.valid() && n != 0 && have < text.size();) {
    n = read(fd.get(), text.data() + have, text.size() - have);
    if (n < 0) return std::nullopt;
    have += static_cast<std::size_t>(n);
  }
  text.resize(have);
  return fd.valid() ? std::optional(text) : std::nullopt;
}

// Writes the configuration anew, if it still says what it said and the new one can be read.
bool WriteConfig(const cache::Config& config, int line, const std::string& from) {
  const auto text = ReadWhole(config.file);
  if (!text) {
    Complain(fmt::format("{} cannot be read: {}", config.file, strerror(errno)));
    return false;
  }
  const std::string changed = WithSnapshot(*text, line, from);
  const auto parsed = cache::ParseConfig(changed, config.file);
  bool right = false;
  if (parsed && parsed->mounts.size() == config.mounts.size()) {
    for (std::size_t i = 0; i < parsed->mounts.size(); ++i) {
      if (config.mounts[i].line == line)
        right =
            parsed->mounts[i].snapshot == from && parsed->mounts[i].path == config.mounts[i].path;
    }
  }
  if (!right) {
    Complain(fmt::format("{} is not written in a way that can be edited: add the line by hand",
                         config.file));
    return false;
  }
  std::string temporary = config.file + ".XXXXXX";
  struct stat status{};
  const cache::Fd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (fd.valid() && stat(config.file.c_str(), &status) == 0 &&
      fchmod(fd.get(), status.st_mode & 07777) == 0 &&
      write(fd.get(), changed.data(), changed.size()) == static_cast<ssize_t>(changed.size()) &&
      fsync(fd.get()) == 0 && rename(temporary.c_str(), config.file.c_str()) == 0)
    return true;
  Complain(fmt::format("{} cannot be written: {}", config.file, strerror(errno)));
  if (fd.valid()) unlink(temporary.c_str());
  return false;
}

// Each mount has its own way to reach a blob: the first that can read it.
std::unique_ptr<snapshot::SnapshotFile> LoadForAny(const std::vector<cache::MountConfig>& mounts,
                                                   const std::string& from) {
  std::string explanation;
  for (const cache::MountConfig& mount : mounts) {
    auto file =
        snapshot::SnapshotFile::Load(from, cache::OriginConfigOf(mount), "/tmp", &explanation);
    if (file) return *std::move(file);
    if (!IsBlobAddress(from) || file.error().code == Code::kCorrupt) break;
  }
  Complain(fmt::format("{}: {}", from, explanation));
  return nullptr;
}

int Use(const std::string& config_file, const std::string& named, bool write, bool json) {
  const auto config = ReadConfig(config_file);
  if (!config) return kUsage;
  const std::string from =
      IsBlobAddress(named) || named.starts_with("file://") ? named : Absolute(named);
  if (from.find_first_of("\"\\\n") != std::string::npos) {
    Complain("quotes, backslashes and line ends are not allowed in the manifest's name");
    return kUsage;
  }
  const auto file = LoadForAny(config->mounts, from);
  if (!file) return kFailed;
  const snapshot::ManifestInfo& info = file->manifest().info();
  const cache::MountConfig* found = nullptr;
  for (const cache::MountConfig& mount : config->mounts) {
    std::string explanation;
    const auto origin = origin::MakeOrigin(cache::OriginConfigOf(mount), &explanation);
    if (origin && (*origin)->Describe() == info.origin) found = &mount;
  }
  if (json) {
    fmt::print("{}\n", cache::JsonText({{"snapshot", from},
                                        {"mount", found == nullptr ? "" : found->path},
                                        {"origin", info.origin},
                                        {"writer", info.writer},
                                        {"created", cache::FormatUtc(info.created_ns)},
                                        {"digest", "sha256:" + info.digest},
                                        {"files", info.files},
                                        {"directories", info.directories},
                                        {"bytes", info.bytes},
                                        {"manifest_bytes", info.manifest_bytes}},
                                       2));
  } else {
    fmt::print(stderr, "snapshot of {}, made {}: {} files, {} folders, {}\nsha256:{}\n",
               info.origin, cache::FormatUtc(info.created_ns), info.files, info.directories,
               cache::FormatBytesForPeople(info.bytes), info.digest);
  }
  if (found == nullptr) {
    Complain(fmt::format("no mount of {} has the origin \"{}\": add one, with snapshot = \"{}\"",
                         config->file, info.origin, from));
    return kFailed;
  }
  if (write) {
    if (!WriteConfig(*config, found->line, from)) return kFailed;
    fmt::print(stderr, "{}: the mount {} uses it from the sidecar's next start on\n", config->file,
               found->path);
  } else if (!json) {
    fmt::print(stderr, "in {}, below path = \"{}\" (or --write):\n", config->file, found->path);
    fmt::print("snapshot = \"{}\"\n", from);
  }
  return kDone;
}

Command CreateCommand() {
  auto options = std::make_shared<CreateOptions>();
  return {"create",
          "Save the listing of a covered folder",
          "Example:\n  penstock snapshot create -c job.toml /data/train -o train.snapshot\n"
          "  penstock snapshot create -c job.toml /data/train --to az://acct/sets/train.snapshot",
          {ConfigArgument(&options->config_file),
           {"PATH", &options->path, "A mount's path, or a folder below it", true},
           {"-o,--output", &options->output, "The file; left out: NAME-DATE.snapshot here"},
           {"--to", &options->to, "A blob instead: az://account/container/name"},
           {"--json", &options->json, "What was made, as a JSON object"},
           {"-q,--quiet", &options->quiet, "No progress"}},
          [options] { return Create(*options); },
          {}};
}

Command UseCommand() {
  struct Options {
    std::string config_file;
    std::string from;
    bool write = false;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  return {
      "use",
      "Check a snapshot and say what to configure to use it instead of listing",
      "Example:\n  penstock snapshot use -c job.toml train.snapshot --write",
      {ConfigArgument(&options->config_file),
       {"SNAPSHOT", &options->from, "Its file, or its blob's address", true},
       {"--write", &options->write, "Write it into the configuration"},
       {"--json", &options->json, "What it is, as a JSON object"}},
      [options] { return Use(options->config_file, options->from, options->write, options->json); },
      {}};
}

}  // namespace

Command SnapshotCommand() {
  return {"snapshot",
          "A data set's listing as a file that is used instead of asking",
          "Example:\n  penstock snapshot create -c job.toml /data/train -o train.snapshot\n"
          "  penstock snapshot use -c job.toml train.snapshot --write",
          {},
          {},
          {CreateCommand(), UseCommand()}};
}

}  // namespace penstock::cli
