#!/bin/bash
# The library beside others in one program: allocators and other preloaded libraries, before and after it, and
# programs with sanitizers. Each must print what it prints on the plain folder.
#   run.sh PENSTOCKD LIBRARY PROGRAM SOURCE CXX
set -u
penstockd=$1 library=$2 program=$3 source=$4 cxx=$5
work=$(mktemp -d)
sidecar=
finish() {
  [ -n "$sidecar" ] && kill "$sidecar" 2>/dev/null && wait "$sidecar" 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT
data=$work/data mount=/penstock-neighbours/data
mkdir -p "$data/tree" "$work/cache"
seq 1 20000 >"$data/numbers"
printf 'small file\nof two lines\n' >"$data/small"
head -c 300000 /dev/urandom >"$data/big"
for name in one two three; do echo $name >"$data/tree/$name"; done
cat >"$work/job.toml" <<C
version = 1
[sidecar]
socket = "$work/s"
[cache]
dir = "$work/cache"
memory = "64MiB"
nvme = "64MiB"
[[mount]]
path = "$mount"
origin = "file://$data"
C
"$penstockd" -c "$work/job.toml" 2>"$work/log" &
sidecar=$!
for _ in $(seq 100); do [ -S "$work/s" ] && break; sleep 0.05; done
job=(PENSTOCK_SOCKET="$work/s" PENSTOCK_PATHS="$mount" PENSTOCK_WAIT=5s)

failed=0 ran=0
# same NAME PRELOAD PROGRAM...: with PRELOAD (":"-list, @ is the library) and without anything.
same() {
  local name=$1 preload=${2//@/$library}
  shift 2
  ran=$((ran + 1))
  env "${extra[@]}" timeout 60 "$@" "$data" >"$work/want" 2>&1
  echo "exit $?" >>"$work/want"
  grep -qx 'exit 0' "$work/want" || { failed=$((failed + 1)); echo "neighbours: $name: fails by itself"; tail -5 "$work/want"; return; }
  env "${extra[@]}" "${job[@]}" LD_PRELOAD="$preload" timeout 60 "$@" "$mount" >"$work/got" 2>&1
  echo "exit $?" >>"$work/got"
  sed -i "s,$mount,$data,g" "$work/got"
  cmp -s "$work/want" "$work/got" && return
  failed=$((failed + 1))
  echo "neighbours: $name differs"
  diff "$work/want" "$work/got" | head -${LINES_SHOWN:-10}
}

extra=(PST_NOTHING=1)
same alone @ "$program"
where=/usr/lib/$(uname -m)-linux-gnu
for neighbour in libjemalloc.so.2 libtcmalloc_minimal.so.4 libmimalloc.so.2 libeatmydata.so; do
  [ -r "$where/$neighbour" ] || { echo "neighbours: no $neighbour (scripts/packages-test.txt)"; exit 77; }
  same "$neighbour before" "$where/$neighbour:@" "$program"
  same "$neighbour after" "@:$where/$neighbour" "$program"
done
# Another time: what stat and clocks show may differ, the bytes may not.
same "faketime before" "$where/faketime/libfaketime.so.1:@" env FAKETIME=-10d "$program"
same "faketime after" "@:$where/faketime/libfaketime.so.1" env FAKETIME=-10d "$program"

# Sanitizers want to be first: ASan says so and ends otherwise (README.md).
for kind in address,undefined thread; do
  "$cxx" -std=c++17 -O1 -g -fsanitize=$kind -o "$work/program-$kind" "$source" -lpthread 2>"$work/cc" || {
    echo "neighbours: no -fsanitize=$kind here"; continue; }
  extra=(ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 TSAN_OPTIONS=ignore_noninstrumented_modules=1)
  same "-fsanitize=$kind" @ setarch -R "$work/program-$kind"
done
echo "neighbours: $((ran - failed)) of $ran are the same"
[ $failed = 0 ]
