#!/bin/bash
# Breaks the table and the library in every way that check.sh looks for, and fails if one is missed.
#   must_bite.sh LIBRARY TABLE NAMES CC
set -u
library=$1 table=$2 names=$3 cc=$4
check=$(dirname "$0")/check.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# must_find TEXT LIBRARY TABLE [NAMES [LIBC]]: check.sh fails and says TEXT.
must_find() {
  local said
  said=$("$check" "$2" "$3" "${4:-$names}" ${5:+"$5"}) && { echo "must_bite: not found: $1"; failed=1; return; }
  grep -qF -- "$1" <<<"$said" || { echo "must_bite: '$1' is not in: $said"; failed=1; }
}

grep -v '^hook read ' "$table" >"$work/t"
must_find "stray export: read" "$library" "$work/t"
grep -v '^twin open64 ' "$table" >"$work/t"
must_find "libc exports open64, a twin of the hook open" "$library" "$work/t"
grep -v '^twin pread64 ' "$table" >"$work/t"
must_find "stray export: pread64" "$library" "$work/t"
grep -v '^excused __munmap' "$table" | sed 's/^excused munmap.*/hook munmap X OWN/' >"$work/t"
must_find "libc exports __munmap, a twin of the hook munmap" "$library" "$work/t"
must_find "in the table and not exported: munmap" "$library" "$work/t"
{ cat "$table"; echo "hook read READ OWN"; } >"$work/t"
must_find "read is twice in the table" "$library" "$work/t"
sed 's/^twin open64 open/twin open64 read/' "$table" >"$work/t"
must_find "open64 is not the same function as read" "$library" "$work/t"

grep -v '^sigqueue$' "$names" >"$work/n"
must_find "libc exports sigqueue, which is neither" "$library" "$table" "$work/n"
{ cat "$names"; echo openat; } >"$work/n"
must_find "openat is in the table and in" "$library" "$table" "$work/n"
# A libc with a new way to a file.
echo 'int open_by_wish(const char* path) { return path != 0; }' >"$work/new.c"
"$cc" -shared -fPIC -o "$work/new.so" "$work/new.c" || exit 1
must_find "libc exports open_by_wish, which is neither" "$library" "$table" "$names" "$work/new.so"

# A library with bad manners.
cat >"$work/bad.c" <<'C'
#include <math.h>
#include <stdlib.h>
__thread int dynamic_tls;
int stray(void) { return ++dynamic_tls + (int)sin(rand()); }
void read(int fd) { if (fd < 0) abort(); }
__attribute__((constructor)) static void one(void) { srand(1); }
__attribute__((constructor)) static void two(void) { srand(2); }
C
"$cc" -shared -fPIC -O0 -ftls-model=global-dynamic -o "$work/bad.so" "$work/bad.c" -lm -z execstack \
  -Wl,--no-as-needed 2>/dev/null || { echo "must_bite: cannot build the bad library"; exit 1; }
echo "hook read READ OWN" >"$work/t"
if printf '#include <features.h>\n#if !__GLIBC_PREREQ(2, 34)\n#error\n#endif\n' | "$cc" -E - >/dev/null 2>&1; then
  printf '#include <dlfcn.h>\nint newer(void* h) { return dlclose(h); }\n' >"$work/newer.c"
  "$cc" -shared -fPIC -o "$work/newer.so" "$work/newer.c" || exit 1
  must_find "asks for dlclose of glibc 2.34, newer than" "$work/newer.so" "$work/t"
fi
for text in "stray export: stray" "needs libm.so.6" "executable stack" "entries, 2 are expected" \
            "thread-local storage is not initial-exec" "imports abort"; do
  must_find "$text" "$work/bad.so" "$work/t"
done
[ $failed = 0 ] && echo "must_bite: every violation was found"
exit $failed
