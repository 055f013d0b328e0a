#include "cache/job/slot_leases.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <utility>

namespace penstock::cache {
namespace {

const auto kAnyUsable = [](std::uint32_t) { return true; };

struct SlotLeasesTest : testing::Test {
  std::set<std::uint32_t> shared;
  std::vector<std::uint32_t> freed;
  SlotLeases leases{[this](std::uint64_t, std::uint32_t slot) { return shared.contains(slot); },
                    [this](std::uint64_t, std::uint32_t slot) { freed.push_back(slot); }};

  std::uint32_t Take(std::uint64_t session) {
    const std::int64_t slot = leases.Take(session, kAnyUsable);
    EXPECT_GE(slot, 0);
    return static_cast<std::uint32_t>(slot);
  }
};

TEST_F(SlotLeasesTest, NumbersAreDistinctAndComeBackWhenTheirSessionDies) {
  ASSERT_TRUE(leases.Join(1, 0));
  ASSERT_TRUE(leases.Join(2, 0));
  const std::uint32_t a = Take(1), b = Take(1), c = Take(2);
  EXPECT_NE(a, b);
  EXPECT_NE(b, c);
  EXPECT_EQ(leases.leased(), 3u);
  leases.Release(1);
  EXPECT_EQ(freed, (std::vector<std::uint32_t>{a, b}));
  EXPECT_EQ(leases.leased(), 1u);
  EXPECT_EQ(leases.live_sessions(), 1u);
  EXPECT_EQ(leases.Take(1, kAnyUsable), -1) << "a dead session leases nothing";
  const std::uint32_t again = Take(2);
  EXPECT_TRUE(again == a || again == b);
}

TEST_F(SlotLeasesTest, RefusesIdsThatAreZeroKnownOrTheirOwnParent) {
  EXPECT_FALSE(leases.Join(0, 0));
  EXPECT_TRUE(leases.Join(7, 99)) << "an unknown parent is no parent";
  EXPECT_FALSE(leases.Join(7, 0));
  EXPECT_FALSE(leases.Join(8, 8));
}

TEST_F(SlotLeasesTest, SharedSlotsLiveAsLongAsTheFamily) {
  ASSERT_TRUE(leases.Join(1, 0));
  const std::uint32_t mine = Take(1), both = Take(1);
  shared.insert(both);
  ASSERT_TRUE(leases.Join(2, 1));
  ASSERT_TRUE(leases.Join(3, 2));
  leases.Release(1);
  EXPECT_EQ(freed, std::vector<std::uint32_t>{mine});
  leases.Release(2);
  EXPECT_EQ(leases.OwnerOf(both), 1u) << "the grandchild may hold it";
  EXPECT_EQ(leases.orphaned(), 0u);
  leases.Release(3);
  EXPECT_EQ(leases.orphaned(), 1u);
  EXPECT_EQ(freed.size(), 1u) << "an unjoined child may hold it: not free yet, only last in line";
}

TEST_F(SlotLeasesTest, AChildThatJoinsLateTakesTheOrphanBack) {
  ASSERT_TRUE(leases.Join(1, 0));
  const std::uint32_t slot = Take(1);
  shared.insert(slot);
  leases.Release(1);
  EXPECT_EQ(leases.orphaned(), 1u);
  ASSERT_TRUE(leases.Join(2, 1));
  EXPECT_EQ(leases.orphaned(), 0u);
  std::set<std::uint32_t> seen;
  for (std::int64_t next; (next = leases.Take(2, kAnyUsable)) >= 0;)
    ASSERT_TRUE(seen.insert(static_cast<std::uint32_t>(next)).second);
  EXPECT_FALSE(seen.contains(slot)) << "held by a live family, even when all others are gone";
  EXPECT_EQ(seen.size(), PST_OPEN_FILE_SLOTS - 1);
}

TEST_F(SlotLeasesTest, OrphansAreUsedAgainLastAndOldestFirst) {
  for (std::uint64_t session : {1, 2}) {
    ASSERT_TRUE(leases.Join(session, 0));
    shared.insert(Take(session));
  }
  leases.Release(2);
  leases.Release(1);
  ASSERT_TRUE(leases.Join(3, 0));
  std::vector<std::uint32_t> taken;
  for (std::int64_t next; (next = leases.Take(3, kAnyUsable)) >= 0;)
    taken.push_back(static_cast<std::uint32_t>(next));
  ASSERT_EQ(taken.size(), PST_OPEN_FILE_SLOTS);
  EXPECT_EQ(taken[taken.size() - 2], 1u) << "session 2's, orphaned first";
  EXPECT_EQ(taken.back(), 0u);
}

TEST_F(SlotLeasesTest, QuarantinedNumbersComeLastAndOnlyIfUsable) {
  leases.Quarantine(0);
  leases.Quarantine(5);
  leases.Quarantine(5);
  ASSERT_TRUE(leases.Join(1, 0));
  std::vector<std::uint32_t> taken;
  const auto not_five = [](std::uint32_t slot) { return slot != 5; };
  for (std::int64_t next; (next = leases.Take(1, not_five)) >= 0;)
    taken.push_back(static_cast<std::uint32_t>(next));
  ASSERT_EQ(taken.size(), PST_OPEN_FILE_SLOTS - 1);
  EXPECT_EQ(taken.front(), 1u);
  EXPECT_EQ(taken.back(), 0u);
  EXPECT_EQ(leases.Take(1, kAnyUsable), 5) << "not lost, only waited for";
}

// Against a slow model: who can hold a slot is found by walking the whole tree each time.
TEST(SlotLeasesRandomTest, NeverGivesOutWhatALiveFamilyMayHold) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  struct Process {
    std::uint64_t parent;
    bool live = true;
    std::set<std::uint32_t> slots;
  };
  std::map<std::uint64_t, Process> processes;
  std::set<std::uint32_t> shared;
  SlotLeases leases([&](std::uint64_t, std::uint32_t slot) { return shared.contains(slot); },
                    [](std::uint64_t, std::uint32_t) {});
  const auto descends = [&](std::uint64_t id, std::uint64_t from) {
    for (; id != 0; id = processes.at(id).parent) {
      if (id == from) return true;
    }
    return false;
  };
  const auto held = [&](std::uint32_t slot) {
    for (const auto& [id, process] : processes) {
      if (!process.slots.contains(slot)) continue;
      if (process.live) return true;
      if (!shared.contains(slot)) return false;
      for (const auto& [other, candidate] : processes)
        if (candidate.live && descends(other, id)) return true;
      return false;
    }
    return false;
  };
  std::vector<std::uint64_t> live;
  std::uint64_t next_id = 1;
  for (int step = 0; step < 3000; step++) {
    const unsigned what = static_cast<unsigned>(random() % 10);
    if (live.empty() || (what < 2 && live.size() < 20)) {
      const std::uint64_t parent =
          live.empty() || random() % 4 == 0 ? 0 : live[random() % live.size()];
      ASSERT_TRUE(leases.Join(next_id, parent));
      processes[next_id] = {parent, true, {}};
      live.push_back(next_id++);
    } else if (what < 4) {
      const std::size_t i = random() % live.size();
      leases.Release(live[i]);
      processes[live[i]].live = false;
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      const std::uint64_t id = live[random() % live.size()];
      const std::int64_t taken = leases.Take(id, kAnyUsable);
      ASSERT_GE(taken, 0);
      const auto slot = static_cast<std::uint32_t>(taken);
      ASSERT_FALSE(held(slot)) << "step " << step;
      for (auto& [other, process] : processes) process.slots.erase(slot);
      shared.erase(slot);
      processes[id].slots.insert(slot);
      if (random() % 2 == 0) shared.insert(slot);
    }
    ASSERT_EQ(leases.live_sessions(), live.size());
  }
}

}  // namespace
}  // namespace penstock::cache
