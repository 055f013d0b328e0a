"""What goes wrong elsewhere: refused credentials, missing things, an unreachable or changing origin, a dead sidecar."""

import os
import socket
import subprocess
import time
import unittest

import e2e_base
from e2e_base import CONTAINERS, COVERED, Origin
from penstock_harness import Mount


class FailureBase(unittest.TestCase):
    kind = None
    dataset = dict(small_files=3, big_mib=1, strange=False)

    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(kind=cls.kind, **cls.dataset)
        cls.addClassCleanup(cls.origin.close)

    def start(self, mount=None, ready=True, **options):
        job = self.origin.job(mount, **options)
        self.addCleanup(job.close)
        job.start(wait=ready)
        if not ready:
            deadline = time.monotonic() + 30
            while not os.path.exists(job.socket) and time.monotonic() < deadline:
                time.sleep(0.05)
        return job

    def cat(self, job, name="text.txt", **keywords):
        return job.run(["cat", f"{COVERED}/{name}"], env={"LC_ALL": "C"}, **keywords)


class BlobFailureTest(FailureBase):
    kind = "az"

    def test_a_wrong_key_is_eacces_and_said(self):
        job = self.start(ready=False, credentials={"AZURE_STORAGE_ACCOUNT": self.origin.server.account,
                                                   "AZURE_STORAGE_KEY": "d3Jvbmc="})
        result = self.cat(job)
        self.assertEqual((result.returncode, result.stdout), (1, b""), result)
        self.assertIn(b"Permission denied", result.stderr)
        self.assertRegex(job.read_log(), r"40[13]|refused|[Cc]redential")
        self.assertNotIn("d3Jvbmc=", job.read_log())

    def test_no_credentials_at_all(self):
        job = self.start(ready=False, credentials={"AZURE_STORAGE_ACCOUNT": self.origin.server.account})
        result = self.cat(job)
        self.assertEqual((result.returncode, result.stdout), (1, b""), result)

    def test_a_missing_blob_is_enoent(self):
        result = self.cat(self.start(), "none")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"No such file", result.stderr)

    def test_a_missing_container_is_said_at_start(self):
        mount = self.origin.mount()
        mount.origin = f"az://{self.origin.server.account}/nocontainer/prefix"
        job = self.start(mount, ready=False)
        deadline = time.monotonic() + 20
        while "nocontainer" not in job.read_log() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertIn("nocontainer", job.read_log())
        result = self.cat(job)
        self.assertEqual((result.returncode, result.stdout), (1, b""), result)

    def test_the_connection_string_serves_too(self):
        server = self.origin.server
        text = (f"DefaultEndpointsProtocol=http;AccountName={server.account};AccountKey={server.key};"
                f"BlobEndpoint={server.endpoint};")
        mount = self.origin.mount()
        del mount.keys["endpoint"]
        job = self.start(mount, credentials={"AZURE_STORAGE_CONNECTION_STRING": text})
        self.assertEqual(self.cat(job).stdout, self.origin.data.bytes_of("text.txt"))

    def test_server_stops_then_hits_go_on_and_misses_fail(self):
        origin = Origin(kind="az", **self.dataset)
        self.addCleanup(origin.close)
        job = origin.job(origin.mount(deadline="3s"))
        self.addCleanup(job.close)
        job.start()
        self.assertEqual(self.cat(job).returncode, 0)
        origin.server.stop()
        self.assertEqual(self.cat(job).stdout, origin.data.bytes_of("text.txt"))
        begin = time.monotonic()
        result = self.cat(job, "big.bin", timeout=60)
        self.assertIn(b"Input/output error", result.stderr)
        self.assertLess(time.monotonic() - begin, 30)


class UnreachableTest(FailureBase):
    kind = "file"

    def mount(self, port):
        return Mount(COVERED, "az://account/container/prefix",
                     {"endpoint": f"http://127.0.0.1:{port}/account", "deadline": "3s"})

    def assert_eio(self, port):
        job = self.start(self.mount(port), ready=False, credentials={
            "AZURE_STORAGE_ACCOUNT": "account", "AZURE_STORAGE_KEY": "a2V5"})
        begin = time.monotonic()
        result = self.cat(job, timeout=90)
        self.assertEqual((result.returncode, result.stdout), (1, b""), result)
        self.assertIn(b"Input/output error", result.stderr)
        self.assertLess(time.monotonic() - begin, 40)

    def test_nobody_listens(self):
        self.assert_eio(1)

    @unittest.skipIf(CONTAINERS, "the mute server is in the test's own network namespace")
    def test_somebody_listens_and_never_answers(self):
        with socket.socket() as mute:
            mute.bind(("127.0.0.1", 0))
            mute.listen(64)
            self.assert_eio(mute.getsockname()[1])


