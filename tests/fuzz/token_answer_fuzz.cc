// What an identity service, or whoever answers in its place, says: no crash, and what comes out may
// stand in a header and in a log.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "transport/identity/managed_identity.h"
#include "transport/identity/token.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::identity;
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  for (const TokenDialect dialect :
       {TokenDialect::kEntra, TokenDialect::kManaged, TokenDialect::kCli}) {
    std::string why;
    const auto answer = ParseTokenAnswer(body, dialect, 1'700'000'000'000'000'000, &why);
    if (!answer) {
      if (why.empty()) std::abort();
      continue;
    }
    if (!IsTokenText(answer->value) || answer->lifetime_ns <= 0 || answer->refresh_in_ns < 0 ||
        answer->refresh_in_ns > answer->lifetime_ns) {
      std::abort();
    }
  }
  for (const char c : DescribeRefusal(body)) {
    if (c < ' ' || c > '~') std::abort();
  }
  std::string why;
  (void)ReadArcKey(body, "/no/such/folder", &why);
  return 0;
}
