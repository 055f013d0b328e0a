// What a command line may say, in plain types. arguments.cc alone includes the library that reads
// it (CLI11): its header costs more to compile than any file of ours.
//
// Thread safety: one thread.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <variant>
#include <vector>

namespace penstock::cli {

struct Argument {
  std::string names;  // "-q,--quiet"; without a dash it is what stands by itself: "PATH"
  // Where it goes, alive until the command has run. A bool is set by the option's presence.
  std::variant<bool*, int*, std::string*, std::vector<std::string>*> target;
  std::string help;
  bool required = false;
  std::string type = "";  // shown behind its name; "" for the kind of the target
};

// A command, or a group of them.
struct Command {
  std::string name;
  std::string what;    // one line
  std::string footer;  // below the help: an example
  std::vector<Argument> arguments;
  std::function<int()> run;       // gives the exit code; keeps alive what `arguments` point to
  std::vector<Command> commands;  // if there are any, one has to be named
  std::string version = "";       // what --version prints; "" for no such option
};

// The command that `words` (without the program's own name) choose, its targets filled in. Else
// help, version or what is wrong has been printed, and the exit code is given: 0 or 2.
std::expected<const Command*, int> ParseArguments(const Command& root,
                                                  const std::vector<std::string>& words);

}  // namespace penstock::cli
