// Sizes, durations and near misses as people write them.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace penstock::cache {

// "8GiB", "8Gi", "8G" (all 2^30), "500MB" (10^6), "64KiB", "4096". A fraction is allowed before a
// unit ("1.5GiB"). nullopt if it is none of these or does not fit into 2^63 - 1 bytes.
std::optional<std::uint64_t> ParseBytes(std::string_view text);
inline constexpr std::string_view kBytesAllowed =
    "a size such as \"8GiB\", \"8Gi\", \"500MB\" or a number of bytes";

// Bytes in a second: "2GiB/s", "500MB/s", and as networks are sold, in bits: "16Gbit/s",
// "800Mbit/s".
std::optional<std::uint64_t> ParseRate(std::string_view text);
inline constexpr std::string_view kRateAllowed = "a rate such as \"2GiB/s\" or \"16Gbit/s\"";

// "60s", "5m", "100ms", "2h", "1d", "500us"; nanoseconds. nullopt if it is none of these.
std::optional<std::int64_t> ParseDuration(std::string_view text);
inline constexpr std::string_view kDurationAllowed =
    "a duration such as \"60s\", \"5m\", \"100ms\", \"2h\"";

// The shortest exact form: "8GiB", "500000000".
std::string FormatBytes(std::uint64_t bytes);
// For people: "1.5 GiB".
std::string FormatBytesForPeople(std::uint64_t bytes);
// "60s", "100ms".
std::string FormatDuration(std::int64_t ns);

// "2026-03-01T12:00:00Z", of nanoseconds since 1970.
std::string FormatUtc(std::int64_t ns);

// The candidate that `text` was probably meant to be, or "" if none is near.
std::string_view Nearest(std::string_view text, std::span<const std::string_view> candidates);

}  // namespace penstock::cache
