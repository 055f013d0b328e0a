// What the commands of `penstock` share. One file for each command; each gives its description.
//
// Exit codes: 0 done; 1 it did not work (one line on stderr says why); 2 wrong usage or
// configuration. `run` gives the program's own, 126 and 127 as shells do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cache/admin/json.h"
#include "cache/cli/arguments.h"
#include "cache/config/config.h"

namespace penstock::cli {

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr std::int64_t kConnectMs = 5'000;
inline constexpr std::int64_t kAnswerMs = 15'000;

// The configuration of -c, or nothing after its errors have been printed (exit with kUsage).
std::optional<cache::Config> ReadConfig(const std::string& file);

// -c/--config, required.
Argument ConfigArgument(std::string* file);

// A clock that only goes on, for deadlines.
std::int64_t NowMs();

// Prints "penstock: <text>" on stderr.
void Complain(const std::string& text);

// Connects to the job's sidecar and asks; prints what is wrong and gives nothing if there is no
// answer or the answer is {"ok": false, "error": ...}. Whoever takes the answer includes
// <nlohmann/json.hpp>.
std::optional<cache::Json> AskSidecar(const cache::Config& config, const cache::Json& request,
                                      std::int64_t timeout_ms = kAnswerMs);

// The same for {"op": op} or, with `paths`, {"op": op, "paths": [...]}, whose answer says no more
// than yes or no. Gives the exit code.
int TellSidecar(const std::string& config_file, const std::string& op);
int TellSidecar(const std::string& config_file, const std::string& op,
                const std::vector<std::string>& paths);

// PATH arguments made absolute (relative to the working directory) and normalised; nothing after an
// error has been printed.
std::optional<std::vector<std::string>> AbsolutePaths(const std::vector<std::string>& paths);

// Where this program's own files lie: "" if they are not there.
std::string FindSidecarProgram();  // penstockd beside this program
std::string FindShim();            // PENSTOCK_LIB, or ../lib/libpenstock.so

// What a program needs in its environment, in the order `env` prints it.
std::vector<std::pair<std::string, std::string>> ProgramEnvironment(const cache::Config& config,
                                                                    const std::string& shim);

// `program` is what stands after "--".
Command RunCommand(const std::vector<std::string>* program);
Command EnvCommand();
Command StopCommand();
Command UpgradeCommand();
Command StatusCommand();
Command StatCommand();
Command DoctorCommand();
Command WarmCommand();
Command RefreshCommand();
Command FlushCommand();
Command FsckCommand();
Command PinCommand();
Command UnpinCommand();
Command EvictCommand();
Command SnapshotCommand();  // create, use
Command GenConfigCommand();
Command ImportConfigCommand();

}  // namespace penstock::cli
