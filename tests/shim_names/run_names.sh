#!/bin/bash
# Runs a host program with the library preloaded on three mounts, one inside another, whose names it changes at
# the origin:   run_names.sh PENSTOCKD PENSTOCK LIBRARY PROGRAM
# The program gets the folder of the mounts (a, a/inner, b) and the folder of their origins (a, inner, b).
set -u
penstockd=$1 penstock=$2 library=$3 program=$4
work=$(mktemp -d)
sidecar=
finish() {
  [ -r "$work/restarted" ] && kill "$(cat "$work/restarted")" 2>/dev/null
  [ -n "$sidecar" ] && kill "$sidecar" 2>/dev/null && wait "$sidecar" 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT

origins=$work/origins
mkdir -p "$origins"/{a,inner,b}/sub "$work/cache" "$work/run"
printf 1 >"$origins/a/x"; printf 22 >"$origins/inner/x"; printf 333 >"$origins/b/x"
printf 4444 >"$origins/a/sub/x"; printf 55555 >"$origins/b/sub/x"

cat >"$work/job.toml" <<TOML
version = 1
[sidecar]
socket = "$work/run/job.sock"
cpus = 1
[cache]
dir = "$work/cache"
memory = "64MiB"
nvme = "64MiB"
TOML
mount() {
  printf '[[mount]]\npath = "/penstock-test/%s"\norigin = "file://%s"\nmetadata_ttl = "1s"\n' \
    "$1" "$origins/$2" >>"$work/job.toml"
}
mount a a; mount a/inner inner; mount b b
"$penstockd" -c "$work/job.toml" >"$work/log" 2>&1 &
sidecar=$!
for _ in $(seq 100); do [ -S "$work/run/job.sock" ] && break; sleep 0.05; done

cat >"$work/refresh" <<SH
#!/bin/bash
unset LD_PRELOAD
exec "$penstock" refresh -c "$work/job.toml" "\$@"
SH
cat >"$work/restart" <<SH
#!/bin/bash
unset LD_PRELOAD
"$penstockd" -c "$work/job.toml" >>"$work/log" 2>&1 </dev/null &
echo \$! >"$work/restarted"
SH
chmod +x "$work/refresh" "$work/restart"

env LD_PRELOAD="$library" PENSTOCK_SOCKET="$work/run/job.sock" PENSTOCK_WAIT=5s \
    PENSTOCK_PATHS=/penstock-test/a:/penstock-test/a/inner:/penstock-test/b \
    PENSTOCK_TEST_SIDECAR="$sidecar" PENSTOCK_TEST_RESTART="$work/restart" \
    PENSTOCK_TEST_REFRESH="$work/refresh" "$program" /penstock-test "$origins"
code=$?
if [ $code -ne 0 ]; then echo "exit code $code; the sidecar said:"; tail -20 "$work/log"; fi
exit $code
