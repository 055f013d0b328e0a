#!/bin/bash
# Programs of older and newer releases of Debian (glibc 2.31 and 2.41) under the library, in a root of their own,
# compared with the same programs on a plain folder.
#   run.sh PENSTOCKD LIBRARY CACHE     CACHE: where the packages are kept
# Exit 77 where the packages cannot be had or no root can be entered.
set -u
penstockd=$1 library=$2 cache=$3
work=$(mktemp -d)
sidecar=
finish() {
  [ -n "$sidecar" ] && kill "$sidecar" 2>/dev/null && wait "$sidecar" 2>/dev/null
  rm -rf --one-file-system "$work"
}
trap finish EXIT

# fetch RELEASE PACKAGE...: unpacks them into $work/RELEASE.
fetch() {
  local release=$1 kept=$cache/$1 package
  shift
  mkdir -p "$kept/state/lists/partial" "$kept/cache/archives/partial" "$kept/debs" "$work/$release"
  echo "deb http://deb.debian.org/debian $release main" >"$kept/sources"
  : >"$kept/status"
  local options=(-o "Dir::Etc::SourceList=$kept/sources" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State=$kept/state"
                 -o "Dir::State::status=$kept/status" -o "Dir::Cache=$kept/cache")
  if ! ls "$kept"/debs/libc6_*.deb >/dev/null 2>&1; then
    apt-get "${options[@]}" update >"$kept/log" 2>&1
    (cd "$kept/debs" && apt-get "${options[@]}" download "$@" >>"$kept/log" 2>&1) || { tail -5 "$kept/log"; return 1; }
  fi
  for package in "$kept"/debs/*.deb; do dpkg -x "$package" "$work/$release" || return 1; done
  local folder
  for folder in bin lib lib64; do
    [ -e "$work/$release/$folder" ] || ln -s "usr/$folder" "$work/$release/$folder"
  done
}

packages=(libc6 coreutils bash libtinfo6 libselinux1 libpcre2-8-0 libacl1 libattr1 libgmp10 libcap2)
# Inherited numbers are recognised by their links in /proc.
as_root=(unshare -m)
[ "$(id -u)" = 0 ] || as_root=(unshare -Urm)
enter=("${as_root[@]}" bash -c 'mount --rbind /proc "$1/proc" && exec chroot "$@"' enter)

cat >"$work/script" <<'S'
cd "$1" || exit 1
ls -l . sub | cut -d' ' -f1,5-; stat -c "%n %s %F" numbers sub; stat -L -c %s numbers; md5sum numbers; wc -l <numbers
read line <numbers; echo "$line"; sort -n numbers | tail -2; cat missing; cat sub/x sub/../numbers | sha1sum
cp numbers "$2/copy" && md5sum <"$2/copy"; realpath --relative-to="$1" sub/../sub/x; dd if=numbers bs=7 skip=3 count=3 status=none
du -a . | wc -l; head -c 5 numbers | od -c; tail -c 5 numbers; (exec 5<numbers; read -u 5 a; head -1 <&5; read -u 5 b; echo "$a $b")
if [ -x /run/static ]; then
  /run/static md5sum numbers; /run/static sh -c "cd sub && cat x; pwd; ls .. | head -3; exit 3"; echo $?; cat numbers | /run/static wc
fi
for f in *; do [ -d "$f" ] && echo "$f is a folder"; done; [ -x sub ]; echo $?; cat /dev/fd/0 <sub/x; tac numbers | head -1
S

failed=0
for release in bullseye trixie; do
  fetch "$release" "${packages[@]}" || { echo "libcs: no packages of $release"; exit 77; }
  root=$work/$release
  mkdir -p "$root/run/d/sub" "$root/run/cache" "$root/tmp" "$root/proc" "$root/dev"
  cp "$library" "$root/run/library.so"
  cp "$work/script" "$root/run/script"
  # A static program, under that release's loader.
  readelf -lW /bin/busybox 2>/dev/null | grep -q INTERP || cp /bin/busybox "$root/run/static" 2>/dev/null
  seq 1 50000 >"$root/run/d/numbers"
  echo hi >"$root/run/d/sub/x"
  : >"$root/dev/null"
  ln -sfn /proc/self/fd "$root/dev/fd"
  "${enter[@]}" "$root" /bin/true || { echo "libcs: no root can be entered here"; exit 77; }
  cat >"$root/run/job.toml" <<C
version = 1
[sidecar]
socket = "$root/run/s"
[cache]
dir = "$root/run/cache"
memory = "64MiB"
nvme = "64MiB"
[[mount]]
path = "/data/train"
origin = "file://$root/run/d"
mode = "ro"
C
  "$penstockd" -c "$root/run/job.toml" 2>"$root/run/log" &
  sidecar=$!
  for _ in $(seq 100); do [ -S "$root/run/s" ] && break; sleep 0.05; done
  inside() { timeout 60 "${enter[@]}" "$root" /usr/bin/env -i PATH=/bin:/usr/bin "${@:2}" /bin/bash /run/script "$1" /tmp; }
  inside /run/d >"$work/want" 2>&1 </dev/null
  inside /data/train LD_PRELOAD=/run/library.so PENSTOCK_SOCKET=/run/s PENSTOCK_PATHS=/data/train PENSTOCK_WAIT=5s \
    >"$work/got" 2>&1 </dev/null
  kill "$sidecar" && wait "$sidecar" 2>/dev/null
  sidecar=
  sed -i 's,/data/train,/run/d,g; s/-r--r--r--/-rw-r--r--/; s/dr-xr-xr-x/drwxr-xr-x/; s/^total .*/total/' "$work/got"
  sed -i 's/^total .*/total/' "$work/want"
  grep -q 50000 "$work/want" || { echo "libcs: $release: the programs do not run"; cat "$work/want"; exit 77; }
  diff "$work/want" "$work/got" >"$work/differences" && continue
  echo "libcs: $release: programs differ"
  head -30 "$work/differences"
  failed=1
done
[ $failed = 0 ] && echo "libcs: glibc 2.31 and 2.41: the same"
exit $failed
