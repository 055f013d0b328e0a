// CRC-64 as Azure Storage computes it (x-ms-content-crc64): the reflected polynomial
// 0x9A6C9329AC4BC9B5, begun and ended with all bits inverted; the CRC-64/NVME of the catalogues,
// whose check value is 0xAE8B14860A799888. In a header it stands as eight bytes, the lowest first,
// in base64.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock {

// The CRC of `data` appended to bytes whose CRC is `previous` (0 for none).
std::uint64_t Crc64(std::span<const std::byte> data, std::uint64_t previous = 0);

}  // namespace penstock
