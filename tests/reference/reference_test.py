"""Random operations through the shim against a plain directory, and readers while the arena is overrun.

    python3 tests/reference/reference_test.py [--ops N] [--seed S] [--containers] [unittest arguments]
"""

import os
import random
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import e2e_base  # noqa: E402
from e2e_base import COVERED, CONTAINERS, Job, Mount, build_dir  # noqa: E402
from tree import make_tree  # noqa: E402

OPS = int(e2e_base._take_value("--ops", "20000"))
SEED = int(e2e_base._take_value("--seed", "0")) or random.SystemRandom().randrange(1, 2**32)
RANDOM_OPS = os.path.join(build_dir(), "tests", "random_ops")

# Reads whole files in random order and compares every byte; 4 processes at once.
OVERRUN = """
import hashlib, os, random, sys
covered, plain, seed, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
import time
names = sorted(os.listdir(plain))
want = {n: open(os.path.join(plain, n), 'rb').read() for n in names}
children = []
for worker in range(4):
    pid = os.fork()
    if pid: children.append(pid); continue
    rnd = random.Random(seed + worker); end = time.monotonic() + seconds; reads = 0
    while time.monotonic() < end:
        n = rnd.choice(names); data = want[n]
        fd = os.open(os.path.join(covered, n), os.O_RDONLY)
        if rnd.random() < 0.5:
            got = b''
            while True:
                piece = os.read(fd, rnd.choice([4096, 65536, 100000, 1 << 20]))
                if not piece: break
                got += piece
            ok = got == data
        else:
            ok = True
            for _ in range(20):
                at, length = rnd.randrange(len(data)), rnd.choice([1, 4096, 65536, 131072])
                ok = ok and os.pread(fd, length, at) == data[at:at + length]
        os.close(fd); reads += 1
        if not ok: print('WRONG BYTES in', n, 'seed', seed, 'worker', worker, flush=True); os._exit(1)
    os._exit(0 if reads > 10 else 3)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
"""


class Reference(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="pst-reference-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.addCleanup(__import__("shutil").rmtree, self.folder, True)

    def job(self, **options):
        keys = options.pop("keys", {})
        job = Job([Mount(COVERED, f"file://{self.folder}", keys)], origin_folders=[self.folder],
                  containers=CONTAINERS, **options)
        self.addCleanup(job.close)
        return job.start()

    def plain_side(self, job):
        """A copy of the tree where the program may read it."""
        import shutil
        copy = os.path.join(job.scratch, "plain")
        shutil.copytree(self.folder, copy)
        return copy

    def test_random_operations(self):
        make_tree(self.folder)
        job = self.job()
        program = os.path.join(os.path.dirname(os.path.dirname(job.tool("x"))), "tests", "random_ops")
        result = job.run([program, "--plain", self.plain_side(job), "--covered", COVERED,
                          "--ops", str(OPS), "--seed", str(SEED)], timeout=max(120, OPS // 1000))
        self.assertEqual(result.returncode, 0, f"seed {SEED}: {result.stderr.decode()[-2000:]}"
                                               f"\n{job.read_log()[-2000:]}")

    def test_processes_and_threads_in_a_small_arena(self):
        """Four processes of two threads each; what they read is evicted and comes again."""
        make_tree(self.folder)
        job = self.job(memory="16MiB", keys={"class": "general"})
        program = os.path.join(os.path.dirname(os.path.dirname(job.tool("x"))), "tests", "random_ops")
        result = job.run([program, "--plain", self.plain_side(job), "--covered", COVERED, "--ops", str(OPS // 4),
                          "--seed", str(SEED), "--workers", "4", "--slack", "1"], timeout=max(120, OPS // 1000))
        self.assertEqual(result.returncode, 0, f"seed {SEED}: {result.stderr.decode()[-2000:]}"
                                               f"\n{job.read_log()[-2000:]}")
        self.assertGreater(job.counter("evictions"), 0, "the arena was never overrun")

    def overrun(self, mount_class):
        source = random.Random(SEED)
        for i in range(64):   # 64 MiB against an arena of 16 MiB
            with open(os.path.join(self.folder, f"f{i:03d}"), "wb") as file:
                file.write(source.randbytes(1_048_576 - 37 * i))
        job = self.job(memory="16MiB", keys={"class": mount_class})
        result = job.run(["python3", "-c", OVERRUN, COVERED, self.plain_side(job), str(SEED), "8"])
        self.assertEqual(result.returncode, 0,
                         f"seed {SEED}: {result.stdout.decode()}{result.stderr.decode()[-2000:]}"
                         f"\n{job.read_log()[-2000:]}")
        self.assertGreater(job.counter("evictions"), 0, "the arena was never overrun")

    def test_dataset_readers_while_the_arena_is_overrun(self):
        self.overrun("dataset")

    def test_general_readers_while_the_arena_is_overrun(self):
        self.overrun("general")


if __name__ == "__main__":
    e2e_base.main()
