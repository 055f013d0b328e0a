// Looks a name up in the objects that were loaded after this one, by their own hash tables.
//
// The objects up to libc are there from the start to the end of the program, so the loader's list
// of them is walked as it is: programs that bring a dl_iterate_phdr of their own look for the next
// one by dlsym, which must not lead back to it, and no lock of the loader is taken. What is not
// found there is looked for with dl_iterate_phdr.

#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <sys/auxv.h>

#include "shim/hooks/real.h"

extern "C" __attribute__((visibility("hidden"))) const char __ehdr_start[];

namespace penstock {
namespace {

struct Tables {
  const ElfW(Sym) * symbols = nullptr;
  const char* strings = nullptr;
  const uint16_t* versions = nullptr;  // null: the object has none
  const uint32_t* gnu_hash = nullptr;
  const uint32_t* sysv_hash = nullptr;
};

struct Search {
  const char* name;
  uint32_t gnu_hash;
  uint32_t sysv_hash;
  bool passed_us = false;
  void* found = nullptr;
};

constexpr uint16_t kHiddenVersion = 0x8000;  // an old version that only versioned references see

uint32_t GnuHash(const char* name) {
  uint32_t h = 5381;
  for (; *name; ++name) h = h * 33 + static_cast<unsigned char>(*name);
  return h;
}

uint32_t SysvHash(const char* name) {
  uint32_t h = 0;
  for (; *name; ++name) {
    h = (h << 4) + static_cast<unsigned char>(*name);
    uint32_t high = h & 0xf0000000u;
    h = (h ^ (high >> 24)) & ~high;
  }
  return h;
}

// glibc stores relocated pointers in the dynamic section, musl and the vDSO leave offsets.
template <class T>
const T* Place(ElfW(Addr) base, ElfW(Addr) value) {
  return reinterpret_cast<const T*>(value < base ? base + value : value);
}

// `dynamic` may be null.
bool ReadTables(ElfW(Addr) base, const ElfW(Dyn) * dynamic, Tables* out) {
  if (dynamic == nullptr) return false;
  for (; dynamic->d_tag != DT_NULL; ++dynamic) {
    ElfW(Addr) value = dynamic->d_un.d_ptr;
    switch (dynamic->d_tag) {
      case DT_SYMTAB:
        out->symbols = Place<ElfW(Sym)>(base, value);
        break;
      case DT_STRTAB:
        out->strings = Place<char>(base, value);
        break;
      case DT_VERSYM:
        out->versions = Place<uint16_t>(base, value);
        break;
      case DT_GNU_HASH:
        out->gnu_hash = Place<uint32_t>(base, value);
        break;
      case DT_HASH:
        out->sysv_hash = Place<uint32_t>(base, value);
        break;
      default:
        break;
    }
  }
  return out->symbols != nullptr && out->strings != nullptr;
}

// Not strcmp: a sanitizer's, which asks for the next strcmp right here, is not ready yet.
bool SameText(const char* a, const char* b) {
  while (*a != 0 && *a == *b) ++a, ++b;
  return *a == *b;
}

bool Matches(const Tables& tables, uint32_t index, const char* name) {
  const ElfW(Sym)& symbol = tables.symbols[index];
  unsigned type = symbol.st_info & 0xf, binding = symbol.st_info >> 4;
  if (symbol.st_shndx == SHN_UNDEF || symbol.st_value == 0) return false;
  if (type != STT_FUNC && type != STT_OBJECT && type != STT_NOTYPE) return false;
  if (binding != STB_GLOBAL && binding != STB_WEAK) return false;
  if (tables.versions != nullptr && (tables.versions[index] & kHiddenVersion) != 0) return false;
  return SameText(tables.strings + symbol.st_name, name);
}

// Index of the symbol, 0 if the object does not define it.
uint32_t FindGnu(const Tables& tables, const char* name, uint32_t hash) {
  const uint32_t* header = tables.gnu_hash;
  uint32_t bucket_count = header[0], first = header[1], bloom_count = header[2], shift = header[3];
  if (bucket_count == 0 || bloom_count == 0) return 0;
  const auto* bloom = reinterpret_cast<const ElfW(Addr)*>(header + 4);
  const auto* buckets = reinterpret_cast<const uint32_t*>(bloom + bloom_count);
  const uint32_t* chain = buckets + bucket_count;
  constexpr uint32_t kBits = sizeof(ElfW(Addr)) * 8;
  ElfW(Addr) word = bloom[(hash / kBits) % bloom_count];
  if (((word >> (hash % kBits)) & (word >> ((hash >> shift) % kBits)) & 1) == 0) return 0;
  uint32_t index = buckets[hash % bucket_count];
  if (index < first) return 0;
  for (;; ++index) {
    uint32_t entry = chain[index - first];
    if ((entry | 1u) == (hash | 1u) && Matches(tables, index, name)) return index;
    if ((entry & 1u) != 0) return 0;
  }
}

uint32_t FindSysv(const Tables& tables, const char* name, uint32_t hash) {
  uint32_t bucket_count = tables.sysv_hash[0];
  if (bucket_count == 0) return 0;
  const uint32_t* buckets = tables.sysv_hash + 2;
  const uint32_t* chain = buckets + bucket_count;
  for (uint32_t index = buckets[hash % bucket_count]; index != 0; index = chain[index]) {
    if (Matches(tables, index, name)) return index;
  }
  return 0;
}

// The address of a name that the object defines, or null.
void* Find(ElfW(Addr) base, const ElfW(Dyn) * dynamic, const Search& search) {
  Tables tables;
  if (!ReadTables(base, dynamic, &tables)) return nullptr;
  uint32_t index = 0;
  if (tables.gnu_hash != nullptr) {
    index = FindGnu(tables, search.name, search.gnu_hash);
  } else if (tables.sysv_hash != nullptr) {
    index = FindSysv(tables, search.name, search.sysv_hash);
  }
  return index == 0 ? nullptr : reinterpret_cast<void*>(base + tables.symbols[index].st_value);
}

const ElfW(Dyn) * DynamicOf(ElfW(Addr) base, const ElfW(Phdr) * headers, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (headers[i].p_type == PT_DYNAMIC)
      return reinterpret_cast<const ElfW(Dyn)*>(base + headers[i].p_vaddr);
  }
  return nullptr;
}

// The loader's list of objects, as it shows it to debuggers. Null: not to be had.
const link_map* LoadedObjects() {
  const auto* headers = reinterpret_cast<const ElfW(Phdr)*>(getauxval(AT_PHDR));
  const size_t count = getauxval(AT_PHNUM);
  const ElfW(Dyn)* entry = nullptr;
  for (size_t i = 0; headers != nullptr && i < count; ++i) {
    // A library that is run as a program (supervise/entry.cc) has none, and so no known place.
    if (headers[i].p_type == PT_PHDR)
      entry = DynamicOf(reinterpret_cast<ElfW(Addr)>(headers) - headers[i].p_vaddr, headers, count);
  }
  for (; entry != nullptr && entry->d_tag != DT_NULL; ++entry) {
    if (entry->d_tag != DT_DEBUG) continue;
    const auto* shown = reinterpret_cast<const r_debug*>(entry->d_un.d_ptr);
    return shown != nullptr ? shown->r_map : nullptr;
  }
  return nullptr;
}

Search SearchFor(const char* name) {
  return {.name = name, .gnu_hash = GnuHash(name), .sysv_hash = SysvHash(name)};
}

// Looks between this object and libc. Null: not there, or there is no list.
void* FindUpToLibc(const Search& search) {
  const Search libc = SearchFor("__libc_start_main");
  const link_map* object = LoadedObjects();
  while (object != nullptr && object->l_ld != _DYNAMIC) object = object->l_next;
  if (object == nullptr) return nullptr;
  for (object = object->l_next; object != nullptr; object = object->l_next) {
    void* found = Find(object->l_addr, object->l_ld, search);
    if (found != nullptr || Find(object->l_addr, object->l_ld, libc) != nullptr) return found;
  }
  return nullptr;
}

int Visit(dl_phdr_info* object, size_t, void* data) {
  auto* search = static_cast<Search*>(data);
  if (!search->passed_us) {
    search->passed_us = object->dlpi_addr == reinterpret_cast<ElfW(Addr)>(__ehdr_start);
    return 0;
  }
  search->found =
      Find(object->dlpi_addr, DynamicOf(object->dlpi_addr, object->dlpi_phdr, object->dlpi_phnum),
           *search);
  return search->found != nullptr ? 1 : 0;
}

}  // namespace

void* FindNext(const char* name) {
  Search search = SearchFor(name);
  if (void* found = FindUpToLibc(search)) return found;
  dl_iterate_phdr(Visit, &search);
  return search.found;
}

void* FindOwn(const char* name) {
  return Find(reinterpret_cast<ElfW(Addr)>(__ehdr_start), _DYNAMIC, SearchFor(name));
}

}  // namespace penstock
