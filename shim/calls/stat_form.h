#pragma once

// What stat shows in statx's form. Thread safety: no state.

#include <sys/stat.h>

namespace penstock {

void PstWidenStat(const struct stat& from, struct statx* out);

}  // namespace penstock
