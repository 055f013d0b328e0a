// Measures every variant of PstCopy against libc's memcpy: the numbers in shim/copy/copy_x86.cc.
//
//   copy_bench [BYTES [DST_OFFSET [huge|small]]]     defaults: 131072 16 huge
//
// Source: a 256 MiB memfd, read-only, in random order (in order from 1 MiB on), in 2 MiB or 4 KiB
// pages. Destination: one buffer, DST_OFFSET past a page boundary (malloc gives 16). The variants
// take turns, 9 rounds, medians.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

#include "bench/measure.h"
#include "shim/copy/copy.h"

namespace penstock::bench {
namespace {

constexpr size_t kArenaBytes = size_t{256} << 20;
constexpr size_t kHugeBytes = size_t{2} << 20;
constexpr int kRounds = 9;
#ifndef MADV_COLLAPSE
constexpr int MADV_COLLAPSE = 25;
#endif

const unsigned char* MapArena(bool huge) {
  const int fd = memfd_create("copy_bench", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, kArenaBytes) != 0) return nullptr;
  auto* const space = static_cast<unsigned char*>(
      mmap(nullptr, kArenaBytes + kHugeBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (space == MAP_FAILED) return nullptr;
  unsigned char* const at =
      space + (kHugeBytes - reinterpret_cast<uintptr_t>(space) % kHugeBytes) % kHugeBytes;
  if (mmap(at, kArenaBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    return nullptr;
  }
  std::mt19937_64 random(1);
  for (size_t i = 0; i < kArenaBytes; i += 8) {
    const uint64_t word = random();
    std::memcpy(at + i, &word, 8);
  }
  if (huge && madvise(at, kArenaBytes, MADV_COLLAPSE) != 0) {
    std::fprintf(stderr, "copy_bench: no huge pages here, measuring small ones\n");
  }
  mprotect(at, kArenaBytes, PROT_READ);
  return at;
}

int Main(int argc, char** argv) {
  const size_t bytes = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 128 << 10;
  const size_t offset = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 16;
  const bool huge = argc <= 3 || std::string_view(argv[3]) == "huge";
  if (bytes < kPstCopySmallBytes || bytes > kArenaBytes || offset >= 4096) return 2;

  const unsigned char* const arena = MapArena(huge);
  void* target = nullptr;
  if (arena == nullptr || posix_memalign(&target, 4096, bytes + 8192) != 0) return 1;
  unsigned char* const dst = static_cast<unsigned char*>(target) + offset;
  std::memset(dst, 0, bytes);

  std::vector<size_t> order(kArenaBytes / bytes);
  std::iota(order.begin(), order.end(), size_t{0});
  std::mt19937_64 random(2);
  if (bytes < (1 << 20)) std::shuffle(order.begin(), order.end(), random);

  size_t count = 0;
  const PstCopyVariant* const all = PstCopyVariants(&count);
  std::vector<PstCopyVariant> variants;
  for (size_t i = 0; i < count; ++i) {
    if (all[i].usable()) variants.push_back(all[i]);
  }
  std::vector<std::vector<double>> costs_us(variants.size());
  for (int round = 0; round < kRounds; ++round) {
    for (size_t v = 0; v < variants.size(); ++v) {
      const int64_t begin_ns = NowNs();
      for (const size_t i : order) variants[v].copy(dst, arena + i * bytes, bytes);
      const auto spent_ns = static_cast<double>(NowNs() - begin_ns);
      costs_us[v].push_back(spent_ns / 1e3 / static_cast<double>(order.size()));
    }
  }
  for (size_t v = 0; v < variants.size(); ++v) {
    std::sort(costs_us[v].begin(), costs_us[v].end());
    std::printf("%-9s %8zu bytes  offset %2zu  median %8.3f us  least %8.3f us\n", variants[v].name,
                bytes, offset, costs_us[v][kRounds / 2], costs_us[v][0]);
  }
  return 0;
}

}  // namespace
}  // namespace penstock::bench

int main(int argc, char** argv) { return penstock::bench::Main(argc, argv); }
