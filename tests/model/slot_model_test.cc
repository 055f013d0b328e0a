// The open-file slot of shim/abi/open_file.h: threads that claim, give back and seek, one that
// materialises, one that opens the slot anew. Every interleaving of the production functions must
// give results that some order of whole operations gives; bugs put in must be found.
#include "tests/model/model_atomics.h"

// The model's atomics first.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "shim/abi/open_file.h"

namespace penstock::model {
namespace {

constexpr std::uint32_t kGeneration = 6;  // even: open, not materialised
constexpr std::uint64_t kSize = 100;

enum class Kind { kClaim, kSeek, kSkip, kUnclaim, kFreeze, kReopen };
struct Operation {
  Kind kind;
  std::uint64_t a = 0, b = 0;
};
using Program = std::vector<Operation>;  // of one thread
using Results = std::vector<std::vector<std::int64_t>>;

enum class Bug {
  kNone,
  kClaimWithoutSwap,
  kClaimIgnoresGeneration,
  kFreezeKeepsGeneration,
  kBlindUnclaim, kSkipWithoutSwap
};

std::uint64_t Word(std::uint32_t generation, std::uint64_t offset) {
  return (std::uint64_t{generation} << PST_OFFSET_BITS) | offset;
}

// ---- what the operations mean: one after the other on a plain state ----
struct State {
  std::uint32_t generation = kGeneration;
  std::uint64_t offset = 0;
};

std::int64_t Apply(State* state, const Operation& op) {
  switch (op.kind) {
    case Kind::kClaim: {
      if (state->generation != kGeneration) return -1;
      const std::uint64_t n = std::min(op.a, state->offset >= kSize ? 0 : kSize - state->offset);
      const std::uint64_t at = state->offset;
      state->offset += n;
      return static_cast<std::int64_t>(at * 1000 + n);
    }
    case Kind::kSeek:
      if (state->generation != kGeneration) return -1;
      state->offset = op.a;
      return static_cast<std::int64_t>(op.a);
    case Kind::kSkip:
      if (state->generation != kGeneration) return PST_SEEK_STALE;
      state->offset += op.a;
      return static_cast<std::int64_t>(state->offset);
    case Kind::kUnclaim:
      if (state->generation == kGeneration && state->offset == op.a) state->offset = op.b;
      return 0;
    case Kind::kFreeze:
      if (state->generation != kGeneration) return -1;
      state->generation |= 1;
      return static_cast<std::int64_t>(state->offset);
    case Kind::kReopen:
      state->generation = kGeneration + 2;
      state->offset = 0;
      return 0;
  }
  return 0;
}

// All outcomes that some order of whole operations has.
void Orders(const std::vector<Program>& programs, std::vector<std::size_t> at, State state,
            Results results, std::set<std::string>* outcomes) {
  bool over = true;
  for (std::size_t thread = 0; thread < programs.size(); thread++) {
    if (at[thread] == programs[thread].size()) continue;
    over = false;
    State next = state;
    Results with = results;
    with[thread].push_back(Apply(&next, programs[thread][at[thread]]));
    auto after = at;
    after[thread]++;
    Orders(programs, after, next, with, outcomes);
  }
  if (!over) return;
  std::string text = std::to_string(Word(state.generation, state.offset));
  for (const auto& thread : results) {
    text += " |";
    for (std::int64_t result : thread) text += " " + std::to_string(result);
  }
  outcomes->insert(text);
}

// ---- the same on the production functions, in the model's memory ----
pst_slot g_slot;

std::int64_t Perform(const Operation& op, Bug bug) {
  switch (op.kind) {
    case Kind::kClaim: {
      std::uint64_t offset = 0;
      std::int64_t n = 0;
      if (bug == Bug::kClaimWithoutSwap) {
        const std::uint64_t word = PST_LOAD_RELAXED(&g_slot.word);
        if (pst_word_generation(word) != kGeneration) return -1;
        offset = pst_word_offset(word);
        n = static_cast<std::int64_t>(std::min(op.a, kSize - std::min(offset, kSize)));
        PST_STORE_RELAXED(&g_slot.word, word + static_cast<std::uint64_t>(n));
      } else if (bug == Bug::kClaimIgnoresGeneration) {
        const std::uint64_t word = PST_LOAD_RELAXED(&g_slot.word);
        n = pst_slot_claim(&g_slot, pst_word_generation(word), kSize, op.a, &offset);
      } else {
        n = pst_slot_claim(&g_slot, kGeneration, kSize, op.a, &offset);
      }
      return n < 0 ? -1 : static_cast<std::int64_t>(offset) * 1000 + n;
    }
    case Kind::kSeek:
      return pst_slot_seek(&g_slot, kGeneration, static_cast<std::int64_t>(op.a), 0);
    case Kind::kSkip:
      if (bug == Bug::kSkipWithoutSwap) {
        const std::uint64_t word = PST_LOAD_RELAXED(&g_slot.word);
        PST_STORE_RELAXED(&g_slot.word, word + op.a);
        return static_cast<std::int64_t>(pst_word_offset(word) + op.a);
      }
      return pst_slot_seek(&g_slot, kGeneration, static_cast<std::int64_t>(op.a), 1);
    case Kind::kUnclaim:
      if (bug == Bug::kBlindUnclaim) {
        PST_STORE_RELAXED(&g_slot.word, Word(kGeneration, op.b));
      } else {
        pst_slot_unclaim(&g_slot, kGeneration, op.a, op.b);
      }
      return 0;
    case Kind::kFreeze: {  // as open_file.h says that a client does it
      std::uint64_t word = PST_LOAD_RELAXED(&g_slot.word);
      const std::uint64_t bit = bug == Bug::kFreezeKeepsGeneration ? 0 : 1ull << PST_OFFSET_BITS;
      do {
        if (pst_word_generation(word) != kGeneration) return -1;
      } while (!PST_CAS(&g_slot.word, &word, word | bit));
      return static_cast<std::int64_t>(pst_word_offset(word));
    }
    case Kind::kReopen:
      PST_STORE_RELAXED(&g_slot.word, Word(kGeneration + 2, 0));
      return 0;
  }
  return 0;
}

struct Tally {
  std::uint64_t runs = 0;
  std::set<std::string> seen, wrong;
};

Tally Search(const std::vector<Program>& programs, Bug bug) {
  std::set<std::string> allowed;
  Orders(programs, std::vector<std::size_t>(programs.size()), {}, Results(programs.size()),
         &allowed);
  Tally tally;
  Memory& memory = TheMemory();
  Exhaustive oracle;
  memory.set_oracle(&oracle);
  g_slot.word = Word(kGeneration, 0);
  do {
    memory.Reset();
    memory.weakened = {};
    Results results(programs.size());
    Fibers fibers(&oracle);
    for (std::size_t thread = 0; thread < programs.size(); thread++) {
      fibers.Add([&, thread] {
        for (const Operation& op : programs[thread]) results[thread].push_back(Perform(op, bug));
      });
    }
    fibers.Run();
    std::string text = std::to_string(memory.Newest(&g_slot.word, g_slot.word));
    for (const auto& thread : results) {
      text += " |";
      for (std::int64_t result : thread) text += " " + std::to_string(result);
    }
    tally.seen.insert(text);
    if (!allowed.contains(text)) tally.wrong.insert(text);
    tally.runs++;
  } while (oracle.Next() && (bug == Bug::kNone || tally.wrong.empty()));
  return tally;
}

const std::vector<Program> kReadersAndMaterialiser = {
    {{Kind::kClaim, 30}, {Kind::kClaim, 30}}, {{Kind::kClaim, 50}}, {{Kind::kFreeze}}};

TEST(SlotModelTest, ClaimsAndAMaterialiser) {
  const Tally tally = Search(kReadersAndMaterialiser, Bug::kNone);
  EXPECT_TRUE(tally.wrong.empty()) << *tally.wrong.begin();
  EXPECT_GT(tally.seen.size(), 5u);
  std::printf("%lu interleavings, %zu outcomes\n", static_cast<unsigned long>(tally.runs),
              tally.seen.size());
}

TEST(SlotModelTest, SeekAgainstClaimsAndAMaterialiser) {
  const Tally tally =
      Search({{{Kind::kClaim, 30}, {Kind::kClaim, 80}}, {{Kind::kSeek, 90}}, {{Kind::kFreeze}}},
             Bug::kNone);
  EXPECT_TRUE(tally.wrong.empty()) << *tally.wrong.begin();
  EXPECT_GT(tally.seen.size(), 5u);
}

TEST(SlotModelTest, SkippingAgainstAClaimAndAnotherSkip) {
  const std::vector<Program> programs = {
      {{Kind::kClaim, 30}, {Kind::kSkip, 10}}, {{Kind::kSkip, 5}}};
  const Tally tally = Search(programs, Bug::kNone);
  EXPECT_TRUE(tally.wrong.empty()) << *tally.wrong.begin();
  EXPECT_FALSE(Search(programs, Bug::kSkipWithoutSwap).wrong.empty());
}

TEST(SlotModelTest, ASeekOutOfRangeMovesNothing) {
  pst_slot slot{};
  slot.word = Word(kGeneration, 40);
  EXPECT_EQ(pst_slot_seek(&slot, kGeneration, -1, 0), PST_SEEK_RANGE);
  EXPECT_EQ(pst_slot_seek(&slot, kGeneration, -41, 1), PST_SEEK_RANGE);
  EXPECT_EQ(pst_slot_seek(&slot, kGeneration, INT64_MAX, 1), PST_SEEK_RANGE);
  EXPECT_EQ(pst_slot_seek(&slot, kGeneration, static_cast<std::int64_t>(PST_OFFSET_MASK) + 1, 0), PST_SEEK_RANGE);
  EXPECT_EQ(pst_slot_seek(&slot, kGeneration + 2, 0, 0), PST_SEEK_STALE);
  EXPECT_EQ(slot.word, Word(kGeneration, 40));
  EXPECT_EQ(pst_slot_seek(&slot, kGeneration, -40, 1), 0);
}

TEST(SlotModelTest, GivingBackAgainstASeekAndAClaim) {
  const Tally tally = Search(
      {{{Kind::kClaim, 40}, {Kind::kUnclaim, 40, 10}}, {{Kind::kClaim, 20}}, {{Kind::kSeek, 40}}},
      Bug::kNone);
  EXPECT_TRUE(tally.wrong.empty()) << *tally.wrong.begin();
}

TEST(SlotModelTest, AStaleHolderNeverMovesTheNextOpensOffset) {
  const Tally tally = Search({{{Kind::kClaim, 30}, {Kind::kClaim, 30}, {Kind::kSeek, 7}},
                              {{Kind::kReopen}},
                              {{Kind::kUnclaim, 30, 0}}},
                             Bug::kNone);
  EXPECT_TRUE(tally.wrong.empty()) << *tally.wrong.begin();
}

TEST(SlotModelTest, SeededBugsAreFound) {
  EXPECT_FALSE(Search(kReadersAndMaterialiser, Bug::kClaimWithoutSwap).wrong.empty());
  EXPECT_FALSE(Search(kReadersAndMaterialiser, Bug::kFreezeKeepsGeneration).wrong.empty());
  EXPECT_FALSE(Search(kReadersAndMaterialiser, Bug::kClaimIgnoresGeneration).wrong.empty());
  EXPECT_FALSE(Search({{{Kind::kClaim, 40}, {Kind::kUnclaim, 40, 10}}, {{Kind::kClaim, 20}}},
                      Bug::kBlindUnclaim)
                   .wrong.empty());
}

}  // namespace
}  // namespace penstock::model
