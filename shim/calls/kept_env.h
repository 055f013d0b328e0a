#pragma once

// The environment of the next program: LD_PRELOAD and the job's variables survive a program that
// clears or replaces its environment, so that a covered path means the same in all its children.
//
// Thread safety: any thread, signal handlers, vfork children. No allocation: the caller brings the
// memory.

#include <stddef.h>

namespace penstock {

// How much memory KeepEnvironment needs for this environment (which may be null). 0: it is
// complete, or there is nothing to keep because the library is transparent.
struct KeptEnvNeed {
  size_t words;
  size_t bytes;
};
KeptEnvNeed NeedToKeep(char* const* envp);

// Writes the completed environment: `words` pointers and `bytes` of text as NeedToKeep said.
void KeepEnvironment(char* const* envp, char** words, char* text);

// The path of this library, as it is kept in LD_PRELOAD. In a process whose main program it is (supervise/entry.cc) it
// has to be told, before anything else is asked here.
const char* KeptLibrary();
void KeepLibraryAs(const char* path);

}  // namespace penstock

// A complete environment on the caller's stack.
#define PST_KEPT_ENVIRON(result, envp)                                                          \
  char* const* result = (envp);                                                                 \
  if (::penstock::KeptEnvNeed kept_need = ::penstock::NeedToKeep(envp); kept_need.words != 0) { \
    char** kept_words = static_cast<char**>(__builtin_alloca(kept_need.words * sizeof(char*))); \
    char* kept_text = static_cast<char*>(__builtin_alloca(kept_need.bytes + 1));                \
    ::penstock::KeepEnvironment(envp, kept_words, kept_text);                                   \
    result = kept_words;                                                                        \
  }
