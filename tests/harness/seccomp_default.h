// containerd's default seccomp profile, for a process that is about to become a container's.
#pragma once

// Installs the filter for the calling thread and what it starts from now on. Needs no_new_privs.
// What the list does not allow fails with EPERM; clone3 fails with ENOSYS, so that libc falls back
// to clone, whose flags the filter can see. Returns 0, or -1 with errno.
int PstInstallDefaultSeccomp(void);
