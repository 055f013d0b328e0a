// Walks over trees: few questions, the right names, whatever is in the way.
#include <cerrno>
#include <cstring>
#include <map>
#include <random>
#include <set>

#include "shim/abi/record.h"
#include "tests/cache_core/engine_fixture.h"

namespace penstock::cache {
namespace {

class WalkTest : public EngineTest {
 protected:
  void SetUp() override {
    origin_.SetRecursive(true);
    Build(&origin_, 256);
  }

  // As a client reads a directory: page by page, asking for those that are missing.
  std::map<std::string, std::uint32_t> Children(const std::string& path) {
    std::map<std::string, std::uint32_t> children;
    std::uint64_t listing_id = 0;
    for (std::uint32_t page = 0, pages = UINT32_MAX; page < pages;) {
      const auto bytes = Bytes(path, 0, PST_RANGE_LISTING + page);
      pst_listing_page head{};
      if (bytes) std::memcpy(&head, bytes->data(), sizeof head);
      if (!bytes || (listing_id != 0 && head.listing_id != listing_id)) {
        EngineOp list = Op(EngineOpKind::kList, path);
        list.offset = page;
        list.version = listing_id;
        Run({&list});
        EXPECT_EQ(list.err, 0) << path;
        if (list.err != 0 || ++asked_ > 100'000) return children;
        if (listing_id != 0 && list.result_version != listing_id) {
          children.clear();
          listing_id = page = 0;
        }
        if (list.result_length != 0) pages = static_cast<std::uint32_t>(list.result_length);
        continue;
      }
      listing_id = head.listing_id;
      if (head.pages != 0) pages = head.pages;
      std::size_t at = sizeof head;
      for (std::uint32_t i = 0; i < head.count; ++i) {
        pst_listing_entry entry;
        std::memcpy(&entry, bytes->data() + at, sizeof entry);
        children[bytes->data() + at + offsetof(pst_listing_entry, name)] =
            entry.type == PST_LISTING_DIRECTORY ? PST_KIND_DIRECTORY : PST_KIND_FILE;
        at += entry.record_bytes;
      }
      ++page;
    }
    return children;
  }

  // Depth first, as find does; every file's size is asked for.
  void Walk(const std::string& path, std::map<std::string, std::uint64_t>* files) {
    for (const auto& [name, kind] : Children(path)) {
      const std::string child = path.empty() ? name : path + "/" + name;
      if (kind == PST_KIND_DIRECTORY) {
        Walk(child, files);
      } else {
        const auto record = Published(child);
        (*files)[child] = record ? record->size : AttrOf(child).size;
      }
    }
  }

  int asked_ = 0;
};

TEST_F(WalkTest, ManySmallFoldersTakeFewQuestions) {
  std::map<std::string, std::uint64_t> model;
  for (int top = 0; top < 5; ++top) {
    for (int folder = 0; folder < 60; ++folder) {
      for (int file = 0; file < 10; ++file) {
        const std::string name = "t" + std::to_string(top) + "/d" + std::to_string(folder) + "/f" + std::to_string(file);
        origin_.Put(name, std::string(static_cast<std::size_t>(file), 'x'));
        model[name] = static_cast<std::uint64_t>(file);
      }
    }
  }
  std::map<std::string, std::uint64_t> seen;
  Walk("", &seen);
  EXPECT_EQ(seen, model);
  EXPECT_EQ(origin_.stats_seen(), 0u);
  // 306 folders; 3,000 names are 3 pages of this origin.
  EXPECT_LE(origin_.lists_seen(), 20u);
  EXPECT_GE(origin_.flat_lists_seen(), 2u);
  origin_.ForgetSeen();
  seen.clear();
  Walk("", &seen);
  EXPECT_EQ(seen, model);
  EXPECT_EQ(origin_.lists_seen() + origin_.stats_seen(), 0u);
}

TEST_F(WalkTest, RandomTreesAreSeenAsTheyAre) {
  const std::uint64_t seed = std::random_device{}();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 12; ++round) {
    origin_.Put("r" + std::to_string(round) + "/seed", "");
    origin_.SetPageEntries(3 + random() % 40);
    std::map<std::string, std::uint64_t> model{{"r" + std::to_string(round) + "/seed", 0}};
    for (int i = 0; i < 400; ++i) {
      std::string name = "r" + std::to_string(round);
      for (std::uint64_t depth = random() % 4; depth > 0; --depth) {
        const char* parts[] = {"a", "a-b", "a.b", "b", "c d", "\u00e9", "z0"};
        name += std::string("/") + parts[random() % 7];
      }
      name += "/f" + std::to_string(random() % 50);
      const std::uint64_t size = random() % 9;
      origin_.Put(name, std::string(size, 'x'));
      model[name] = size;
    }
    std::map<std::string, std::uint64_t> seen;
    Walk("r" + std::to_string(round), &seen);
    EXPECT_EQ(seen, model) << "seed " << seed << ", round " << round;
  }
}

TEST_F(WalkTest, AFailingFlatListingIsNotTheProgramsProblem) {
  for (int folder = 0; folder < 30; ++folder) origin_.Put("d" + std::to_string(folder) + "/f", "xyz");
  (void)Children("");
  (void)Children("d0");
  // The flat listing begins with this question, and waits for its answer.
  origin_.Hold(true);
  EngineOp list = Op(EngineOpKind::kList, "d1");
  EngineOp other = Op(EngineOpKind::kList, "d2");
  Begin(&list);
  Begin(&other);
  origin_.FailLists(Code::kUnavailable);
  origin_.Hold(false);
  origin_.Release();
  TurnFor(20'000'000);
  origin_.FailLists(Code::kOk);
  std::map<std::string, std::uint64_t> seen;
  Walk("", &seen);
  EXPECT_EQ(seen.size(), 30u);
}

TEST_F(WalkTest, ARefreshDuringAWalkShowsWhatIsNew) {
  for (int folder = 0; folder < 30; ++folder) origin_.Put("d" + std::to_string(folder) + "/f", "x");
  (void)Children("");
  (void)Children("d0");
  origin_.Hold(true);
  EngineOp list = Op(EngineOpKind::kList, "d1");
  Begin(&list);
  origin_.Put("d7/new", "x");
  engine_->Forget(0, "");
  origin_.Hold(false);
  origin_.Release();
  TurnFor(5'000'000);
  EXPECT_TRUE(Children("d7").contains("new"));
}

}  // namespace
}  // namespace penstock::cache
