// Counters as text for people.
//
// Thread safety: pure functions.
#pragma once

#include <string>

#include "cache/admin/json.h"

namespace penstock::cli {

// Every counter of a "stat" answer, one a line, in groups.
std::string StatText(const cache::Json& stat);

// What changed between two answers, in a few lines.
std::string StatDifferenceText(const cache::Json& before, const cache::Json& after);

// One line for --watch: rates per second between two answers.
std::string StatRateText(const cache::Json& before, const cache::Json& after, double seconds);

}  // namespace penstock::cli
