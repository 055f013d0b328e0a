#pragma once

// Between a program that becomes supervised and its guard, before the program's exec: a socket pair
// over which the filter's listener goes. The program does not wait for the guard: its calls do.
//
// Errors are -errno. Every wait ends after kChannelWaitMs or when the other end is gone.

namespace penstock {

inline constexpr int kChannelWaitMs = 20'000;

int PstOpenChannel(int* program_end, int* guard_end);
int PstSendListener(int channel, int listener);
int PstReceiveListener(int channel);  // the listener

}  // namespace penstock
