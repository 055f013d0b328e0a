// The publish protocol of shim/abi/index.h under every behaviour that C11 allows: the production
// header itself, a writer that publishes, recycles and republishes, readers that may never get a
// wrong byte, a crash of the writer after every single store. Then the same with bugs put in, each
// of which must be found.
//
// Readers store nothing, so what one reader can see depends on the writer alone, and a writer that
// was interrupted anywhere is one that crashed there: exhaustive search runs the writer to each of
// its stores and tries all that a reader may then read, old and new. The random walks interleave
// one writer and three readers for real.
#include "tests/model/model_atomics.h"

// The model's atomics first.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "shim/abi/index.h"

namespace penstock::model {
namespace {

enum class Bug {
  kNone,
  kRecycleAfterOverwrite,  // bytes are stored before the generation is changed
  kNoRecycle,              // the generation is not changed at all
  kGenerationRepeats,      // ... or changed back to one that was in use
  kNoFinalCheck,           // the reader believes what it copied
  kPublishBeforeBytes,     // the entry is stored before its bytes
  kSeqNotOdd,              // the bucket is changed with its seq even
  kNoBucketReleaseFence,   // W2's fence
  kNoRecycleReleaseFence,  // W4's fence
  kSeqStoreRelaxed,        // the bucket's last store without release
  kSeqLoadRelaxed,         // the reader's first load without acquire
  kNoBucketAcquireFence,   // the reader's fence before it looks at seq again
  kNoFinalAcquireFence,    // the reader's fence before it looks at the generation
  // Of a successor that adopts the memory:
  kTornBucketKept,         // it only makes the seq even again
  kGenerationsRestart,     // it counts from where the dead one began
  kAdoptedNotRecycled,     // it fills an adopted segment without a new generation
};

struct Named {
  Bug bug;
  const char* name;
  int only_script = -1;  // where the search would otherwise be long
};
const Named kBugs[] = {
    {Bug::kRecycleAfterOverwrite, "RecycleAfterOverwrite"},
    {Bug::kNoRecycle, "NoRecycle"},
    {Bug::kGenerationRepeats, "GenerationRepeats", 4},
    {Bug::kNoFinalCheck, "NoFinalCheck"},
    {Bug::kPublishBeforeBytes, "PublishBeforeBytes"},
    {Bug::kSeqNotOdd, "SeqNotOdd"},
    {Bug::kNoBucketReleaseFence, "NoBucketReleaseFence"},
    {Bug::kNoRecycleReleaseFence, "NoRecycleReleaseFence"},
    {Bug::kSeqStoreRelaxed, "SeqStoreRelaxed"},
    {Bug::kSeqLoadRelaxed, "SeqLoadRelaxed"},
    {Bug::kNoBucketAcquireFence, "NoBucketAcquireFence"},
    {Bug::kNoFinalAcquireFence, "NoFinalAcquireFence"},
};

const Named kAdoptionBugs[] = {
    {Bug::kTornBucketKept, "TornBucketKept"},
    {Bug::kGenerationsRestart, "GenerationsRestart"},
    {Bug::kAdoptedNotRecycled, "AdoptedNotRecycled"},
};

constexpr unsigned kSegments = 2;
constexpr unsigned kWords = 2;  // of an object
constexpr unsigned kKeys = 3;

// Memory as it was before the first store: private to the process, never changed; what the writer
// stores lives in the model.
struct World {
  pst_bucket buckets[2];
  std::uint64_t generations[kSegments];
  alignas(64) unsigned char arena[kSegments][PST_SEGMENT_BYTES];
};
World& TheWorld() {
  static auto* world =
      static_cast<World*>(std::aligned_alloc(4096, (sizeof(World) + 4095) & ~4095ul));
  static const bool once = [] {
    std::memset(static_cast<void*>(world), 0, sizeof *world);
    for (unsigned i = 0; i < kSegments; i++) world->generations[i] = 100 + i;
    return true;
  }();
  (void)once;
  return *world;
}

pst_view ViewOf(World& world) {
  pst_view view{};
  view.buckets = world.buckets;
  view.generations = world.generations;
  view.arena = world.arena[0];
  view.bucket_mask = 1;  // the writer uses bucket 0, which is each key's first or second place
  view.segment_count = kSegments;
  return view;
}

// Keys that share nothing but their tag, so that only the words tell them apart.
pst_key KeyOf(unsigned number) {
  return {{0x1111111111111111ull * (number + 1), number}, 7 + number, PST_NS_FILES, number};
}
std::uint64_t ContentOf(unsigned key, unsigned word) { return 1000 * (key + 1) + word; }

class Writer {
 public:
  Writer(World* world, Bug bug) : world_(world), bug_(bug) {
    for (unsigned i = 0; i < kSegments; i++) generation_[i] = world->generations[i];
  }

