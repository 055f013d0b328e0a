#!/bin/bash
# Runs every case of the host program on a plain directory and on the same data under a mount, and compares.
#   run_cases.sh PENSTOCK HOST [CASE...]
set -u
penstock=$1 host=$(realpath "$2")
shift 2
work=$(mktemp -d /tmp/penstock-wide.XXXXXX)
data=$work/data mount=/penstock-wide/data
trap '"$penstock" stop -c "$work/job.toml" --force >/dev/null 2>&1; rm -rf "$work"' EXIT

mkdir -p "$data/tree/deep/er" "$data/tree/empty" "$work/cache"
seq 1 20000 >"$data/numbers"
printf 'small file\nof two lines\n' >"$data/small"
printf '\xc3\xa4\n' >"$data/wide"
head -c 700000 /dev/urandom >"$data/big"
truncate -s 80M "$data/huge"  # mostly holes
for at in 0 1 40 41 79; do head -c 70000 "$data/big" | dd of="$data/huge" bs=1M seek=$at conv=notrunc status=none; done
for name in tree/one tree/two tree/deep/er/e1 tree/deep/er/e2; do echo "$name" >"$data/$name"; done
printf '#!/bin/bash -e\necho "script $# $1" "$(basename "$0")"\ncat "$(dirname "$0")/small"\n' >"$data/greet"
printf '#include <stdio.h>\nint main(int c, char** v) { printf("program %%d %%s\\n", c, v[1]); return 6; }\n' >"$work/p.c"
cc -o "$data/program" "$work/p.c" || exit 1
printf '#include <stdio.h>\nint answer(const char* p) { FILE* f = fopen(p, "r"); int c = fgetc(f); fclose(f); return c; }\n' >"$work/l.c"
cc -shared -fPIC -o "$data/lib.so" "$work/l.c" || exit 1
chmod 755 "$data/greet" "$data/program"
cat >"$work/job.toml" <<C
version = 1
[sidecar]
socket = "$work/job.sock"
linger = "20s"
[cache]
dir = "$work/cache"
memory = "64MiB"
nvme = "1GiB"
[[mount]]
path = "$mount"
origin = "file://$data"
C

