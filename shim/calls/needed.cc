#include "shim/calls/needed.h"

#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shim/core/raw.h"

namespace penstock {
namespace {

// A mapped file; everything that is read out of it is checked against its size.
struct Image {
  const char* bytes;
  size_t size;

  template <class T>
  bool Read(size_t at, T* out) const {
    if (at > size || size - at < sizeof(T)) return false;
    memcpy(out, bytes + at, sizeof(T));
    return true;
  }
  // The string at `at`, or null if it does not end inside.
  const char* Text(size_t at) const {
    return at < size && memchr(bytes + at, 0, size - at) != nullptr ? bytes + at : nullptr;
  }
};

constexpr size_t kMaxNeeded = 64;

bool FindDynamic(const Image& image, const ElfW(Ehdr) & header, ElfW(Phdr) * dynamic) {
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    if (!image.Read(header.e_phoff + static_cast<size_t>(i) * sizeof(ElfW(Phdr)), dynamic))
      return false;
    if (dynamic->p_type == PT_DYNAMIC) return true;
  }
  return false;
}

// Where an address of the loaded library lies in its file, or SIZE_MAX.
size_t FileOffset(const Image& image, const ElfW(Ehdr) & header, size_t address) {
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment;
    if (!image.Read(header.e_phoff + static_cast<size_t>(i) * sizeof segment, &segment)) break;
    if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
        address - segment.p_vaddr < segment.p_filesz)
      return segment.p_offset + (address - segment.p_vaddr);
  }
  return SIZE_MAX;
}

void Scan(const Image& image, void (*each)(void*, const char*, const char*), void* context) {
  ElfW(Ehdr) header;
  ElfW(Phdr) dynamic;
  if (!image.Read(0, &header) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32) ||
      header.e_phentsize != sizeof(ElfW(Phdr)) || !FindDynamic(image, header, &dynamic))
    return;
  size_t needed[kMaxNeeded], count = 0, strings = SIZE_MAX, runpath = SIZE_MAX, rpath = SIZE_MAX;
  for (size_t at = dynamic.p_offset; at - dynamic.p_offset < dynamic.p_filesz;
       at += sizeof(ElfW(Dyn))) {
    ElfW(Dyn) entry;
    if (!image.Read(at, &entry) || entry.d_tag == DT_NULL) break;
    size_t value = entry.d_un.d_val;
    if (entry.d_tag == DT_NEEDED && count < kMaxNeeded) needed[count++] = value;
    if (entry.d_tag == DT_STRTAB) strings = FileOffset(image, header, value);
    if (entry.d_tag == DT_RUNPATH) runpath = value;
    if (entry.d_tag == DT_RPATH) rpath = value;
  }
  if (strings >= image.size) return;
  if (runpath == SIZE_MAX) runpath = rpath;
  const char* search = runpath < image.size ? image.Text(strings + runpath) : nullptr;
  for (size_t i = 0; i < count; ++i) {
    const char* name = needed[i] < image.size ? image.Text(strings + needed[i]) : nullptr;
    if (name != nullptr) each(context, name, search != nullptr ? search : "");
  }
}

}  // namespace

void EachNeeded(int fd, void (*each)(void*, const char*, const char*), void* context) {
  struct stat st;
  if (Raw(SYS_fstat, fd, &st) != 0 || st.st_size <= 0) return;
  auto size = static_cast<size_t>(st.st_size);
  long map = Raw(SYS_mmap, nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (map < 0 && map > -4096) return;
  Scan({reinterpret_cast<const char*>(map), size}, each, context);
  Raw(SYS_munmap, map, size);
}

}  // namespace penstock
