// The version token and attributes of a file in a folder.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "transport/origin/origin.h"

namespace penstock::origin {

// "device-inode-size-mtime-ctime" in hexadecimal; the times in nanoseconds.
std::string FileVersion(const struct stat& attributes);

// True if both describe the same version: all that FileVersion() holds is equal.
bool SameVersion(const struct stat& a, const struct stat& b);

// The later of mtime and ctime, since 1970.
std::int64_t LastChangeNs(const struct stat& attributes);

// True for what an origin shows: regular files and directories.
bool IsServed(const struct stat& attributes);

// Fills kind, size, mtime and version. REQUIRES: IsServed(attributes).
void FillInfo(const struct stat& attributes, ObjectInfo* info);

}  // namespace penstock::origin
