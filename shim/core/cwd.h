// The working directory, as far as routing needs it. The functions are declared in path.h
// (PstCwdSet, PstCwdUnknown, PstCwdGet); this is the start.
//
// Thread safety: the working directory is the process's; a chdir in one thread while another resolves a
// relative path is a race of the program's own, which here as there ends in one of the two.
#pragma once

namespace penstock {

// Asks the kernel where the program starts. Once, by the constructor, only when active.
void CwdInit();

}  // namespace penstock
