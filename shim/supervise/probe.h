#pragma once

// Is this process supervised already? Asked of the guard by a name that only it knows.
//
// Thread safety: PstProbe once, by the constructor; the rest from anywhere.

namespace penstock {

enum class Supervised : unsigned char { kNo, kYes, kStrict };
extern Supervised g_supervised;

// Also takes care of programs in which not all file calls come through libc (Go, --strict): what is
// opened in them is a real file from the beginning.
void PstProbe();

inline constexpr char kProbeName[] = "/proc/self/penstock-guard";
inline constexpr int kProbeYes = 1, kProbeStrict = 2;  // what faccessat then returns

}  // namespace penstock
