#include "cache/job/open_file_table.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

namespace penstock::cache {
namespace {

constexpr int kNeededSeals = F_SEAL_SHRINK | F_SEAL_GROW;
constexpr int kUnusableSeals = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
constexpr std::uint32_t kGenerationMask = (1u << (64 - PST_OFFSET_BITS)) - 1;

}  // namespace

Result<std::unique_ptr<OpenFileTable>> OpenFileTable::Create(std::uint64_t job) {
  Fd fd(::memfd_create("penstock-open-files", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return FailErrno("creating the open-file table");
  if (::ftruncate(fd.get(), static_cast<off_t>(PST_OPEN_FILE_BYTES)) != 0)
    return FailErrno("sizing the open-file table");
  auto table = Map(std::move(fd));
  if (!table) return table;
  auto* header = static_cast<pst_open_file_table*>((*table)->memory_);
  header->magic = PST_OPEN_FILE_MAGIC;
  header->major = PST_ABI_MAJOR;
  header->minor = PST_ABI_MINOR;
  header->job = job;
  header->slot_count = PST_OPEN_FILE_SLOTS;
  // No client can cut the memory off under the others, or seal it against their stores.
  if (::fcntl((*table)->fd(), F_ADD_SEALS, kNeededSeals | F_SEAL_SEAL) != 0)
    return FailErrno("sealing the open-file table");
  return table;
}

Result<std::unique_ptr<OpenFileTable>> OpenFileTable::Adopt(int fd, std::uint64_t job) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return FailErrno("looking at an open-file table");
  if (!S_ISREG(st.st_mode) || st.st_size != static_cast<off_t>(PST_OPEN_FILE_BYTES))
    return Fail(Code::kInvalid, "an open-file table of another type or size");
  const int seals = ::fcntl(fd, F_GET_SEALS);  // fails for anything but memory files
  if (seals < 0 || (seals & kNeededSeals) != kNeededSeals || (seals & F_SEAL_SEAL) == 0 ||
      (seals & kUnusableSeals) != 0)
    return Fail(Code::kInvalid, "an open-file table without its seals");
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) != O_RDWR)
    return Fail(Code::kInvalid, "an open-file table that cannot be written");
  Fd own(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own.valid()) return FailErrno("keeping an open-file table");
  auto table = Map(std::move(own));
  if (!table) return table;
  pst_open_file_table header;
  __builtin_memcpy(&header, (*table)->memory_, sizeof header);
  if (header.magic != PST_OPEN_FILE_MAGIC || header.major != PST_ABI_MAJOR || header.job != job ||
      header.slot_count != PST_OPEN_FILE_SLOTS)
    return Fail(Code::kInvalid, "an open-file table of another job or version");
  return table;
}

Result<std::unique_ptr<OpenFileTable>> OpenFileTable::Map(Fd fd) {
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return FailErrno("looking at the open-file table");
  void* memory =
      ::mmap(nullptr, PST_OPEN_FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) return FailErrno("mapping the open-file table");
  return std::unique_ptr<OpenFileTable>(
      new OpenFileTable(std::move(fd), memory, st.st_dev, st.st_ino));
}

OpenFileTable::~OpenFileTable() { ::munmap(memory_, PST_OPEN_FILE_BYTES); }

bool OpenFileTable::Is(int fd) const {
  struct stat st;
  return ::fstat(fd, &st) == 0 && st.st_dev == device_ && st.st_ino == inode_;
}

pst_slot* OpenFileTable::At(std::uint32_t slot) const {
  auto* lines = reinterpret_cast<pst_slot*>(static_cast<char*>(memory_) + PST_SLOTS_OFFSET);
  return &lines[slot];
}

bool OpenFileTable::Load(std::uint32_t slot, SlotState* state) const {
  const pst_slot* line = At(slot);
  const std::uint64_t word = PST_LOAD_ACQUIRE(&line->word);
  state->generation = pst_word_generation(word);
  state->offset = pst_word_offset(word);
  state->state = PST_LOAD_RELAXED(&line->state);
  state->file.ns = PST_LOAD_RELAXED(&line->ns);
  state->file.id.lo = PST_LOAD_RELAXED(&line->id.lo);
  state->file.id.hi = PST_LOAD_RELAXED(&line->id.hi);
  state->file.version = PST_LOAD_RELAXED(&line->version);
  state->size = PST_LOAD_RELAXED(&line->size);
  state->open_flags = PST_LOAD_RELAXED(&line->open_flags);
  state->shared = PST_LOAD_RELAXED(&line->shared) != 0;
  state->session = PST_LOAD_RELAXED(&line->session);
  return state->state <= PST_SLOT_MATERIALIZED && state->size <= PST_MAX_FILE_BYTES;
}

std::uint32_t OpenFileTable::Generation(std::uint32_t slot) const {
  return pst_word_generation(PST_LOAD_ACQUIRE(&At(slot)->word));
}

void OpenFileTable::ResetSlot(std::uint32_t slot) {
  pst_slot* line = At(slot);
  const std::uint64_t next = ((Generation(slot) & ~1u) + 2) & kGenerationMask;  // even
  // The word first: whoever still believes in the old generation fails from here on.
  PST_STORE_RELAXED(&line->word, next << PST_OFFSET_BITS);
  PST_FENCE_RELEASE();
  PST_STORE_RELAXED(&line->state, PST_SLOT_FREE);
  PST_STORE_RELAXED(&line->ns, 0u);
  PST_STORE_RELAXED(&line->id.lo, std::uint64_t{0});
  PST_STORE_RELAXED(&line->id.hi, std::uint64_t{0});
  PST_STORE_RELAXED(&line->version, std::uint64_t{0});
  PST_STORE_RELAXED(&line->size, std::uint64_t{0});
  PST_STORE_RELAXED(&line->open_flags, 0u);
  PST_STORE_RELAXED(&line->shared, 0u);
  PST_STORE_RELEASE(&line->session, std::uint64_t{0});
}

}  // namespace penstock::cache
