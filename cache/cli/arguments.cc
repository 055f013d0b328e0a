#include "cache/cli/arguments.h"

#include <CLI/CLI.hpp>

namespace penstock::cli {
namespace {

constexpr int kWrongUsage = 2;

void Declare(const Argument& argument, CLI::App* app) {
  CLI::Option* option = std::visit(
      [&](auto* target) {
        if constexpr (std::is_same_v<decltype(target), bool*>)
          return app->add_flag(argument.names, *target, argument.help);
        else
          return app->add_option(argument.names, *target, argument.help);
      },
      argument.target);
  if (argument.required) option->required();
  if (!argument.type.empty()) option->type_name(argument.type);
}

void Declare(const Command& command, CLI::App* app, const Command** chosen) {
  app->footer(command.footer);
  if (!command.version.empty()) app->set_version_flag("--version", command.version);
  for (const Argument& argument : command.arguments) Declare(argument, app);
  for (const Command& one : command.commands)
    Declare(one, app->add_subcommand(one.name, one.what), chosen);
  if (command.commands.empty())
    app->callback([&command, chosen] { *chosen = &command; });
  else
    app->require_subcommand(1);
}

}  // namespace

std::expected<const Command*, int> ParseArguments(const Command& root,
                                                  const std::vector<std::string>& words) {
  CLI::App app(root.what, root.name);
  const Command* chosen = nullptr;
  Declare(root, &app, &chosen);
  std::vector<std::string> backwards(words.rbegin(), words.rend());  // as CLI11 wants them
  try {
    app.parse(backwards);
  } catch (const CLI::ParseError& error) {
    return std::unexpected(app.exit(error) == 0 ? 0 : kWrongUsage);
  }
  return chosen;
}

}  // namespace penstock::cli
