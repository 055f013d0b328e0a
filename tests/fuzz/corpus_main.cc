// Feeds every file of the folders and files that it is given to a fuzzer's function, for builds
// without libFuzzer. Fails if there is no file at all.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

bool Feed(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return false;
  const std::string bytes((std::istreambuf_iterator<char>(stream)),
                          std::istreambuf_iterator<char>());
  std::printf("%s: %zu bytes\n", file.filename().c_str(), bytes.size());
  std::fflush(stdout);  // a crash then shows which file it was
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  int fed = 0;
  for (int i = 1; i < argc; ++i) {
    std::error_code error;
    if (fs::is_directory(argv[i], error)) {
      for (const auto& entry : fs::directory_iterator(argv[i], error)) fed += Feed(entry.path());
    } else {
      fed += Feed(argv[i]);
    }
  }
  if (fed == 0) std::fprintf(stderr, "no input was given\n");
  return fed == 0 ? 1 : 0;
}
