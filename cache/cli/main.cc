// penstock: the command a person types.
#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <vector>

#include "cache/cli/command.h"
#include "cache/config/version.h"

namespace penstock::cli {
namespace {

constexpr const char* kFooter =
    "Start here:\n"
    "  penstock gen-config > job.toml            a configuration for this machine\n"
    "  penstock doctor -c job.toml               what is wrong, and what to do\n"
    "  penstock run -c job.toml -- python train.py\n"
    "`penstock COMMAND --help` shows an example of each.";

// What stands after the first "--" is the program's and not ours to parse.
void Split(int argc, char** argv, std::vector<std::string>* ours,
           std::vector<std::string>* program) {
  bool after = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!after && word == "--") {
      after = true;
    } else {
      (after ? program : ours)->push_back(word);
    }
  }
}

int Main(int argc, char** argv) {
  std::vector<std::string> ours;
  std::vector<std::string> program;
  Split(argc, argv, &ours, &program);
  const Command root{
      "penstock",
      "Penstock: training data at memory speed in front of Azure Blob.",
      kFooter,
      {},
      {},
      {RunCommand(&program), EnvCommand(), StopCommand(), UpgradeCommand(), StatusCommand(), StatCommand(),
       DoctorCommand(), WarmCommand(), RefreshCommand(), FlushCommand(), PinCommand(),
       UnpinCommand(), EvictCommand(), SnapshotCommand(), GenConfigCommand(), ImportConfigCommand(),
       FsckCommand()},
      fmt::format("penstock {}", cache::kVersion)};
  const auto chosen = ParseArguments(root, ours);
  if (!chosen) return chosen.error();
  if (!program.empty() && (*chosen)->name != "run") {
    Complain("only `penstock run` takes a program after \"--\"");
    return kUsage;
  }
  return (*chosen)->run();
}

}  // namespace
}  // namespace penstock::cli

int main(int argc, char** argv) { return penstock::cli::Main(argc, argv); }
