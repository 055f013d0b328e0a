#include "transport/base/stream_copy.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <cstddef>
#include <string>
#include <vector>

namespace penstock {
namespace {

std::string Numbered(std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 131 + (i >> 8));
  return text;
}

// Each place in a line, each length around a line and a long one: those bytes and no others.
TEST(StreamCopyTest, CopiesWhatMemcpyCopies) {
  const std::string from = Numbered(5000);
  for (std::size_t place = 0; place < 64; ++place) {
    for (const std::size_t skip : {std::size_t{0}, std::size_t{1}, std::size_t{17}}) {
      for (std::size_t bytes = 0; bytes < 4200; bytes += bytes < 200 ? 1 : 173) {
        alignas(64) char to[4400];
        std::fill(std::begin(to), std::end(to), '#');
        StreamCopy(to + place + 64, from.data() + skip, bytes);
        const std::string got(std::begin(to), std::end(to));
        std::string want(sizeof to, '#');
        want.replace(place + 64, bytes, from, skip, bytes);
        ASSERT_TRUE(got == want) << bytes << " bytes from " << skip << " to " << place;
      }
    }
  }
}

}  // namespace
}  // namespace penstock
