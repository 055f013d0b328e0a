#pragma once

// libc's streams on covered files: a stream of fopencookie whose bytes come from our read, so that
// a file is neither made real nor read by system calls. The stream looks like one of fopen: fileno
// and freopen work, with libc's own code, and so do wide characters once the file is real.
//
// For that four public fields of glibc's FILE are set (_fileno, _mode, _flags2, _wide_data). Wide
// characters need a block of memory whose layout is libc's secret: it is taken from a stream that
// fopen has made (the donor), which keeps it and has no number. Each time the fields are found to
// be what glibc makes of them first; on any other libc, and where something is not as expected,
// there is no such stream and the caller makes the file real.
//
// Thread safety: as fopen and fclose (any thread, not in signal handlers). errno is left alone.

#include <stdio.h>

namespace penstock {

struct CoveredStream;

// Before the file is opened: making a stream needs a number for a moment, which may be the last
// one.
void CoveredStreamPrepare();

// A stream that reads number `fd`, which is then the stream's to close. Null: not to be had.
FILE* CoveredStreamOpen(int fd);

// What belongs to a stream, null if it is not one of these.
CoveredStream* CoveredStreamOf(FILE* stream);

// freopen: the stream is libc's from now on, with our block for wide characters.
void CoveredStreamReopened(CoveredStream* ours);
bool CoveredStreamIsReopened(const CoveredStream* ours);

// Before a wide character: makes the file real, unless the stream is one of bytes. Any stream may
// be given.
void CoveredStreamWiden(FILE* stream);

// Around libc's fclose of the stream: nobody finds it any more; what belonged to it is free.
void CoveredStreamForget(FILE* stream);
void CoveredStreamFree(CoveredStream* ours);

}  // namespace penstock
