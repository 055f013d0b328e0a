// `penstock flush`: wait until every closed write is committed in the origin.
#include <memory>

#include "cache/cli/command.h"

namespace penstock::cli {

void RegisterFlush(CLI::App& app, Chosen* chosen) {
  auto file = std::make_shared<std::string>();
  CLI::App* command = AddCommand(app, "flush", "Wait until every closed write is in the origin",
                                 "penstock flush -c job.toml && echo safe to leave the node");
  AddConfigOption(command, file.get());
  command->callback([=] {
    *chosen = [=] {
      const auto config = ReadConfig(*file);
      if (!config) return kUsage;
      return AskSidecar(*config, {{"op", "flush"}}) ? kDone : kFailed;
    };
  });
}

}  // namespace penstock::cli
