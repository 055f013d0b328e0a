// Ctrl-C of long commands: they stop at the next step and say what stays, instead of being killed.
#pragma once

namespace penstock::cli {

// From here on SIGINT and SIGTERM only set what Interrupted() tells.
void CatchInterrupts();
bool Interrupted();

}  // namespace penstock::cli
