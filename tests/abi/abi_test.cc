// C and C++ see the same layouts, and they are the committed ones. A change here is a change of the
// ABI: bump PST_ABI_MAJOR or PST_ABI_MINOR (shim/abi/abi.h), then
//   build/release/tests/abi_dump_c > tests/abi/golden.txt
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

namespace {

std::string OutputOf(const char* program) {
  std::string text;
  std::FILE* pipe = ::popen(program, "r");
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
  EXPECT_EQ(::pclose(pipe), 0) << program;
  return text;
}

TEST(AbiTest, CAndCxxAgreeWithTheGoldenDump) {
  std::ifstream in(GOLDEN);
  const std::string golden{std::istreambuf_iterator<char>(in), {}};
  EXPECT_GT(golden.size(), 1000u);
  EXPECT_EQ(OutputOf(DUMP_C), golden);
  EXPECT_EQ(OutputOf(DUMP_CXX), golden);
}

TEST(AbiTest, NoByteIsWithoutAField) {
  EXPECT_EQ(OutputOf(DUMP_C).find("hole"), std::string::npos);
}

}  // namespace
