// Every variant of PstCopy against the plain meaning of a copy: the right bytes, none outside the
// destination, and no read outside the source.

#include "shim/copy/copy.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace penstock {
namespace {

constexpr unsigned char kGuard = 0xa5;
constexpr size_t kGuardBytes = 128;
constexpr size_t kLargestBytes = (3 << 20) + 8192;

std::vector<PstCopyVariant> UsableVariants() {
  size_t count = 0;
  const PstCopyVariant* variants = PstCopyVariants(&count);
  std::vector<PstCopyVariant> usable;
  for (size_t i = 0; i < count; ++i) {
    if (variants[i].usable()) usable.push_back(variants[i]);
  }
  return usable;
}

// A source whose end is the end of the mapping: the next page may not be touched. So is the page
// before it.
class FencedPages {
 public:
  explicit FencedPages(size_t bytes) {
    page_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    bytes_ = (bytes + page_ - 1) / page_ * page_;
    map_ = mmap(nullptr, bytes_ + 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map_ == MAP_FAILED) abort();
    if (mprotect(begin(), bytes_, PROT_READ | PROT_WRITE) != 0) abort();
    std::mt19937_64 random(20240601);
    for (size_t i = 0; i < bytes_; i += 8) {
      const uint64_t word = random();
      std::memcpy(begin() + i, &word, 8);
    }
  }
  FencedPages(const FencedPages&) = delete;
  FencedPages& operator=(const FencedPages&) = delete;
  ~FencedPages() { munmap(map_, bytes_ + 2 * page_); }

  unsigned char* begin() const { return static_cast<unsigned char*>(map_) + page_; }
  unsigned char* end() const { return begin() + bytes_; }

 private:
  size_t page_ = 0;
  size_t bytes_ = 0;
  void* map_ = nullptr;
};

class CopyTest : public testing::Test {
 protected:
  // Copies n bytes from `src` to a place `dst_offset` past a page boundary and checks everything.
  ::testing::AssertionResult Check(const char* name, PstCopyFn copy, const unsigned char* src,
                                   size_t dst_offset, size_t n) {
    unsigned char* const dst = target_.begin() + 4096 + dst_offset;
    std::memset(dst - kGuardBytes, kGuard, n + 2 * kGuardBytes);
    if (copy(dst, src, n) != dst) return Failure(name, src, dst_offset, n) << "wrong return";
    if (std::memcmp(dst, src, n) != 0) return Failure(name, src, dst_offset, n) << "wrong bytes";
    const auto intact = [](unsigned char c) { return c == kGuard; };
    if (!std::all_of(dst - kGuardBytes, dst, intact) ||
        !std::all_of(dst + n, dst + n + kGuardBytes, intact)) {
      return Failure(name, src, dst_offset, n) << "wrote outside";
    }
    return ::testing::AssertionSuccess();
  }

  FencedPages source_{kLargestBytes};
  FencedPages target_{kLargestBytes + 3 * 4096};

 private:
  ::testing::AssertionResult Failure(const char* name, const unsigned char* src, size_t dst_offset,
                                     size_t n) {
    return ::testing::AssertionFailure()
           << name << ": " << n << " bytes, source " << (source_.end() - src)
           << " before its end, destination at " << dst_offset << ": ";
  }
};

void* ViaPstCopy(void* dst, const void* src, size_t n) { return PstCopy(dst, src, n); }

TEST_F(CopyTest, SomeVariantIsUsable) { EXPECT_FALSE(UsableVariants().empty()); }

TEST_F(CopyTest, WorksBeforeInit) {
  for (size_t n : {0, 1, 4096, 131072}) {
    EXPECT_TRUE(Check("uninitialised", ViaPstCopy, source_.end() - n, 16, n));
  }
}

TEST_F(CopyTest, InitChoosesTheFirstUsable) {
  PstCopyInit();
  EXPECT_EQ(g_pst_copy, UsableVariants().front().copy);
  PstCopyInit();
  EXPECT_EQ(g_pst_copy, UsableVariants().front().copy);
}

// All sizes up to a page and a bit; the alignments of both sides vary with the size, so that every
// pair of them occurs.
TEST_F(CopyTest, EverySizeUpToAPage) {
  PstCopyInit();
  const std::vector<PstCopyVariant> variants = UsableVariants();
  std::mt19937 random(7);
  for (size_t n = 0; n <= 4200; ++n) {
    for (int sample = 0; sample < 12; ++sample) {
      const size_t src_offset = random() % 64;
      const size_t dst_offset = random() % 64;
      const unsigned char* const src = source_.begin() + src_offset;
      ASSERT_TRUE(Check("PstCopy", ViaPstCopy, src, dst_offset, n));
      if (n < kPstCopySmallBytes) continue;
      for (const PstCopyVariant& variant : variants) {
        ASSERT_TRUE(Check(variant.name, variant.copy, src, dst_offset, n));
      }
    }
  }
}

TEST_F(CopyTest, NeverReadsBeyondEitherEnd) {
  PstCopyInit();
  for (const PstCopyVariant& variant : UsableVariants()) {
    for (size_t n = kPstCopySmallBytes; n <= 4200; ++n) {
      ASSERT_TRUE(Check(variant.name, variant.copy, source_.end() - n, n % 64, n));
      ASSERT_TRUE(Check(variant.name, variant.copy, source_.begin(), n % 61, n));
    }
  }
}

// Around every threshold of the routines: 16 KiB groups, 32 KiB, 512 KiB, and the sizes in use.
TEST_F(CopyTest, LargeSizes) {
  PstCopyInit();
  std::mt19937 random(11);
  for (const PstCopyVariant& variant : UsableVariants()) {
    for (size_t base : {8u << 10, 16u << 10, 32u << 10, 48u << 10, 64u << 10, 128u << 10,
                        512u << 10, 1u << 20, 3u << 20}) {
      for (int delta : {-65, -64, -63, -1, 0, 1, 63, 64, 65, 4095}) {
        const size_t n = base + static_cast<size_t>(delta);
        const size_t dst_offset = random() % 64;
        ASSERT_TRUE(Check(variant.name, variant.copy, source_.end() - n, 16, n));
        ASSERT_TRUE(Check(variant.name, variant.copy, source_.begin(), dst_offset, n));
        ASSERT_TRUE(
            Check(variant.name, variant.copy, source_.begin() + random() % 64, dst_offset, n));
      }
    }
  }
}

}  // namespace
}  // namespace penstock
