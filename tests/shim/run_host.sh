#!/bin/bash
# Runs a host program with the library preloaded, on a folder that a sidecar of its own serves.
#   run_host.sh PENSTOCKD LIBRARY PROGRAM [MEMORY [CLASS]]
# The program gets two arguments: the covered folder and the plain one that it mirrors. Its exit code is ours.
set -u
penstockd=$1 library=$2 program=$3 memory=${4:-64MiB} class=${5:-dataset}
work=$(mktemp -d)
sidecar=
finish() {
  [ -r "$work/restarted" ] && kill "$(cat "$work/restarted")" 2>/dev/null
  [ -n "$sidecar" ] && kill "$sidecar" 2>/dev/null && wait "$sidecar" 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT

plain=$work/plain
mkdir -p "$plain/sub/deep" "$plain/many" "$plain/none-in-here" "$work/cache" "$work/run"
: >"$plain/empty"
printf 'hello\n' >"$plain/hello"
printf 'x' >"$plain/one byte"
head -c 65535 /dev/urandom >"$plain/sub/r-1"
head -c 65536 /dev/urandom >"$plain/sub/r"
head -c 65537 /dev/urandom >"$plain/sub/r+1"
head -c 3000001 /dev/urandom >"$plain/sub/deep/big"
for i in $(seq 300); do printf '%s\n' "$i" >"$plain/many/file-$i-$(printf '%*s' $((i % 60)) '' | tr ' ' n)"; done
for i in $(seq 0 63); do head -c $((300000 + i * 8000)) /dev/urandom >"$plain/sub/t$i"; done
chmod -R a-w "$plain" && chmod 0555 "$plain"

cat >"$work/job.toml" <<TOML
version = 1
[sidecar]
socket = "$work/run/job.sock"
cpus = 1
[cache]
dir = "$work/cache"
memory = "$memory"
nvme = "256MiB"
[[mount]]
path = "/penstock-test/data"
origin = "file://$plain"
class = "$class"
TOML
"$penstockd" -c "$work/job.toml" >"$work/log" 2>&1 &
sidecar=$!
for _ in $(seq 100); do [ -S "$work/run/job.sock" ] && break; sleep 0.05; done

cat >"$work/restart" <<SH
#!/bin/bash
unset LD_PRELOAD
"$penstockd" -c "$work/job.toml" >>"$work/log" 2>&1 </dev/null &
echo \$! >"$work/restarted"
SH
chmod +x "$work/restart"

env LD_PRELOAD="$library" PENSTOCK_SOCKET="$work/run/job.sock" PENSTOCK_PATHS=/penstock-test/data \
    PENSTOCK_WAIT=${PENSTOCK_TEST_WAIT:-5s} PENSTOCK_TEST_SIDECAR="$sidecar" \
    PENSTOCK_TEST_RESTART="$work/restart" "$program" /penstock-test/data "$plain"
code=$?
if [ $code -ne 0 ]; then echo "exit code $code; the sidecar said:"; tail -20 "$work/log"; fi
chmod -R u+w "$plain"
exit $code