failed=0 ran=0
# Threads at random, every byte compared.
if [ $# = 0 ]; then
  ran=$((ran + 1))
  timeout 200 "$penstock" run -c "$work/job.toml" -- "$(dirname "$host")/shim_wide_stress" "$mount/numbers" "$mount/big" ||
    { failed=$((failed + 1)); echo "shim_wide: stress failed"; }
fi
# A program of liburing, on a mount that hides other files of the same names on the local disk.
if [ $# = 0 ]; then
  ran=$((ran + 1))
  mkdir -p "$work/hidden/tree/deep/er" && for name in small big absent tree/deep/er/e1; do echo "not this one" >"$work/hidden/$name"; done
  sed "s,path = .*,path = \"$work/hidden\",; s,job.sock,hidden.sock," "$work/job.toml" >"$work/hidden.toml"
  for polled in "" poll; do
    "$(dirname "$host")/shim_wide_uring" "$data" $polled >"$work/want" 2>&1
    timeout 60 "$penstock" run -c "$work/hidden.toml" -- "$(dirname "$host")/shim_wide_uring" "$work/hidden" $polled 2>&1 |
      grep -v 'local disk' >"$work/got"
    cmp -s "$work/want" "$work/got" || { failed=$((failed + 1)); echo "shim_wide: liburing $polled differs"; diff "$work/want" "$work/got"; }
  done
  # Spawned programs, whose files lie behind a link into it.
  mkdir "$work/links" && ln -s "$data" "$work/links/shown" && ln -s "$work/hidden" "$work/links/covered"
  "$host" spawn "$work/links/shown" plain >"$work/want" 2>&1
  timeout 60 "$penstock" run -c "$work/hidden.toml" -- "$host" spawn "$work/links/covered" mount 2>&1 |
    grep -v 'local disk' >"$work/got"
  cmp -s "$work/want" "$work/got" || { failed=$((failed + 1)); echo "shim_wide: spawn by a link differs"; diff "$work/want" "$work/got"; }
  "$penstock" stop -c "$work/hidden.toml" --force >/dev/null 2>&1
  # A ring's names behind a link that leads nowhere for the kernel.
  ln -s "$mount" "$work/links/mount"
  "$host" ring "$work/links/shown" plain >"$work/want" 2>&1
  timeout 60 "$penstock" run -c "$work/job.toml" -- "$host" ring "$work/links/mount" plain >"$work/got" 2>&1
  cmp -s "$work/want" "$work/got" || { failed=$((failed + 1)); echo "shim_wide: a ring by a link differs"; diff "$work/want" "$work/got"; }
fi
# A program of another libc.
if [ $# = 0 ] && command -v musl-gcc >/dev/null; then
  ran=$((ran + 1))
  musl-gcc -O1 -o "$work/musl" "$(dirname "$0")/musl_host.c" || exit 1
  "$work/musl" "$data/numbers" "$data/tree" >"$work/want" 2>&1
  timeout 60 "$penstock" run -c "$work/job.toml" -- "$work/musl" "$mount/numbers" "$mount/tree" >"$work/got" 2>&1
  cmp -s "$work/want" "$work/got" || { failed=$((failed + 1)); echo "shim_wide: a musl program differs"; diff "$work/want" "$work/got"; }
fi
# A mount whose path is on the local disk too, reached through a link: the mount's files, and no local file made.
if [ $# = 0 ]; then
  ran=$((ran + 1))
  mkdir "$work/local" && echo stale >"$work/local/small" && ln -s local "$work/lnk" && ln -s "$work/local" "$work/abs"
  sed "s,path = .*,path = \"$work/local\",; s,job.sock,local.sock," "$work/job.toml" >"$work/local.toml"
  cat >"$work/through.sh" <<'S'
cd /; for way in lnk abs; do
  cat $1/$way/small; read line <$1/$way/small; echo "$line"; ls $1/$way $1/$way/tree; stat -c %s $1/$way/small
  [ -r $1/$way/tree/one ]; echo "readable $?"; [ -e $1/$way/other ]; echo "there $?"
  [ $3 = plain ] && continue
  { echo x >$1/$way/new; } 2>/dev/null && echo "new"; { echo x >>$1/$way/small; } 2>/dev/null && echo "append"
  mkdir $1/$way/folder 2>/dev/null && echo "mkdir"; echo >$1/extra; mv -T $1/extra $1/$way/moved 2>/dev/null && echo "mv"
  rm -f $1/$way/small 2>/dev/null && echo "rm"
done
cd $1/lnk; cat small
"$2" unnamed $1/local
S
  mv "$work/local" "$work/kept" && cp -a "$data" "$work/local"
  bash "$work/through.sh" "$work" "$host" plain >"$work/want" 2>&1
  rm -rf "$work/local" && mv "$work/kept" "$work/local"
  timeout 60 "$penstock" run -c "$work/local.toml" -- bash "$work/through.sh" "$work" "$host" mount >"$work/got" 2>"$work/got.err"
  "$penstock" stop -c "$work/local.toml" --force >/dev/null 2>&1
  if ! cmp -s "$work/want" "$work/got" || [ "$(ls "$work/local")" != small ] || [ "$(cat "$work/local/small")" != stale ]; then
    failed=$((failed + 1)); echo "shim_wide: a link into a mount that is on disk"; diff "$work/want" "$work/got" | head -20; ls "$work/local"
  fi
  grep -q "$work/local.*local disk" "$work/got.err" || { failed=$((failed + 1)); echo "shim_wide: no warning"; cat "$work/got.err"; }
  sed -i '/local disk/d' "$work/got.err"; cat "$work/got.err"
fi
# A mount whose path leads over a link on the disk: as if the disk had it there.
if [ $# = 0 ]; then
  ran=$((ran + 1))
  mkdir "$work/far" && ln -s far "$work/near"
  sed "s,path = .*,path = \"$work/near/train\",; s,job.sock,over.sock," "$work/job.toml" >"$work/over.toml"
  cat >"$work/over.sh" <<'S'
cd $1; stat -c "%F" near near/ near/train; readlink near; [ -L near ]; echo "link $?"; [ -L near/ ]; echo "link $?"
for way in near far; do
  realpath $way/train/small; readlink -f $way/train/tree/deep; cat $way/train/small; ls $way/train/tree
  stat -c "%F %s" $way/train/small; [ -r $way/train/none ]; echo "there $?"; (cd $way/train/tree && cat one; cd -P .; pwd -P)
done
perl -MCwd=realpath -e 'print realpath("near/train/tree/two"), "\n"; open F, "<", realpath("near/train/small") or die; print <F>'
S
  cp -a "$data" "$work/far/train"
  bash "$work/over.sh" "$work" >"$work/want" 2>&1
  rm -rf "$work/far/train"
  timeout 60 "$penstock" run -c "$work/over.toml" -- bash "$work/over.sh" "$work" 2>&1 | sed "s,$work/near/train/tree,$work/far/train/tree," >"$work/got"
  "$penstock" stop -c "$work/over.toml" --force >/dev/null 2>&1
  if ! cmp -s "$work/want" "$work/got"; then
    failed=$((failed + 1)); echo "shim_wide: a mount whose path leads over a link"; diff "$work/want" "$work/got" | head -20
  fi
fi
cases=${*:-dup locks ready map grow copies aio attributes names stdio stdin cwd turns above above_cwd links walk fork inside clone exec spawn rights raw stale library handle odd streams maps async ring}
for case in $cases; do
  ran=$((ran + 1))
  cp -a "$data" "$work/plain"  # some cases write where they can
  timeout 30 "$host" "$case" "$work/plain" plain >"$work/want" 2>"$work/want.err" </dev/null
  echo "exit $?" >>"$work/want"
  rm -rf "$work/plain"
  timeout 60 "$penstock" run -c "$work/job.toml" -- "$host" "$case" "$mount" mount >"$work/got" 2>"$work/got.err" </dev/null
  echo "exit $?" >>"$work/got"
  if [ "$case" = walk ]; then
    for side in want got; do LC_ALL=C sort -o "$work/$side" "$work/$side"; done
  fi
  sed -i "s,$work/plain,ROOT,g" "$work/want" "$work/want.err"
  sed -i "s,$mount,ROOT,g" "$work/got" "$work/got.err"
  cmp -s "$work/want" "$work/got" && cmp -s "$work/want.err" "$work/got.err" && continue
  failed=$((failed + 1))
  echo "shim_wide: $case differs"
  diff "$work/want" "$work/got" | head -${LINES_SHOWN:-20}
  diff "$work/want.err" "$work/got.err" | head -8
done
echo "shim_wide: $((ran - failed)) of $ran cases are the same"
[ $failed = 0 ]
