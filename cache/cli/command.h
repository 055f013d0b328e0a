// What the commands of `penstock` share. One file for each command; each adds itself to the parser
// and leaves in `Chosen` what is to be run after parsing.
//
// Exit codes: 0 done; 1 it did not work (one line on stderr says why); 2 wrong usage or
// configuration. `run` gives the program's own, 126 and 127 as shells do.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cache/admin/client.h"
#include "cache/config/config.h"

namespace penstock::cli {

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr std::int64_t kConnectMs = 5'000;
inline constexpr std::int64_t kAnswerMs = 15'000;

using Chosen = std::function<int()>;

// The configuration of -c, or nothing after its errors have been printed (exit with kUsage).
std::optional<cache::Config> ReadConfig(const std::string& file);

// Adds -c/--config, required.
void AddConfigOption(CLI::App* command, std::string* file);

// A sub-command with help text and an example below it.
CLI::App* AddCommand(CLI::App& app, const std::string& name, const std::string& what,
                     const std::string& example);

// Prints "penstock: <text>" on stderr.
void Complain(const std::string& text);

// Connects to the job's sidecar and asks; prints what is wrong and gives nothing if there is no
// answer or the answer is {"ok": false, "error": ...}.
std::optional<cache::Json> AskSidecar(const cache::Config& config, const cache::Json& request,
                                      std::int64_t timeout_ms = kAnswerMs);

// PATH arguments made absolute (relative to the working directory) and normalised; nothing after an
// error has been printed.
std::optional<std::vector<std::string>> AbsolutePaths(const std::vector<std::string>& paths);

// Where this program's own files lie: "" if they are not there.
std::string FindSidecarProgram();  // penstockd beside this program
std::string FindShim();            // PENSTOCK_LIB, or ../lib/libpenstock.so

// What a program needs in its environment, in the order `env` prints it.
std::vector<std::pair<std::string, std::string>> ProgramEnvironment(const cache::Config& config,
                                                                    const std::string& shim);

void RegisterRun(CLI::App& app, Chosen* chosen, const std::vector<std::string>* program);
void RegisterEnv(CLI::App& app, Chosen* chosen);
void RegisterStop(CLI::App& app, Chosen* chosen);
void RegisterStatus(CLI::App& app, Chosen* chosen);
void RegisterStat(CLI::App& app, Chosen* chosen);
void RegisterDoctor(CLI::App& app, Chosen* chosen);
void RegisterWarm(CLI::App& app, Chosen* chosen);
void RegisterRefresh(CLI::App& app, Chosen* chosen);
void RegisterFlush(CLI::App& app, Chosen* chosen);
void RegisterPin(CLI::App& app, Chosen* chosen);  // pin, unpin, evict
void RegisterGenConfig(CLI::App& app, Chosen* chosen);

}  // namespace penstock::cli