  // An object into a segment that was recycled before, or never used.
  void Put(unsigned key, unsigned segment, unsigned slot) {
    if (bug_ == Bug::kPublishBeforeBytes) {
      Publish(key, segment, slot);
      Bytes(key, segment);
    } else {
      Bytes(key, segment);
      Publish(key, segment, slot);
    }
  }
  // Another object over the one that is there.
  void Replace(unsigned key, unsigned segment, unsigned slot) {
    if (bug_ == Bug::kRecycleAfterOverwrite) {
      Bytes(key, segment);
      Recycle(segment);
      Publish(key, segment, slot);
    } else {
      Recycle(segment);
      Put(key, segment, slot);
    }
  }
  void Recycle(unsigned segment) {
    if (bug_ == Bug::kNoRecycle) return;
    std::uint64_t next = generation_[segment] + 10;
    if (bug_ == Bug::kGenerationRepeats && generation_[segment] >= 110)
      next = generation_[segment] - 10;
    generation_[segment] = next;
    Weakened& weakened = TheMemory().weakened;
    weakened.release_fence = bug_ == Bug::kNoRecycleReleaseFence;
    pst_segment_recycle(&world_->generations[segment], next);
    weakened = {};
  }
  void Clear(unsigned slot) { pst_bucket_clear(&world_->buckets[0], slot); }

  // What cache/memory does with the index of a writer that died (W5). It sees all that the dead one has
  // stored: the kernel gave it the lock after that one's end.
  void Adopt() {
    Memory& memory = TheMemory();
    memory.set_greedy(true);
    for (unsigned i = 0; i < kSegments; i++) {
      const std::uint64_t there = PST_LOAD_RELAXED(&world_->generations[i]);
      if (bug_ != Bug::kGenerationsRestart) generation_[i] = std::max(generation_[i], there);
    }
    pst_bucket& bucket = world_->buckets[0];
    if (bug_ == Bug::kTornBucketKept) {
      const std::uint32_t seq = PST_LOAD_RELAXED(&bucket.seq);
      if ((seq & 1u) != 0) PST_STORE_RELEASE(&bucket.seq, seq + 1);
    } else {
      (void)pst_bucket_repair(&bucket);
    }
    for (unsigned slot = 0; slot < PST_BUCKET_ENTRIES; slot++) {
      if (PST_LOAD_RELAXED(&bucket.tags[slot]) == 0) continue;
      const auto* words = reinterpret_cast<const std::uint64_t*>(&bucket.entries[slot]);
      const auto segment = static_cast<std::uint32_t>(PST_LOAD_RELAXED(&words[5]));
      const std::uint64_t generation = PST_LOAD_RELAXED(&words[4]);
      if (segment >= kSegments || PST_LOAD_RELAXED(&world_->generations[segment]) != generation) Clear(slot);
    }
    memory.set_greedy(false);
  }
  void FillAdopted(unsigned key, unsigned segment, unsigned slot) {
    if (bug_ == Bug::kAdoptedNotRecycled)
      Put(key, segment, slot);
    else
      Replace(key, segment, slot);
  }

