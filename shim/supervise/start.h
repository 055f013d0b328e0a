#pragma once

// From exec to a supervised program.
//
// Where a program that makes its own system calls is to be executed, this library is executed in
// its place, by the dynamic loader: a fresh process image with the same number, descriptors,
// folder, signals and terminal. It forks the guard, installs the filter and executes the program.
// So exec, spawn and `penstock run` are one case, nothing of a large parent stays alive in the
// guard, and an exec that fails for one of the usual reasons fails before.
//
// Variables of the loader (LD_PRELOAD, LD_LIBRARY_PATH...) are for the program and not for this
// step: their first letter is changed, and changed back; one that is found unchanged is this step's
// own, and taken out.
//
// Command line: <library> kStartOption <descriptor or "-"> <path> <argv...>, or
//               <library> kRunOption <"strict" or "-"> <file> <arguments...>, from `penstock run`.
//
// Thread safety: any thread, signal handlers, vfork children. No allocation: the caller brings the
// memory.

#include <stddef.h>

namespace penstock {

inline constexpr char kStartOption[] = "--penstock-start";
inline constexpr char kRunOption[] = "--penstock-run";
inline constexpr char kMaskedLetter = '\1';

struct StartNeed {
  size_t words;
  size_t env;
  size_t bytes;
};

// Is a program that makes its own system calls to be supervised by us? False: its parent is
// already, and so it is; or there is no configuration. In the process that this library is the
// program of, true means that it now is.
bool PstMustSupervise();

StartNeed PstStartNeed(char* const* argv, char* const* envp);

// Fills in the command; returns what to execute, the loader, or null if it is not known. Descriptor
// `fd` (or -1) is the program's file and has to be open in the new image.
const char* PstStartCommand(int fd, const char* path, char* const* argv, char* const* envp,
                            const char** words, const char** env, char* text);

// Makes this process and what it executes from now on supervised. Only in a process of our own with
// one thread. 0, or a positive errno.
int PstSuperviseSelf(bool strict);

// As PstMustSupervise does it: this image is one of our own (entry.cc).
extern bool g_own_image;

}  // namespace penstock
