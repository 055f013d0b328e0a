#!/bin/bash
# Runs every hostile case on a plain directory that is mounted read-only, and on the same data under a mount.
#   run.sh PENSTOCK HOST STATIC [CASE...]
# Exit 77 where no directory can be mounted read-only.
set -u
penstock=$(realpath "$1") host=$(realpath "$2") static=$(realpath "$3")
shift 3
as_root=(unshare -m)
same_user=(env)
[ "$(id -u)" = 0 ] || { as_root=(unshare -Urm); same_user=(unshare -Urm); }
"${as_root[@]}" true 2>/dev/null || { echo "hostile: no mounts of one's own here"; exit 77; }
work=$(mktemp -d /tmp/penstock-hostile.XXXXXX)
mount=/penstock-hostile/data
trap '"$penstock" stop -c "$work/job.toml" --force >/dev/null 2>&1; rm -rf "$work"' EXIT
data=$work/origin/data
mkdir -p "$work/cache" "$work/plain" "$data"
python3 "$(dirname "$0")/tree.py" "$data" || exit 1
cp "$static" "$data/program_static"
printf '#include <stdio.h>\nint main(int c, char** v) { printf("program %%d %%s\\n", c, c > 1 ? v[1] : ""); return 6; }\n' >"$work/p.c"
cc -o "$data/program" "$work/p.c" || exit 1
printf '#include <stdio.h>\nint answer(const char* p) { FILE* f = fopen(p, "r"); int c = fgetc(f); fclose(f); return c; }\n' >"$work/l.c"
cc -shared -fPIC -o "$data/lib.so" "$work/l.c" || exit 1
cat >"$work/job.toml" <<C
version = 1
[sidecar]
socket = "$work/job.sock"
linger = "30s"
[cache]
dir = "$work/cache"
memory = "96MiB"
nvme = "1GiB"
[[mount]]
path = "$mount"
origin = "file://$data"
C
export HOSTILE_STATIC=$static LC_ALL=C
plain=("${as_root[@]}" bash -c 'mount --bind "$1" "$2" && mount -o remount,bind,ro "$2" && shift 2 && exec "$@"' plain "$work/origin" "$work/plain")
failed=0 ran=0
cases=${*:-$("$host" list)}
for case in $cases; do
  ran=$((ran + 1))
  timeout 60 "${plain[@]}" "$host" "$case" "$work/plain/data" plain >"$work/want" 2>"$work/want.err" </dev/null
  echo "exit $?" >>"$work/want"
  timeout 120 "$penstock" run -c "$work/job.toml" -- "${same_user[@]}" "$host" "$case" "$mount" mount >"$work/got" 2>"$work/got.err" </dev/null
  echo "exit $?" >>"$work/got"
  sed -i "s,$work/plain/data,ROOT,g; s,$work/plain,ABOVE,g" "$work/want" "$work/want.err"
  sed -i "s,$mount,ROOT,g; s,/penstock-hostile,ABOVE,g" "$work/got" "$work/got.err"
  cmp -s "$work/want" "$work/got" && cmp -s "$work/want.err" "$work/got.err" && continue
  failed=$((failed + 1))
  echo "hostile: $case differs"
  diff "$work/want" "$work/got" | head -"${LINES_SHOWN:-20}"
  diff "$work/want.err" "$work/got.err" | head -8
done
echo "hostile: $((ran - failed)) of $ran cases are the same"
[ $failed = 0 ]