 private:
  void Bytes(unsigned key, unsigned segment) {
    auto* words = reinterpret_cast<std::uint64_t*>(world_->arena[segment]);
    for (unsigned i = 0; i < kWords; i++) PST_STORE_RELAXED(&words[i], ContentOf(key, i));
  }
  void Publish(unsigned key, unsigned segment, unsigned slot) {
    pst_entry entry{};
    entry.key = KeyOf(key);
    entry.generation = generation_[segment];
    entry.segment = segment;
    entry.length = kWords * 8;
    const std::uint16_t tag = pst_hash_tag(pst_key_hash(&entry.key));
    pst_bucket& bucket = world_->buckets[0];
    Weakened& weakened = TheMemory().weakened;
    weakened.release_fence = bug_ == Bug::kNoBucketReleaseFence;
    weakened.release_store = bug_ == Bug::kSeqStoreRelaxed;
    if (bug_ == Bug::kSeqNotOdd) {
      const std::uint32_t seq = PST_LOAD_RELAXED(&bucket.seq);
      std::uint64_t words[8];
      std::memcpy(words, &entry, sizeof words);
      PST_FENCE_RELEASE();
      PST_STORE_RELAXED(&bucket.tags[slot], tag);
      auto* target = reinterpret_cast<std::uint64_t*>(&bucket.entries[slot]);
      for (unsigned i = 0; i < 8; i++) PST_STORE_RELAXED(&target[i], words[i]);
      PST_STORE_RELEASE(&bucket.seq, seq + 2);
    } else {
      pst_bucket_store(&bucket, slot, tag, &entry);
    }
    weakened = {};
  }

