"""Programs that make their system calls without libc: static ones, Go. What they print over a covered folder is what they
print over the folder itself."""

import os
import shutil
import signal
import subprocess
import time
import unittest

import e2e_base
from e2e_base import CONTAINERS, COVERED, JobTest
from penstock_harness import build_dir
from penstock_harness.job import BUILD_INSIDE

GO = shutil.which("go")
READERS = [name for name in ("static_reader_glibc", "static_reader_musl")
           if os.path.exists(os.path.join(build_dir(), "tests", name))]
BUSYBOX = next((path for path in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(path) and subprocess.run(
    ["readelf", "-lW", path], capture_output=True).stdout.find(b"INTERP") < 0), None)


def outside(name):
    return os.path.join(build_dir(), "tests", name)


def inside(name):
    return os.path.join(BUILD_INSIDE if CONTAINERS else build_dir(), "tests", name)


def build_go(name, cgo):
    """The Go program, in the folder of the build's test programs."""
    sources = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "../supervise/go", source)
               for source in (["main.go", "cgo.go"] if cgo else ["main.go"])]
    os.makedirs(outside("go-cache"), exist_ok=True)
    subprocess.run([GO, "build", "-o", outside(name)] + sources, check=True, timeout=280, env=dict(
        os.environ, CGO_ENABLED="1" if cgo else "0", GOCACHE=outside("go-cache"), GOTOOLCHAIN="local", GOFLAGS="",
        GO111MODULE="auto"))


