#include "transport/identity/secret_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace penstock::identity {
namespace {

std::unexpected<Error> BadFile(std::string* explanation, const std::string& path,
                             std::string_view why) {
  *explanation = fmt::format("{} {}", path, why);
  return Fail(Code::kPermission, "reading a credential's file");
}

// Reads to the end of `fd` or until `text` is full. An errno, 0 on success.
int ReadAll(int fd, std::string* text) {
  std::size_t have = 0;
  while (have < text->size()) {
    const ssize_t n = read(fd, text->data() + have, text->size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  text->resize(have);
  return 0;
}

}  // namespace

Result<std::string> ReadSecretFile(const std::string& path, std::size_t max_bytes,
                                   std::string* explanation) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) {
    return BadFile(explanation, path, fmt::format("cannot be opened: {}", std::strerror(errno)));
  }
  struct stat status{};
  const bool regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  std::string text(max_bytes + 1, '\0');
  const int failure = regular ? ReadAll(fd, &text) : 0;
  close(fd);
  if (!regular) return BadFile(explanation, path, "is no regular file");
  if (failure != 0) {
    return BadFile(explanation, path, fmt::format("cannot be read: {}", std::strerror(failure)));
  }
  if (text.size() > max_bytes) {
    return BadFile(explanation, path, fmt::format("has more than {} bytes", max_bytes));
  }
  return text;
}

Result<std::string> ReadSecretLine(const std::string& path, std::size_t max_bytes,
                                   std::string* explanation) {
  auto text = ReadSecretFile(path, max_bytes, explanation);
  if (!text) return text;
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r' || text->back() == ' ')) {
    text->pop_back();
  }
  if (text->empty()) return BadFile(explanation, path, "is empty");
  return text;
}

}  // namespace penstock::identity
