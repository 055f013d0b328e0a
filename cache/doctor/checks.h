// The single checks, by what they look at. Each appends one or more results.
//
// Thread safety: as RunDoctor.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cache/doctor/doctor.h"

namespace penstock::cache::doctor {

using Checks = std::vector<Check>;

inline void Add(Checks& to, const char* name, Verdict verdict, std::string finding,
                std::string remedy = "") {
  to.push_back({name, verdict, std::move(finding), std::move(remedy)});
}

// checks_kernel.cc
void CheckKernel(Checks& to);  // version, architecture
void CheckIoUring(Checks& to);
void CheckMemfd(Checks& to);
void CheckHugePages(Checks& to);
void CheckSeccomp(Checks& to);
void CheckSupervision(Checks& to);
void CheckNamespaces(Checks& to);

// checks_limits.cc
void CheckOpenFiles(Checks& to);
void CheckLockedMemory(Checks& to);
void CheckMemory(Checks& to, const DoctorConfig& config);
void CheckClock(Checks& to);

// checks_files.cc
void CheckSocketFolder(Checks& to, const DoctorConfig& config);
void CheckCacheDir(Checks& to, const std::string& dir, const DoctorConfig& config);
void CheckMountPaths(Checks& to, const DoctorConfig& config);  // nothing of the disk beneath them

// checks_service.cc
void CheckSidecar(Checks& to, const DoctorConfig& config);
void CheckCredentials(Checks& to, const DoctorConfig& config);
void CheckOrigins(Checks& to, const DoctorConfig& config);
void CheckPreload(Checks& to, const DoctorConfig& config);

// The first line of a small file, "" if it cannot be read.
std::string FirstLine(const std::string& path);
std::string Sizes(std::uint64_t bytes);  // "512 MiB", "7.5 GiB"

}  // namespace penstock::cache::doctor
