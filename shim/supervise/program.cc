#include "shim/supervise/program.h"

#include <elf.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#include "shim/core/scratch.h"

namespace penstock {
namespace {

constexpr unsigned kGoBuildId = 4;  // a note's type
constexpr unsigned kMaxSegments = 128, kMaxSections = 512;
constexpr char kGoSection[] = ".go.buildinfo";

// [offset, offset + bytes) of the file: in `head` if it lies there, else read into `room`. Null: it
// cannot be had.
const char* Part(int fd, const char* head, size_t head_bytes, uint64_t offset, size_t bytes,
                 char* room) {
  if (offset <= head_bytes && bytes <= head_bytes - offset) return head + offset;
  if (offset > INT64_MAX) return nullptr;
  return pread(fd, room, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes)
             ? room
             : nullptr;
}

// Does the dynamic section name the object, as a library's (and the loader's own) does?
bool HasSoname(const char* dynamic, size_t bytes) {
  for (size_t at = 0; at + sizeof(ElfW(Dyn)) <= bytes; at += sizeof(ElfW(Dyn))) {
    ElfW(Dyn) entry;
    memcpy(&entry, dynamic + at, sizeof entry);
    if (entry.d_tag == DT_NULL) return false;
    if (entry.d_tag == DT_SONAME) return true;
  }
  return false;
}

// A Go program that was built without a build id still has its section.
bool HasGoSection(int fd, const char* head, size_t head_bytes, const ElfW(Ehdr) & header,
                  char* room) {
  if (header.e_shnum == 0 || header.e_shnum > kMaxSections || header.e_shstrndx >= header.e_shnum ||
      header.e_shentsize != sizeof(ElfW(Shdr)))
    return false;
  ElfW(Shdr) names;
  const char* text = Part(fd, head, head_bytes, header.e_shoff + header.e_shstrndx * sizeof names,
                          sizeof names, room);
  if (text == nullptr) return false;
  memcpy(&names, text, sizeof names);
  size_t bytes = names.sh_size < kScratchBytes ? names.sh_size : kScratchBytes;
  text = Part(fd, head, head_bytes, names.sh_offset, bytes, room);
  return text != nullptr && memmem(text, bytes, kGoSection, sizeof kGoSection) != nullptr;
}

}  // namespace

bool PstHasGoNote(const char* notes, size_t bytes) {
  for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= bytes;) {
    ElfW(Nhdr) note;
    memcpy(&note, notes + at, sizeof note);
    at += sizeof note;
    size_t name = (note.n_namesz + 3u) & ~size_t{3},
           description = (note.n_descsz + 3u) & ~size_t{3};
    if (name > bytes - at || description > bytes - at - name) return false;
    if (note.n_type == kGoBuildId && note.n_namesz == 4 && memcmp(notes + at, "Go\0", 4) == 0)
      return true;
    at += name + description;
  }
  return false;
}

ProgramKind PstProgramKind(int fd, const char* head, size_t head_bytes) {
  ElfW(Ehdr) header, own;
  extern __attribute__((visibility("hidden"))) const char ehdr_of_ours[] __asm__("__ehdr_start");
  memcpy(&own, ehdr_of_ours, sizeof own);
  if (head_bytes < sizeof header) return ProgramKind::kForeign;
  memcpy(&header, head, sizeof header);
  if (header.e_ident[EI_CLASS] != own.e_ident[EI_CLASS] || header.e_machine != own.e_machine ||
      header.e_phentsize != sizeof(ElfW(Phdr)) || header.e_phnum > kMaxSegments)
    return ProgramKind::kForeign;
  Scratch scratch;
  char* room = scratch.Get();
  bool interpreted = false, go = false, library = false;
  for (unsigned i = 0; i < header.e_phnum && room != nullptr; ++i) {
    ElfW(Phdr) segment;
    const char* text =
        Part(fd, head, head_bytes, header.e_phoff + i * sizeof segment, sizeof segment, room);
    if (text == nullptr) return ProgramKind::kForeign;
    memcpy(&segment, text, sizeof segment);
    size_t bytes = segment.p_filesz < kScratchBytes ? segment.p_filesz : kScratchBytes;
    if (segment.p_type == PT_INTERP) interpreted = true;
    if (segment.p_type != PT_NOTE && segment.p_type != PT_DYNAMIC) continue;
    text = Part(fd, head, head_bytes, segment.p_offset, bytes, room);
    if (text == nullptr) continue;
    if (segment.p_type == PT_NOTE) go |= PstHasGoNote(text, bytes);
    if (segment.p_type == PT_DYNAMIC) library |= HasSoname(text, bytes);
  }
  if (!interpreted) return library ? ProgramKind::kLoads : ProgramKind::kRaw;
  if (!go && room != nullptr) go = HasGoSection(fd, head, head_bytes, header, room);
  return go ? ProgramKind::kRaw : ProgramKind::kLoads;
}

}  // namespace penstock
