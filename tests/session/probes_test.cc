// The sidecar's look at its origins, with origins that keep silent.
#include "cache/daemon/probes.h"

#include <gtest/gtest.h>

#include <utility>

namespace penstock::cache {
namespace {

class Silent final : public origin::Origin {
 public:
  void Stat(origin::StatOp*) override {}
  void Read(origin::ReadOp*) override {}
  void List(origin::ListOp*) override {}
  void Cancel(origin::Op* op) override {
    if (std::exchange(pending, nullptr) != op) return;
    ++cancelled;
    op->error = {Code::kCancelled, false, 0, "test"};
    op->done(op);
  }
  origin::OriginStats Stats() const override { return {}; }
  void StartProbe(origin::ProbeOp* op) override {
    ++asked;
    if (answers) return op->done(op);
    pending = op;
  }
  std::string Describe() const override { return "silent"; }
  origin::Op* pending = nullptr;
  bool answers = false;
  int asked = 0;
  int cancelled = 0;
};

TEST(Probes, AllAreAskedAtOnceAndTheEndWaitsForNone) {
  const auto loop = MakeLoop(false);
  Silent first, second, third;
  third.answers = true;
  const std::int64_t begin = MonotonicNs();
  bool told = false;
  {
    Probes probes(loop.get(), {{"/a", &first}, {"/b", &second}, {"/c", &third}});
    probes.Ask(0, [&] { told = true; });
    EXPECT_EQ(first.asked + second.asked + third.asked, 3);
    probes.Ask(0, [] {});
    EXPECT_EQ(first.asked, 1) << "one look at a time";
  }
  EXPECT_EQ(first.cancelled, 1);
  EXPECT_EQ(second.cancelled, 1);
  EXPECT_FALSE(told);
  EXPECT_LT(MonotonicNs() - begin, 1'000'000'000);
  loop->Post([&] { loop->Stop(); });
  loop->Run();  // what was on its way finds nobody
}

TEST(Probes, ResultsComeOnceAllHaveAnswered) {
  const auto loop = MakeLoop(false);
  Silent one, two;
  one.answers = two.answers = true;
  Probes probes(loop.get(), {{"/a", &one}, {"/b", &two}});
  probes.Ask(0, [&] { loop->Stop(); });
  loop->Run();
  EXPECT_TRUE(probes.probed());
  EXPECT_TRUE(probes.results()[0].ok && probes.results()[1].ok);
  int again = 0;
  probes.Ask(INT64_MAX, [&] { ++again; });
  EXPECT_EQ(again, 1);
  EXPECT_EQ(one.asked, 1);
}

}  // namespace
}  // namespace penstock::cache
