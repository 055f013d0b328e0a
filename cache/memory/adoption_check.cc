#include "cache/memory/adoption_check.h"

#include <utility>

#include "transport/base/crc32c.h"
#include "transport/base/thread.h"

namespace penstock::cache {

AdoptionCheck::AdoptionCheck(Loop* loop, const Arena* arena, std::vector<pst_entry> entries,
                             std::function<void(const pst_entry&)> wrong)
    : loop_(loop), view_(arena->View()), entries_(std::move(entries)), wrong_(std::move(wrong)) {
  thread_ = StartThread("adoption", [this] { Main(); });
}

AdoptionCheck::~AdoptionCheck() {
  *alive_ = false;
  stop_ = true;
  thread_.join();
}

void AdoptionCheck::Main() {
  for (const pst_entry& entry : entries_) {
    if (stop_) return;
    if (!pst_entry_current(&view_, &entry)) continue;
    const auto* bytes = reinterpret_cast<const std::byte*>(pst_entry_bytes(&view_, &entry));
    const std::uint32_t crc = Crc32c({bytes, entry.length});
    if (crc == entry.crc32c || !pst_entry_current(&view_, &entry)) continue;
    loop_->Post([this, alive = alive_, entry] {
      if (*alive) wrong_(entry);
    });
  }
}

}  // namespace penstock::cache
