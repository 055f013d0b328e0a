#!/bin/bash
# Checks what libpenstock.so shows to the programs it is loaded into.
#   check.sh LIBRARY TABLE NAMES [LIBC]
# TABLE is the list that shim/hooks/table.txt.in becomes: "hook name family how", "twin name of",
# "excused name". NAMES are libc's functions that reach no file. Prints each violation; exit 1 if there is one.
set -u
library=$1 table=$2 names=$3
newest=2.31  # the oldest glibc that the library must load on
libc=${4:-$(ldd /bin/sh | awk '/libc\.so/ { print $3; exit }')}
[ -r "$libc" ] || { echo "symbol: no libc to compare with"; exit 1; }
failed=0
fail() { echo "symbol: $*"; failed=1; }

exported=$(nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' | LC_ALL=C sort -u)
wanted=$(awk '$1 == "hook" || $1 == "twin" { print $2 }' "$table" | LC_ALL=C sort)
known=$(awk '{ print $2 }' "$table" | LC_ALL=C sort -u)

# A name stands in the table once.
for name in $(awk '{ print $2 }' "$table" | LC_ALL=C sort | uniq -d); do fail "$name is twice in the table"; done
# Every export is in the table, and the other way round.
for name in $(LC_ALL=C comm -23 <(echo "$exported") <(echo "$wanted" | uniq)); do
  fail "stray export: $name"
done
for name in $(LC_ALL=C comm -13 <(echo "$exported") <(echo "$wanted" | uniq)); do
  fail "in the table and not exported: $name"
done
# A twin is the same address as what it is a twin of.
while read -r name of; do fail "$name is not the same function as $of"; done < <(
  awk 'NR == FNR { if (NF >= 3) at[$3] = $1; next } $1 == "twin" && at[$2] != at[$3] { print $2, $3 }' \
    <(nm -D --defined-only "$library") "$table")

# Every twin that libc has of a hooked name is hooked or excused. A twin is the name with any of: leading
# underscores or _IO_ or __libc_, 64 in or after it, _chk, _2, _nocancel, v2 behind it.
while read -r name of; do fail "libc exports $name, a twin of the hook $of: not in the table"; done < <(
  awk 'function base(n) {
         sub(/^(_IO_|__libc_|_+)/, "", n); sub(/(_chk|_2|_nocancel)$/, "", n); gsub(/64/, "", n)
         return n
       }
       FILENAME == ARGV[1] { known[$2] = 1; if ($1 == "hook") hooked[base($2)] = $2; next }
       { n = $3; sub(/@.*/, "", n) }
       $2 ~ /[TWi]/ && !(n in known) && (base(n) in hooked) && !seen[n]++ { print n, hooked[base(n)] }' \
    "$table" <(nm -D --defined-only "$libc"))

# Every function of libc is known: it is in the table, or looked at and found to reach no file. A new libc may
# have a new way to one.
while read -r name; do fail "libc exports $name, which is neither in the table nor in $(basename "$names")"; done < <(
  LC_ALL=C comm -23 <(nm -D --defined-only "$libc" | awk '$2 ~ /[TWi]/ && $3 !~ /GLIBC_PRIVATE/ {
                        sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort -u) \
    <(grep -v '^#' "$names" | LC_ALL=C sort -u - <(echo "$known")))
while read -r name; do fail "$name is in the table and in $(basename "$names")"; done < <(
  LC_ALL=C comm -12 <(grep -v '^#' "$names" | LC_ALL=C sort -u) <(echo "$known"))

# An older libc loads the library: nothing that it asks for is newer.
while read -r version name; do fail "asks for $name of glibc $version, newer than $newest"; done < <(
  objdump -T "$library" | awk -v newest=$newest 'match($0, /GLIBC_[0-9.]+/) {
    version = substr($0, RSTART + 6, RLENGTH - 6); split(version, have, "."); split(newest, most, ".")
    if (have[1] > most[1] || (have[1] == most[1] && have[2] > most[2])) print version, $NF }')

# A guest: libc alone, one constructor, no executable stack, static thread-local storage, no text
# relocations, symbols without versions.
for needed in $(readelf -dW "$library" | awk '/NEEDED/ { gsub(/[][]/, "", $5); print $5 }'); do
  case $needed in libc.so*|libc.musl*) ;; *) fail "needs $needed" ;; esac
done
readelf -lW "$library" | awk '/GNU_STACK/ { exit ($7 ~ /E/) ? 1 : 0 }' || fail "executable stack"
readelf -dW "$library" | grep -q TEXTREL && fail "text relocations"
pointers=$(readelf -SW "$library" | awk '{ sub(/^ *\[ *[0-9]+\] */, "") } $1 == ".init_array" { print $5 }')
# frame_dummy of the C runtime and ours; on ARM one of libgcc's, which asks for the processor's atomics
expected=2
readelf -hW "$library" | grep -q 'Machine:.*AArch64' && expected=3
[ $((16#${pointers:-0})) -le $((8 * expected)) ] ||
  fail ".init_array has $((16#$pointers / 8)) entries, $expected are expected"
readelf -rW "$library" | grep -qE 'DTPMOD|TLSDESC' && fail "thread-local storage is not initial-exec"
readelf -VW "$library" | grep -q 'Version definition section' && fail "exports carry versions"
undefined=$(nm -D --undefined-only "$library" | awk '{ sub(/@.*/, "", $2); print $2 }')
for name in $undefined; do
  case $name in
    __cxa_*|_Unwind_*|__gxx_*|_ZSt*|_Zn*|_Zd*|__tls_get_addr|pthread_create|abort|exit|_exit|printf)
      [ "$name" = __cxa_finalize ] || fail "imports $name" ;;
  esac
done
[ $failed = 0 ] && echo "symbol: $(echo "$wanted" | wc -l) names exported, all as in the table"
exit $failed