  World* world_;
  Bug bug_;
  std::uint64_t generation_[kSegments];
};

using Script = void (*)(Writer& writer);
struct NamedScript {
  const char* name;
  Script run;
};
const NamedScript kScripts[] = {
    {"republish another key in place",
     [](Writer& w) {
       w.Put(0, 0, 0);
       w.Replace(1, 0, 0);
     }},
    {"overwrite an entry whose bytes stay",
     [](Writer& w) {
       w.Put(0, 0, 0);
       w.Put(1, 1, 0);
     }},
    {"leave a stale entry behind",
     [](Writer& w) {
       w.Put(0, 0, 0);
       w.Replace(1, 0, 1);
     }},
    {"clear, then recycle",
     [](Writer& w) {
       w.Put(0, 0, 0);
       w.Clear(0);
       w.Replace(1, 0, 0);
     }},
    {"recycle twice",
     [](Writer& w) {
       w.Put(0, 0, 0);
       w.Replace(1, 0, 1);
       w.Replace(2, 0, 2);
     }},
};

enum class Outcome { kMiss, kRight, kWrong };

// The shim's read of one range, on the production functions.
Outcome Read(const pst_view& view, unsigned number, Bug bug) {
  const pst_key key = KeyOf(number);
  pst_entry entry{};
  Weakened& weakened = TheMemory().weakened;
  const Weakened usual = weakened;  // a writer may be in the middle of something
  weakened = {};
  weakened.acquire_load = bug == Bug::kSeqLoadRelaxed;
  weakened.acquire_fence = bug == Bug::kNoBucketAcquireFence;
  const int found = pst_find(&view, &key, &entry);
  weakened = usual;
  if (!found) return Outcome::kMiss;
  const auto* words = reinterpret_cast<const std::uint64_t*>(pst_entry_bytes(&view, &entry));
  bool right = entry.length == kWords * 8;
  for (unsigned i = 0; i < kWords; i++)
    right &= PST_LOAD_RELAXED(&words[i]) == ContentOf(number, i);
  if (bug != Bug::kNoFinalCheck) {
    weakened.acquire_fence = bug == Bug::kNoFinalAcquireFence;
    const bool current = pst_entry_current(&view, &entry);
    weakened = usual;
    if (!current) return Outcome::kMiss;
  }
  return right ? Outcome::kRight : Outcome::kWrong;
}

// What a reader does at most, whatever it meets: the bound on its steps.
constexpr std::uint64_t kMaxLoads =
    2 * PST_BUCKET_SPINS * (2 + PST_BUCKET_ENTRIES * 9) + kWords + 2;

struct Tally {
  std::uint64_t runs = 0, right = 0, miss = 0, wrong = 0, most_loads = 0, crash_points = 0;
  std::string first_wrong;
};

// All that a reader of `key` can see of the writer's stores so far.
void SearchReader(const pst_view& view, unsigned key, Bug bug, Tally* tally,
                  const ThreadState& begin = {}) {
  Memory& memory = TheMemory();
  Exhaustive oracle;
  memory.set_oracle(&oracle);
  std::set<std::array<std::uint64_t, 2>> seen;
  ThreadState reader;
  unsigned attempts[2] = {};
  // Between attempts at a bucket the reader knows nothing but its views and how often it has tried:
  // meeting a state again ends the run.
  memory.before_access = [&](const void* address, bool acquire) {
    const unsigned bucket = address == &view.buckets[1].seq ? 1 : 0;
    if (address != &view.buckets[bucket].seq || !acquire) return;
    attempts[bucket]++;
    if (oracle.replaying() || memory.greedy()) return;
    std::uint64_t a = 1469598103934665603ull, b = 16 * attempts[bucket] + bucket;
    for (unsigned i = 0; i < kMaxLocations; i++) {
      a = (a ^ reader.view[i]) * 1099511628211ull;
      b = pst_mix64(b + reader.pending[i] + (std::uint64_t{reader.view[i]} << 8));
    }
    if (!seen.insert({a, b}).second) memory.set_greedy(true);
  };
  do {
    reader = begin;
    attempts[0] = attempts[1] = 0;
    memory.set_thread(&reader);
    memory.set_greedy(false);
    memory.ClearLoads();
    const Outcome outcome = Read(view, key, bug);
    tally->runs++;
    tally->right += outcome == Outcome::kRight;
    tally->miss += outcome == Outcome::kMiss;
    tally->wrong += outcome == Outcome::kWrong;
    tally->most_loads = std::max(tally->most_loads, memory.loads());
    if (outcome == Outcome::kWrong && bug != Bug::kNone) break;  // found: enough
  } while (oracle.Next());
  memory.before_access = nullptr;
}

// Every crash of every script, every reader. Stops at the first wrong byte.
Tally SearchAll(Bug bug, int only_script = -1) {
  Tally tally;
  World& world = TheWorld();
  const pst_view view = ViewOf(world);
  Memory& memory = TheMemory();
  for (const NamedScript& script : kScripts) {
    if (only_script >= 0 && &script != &kScripts[only_script]) continue;
    for (std::uint64_t crash = 0;; crash++) {
      memory.Reset();
      memory.weakened = {};
      memory.CrashAfter(crash);
      ThreadState state;
      memory.set_thread(&state);
      Writer writer(&world, bug);
      script.run(writer);
      const bool whole = memory.stores() < crash;
      memory.weakened = {};
      tally.crash_points++;
      for (unsigned key = 0; key < kKeys; key++) {
        SearchReader(view, key, bug, &tally);
        if (tally.wrong != 0) {
          tally.first_wrong = std::string(script.name) + ", writer stopped after store " +
                              std::to_string(crash) + ", reader of key " + std::to_string(key);
          return tally;
        }
      }
      if (whole) break;
    }
  }
  return tally;
}

// A reader that has the index as it is now, and knows nothing of the bytes.
ThreadState IndexSeen(const World& world) {
  Memory& memory = TheMemory();
  ThreadState reader;
  memory.set_thread(&reader);
  memory.set_greedy(true);
  const pst_bucket& bucket = world.buckets[0];
  (void)PST_LOAD_RELAXED(&bucket.seq);
  for (unsigned slot = 0; slot < PST_BUCKET_ENTRIES; slot++) (void)PST_LOAD_RELAXED(&bucket.tags[slot]);
  for (const std::uint64_t& generation : world.generations) (void)PST_LOAD_RELAXED(&generation);
  memory.set_greedy(false);
  reader.pending = {};
  return reader;
}

// The same with a successor: it adopts what the writer left at any of its stores and publishes something of its own,
// under readers that have the memory mapped all the time. What a reader may have seen before the adoption is what
// SearchAll looks at; here readers begin with the adopted index, so that the search ends. Stops at the first wrong byte.
Tally SearchAdoptions(Bug bug) {
  Tally tally;
  World& world = TheWorld();
  const pst_view view = ViewOf(world);
  Memory& memory = TheMemory();
  for (const NamedScript& script : kScripts) {
    for (std::uint64_t crash = 0;; crash++) {
      memory.Reset();
      memory.weakened = {};
      memory.CrashAfter(crash);
      ThreadState dead;
      memory.set_thread(&dead);
      Writer writer(&world, Bug::kNone);
      script.run(writer);
      const bool whole = memory.stores() < crash;
      memory.CrashAfter(UINT64_MAX);
      ThreadState alive;
      alive.view = dead.view;  // the kernel gave it the lock after the dead one's last store
      memory.set_thread(&alive);
      Writer successor(&world, bug);
      successor.Adopt();
      const ThreadState adopted = IndexSeen(world);
      memory.set_thread(&alive);
      successor.FillAdopted(2, 0, 1);
      tally.crash_points++;
      for (unsigned key = 0; key < kKeys; key++) {
        SearchReader(view, key, bug, &tally, adopted);
        if (tally.wrong != 0) {
          tally.first_wrong = std::string(script.name) + ", writer died after store " +
                              std::to_string(crash) + ", reader of key " + std::to_string(key);
          return tally;
        }
      }
      if (whole) break;
    }
  }
  return tally;
}

TEST(PublishModelTest, NoBehaviourGivesAWrongByteAfterAnAdoption) {
  const Tally tally = SearchAdoptions(Bug::kNone);
  EXPECT_EQ(tally.wrong, 0u) << tally.first_wrong;
  EXPECT_GT(tally.right, 0u);
  EXPECT_GT(tally.crash_points, 100u);
  EXPECT_LE(tally.most_loads, kMaxLoads);
  std::printf("%lu runs, %lu hits, %lu misses, %lu crash points\n", static_cast<unsigned long>(tally.runs),
              static_cast<unsigned long>(tally.right), static_cast<unsigned long>(tally.miss),
              static_cast<unsigned long>(tally.crash_points));
}

class AdoptionBugTest : public testing::TestWithParam<Named> {};

TEST_P(AdoptionBugTest, IsFound) {
  const Tally tally = SearchAdoptions(GetParam().bug);
  EXPECT_GT(tally.wrong, 0u) << "the model does not see this bug";
  std::printf("found after %lu runs: %s\n", static_cast<unsigned long>(tally.runs), tally.first_wrong.c_str());
}

INSTANTIATE_TEST_SUITE_P(Bugs, AdoptionBugTest, testing::ValuesIn(kAdoptionBugs),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(PublishModelTest, NoBehaviourGivesAWrongByteWhereverTheWriterDies) {
  const Tally tally = SearchAll(Bug::kNone);
  EXPECT_EQ(tally.wrong, 0u) << tally.first_wrong;
  EXPECT_GT(tally.right, 0u) << "readers never hit: the model tests nothing";
  EXPECT_GT(tally.miss, 0u);
  EXPECT_GT(tally.crash_points, 100u);
  EXPECT_LE(tally.most_loads, kMaxLoads) << "readers end in bounded steps";
  std::printf("%lu runs, %lu hits, %lu misses, %lu crash points, at most %lu loads\n",
              static_cast<unsigned long>(tally.runs), static_cast<unsigned long>(tally.right),
              static_cast<unsigned long>(tally.miss),
              static_cast<unsigned long>(tally.crash_points),
              static_cast<unsigned long>(tally.most_loads));
}

class SeededBugTest : public testing::TestWithParam<Named> {};

TEST_P(SeededBugTest, IsFound) {
  const Tally tally = SearchAll(GetParam().bug, GetParam().only_script);
  EXPECT_GT(tally.wrong, 0u) << "the model does not see this bug";
  std::printf("found after %lu runs: %s\n", static_cast<unsigned long>(tally.runs),
              tally.first_wrong.c_str());
}

INSTANTIATE_TEST_SUITE_P(Bugs, SeededBugTest, testing::ValuesIn(kBugs),
                         [](const auto& param) { return std::string(param.param.name); });

// One writer, three readers, truly interleaved; longer histories than the search can exhaust.
Tally Walk(std::uint64_t seed, Bug bug, double seconds) {
  Tally tally;
  World& world = TheWorld();
  const pst_view view = ViewOf(world);
  Memory& memory = TheMemory();
  RandomWalk oracle(seed);
  memory.set_oracle(&oracle);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end && tally.wrong == 0) {
    memory.Reset();
    memory.weakened = {};
    memory.CrashAfter(oracle.Next() % 4 == 0 ? oracle.Next() % 120 : UINT64_MAX);
    Fibers fibers(&oracle);
    fibers.Add([&] {
      Writer writer(&world, bug);
      bool used[kSegments] = {};
      for (int i = 0; i < 8 && !memory.crashed(); i++) {
        const auto key = static_cast<unsigned>(oracle.Next() % kKeys);
        const auto segment = static_cast<unsigned>(oracle.Next() % kSegments);
        const auto slot = static_cast<unsigned>(oracle.Next() % 3);
        if (oracle.Next() % 6 == 0) writer.Clear(slot);
        if (std::exchange(used[segment], true))
          writer.Replace(key, segment, slot);
        else
          writer.Put(key, segment, slot);
      }
    });
    for (int i = 0; i < 3; i++) {
      fibers.Add([&] {
        for (int reads = 0; reads < 3; reads++) {
          const Outcome outcome = Read(view, static_cast<unsigned>(oracle.Next() % kKeys), bug);
          tally.right += outcome == Outcome::kRight;
          tally.miss += outcome == Outcome::kMiss;
          tally.wrong += outcome == Outcome::kWrong;
        }
      });
    }
    fibers.Run();
    tally.runs++;
  }
  return tally;
}

double SecondsToWalk() {
  const char* seconds = std::getenv("PENSTOCK_MODEL_SECONDS");
  return seconds == nullptr ? 5 : std::atof(seconds);
}

std::uint64_t SeedOf() {
  const char* given = std::getenv("PENSTOCK_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("PENSTOCK_SEED=%lu repeats this\n", static_cast<unsigned long>(seed));
  return seed;
}

TEST(PublishModelTest, RandomWalksOfAWriterAndThreeReaders) {
  const Tally tally = Walk(SeedOf(), Bug::kNone, SecondsToWalk());
  EXPECT_EQ(tally.wrong, 0u);
  EXPECT_GT(tally.right, 100u);
  std::printf("%lu walks, %lu hits, %lu misses\n", static_cast<unsigned long>(tally.runs),
              static_cast<unsigned long>(tally.right), static_cast<unsigned long>(tally.miss));
}

TEST(PublishModelTest, RandomWalksFindASeededBug) {
  EXPECT_GT(Walk(SeedOf(), Bug::kRecycleAfterOverwrite, 20).wrong, 0u);
}

}  // namespace
}  // namespace penstock::model