HOLDER = r"""
import os, sys
fd = os.open("/data/train/text.txt", 0)
whole = os.pread(fd, 1 << 20, 0)
print("warm", flush=True)
for line in sys.stdin:
    name = line.strip()
    try:
        if name == "hit":
            other = os.open("/data/train/text.txt", 0)
            good = os.pread(fd, 1 << 20, 0) == whole == os.read(other, 1 << 20)
            os.close(other)
            print("right" if good else "WRONG", len(os.listdir("/data/train")) > 0, flush=True)
        else:
            print(len(open("/data/train/" + name, "rb").read()), flush=True)
    except OSError as e:
        print("errno", e.errno, flush=True)
"""


class DeadSidecarTest(FailureBase):
    dataset = dict(small_files=3, big_mib=1, strange=False)

    def hold(self, job):
        argv = job.on_program_side(job.run_command(["python3", "-c", HOLDER]))
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   bufsize=1, env=job.environment())
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "warm\n")
        return process

    def ask(self, process, what):
        process.stdin.write(what + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    def test_hits_go_on_misses_fail_and_a_new_sidecar_is_joined(self):
        job = self.start(wait="2s")
        process = self.hold(job)
        self.assertEqual(self.ask(process, "hit"), "right True")
        job.kill_sidecar()
        self.assertEqual(self.ask(process, "hit"), "right True")
        begin = time.monotonic()
        self.assertEqual(self.ask(process, "big.bin"), "errno 5")
        self.assertLess(time.monotonic() - begin, 30)
        self.assertEqual(self.ask(process, "hit"), "right True")
        job.start()
        # After a wait in vain it asks again only now and then.
        deadline = time.monotonic() + 10
        while (answer := self.ask(process, "big.bin")) == "errno 5" and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(answer, str(1 << 20))
        self.assertEqual(self.ask(process, "hit"), "right True")

    def test_a_miss_waits_for_the_next_sidecar(self):
        job = self.start(wait="30s")
        process = self.hold(job)
        job.kill_sidecar()
        process.stdin.write("big.bin\n")
        process.stdin.flush()
        time.sleep(0.5)
        job.start()
        self.assertEqual(process.stdout.readline().strip(), str(1 << 20))

    def test_clients_that_are_killed_leave_nothing(self):
        job = self.start()
        for _ in range(5):
            process = self.hold(job)
            process.kill()
            process.wait()
        self.assertEqual(self.cat(job).stdout, self.origin.data.bytes_of("text.txt"))


class ChangeTest(unittest.TestCase):
    """A file that is replaced at the origin: one version for an open file, the new one after the ttl."""

    def setUp(self):
        self.origin = Origin(small_files=1, big_mib=1, strange=False)
        self.addCleanup(self.origin.close)
        self.job = self.origin.job(self.origin.mount(metadata_ttl="1s"), memory="256MiB")
        self.addCleanup(self.job.close)

    def test_never_a_mix(self):
        size = 96 << 20
        self.origin.write("change.bin", b"a" * size)
        self.job.start()
        script = ("import os, sys\nfd = os.open('/data/train/change.bin', 0)\n"
                  "print(os.pread(fd, 4096, 0) == b'a' * 4096, flush=True); sys.stdin.readline()\n"
                  "out = set()\n"
                  "for at in range(4096, %d, 8 << 20):\n"
                  "  try: out.add(os.pread(fd, 65536, at)[:1])\n"
                  "  except OSError as e: out.add(e.errno)\n"
                  "print(out <= {b'a', 116}, sorted(map(str, out)), flush=True)\n"
                  "import time; time.sleep(1.5)\n"
                  "print(open('/data/train/change.bin', 'rb').read() == b'b' * %d)" % (size, size))
        argv = self.job.on_program_side(self.job.run_command(["python3", "-c", script]))
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   env=self.job.environment())
        self.assertEqual(process.stdout.readline(), "True\n")
        self.origin.write("change.bin", b"b" * size)
        out, _ = process.communicate("go\n", timeout=120)
        lines = out.splitlines()
        self.assertTrue(lines and lines[0].startswith("True"), out)
        self.assertIn("116", lines[0], "no range was uncached: the test shows nothing")
        self.assertEqual(lines[1], "True")

    def test_new_files_appear_after_the_ttl(self):
        self.job.start()
        script = (f"ls {COVERED}/train | wc -l; test -e {COVERED}/train/new; echo $?; read x; "
                  f"ls {COVERED}/train | wc -l; cat {COVERED}/train/new")
        argv = self.job.on_program_side(self.job.run_command(["bash", "-c", script]))
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   env=self.job.environment())
        self.assertEqual(process.stdout.readline() + process.stdout.readline(), "1\n1\n")
        self.origin.write("train/new", b"new\n")
        time.sleep(1.5)
        out, _ = process.communicate("go\n", timeout=60)
        self.assertEqual(out, "2\nnew\n")


if __name__ == "__main__":
    e2e_base.main()
