#!/bin/bash
# Builds the library and its unit tests for aarch64 with Debian's cross compiler and runs them under qemu: the
# unit tests, the symbol test against that processor's libc, and host programs preloaded with the library,
# which read through the sidecar of this machine.
#   run.sh SOURCE BUILD PENSTOCKD
set -eu
source=$1 build=$2 penstockd=$3
sysroot=/usr/aarch64-linux-gnu
for program in aarch64-linux-gnu-g++ qemu-aarch64; do
  command -v $program >/dev/null || { echo "cross: no $program (scripts/packages-test.txt)"; exit 77; }
done

(cd "$source" && cmake --preset aarch64 -B "$build" >"$build.log" 2>&1) || { cat "$build.log"; exit 1; }
cmake --build "$build" -j2 >"$build.log" 2>&1 || { tail -40 "$build.log"; exit 1; }
(cd "$build" && ctest --output-on-failure -j2)
"$source/tests/symbol/check.sh" "$build/lib/libpenstock.so" "$build/shim/hooks/table.txt" \
  "$source/tests/symbol/no_file.txt" $sysroot/lib/libc.so.6

# The programs' own exec and the paths of /lib are qemu's to find: they take part in what does not need them.
cat >"$build/emulated" <<SH
#!/bin/bash
exec env -u LD_PRELOAD qemu-aarch64 -L $sysroot -E LD_PRELOAD="$build/lib/libpenstock.so" "\$PENSTOCK_TEST_PROGRAM" "\$@"
SH
chmod +x "$build/emulated"
for host in fork stack threads; do
  echo "cross: host_$host"
  PENSTOCK_TEST_PROGRAM=$build/tests/shim_host_$host "$source/tests/shim/run_host.sh" "$penstockd" \
    "$build/lib/libpenstock.so" "$build/emulated"
done
