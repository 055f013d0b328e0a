// The process's environment, and the secrets in it.
//
// The kernel shows a process's initial environment in /proc/PID/environ, core dumps hold it, and
// children inherit it. A sidecar reads its secrets once and then wants them in none of these:
// HideSecrets() moves them into the process's private memory, where Environment() still finds them.
//
// Thread safety: Environment() from any thread; HideSecrets() while there is one thread only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace penstock {

// The value of a variable, a hidden one too; "" if it is not set.
std::string Environment(const char* name);

// Moves the variables that hold credentials out of the environment and overwrites where the kernel
// put them. A proxy's address stays for libcurl, but where it holds a password the kernel's copy is
// overwritten.
void HideSecrets();

// The whole environment as execve takes it, hidden values included: for a program that hides them itself.
std::vector<std::string> EnvironmentWithSecrets();

// True for the names of variables whose values are credentials.
bool IsSecretName(std::string_view name);

}  // namespace penstock
