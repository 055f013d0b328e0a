#include "cache/session/request.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <string.h>

#include <string>

#include "cache/engine/engine.h"
#include "shim/abi/open_file.h"

namespace penstock::cache {
namespace {

constexpr std::int64_t kNow = 1'000'000'000;

struct Ring {
  pst_request request{};
  char buffer[PST_PATH_MAX] = {};
  Ring(std::uint32_t op, const std::string& path) {
    request.op = op;
    request.ns = PST_NS_FILES | 1;
    request.id = KeyOf(path);
    request.path_len = static_cast<std::uint32_t>(path.size());
    request.slot = PST_NO_SLOT;
    request.deadline_ns = kNow + 5;
    memcpy(buffer, path.data(), std::min<std::size_t>(path.size(), sizeof buffer));
  }
  RequestCheck Check(SessionRequest* out) { return CheckRequest(request, buffer, 2, kNow, out); }
  RequestVerdict Verdict() {
    SessionRequest out;
    return Check(&out).verdict;
  }
};

TEST(Request, AGoodOneIsTakenWhole) {
  Ring ring(PST_OP_FETCH, "a/b c/d");
  ring.request.version = 7;
  ring.request.offset = 65536;
  ring.request.length = 3;
  ring.request.slot = 12;
  SessionRequest out;
  ASSERT_EQ(ring.Check(&out).verdict, RequestVerdict::kGood);
  EXPECT_EQ(out.path, "a/b c/d");
  EXPECT_EQ(out.mount, 1u);
  EXPECT_EQ(out.version, 7u);
  EXPECT_EQ(out.offset, 65536u);
  EXPECT_EQ(out.slot, 12u);
  EXPECT_EQ(out.deadline_ns, kNow + 5);
}

TEST(Request, DeadlinesAreKeptInBounds) {
  SessionRequest out;
  Ring past(PST_OP_LOOKUP, "x");
  past.request.deadline_ns = INT64_MIN;
  past.Check(&out);
  EXPECT_EQ(out.deadline_ns, kNow);
  EXPECT_TRUE(out.late);
  Ring never(PST_OP_LOOKUP, "x");
  never.request.deadline_ns = INT64_MAX;
  never.Check(&out);
  EXPECT_EQ(out.deadline_ns, kNow + kMaxRequestNs);
  EXPECT_FALSE(out.late);
}

TEST(Request, Rubbish) {
  const auto rubbish = [](auto change) {
    Ring ring(PST_OP_LOOKUP, "x");
    change(ring.request);
    return ring.Verdict();
  };
  EXPECT_EQ(rubbish([](pst_request& r) { r.op = 0; }), RequestVerdict::kRubbish);
  EXPECT_EQ(rubbish([](pst_request& r) { r.op = 10; }), RequestVerdict::kRubbish);
  EXPECT_EQ(rubbish([](pst_request& r) { r.op = UINT32_MAX; }), RequestVerdict::kRubbish);
  EXPECT_EQ(rubbish([](pst_request& r) { r.ns = PST_NS_FILES | 2; }), RequestVerdict::kRubbish);
  EXPECT_EQ(rubbish([](pst_request& r) { r.ns = PST_NS_KV; }), RequestVerdict::kRubbish);
  EXPECT_EQ(rubbish([](pst_request& r) { r.flags = 4; }), RequestVerdict::kRubbish);
  EXPECT_EQ(rubbish([](pst_request& r) { r.flags = PST_REQUEST_NOWAIT; }),
            RequestVerdict::kRubbish);
  EXPECT_EQ(rubbish([](pst_request& r) {
              r.op = PST_OP_FETCH;
              r.flags = PST_REQUEST_OPENS;
            }),
            RequestVerdict::kRubbish);
  EXPECT_EQ(rubbish([](pst_request& r) { r.flags = PST_REQUEST_OPENS; }), RequestVerdict::kGood);
  EXPECT_EQ(rubbish([](pst_request& r) { r.path_len = PST_PATH_MAX; }), RequestVerdict::kRubbish);
  EXPECT_EQ(rubbish([](pst_request& r) { r.path_len = UINT32_MAX; }), RequestVerdict::kRubbish);
  EXPECT_EQ(rubbish([](pst_request& r) { r.slot = PST_OPEN_FILE_SLOTS; }),
            RequestVerdict::kRubbish);
}

TEST(Request, RefusedWithAnErrno) {
  SessionRequest out;
  for (const char* path : {"/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a/.."}) {
    const RequestCheck check = Ring(PST_OP_LOOKUP, path).Check(&out);
    EXPECT_EQ(check.verdict, RequestVerdict::kRefused) << path;
    EXPECT_EQ(check.err, EINVAL) << path;
  }
  EXPECT_EQ(Ring(PST_OP_LOOKUP, std::string("a\0b", 3)).Check(&out).err, EINVAL);
  EXPECT_EQ(Ring(PST_OP_LOOKUP, std::string(255, 'n')).Verdict(), RequestVerdict::kGood);
  EXPECT_EQ(Ring(PST_OP_LOOKUP, "d/" + std::string(256, 'n')).Check(&out).err, ENAMETOOLONG);
  Ring key(PST_OP_LOOKUP, "x");
  key.request.id.lo ^= 1;
  EXPECT_EQ(key.Check(&out).err, EINVAL);
  Ring far(PST_OP_FETCH, "x");
  far.request.offset = PST_MAX_FILE_BYTES + 1;
  EXPECT_EQ(far.Check(&out).err, EINVAL);
  Ring much(PST_OP_READ, "x");
  much.request.offset = PST_MAX_FILE_BYTES;
  much.request.length = 1;
  EXPECT_EQ(much.Check(&out).err, EINVAL);
}

TEST(Request, ByKeyAlone) {
  SessionRequest out;
  Ring name(PST_OP_NAME, "whatever was left in the buffer");
  name.request.id = KeyOf("another");
  ASSERT_EQ(name.Check(&out).verdict, RequestVerdict::kGood);
  EXPECT_TRUE(out.by_key);
  EXPECT_TRUE(out.path.empty());
  Ring read(PST_OP_READ, "");
  read.request.id = KeyOf("another");
  ASSERT_EQ(read.Check(&out).verdict, RequestVerdict::kGood);
  EXPECT_TRUE(out.by_key);
}

}  // namespace
}  // namespace penstock::cache
