#!/bin/bash
# Programs behave the same with the library preloaded and nothing to cover: without its environment, and
# with a configuration whose paths they do not touch (no sidecar exists: nothing may even ask for one).
#   transparent.sh LIBRARY
set -u
library=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0 ran=0

mkdir -p "$work/tree/sub" "$work/out"
seq 1 2000 >"$work/tree/numbers"
printf 'b\na\nc\n' >"$work/tree/sub/letters"
ln -s numbers "$work/tree/link"
printf 'all: x\nx: numbers\n\tsort -rn numbers | head -3 > x; cat x\n' >"$work/tree/Makefile"
cat >"$work/tree/vfork.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
  volatile int shared = 1;
  int status;
  pid_t pid = vfork();
  if (pid == 0) { execl("/bin/echo", "echo", "vfork", (char*)0); _exit(1); }
  waitpid(pid, &status, 0);
  printf("%d %d\n", shared, status);
  printf("%d\n", dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD) != 0);
  return 0;
}
C
cc -O1 -o "$work/tree/vfork" "$work/tree/vfork.c" -ldl || exit 1

# A program that looks names up often: without configuration the library looks for the next dlsym once.
cat >"$work/tree/lookups.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
static int walks;
int dl_iterate_phdr(int (*visit)(struct dl_phdr_info*, size_t, void*), void* data) {
  ++walks;
  int (*next)(int (*)(struct dl_phdr_info*, size_t, void*), void*) =
      (int (*)(int (*)(struct dl_phdr_info*, size_t, void*), void*))dlsym(RTLD_NEXT, "dl_iterate_phdr");
  return next(visit, data);
}
int main(void) {
  void* sum = 0;
  dlsym(RTLD_DEFAULT, "puts");
  walks = 0;
  for (int i = 0; i < 1000; ++i) sum = dlsym(RTLD_DEFAULT, i % 2 ? "puts" : "fopen");
  printf("%d %d\n", sum != 0, walks);
  return 0;
}
C
cc -O1 -rdynamic -o "$work/tree/lookups" "$work/tree/lookups.c" -ldl || exit 1

# same COMMAND: output, error output and exit code are those of a run without the library.
same() {
  ran=$((ran + 1))
  (cd "$work/tree" && bash -c "$1" >"$work/out/want" 2>&1 </dev/null; echo "exit $?" >>"$work/out/want")
  rm -f "$work/tree/x"
  for mode in bare configured; do
    local -a variables=(LD_PRELOAD="$library")
    [ $mode = configured ] && variables+=(PENSTOCK_SOCKET="$work/none.sock"
                                          PENSTOCK_PATHS=/penstock-none/a:/penstock-none/b PENSTOCK_WAIT=100ms)
    (cd "$work/tree" && env "${variables[@]}" bash -c "$1" >"$work/out/got" 2>&1 </dev/null
     echo "exit $?" >>"$work/out/got")
    rm -f "$work/tree/x"
    cmp -s "$work/out/want" "$work/out/got" && continue
    echo "transparent: differs ($mode): $1"
    diff "$work/out/want" "$work/out/got" | head -10
    failed=1
  done
}

same 'ls -l numbers sub; cat numbers | md5sum; cp numbers x && cmp numbers x; wc -l <numbers; tail -1 numbers'
same 'cat missing; ls missing; cd missing; rmdir sub; mkdir sub; ln numbers numbers'
same 'find . -type f | sort; du -a sub; stat -c "%n %s %F" *; readlink -f link; realpath sub/../link; pwd'
same 'read a <numbers; echo $a; exec 5<numbers; read -u 5 b; read -u 5 c; echo $b $c; cat <&5 | head -2'
same 'cd sub && pwd && cat letters && cd .. && cat sub/*; echo {1..3} | tee x | rev; cat x'
same 'tar cf - sub | tar tf -; gzip -c numbers | gunzip | md5sum; sort -n -r numbers | head -2; grep -c 7 numbers'
same './lookups'
same 'make -s; make -s -j2 all; true | false; exit 7'
same './vfork'
same 'kill -TERM $$'
same '(sleep 0.01; exit 3) & wait $!; echo $?; timeout 0.05 sleep 5; echo $?'
command -v python3 >/dev/null && same 'python3 -c "
import os, subprocess, glob, mmap, select, socket, tempfile, multiprocessing as m
f = open(\"numbers\", \"rb\"); print(f.readline(), os.fstat(f.fileno()).st_size, len(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)))
print(sorted(glob.glob(\"*/*\")), os.listdir(\"sub\"), os.path.realpath(\"link\") == os.getcwd() + \"/numbers\")
print(subprocess.run([\"cat\", \"sub/letters\"], capture_output=True, close_fds=True).stdout)
print(subprocess.run(\"exit 3\", shell=True).returncode)
a, b = socket.socketpair(); a.send(b\"x\"); print(select.select([b], [], [], 1)[0] == [b], b.recv(1))
with tempfile.TemporaryFile() as t: t.write(b\"y\"); t.seek(0); print(t.read())
p = m.get_context(\"fork\").Pool(2); print(p.map(abs, [-1, 2])); p.close(); p.join()
try: open(\"missing\")
except OSError as e: print(e.errno)
"'
command -v perl >/dev/null && same 'perl -e "open F, \"<numbers\"; print scalar <F>; print join(\",\", sort glob(\"*/*\")), qx(echo y); exit 4"'
command -v git >/dev/null && same 'git init -q . && git add numbers && git -c user.name=n -c user.email=e commit -qm m && git ls-files && git status --short | head -3; rm -rf .git'
command -v sqlite3 >/dev/null && same 'sqlite3 x "create table t(a); insert into t values(1),(2); select sum(a) from t"'
command -v node >/dev/null && same 'node -e "console.log(require(\"fs\").readFileSync(\"numbers\").length, require(\"child_process\").execSync(\"echo z\").toString())"'
command -v gcc >/dev/null && same 'gcc -O1 vfork.c -o x && ./x'

[ $failed = 0 ] && echo "transparent: $ran commands, no difference"
exit $failed
