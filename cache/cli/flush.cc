// `penstock flush`: wait until every closed write is committed in the origin.
#include <memory>

#include "cache/cli/command.h"

namespace penstock::cli {

Command FlushCommand() {
  auto file = std::make_shared<std::string>();
  return {"flush",
          "Wait until every closed write is in the origin",
          "Example:\n  penstock flush -c job.toml && echo safe to leave the node",
          {ConfigArgument(file.get())},
          [file] { return TellSidecar(*file, "flush"); },
          {}};
}

}  // namespace penstock::cli
