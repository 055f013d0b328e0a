// What readdir takes of a listing's page: every sound entry where it lies, and nothing of an entry
// that lies about its length or its name's end. Whatever a page says, an entry stays inside it.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "shim/core/stream.h"

namespace penstock {
namespace {

class ListingPage : public testing::Test {
 protected:
  ListingPage() : stream_(std::make_unique<Stream>()) {
    stream_->at = stream_->page_bytes = sizeof(pst_listing_page);
  }

  // Adds an entry as the sidecar does; where it begins.
  uint32_t Add(const std::string& name, uint32_t record_bytes = 0) {
    const uint32_t at = stream_->page_bytes;
    if (record_bytes == 0) record_bytes = PST_LISTING_ENTRY_BYTES((uint32_t)name.size());
    const pst_listing_entry head = {
        7 + at, (int64_t)++count_ + 2, (uint16_t)record_bytes, PST_LISTING_FILE, {}};
    std::memcpy(stream_->bytes + at, &head, sizeof head);
    std::memset(stream_->bytes + at + kNameAt, 0, PST_LISTING_ENTRY_BYTES(name.size()) - kNameAt);
    std::memcpy(stream_->bytes + at + kNameAt, name.data(), name.size());
    stream_->page_bytes = at + record_bytes;
    return at;
  }

  dirent64* Next() { return PstStreamFromPage(stream_.get()); }

  static constexpr uint32_t kNameAt = offsetof(pst_listing_entry, name);
  std::unique_ptr<Stream> stream_;
  uint32_t count_ = 0;
};

TEST_F(ListingPage, GivesEachEntryWhereItLies) {
  for (uint32_t len = 1; len <= kStreamNameMax; ++len)
    Add(std::string(len, (char)('a' + len % 26)));
  uint32_t at = sizeof(pst_listing_page);
  for (uint32_t len = 1; len <= kStreamNameMax; ++len) {
    const dirent64* entry = Next();
    ASSERT_EQ((const void*)entry, stream_->bytes + at) << len;
    EXPECT_EQ(entry->d_ino, 7u + at);
    EXPECT_EQ(entry->d_off, (off_t)len + 2);
    EXPECT_EQ(entry->d_type, DT_REG);
    EXPECT_EQ(entry->d_name, std::string(len, (char)('a' + len % 26)));
    at += entry->d_reclen;
  }
  EXPECT_EQ(Next(), nullptr);
  EXPECT_EQ(stream_->at, stream_->page_bytes);
}

TEST_F(ListingPage, GivesNothingWithoutAPage) {
  Add("kept from before");
  stream_->page_bytes = 0;
  EXPECT_EQ(Next(), nullptr);
  stream_->at = PST_RANGE_BYTES;
  EXPECT_EQ(Next(), nullptr);
}

TEST_F(ListingPage, RefusesEveryLengthThatIsNone) {
  for (uint32_t bytes = 0; bytes <= UINT16_MAX; ++bytes) {
    stream_->at = stream_->page_bytes = sizeof(pst_listing_page);
    Add("name", bytes == 0 ? 1 : bytes);
    const auto said = (uint16_t)bytes;
    std::memcpy(
        stream_->bytes + sizeof(pst_listing_page) + offsetof(pst_listing_entry, record_bytes),
        &said, sizeof said);
    stream_->page_bytes = PST_RANGE_BYTES;
    const bool sound = bytes % 8 == 0 && bytes >= 24 && bytes <= 280;
    ASSERT_EQ(Next() != nullptr, sound) << bytes;
    ASSERT_EQ(stream_->at, sizeof(pst_listing_page) + (sound ? bytes : 0));
  }
}

TEST_F(ListingPage, RefusesANameWithoutAnEnd) {
  const uint32_t at = Add("12345");
  ASSERT_EQ(stream_->bytes[at + 31], 0);
  stream_->bytes[at + 31] = 'x';
  EXPECT_EQ(Next(), nullptr);
}

TEST_F(ListingPage, RefusesAnEntryThatGoesOnBeyondThePage) {
  Add("first");
  Add("second");
  stream_->page_bytes -= 8;
  EXPECT_NE(Next(), nullptr);
  EXPECT_EQ(Next(), nullptr);
}

TEST_F(ListingPage, StaysInsideWhateverThePageSays) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  uint64_t given = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto limit = (uint32_t)(64 + random() % (PST_RANGE_BYTES - 63));
    // Small numbers and many zeros, so that some entries pass.
    for (uint32_t i = 0; i < limit; ++i)
      stream_->bytes[i] = (unsigned char)(random() % 4 != 0 ? 0 : random() % 40 * 8);
    for (uint32_t i = 64 + 16; i + 1 < limit && round % 2 == 0; i += 40) stream_->bytes[i] = 40;
    stream_->at = sizeof(pst_listing_page);
    stream_->page_bytes = limit;
    while (const dirent64* entry = Next()) {
      const auto at = (uint32_t)((const unsigned char*)entry - stream_->bytes);
      ASSERT_LE(at + entry->d_reclen, limit);
      ASSERT_LT(strnlen(entry->d_name, 256), entry->d_reclen - kNameAt);
      ++given;
    }
  }
  EXPECT_GT(given, 1000u);
}

}  // namespace
}  // namespace penstock
