#include "transport/base/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <memory>

namespace penstock::log {
namespace {

spdlog::level::level_enum ToSpdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

spdlog::logger& Logger() {
  // Never destroyed: other threads may log while the process exits.
  static auto* const logger = [] {
    auto* made = new spdlog::logger("penstock", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
    made->set_level(spdlog::level::info);
    return made;
  }();
  return *logger;
}

// What stands before a secret, in lower case, and where the secret ends.
struct SecretMark {
  std::string_view prefix;
  std::string_view end_of_value;
};
constexpr SecretMark kSecretMarks[] = {
    {"sig=", "&; \t\r\n\"'<>"},
    {"accountkey=", "; \t\r\n\"'"},
    {"sharedaccesssignature=", "; \t\r\n\"'"},
    {"client_secret=", "& \t\r\n\"'"},
    {"client_assertion=", "& \t\r\n\"'"},
    {"access_token\":\"", "\""},
    {"authorization:", "\r\n"},
    {"bearer ", " \t\r\n\"'"},
    {"sharedkey ", " \t\r\n\"'"},
};

bool StartsWithIgnoringCase(std::string_view text, std::string_view lower_prefix) {
  return text.size() >= lower_prefix.size() &&
         std::equal(
             lower_prefix.begin(), lower_prefix.end(), text.begin(), [](char want, char got) {
               return want == static_cast<char>(std::tolower(static_cast<unsigned char>(got)));
             });
}

const SecretMark* MarkAt(std::string_view text) {
  for (const SecretMark& mark : kSecretMarks) {
    if (StartsWithIgnoringCase(text, mark.prefix)) return &mark;
  }
  return nullptr;
}

}  // namespace

void SetLevel(Level level) { Logger().set_level(ToSpdlog(level)); }

bool SetLevelByName(std::string_view name) {
  constexpr std::pair<std::string_view, Level> kNames[] = {{"debug", Level::kDebug},
                                                           {"info", Level::kInfo},
                                                           {"warning", Level::kWarning},
                                                           {"error", Level::kError}};
  const auto* found = std::find_if(std::begin(kNames), std::end(kNames),
                                   [name](const auto& row) { return row.first == name; });
  if (found == std::end(kNames)) return false;
  SetLevel(found->second);
  return true;
}

bool Enabled(Level level) { return Logger().should_log(ToSpdlog(level)); }

void Write(Level level, std::string_view message) {
  if (!Enabled(level)) return;
  std::string line = Redact(message);
  // One message is one line, whatever a name or a server's answer contains.
  std::replace_if(line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  Logger().log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

void WriteFormatted(Level level, fmt::string_view format, fmt::format_args args) {
  if (!Enabled(level)) return;
  fmt::memory_buffer message;
  fmt::vformat_to(std::back_inserter(message), format, args);
  Write(level, std::string_view(message.data(), message.size()));
}

std::string Redact(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const SecretMark* mark = MarkAt(text);
    if (mark == nullptr) {
      out.push_back(text.front());
      text.remove_prefix(1);
      continue;
    }
    out.append(text.substr(0, mark->prefix.size()));
    out.append("***");
    const std::size_t end = text.find_first_of(mark->end_of_value, mark->prefix.size());
    text.remove_prefix(end == std::string_view::npos ? text.size() : end);
  }
  return out;
}

}  // namespace penstock::log
