// The limits of the transport layer in one place, asserted against each other. Limits that a person
// sets are in OriginConfig; these are the ones that keep memory and time bounded whatever happens.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock::limits {

// Names. Blob allows 1,024 characters, each up to four bytes of UTF-8.
inline constexpr std::size_t kMaxNameBytes = 4096;
inline constexpr std::size_t kMaxBlobNameCharacters = 1024;

// Listing.
inline constexpr std::uint32_t kListPageEntries = 5000;      // the most Blob returns at once
inline constexpr std::size_t kMaxListBodyBytes = 64u << 20;  // a page of the longest names fits
inline constexpr std::size_t kMaxMarkerBytes = 16u << 10;
static_assert(kMaxListBodyBytes / kListPageEntries > 2 * kMaxNameBytes,
              "a page with names of the maximum length must fit into the body's limit");

// HTTP.
inline constexpr std::size_t kMaxHeaderLineBytes = 16u << 10;
inline constexpr std::size_t kMaxHeaderBytes = 64u << 10;  // of one response
inline constexpr std::size_t kReceiveBufferBytes = 256u << 10;
inline constexpr std::size_t kStreamedReadBytes = 1u << 20;  // from here on past the caches
inline constexpr std::size_t kMaxRequestBytes = 72u << 10;  // a URL, SAS included
static_assert(kMaxRequestBytes >= 3 * (kMaxNameBytes + kMaxMarkerBytes) + (8u << 10),
              "the longest name and marker must fit, percent-encoded, beside a SAS");
static_assert(kMaxHeaderLineBytes <= kMaxHeaderBytes);

// Identity.
inline constexpr std::size_t kMaxTokenBytes = 16u << 10;
inline constexpr std::size_t kMaxTokenBodyBytes = 64u << 10;  // an answer with a token in it
inline constexpr std::size_t kMaxSecretFileBytes = 64u << 10; // a federated token, a certificate
static_assert(kMaxTokenBytes < kMaxTokenBodyBytes);

// Folder.
inline constexpr unsigned kFileRingEntries = 128;
inline constexpr unsigned kFileReadThreads = 4;  // the twin of the ring
inline constexpr unsigned kFileMetaThreads = 2;
inline constexpr std::size_t kFileReadStepBytes = 16u << 20;  // between looks at the deadline
inline constexpr std::size_t kFileReadStepBuffers = 64;
inline constexpr std::size_t kMaxListCursors = 16;  // folders held open between pages

}  // namespace penstock::limits
