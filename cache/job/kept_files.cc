#include "cache/job/kept_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock::cache {
namespace {
// Slots are closed and opened again without a word to the sidecar, so now and then it looks.
constexpr std::uint32_t kSweepEvery = 256;
constexpr std::uint64_t kAnyOwner = ~0ull;

// A materialised slot has the low bit set (open_file.h); it is the same open file.
constexpr std::uint32_t Even(std::uint32_t generation) { return generation & ~1u; }

bool SameInode(int a, int b) {
  struct stat first, second;
  return ::fstat(a, &first) == 0 && ::fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

// The kernel names the locks of an open file, and no others, in its fdinfo.
bool IsLocked(int fd) {
  const std::string name = "/proc/self/fdinfo/" + std::to_string(fd);
  const Fd info(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  char text[1024];  // a handful of lines, those of locks among the last
  const ssize_t n = info.valid() ? ::read(info.get(), text, sizeof text) : 0;
  return n > 0 && std::string_view(text, static_cast<std::size_t>(n)).find("\nlock:") !=
                      std::string_view::npos;
}
}  // namespace

bool KeptFiles::IsCurrent(std::uint64_t place, const Kept& kept) const {
  SlotState state;
  return look_(static_cast<std::uint32_t>(place >> 32), static_cast<std::uint32_t>(place),
               &state) &&
         Even(state.generation) == kept.generation && state.state != PST_SLOT_FREE;
}

KeptFiles::Files::iterator KeptFiles::Erase(Files::iterator at) {
  if (const auto held = count_of_.find(at->second.owner); --held->second == 0) count_of_.erase(held);
  return files_.erase(at);
}

Result<int> KeptFiles::Keep(std::uint64_t owner, std::uint32_t table, std::uint32_t slot, std::uint32_t generation,
                            const FileIdentity& file, Fd fd) {
  if (!fd.valid()) return Fail(Code::kInvalid, "keeping no file for a slot");
  generation = Even(generation);
  const std::uint64_t place = Place(table, slot);
  SlotState state;
  if (!look_(table, slot, &state) || Even(state.generation) != generation)
    return Fail(Code::kInvalid, "keeping a file for a slot that has moved on");
  if (auto it = files_.find(place); it != files_.end()) {
    if (it->second.generation == generation && it->second.file == file) {
      if (!SameInode(it->second.fd.get(), fd.get()))
        return Fail(Code::kVersionChanged, "a slot's file was made anew under its readers");
      return it->second.fd.get();
    }
    Erase(it);
  }
  const auto full = [&] {
    const auto held = count_of_.find(owner);
    return files_.size() >= max_files_ || (held != count_of_.end() && held->second >= max_each_);
  };
  // Frozen, and its file is gone: another one would begin at another offset than the sharers had.
  if (state.generation != generation && state.state == PST_SLOT_MATERIALIZED)
    return Fail(Code::kVersionChanged, "a slot's file was given up for newer ones");
  if (++kept_since_sweep_ >= kSweepEvery || full()) Sweep();
  if (full()) GiveUpOldest(files_.size() < max_files_ ? owner : kAnyOwner);
  if (full()) return Fail(Code::kLimit, "too many materialised open files");
  ++count_of_[owner];
  auto [it, fresh] =
      files_.emplace(place, Kept{generation, file, std::move(fd), owner, ++last_age_});
  return it->second.fd.get();
}

int KeptFiles::Find(std::uint32_t table, std::uint32_t slot, std::uint32_t generation,
                    const FileIdentity& file) {
  auto it = files_.find(Place(table, slot));
  if (it == files_.end()) return -1;
  if (!IsCurrent(it->first, it->second)) {
    Erase(it);
    return -1;
  }
  if (it->second.generation != Even(generation) || it->second.file != file) return -1;
  return it->second.fd.get();
}

void KeptFiles::GiveUpOldest(std::uint64_t owner) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> taken;  // age, place
  SlotState state;
  for (const auto& [place, kept] : files_) {
    if ((owner == kAnyOwner || kept.owner == owner) &&
        look_(static_cast<std::uint32_t>(place >> 32), static_cast<std::uint32_t>(place), &state) &&
        state.state == PST_SLOT_MATERIALIZED)
      taken.emplace_back(kept.age, place);
  }
  const auto half = taken.begin() + static_cast<std::ptrdiff_t>((taken.size() + 1) / 2);
  std::nth_element(taken.begin(), half == taken.end() ? taken.begin() : half, taken.end());
  for (auto at = taken.begin(); at != half; ++at) Erase(files_.find(at->second));
}

void KeptFiles::Drop(std::uint32_t table, std::uint32_t slot) {
  if (const auto it = files_.find(Place(table, slot)); it != files_.end()) Erase(it);
}

void KeptFiles::DropLocked(std::uint32_t table, std::uint32_t slot, std::uint32_t generation) {
  const auto it = files_.find(Place(table, slot));
  if (it != files_.end() && it->second.generation == Even(generation) && IsLocked(it->second.fd.get()))
    Erase(it);
}

void KeptFiles::DropLockedUnless(const std::function<bool(std::uint32_t)>& is_held) {
  for (auto it = files_.begin(); it != files_.end();) {
    const bool drop = !is_held(static_cast<std::uint32_t>(it->first)) && IsLocked(it->second.fd.get());
    it = drop ? Erase(it) : std::next(it);
  }
}

void KeptFiles::Sweep() {
  kept_since_sweep_ = 0;
  for (auto it = files_.begin(); it != files_.end();)
    it = IsCurrent(it->first, it->second) ? std::next(it) : Erase(it);
}

}  // namespace penstock::cache
