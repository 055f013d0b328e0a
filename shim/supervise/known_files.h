#pragma once

// What fstat shows for a file that the guard has opened for a program: the object's file that the
// program holds has other times, another owner and another inode number.
//
// A file is known by device, inode and name of the object behind it, which name one version of one
// file for ever. The table is of fixed size (32,768 files); for one that others have pushed out
// fstat shows the object's own attributes, whose size is right.
//
// Thread safety: any server.

#include <stdint.h>
#include <sys/stat.h>

#include "shim/abi/key.h"
#include "shim/supervise/target.h"

namespace penstock {

struct KnownFile {
  struct stat shown;
  uint32_t ns;
  pst_key128 id;
};

// Remembers what the covered file `fd` of ours stands for.
void PstKnow(int fd);

// The file behind number `fd` of the caller. False: none that we opened.
bool PstKnown(const Call& call, int fd, KnownFile* out);

}  // namespace penstock
