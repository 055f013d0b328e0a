// The log: one line per message on stderr, secrets taken out.
//
// Every message passes Redact() before it is written, so a URL with a SAS token or a header line
// with an Authorization value does not reach a log even when someone logs it by mistake. Object
// names and account names do.
//
// Thread safety: all functions may be called from any thread; lines do not interleave.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

namespace penstock::log {

enum class Level { kDebug, kInfo, kWarning, kError };

// Messages below `level` are dropped; kInfo at start.
void SetLevel(Level level);
// "debug", "info", "warning", "error"; false if it is none of these.
bool SetLevelByName(std::string_view name);
bool Enabled(Level level);

void Write(Level level, std::string_view message);
void WriteFormatted(Level level, fmt::string_view format, fmt::format_args args);

template <typename... Args>
void Debug(fmt::format_string<Args...> format, Args&&... args) {
  WriteFormatted(Level::kDebug, format, fmt::make_format_args(args...));
}
template <typename... Args>
void Info(fmt::format_string<Args...> format, Args&&... args) {
  WriteFormatted(Level::kInfo, format, fmt::make_format_args(args...));
}
template <typename... Args>
void Warning(fmt::format_string<Args...> format, Args&&... args) {
  WriteFormatted(Level::kWarning, format, fmt::make_format_args(args...));
}
template <typename... Args>
void Error(fmt::format_string<Args...> format, Args&&... args) {
  WriteFormatted(Level::kError, format, fmt::make_format_args(args...));
}

// `text` with the values of sig=, AccountKey=, client_secret=, assertion= and the like, and of
// Authorization headers, replaced by "***".
std::string Redact(std::string_view text);

}  // namespace penstock::log
