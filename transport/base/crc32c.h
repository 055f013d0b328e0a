// CRC-32C (Castagnoli), the checksum of every 64 KiB that Penstock stores.
//
// Uses the processor's instruction where it has one (found at run time, three streams interleaved
// to hide its latency) and a table otherwise; both give the same value.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock {

// The CRC of `data` appended to bytes whose CRC is `previous` (0 for none).
std::uint32_t Crc32c(std::span<const std::byte> data, std::uint32_t previous = 0);

// The twin without special instructions; public for the tests that compare the two.
std::uint32_t Crc32cPortable(std::span<const std::byte> data, std::uint32_t previous = 0);

// True if Crc32c() runs on the processor's instruction here.
bool Crc32cIsAccelerated();

}  // namespace penstock