class SuperviseTest(JobTest):
    dataset = dict(small_files=60, big_mib=3)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # What is executed from the mount itself: a script and a dynamic program.
        script = b'#!/bin/sh\necho "$0" "$#" "$1"; cat "${0%/*}/tree/d0/e0/leaf.txt"\n'
        with open(shutil.which("echo"), "rb") as program:
            for name, data in (("script.sh", script), ("program", program.read()),
                               ("static.sh", b"#!%s sh\npwd; cat text.txt | tail -1; exit 4\n" % (BUSYBOX or "").encode())):
                cls.origin.write(name, data)
                os.chmod(os.path.join(cls.data.root, name), 0o755)

    def both(self, argv, **keywords):
        """Runs `argv`, in which D stands for the folder, plainly and covered; compares output and status."""
        plain_argv = [word.replace("@D", self.data.root).replace("@P", outside("")) for word in argv]
        covered = [word.replace("@D", COVERED).replace("@P", inside("")) for word in argv]
        plain = subprocess.run(plain_argv, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
        got = self.job.run(covered, **keywords)
        strip = (lambda text, root: text.replace(root.encode(), b"@D"))
        self.assertEqual(strip(got.stdout, COVERED).split(b"\n"), strip(plain.stdout, self.data.root).split(b"\n"),
                         got.stderr[-2000:])
        self.assertEqual(got.returncode, plain.returncode, got.stderr[-2000:])
        return got

    def with_readers(self, *arguments):
        self.assertTrue(READERS)
        for reader in READERS:
            with self.subTest(reader=reader):
                self.both(["@P" + reader, "@D", *arguments])

    def test_everything_that_a_static_program_reads(self):
        self.with_readers()

    def test_threads(self):
        self.with_readers("threads", "32")

    def test_signals(self):
        self.with_readers("signals")

    def test_children(self):
        self.with_readers("children", "/bin/cat")

    @unittest.skipUnless(GO, "no go")
    def test_go(self):
        for name, cgo in (("go_static", False), ("go_cgo", True)):
            with self.subTest(program=name):
                build_go(name, cgo)
                self.both(["@P" + name, "@D"])

    def busybox(self, script, **keywords):
        script = script.replace("busybox", BUSYBOX).replace("$PST_SCRATCH", self.job.scratch)
        return self.both(["bash", "-c", script], **keywords)

    @unittest.skipUnless(BUSYBOX, "no static busybox")
    def test_busybox(self):
        for script in (
                "busybox cat @D/text.txt | md5sum", "busybox ls @D/train", "busybox find @D/tree @D/strange | sort",
                "cd @D/tree && busybox ls -R && busybox pwd", "busybox md5sum @D/train/* @D/big.bin",
                "busybox tar cf - -C @D tree train | busybox tar tf - | sort",
                "cd @D; busybox tar cf - train/* | tar xOf - | md5sum",
                "cat @D/text.txt | busybox md5sum", "busybox cat < @D/text.txt | md5sum",
                "busybox sh -c 'cd @D/tree; for d in *; do cat $d/e0/leaf.txt; done; exit 3'",
                "busybox sh -c 'cat @D/text.txt | tail -3; /bin/ls @D/train | tail -2; exec md5sum @D/big.bin'",
                "env -i busybox md5sum @D/text.txt", "busybox env -i /bin/cat @D/text.txt | md5sum",
                "busybox grep -rc haystack @D/tree | sort", "busybox readlink -f @D/tree/../text.txt",
                "busybox dd if=@D/big.bin bs=1000 skip=7 count=100 2>/dev/null | md5sum",
                "busybox sh -c '@D/script.sh 1 2; @D/program x y; cd @D; ./script.sh; exec ./program z'",
                "cd @D && ./static.sh", "cd @D && busybox sh -c 'exec ./static.sh'",
                "cp @D/static.sh $PST_SCRATCH/s.sh; chmod +x $PST_SCRATCH/s.sh; cd @D; $PST_SCRATCH/s.sh",
                "busybox sh @D/script.sh", "busybox xargs -n 2 @D/program < @D/tree/d0/e0/leaf.txt",
                "busybox test -e @D/none; echo $?; busybox cat @D/none; echo $?",
                "busybox stat -c '%s %F %Y' @D/text.txt @D/tree"):
            with self.subTest(script=script):
                self.busybox(script)

    @unittest.skipUnless(BUSYBOX, "no static busybox")
    def test_straight_from_penstock_run(self):
        self.both([BUSYBOX, "md5sum", "@D/text.txt"])
        self.both([BUSYBOX, "sh", "-c", "exit 7"])

    @unittest.skipUnless(BUSYBOX, "no static busybox")
    def test_it_ends_as_it_would(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            result = self.job.run([BUSYBOX, "sh", "-c", f"kill -{int(number)} $$"])
            self.assertIn(result.returncode, (-number, 128 + number))

    @unittest.skipUnless(BUSYBOX, "no static busybox")
    def test_a_write_is_refused(self):
        result = self.job.run([BUSYBOX, "sh", "-c", f"echo x > {COVERED}/new; {BUSYBOX} rm {COVERED}/text.txt; "
                                                    f"{BUSYBOX} mkdir {COVERED}/d; {BUSYBOX} test -e {COVERED}/text.txt"])
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr.count(b"Read-only file system"), 3, result.stderr)

    @unittest.skipUnless(BUSYBOX, "no static busybox")
    @unittest.skipIf(CONTAINERS, "looks at processes of this namespace")
    def test_the_pid_is_kept_and_nothing_stays(self):
        process = subprocess.Popen(self.job.run_command([outside(READERS[0]), COVERED, "pid"]),
                                   stdout=subprocess.PIPE, env=self.job.environment())
        self.assertEqual(int(process.stdout.readline()), process.pid)
        process.stdout.readline()
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
            guards = children.read().split()
        self.assertEqual(len(guards), 1)
        with open(f"/proc/{guards[0]}/comm") as comm:
            self.assertEqual(comm.read(), "penstock-guard\n")
        open_files = [os.readlink(f"/proc/{guards[0]}/fd/{fd}") for fd in os.listdir(f"/proc/{guards[0]}/fd")]
        self.assertFalse([name for name in open_files if name.startswith(("pipe:", "/dev/pts"))], open_files)
        process.kill()
        process.wait()
        process.stdout.close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                with open(f"/proc/{guards[0]}/stat") as stat:
                    if stat.read().rpartition(")")[2].split()[0] == "Z":
                        break
            except OSError:
                break
            time.sleep(0.01)
        else:
            self.fail("the guard stays")

    @unittest.skipUnless(BUSYBOX, "no static busybox")
    def test_one_line_where_it_is_forbidden(self):
        for how in ("no", "old", "taken"):
            with self.subTest(how=how):
                result = self.job.run([inside("supervise_forbid"), how, "bash", "-c",
                                       f"{BUSYBOX} cat {COVERED}/text.txt; {BUSYBOX} echo ok; head -c 6 {COVERED}/text.txt"])
                self.assertEqual(result.stdout, b"ok\nline 0")
                said = [line for line in result.stderr.split(b"\n") if line.startswith(b"penstock:")]
                self.assertEqual(len(said), 2, result.stderr)    # once for each program
                self.assertIn(b"cannot be supervised: ", said[0])
                # Everything cannot be supervised: then nothing is run.
                result = self.job.run([inside("supervise_forbid"), how] +
                                      self.job.run_command(["true"], options=["--strict"]))
                self.assertEqual(result.returncode, 126, result)

    @unittest.skipIf(CONTAINERS or os.geteuid() != 0, "makes a mount namespace")
    def test_children_under_yama(self):
        """With Yama's ptrace_scope 1 forks are made again under ptrace: as if they had not been."""
        os.makedirs(self.job.scratch + "/kernel/yama")
        with open(self.job.scratch + "/kernel/yama/ptrace_scope", "w") as scope:
            scope.write("1\n")
        before = ["unshare", "-m", "bash", "-c", f"mount --bind {self.job.scratch}/kernel /proc/sys/kernel && "
                  "exec setpriv --bounding-set=-sys_ptrace --inh-caps=-sys_ptrace \"$@\"", "bash"]
        for argv in [["@P" + reader, "@D", "children", "/bin/cat"] for reader in READERS] + [
                [BUSYBOX or "sh", "sh", "-c", "cd @D/tree; for d in *; do cat $d/e0/leaf.txt | tail -1; done; exit 3"]]:
            with self.subTest(argv=argv):
                plain = subprocess.run([word.replace("@D", self.data.root).replace("@P", outside("")) for word in argv],
                                       capture_output=True)
                covered = [word.replace("@D", COVERED).replace("@P", outside("")) for word in argv]
                got = self.job.execute(before + self.job.run_command(covered))
                self.assertEqual((got.returncode, got.stdout), (plain.returncode, plain.stdout), got.stderr)

    @unittest.skipIf(CONTAINERS, "kills a process of this namespace")
    def test_a_guard_that_is_killed_is_replaced(self):
        plain = subprocess.run([outside(READERS[0]), self.data.root, "threads", "16"], capture_output=True)
        process = subprocess.Popen(self.job.run_command([outside(READERS[0]), COVERED, "threads", "16"]),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.job.environment())
        killed = 0
        while process.poll() is None and killed < 5:
            try:
                with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
                    guard = children.read().split()[0]
                with open(f"/proc/{guard}/task/{guard}/children") as children:
                    os.kill(int(children.read().split()[0]), signal.SIGKILL)
                killed += 1
            except (OSError, IndexError):
                pass
            time.sleep(0.003)
        out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, out), (0, plain.stdout))
        self.assertGreater(killed, 0)
        self.assertIn(b"penstock: the guard of static and Go programs has died and was started again", err)

    def test_all_others_pay_nothing(self):
        status = ["bash", "-c", "grep Seccomp: /proc/self/status; grep Seccomp: /proc/$$/status"]
        self.assertEqual(self.job.run(status).stdout, self.job.execute(status).stdout)
        strict = self.job.run(status, options=["--strict"]).stdout
        self.assertEqual(strict, b"Seccomp:\t2\n" * 2)

    def test_strict_supervises_all(self):
        for script in ("md5sum @D/train/*", "cd @D/tree; ls -R; cat d1/e1/leaf.txt",
                       "python3 -c 'import mmap; f = open(\"@D/big.bin\", \"rb\"); "
                       "print(hash(bytes(mmap.mmap(f.fileno(), 0, prot=1))) != 0)'"):
            self.both(["bash", "-c", script], options=["--strict"])


if __name__ == "__main__":
    e2e_base.main()
