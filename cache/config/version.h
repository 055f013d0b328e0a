// The version that --version, the admin protocol and crash reports give.
#pragma once

namespace penstock::cache {

#ifdef PENSTOCK_VERSION
inline constexpr const char* kVersion = PENSTOCK_VERSION;
#else
inline constexpr const char* kVersion = "0.1.0";
#endif

}  // namespace penstock::cache
