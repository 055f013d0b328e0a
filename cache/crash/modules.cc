#include "cache/crash/modules.h"

#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace penstock::cache {
namespace {

void ReadBuildId(const dl_phdr_info& info, const ElfW(Phdr) & notes, Module* module) {
  const auto* at = reinterpret_cast<const char*>(info.dlpi_addr + notes.p_vaddr);
  const char* const end = at + notes.p_memsz;
  while (end - at >= static_cast<std::ptrdiff_t>(sizeof(ElfW(Nhdr)))) {
    ElfW(Nhdr) note;
    std::memcpy(&note, at, sizeof note);
    const char* name = at + sizeof note;
    const std::size_t name_bytes = (note.n_namesz + 3u) & ~3u,
                      desc_bytes = (note.n_descsz + 3u) & ~3u;
    if (name_bytes + desc_bytes > static_cast<std::size_t>(end - name)) return;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0) {
      module->build_id_bytes = std::min<std::size_t>(note.n_descsz, kMaxBuildId);
      std::memcpy(module->build_id, name + name_bytes, module->build_id_bytes);
      return;
    }
    at = name + name_bytes + desc_bytes;
  }
}

}  // namespace

struct ModuleVisitor {
  ModuleList* list;
  std::size_t count = 0;

  static int Visit(dl_phdr_info* info, std::size_t, void* data) {
    auto* self = static_cast<ModuleVisitor*>(data);
    if (self->count >= kMaxModules) return 1;
    Module module;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
      const ElfW(Phdr)& segment = info->dlpi_phdr[i];
      if (segment.p_type == PT_NOTE && module.build_id_bytes == 0)
        ReadBuildId(*info, segment, &module);
      if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0 || module.end != 0) continue;
      module.start = info->dlpi_addr + segment.p_vaddr;
      module.end = module.start + segment.p_memsz;
      module.to_file = module.start - segment.p_offset;
    }
    const char* name = info->dlpi_name;
    if (name == nullptr || *name == '\0') {
      // The program, or the kernel's own pages, which have no file.
      if (self->count > 0 || ::readlink("/proc/self/exe", module.path, sizeof module.path - 1) < 0)
        std::strcpy(module.path, "[vdso]");
    } else {
      std::strncpy(module.path, name, sizeof module.path - 1);
    }
    self->list->modules_[self->count++] = module;
    return 0;
  }
};

void ModuleList::Take() {
  ModuleVisitor visitor{this};
  count_ = 0;  // a crash meanwhile sees no modules rather than half of one
  dl_iterate_phdr(&ModuleVisitor::Visit, &visitor);
  count_ = visitor.count;
}

const Module* ModuleList::Find(std::uintptr_t address) const {
  for (std::size_t i = 0; i < count_; i++) {
    if (address >= modules_[i].start && address < modules_[i].end) return &modules_[i];
  }
  return nullptr;
}

}  // namespace penstock::cache
