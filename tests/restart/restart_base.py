"""What the restart tests share: readers that compare every byte while their sidecar comes and goes, and what
must hold after it: nothing wrong, nothing failed, no wait beyond the pause, and counters back at their start.

    PENSTOCK_BUILD=build/release python3 tests/restart/kill_test.py [--containers] [--kills N] [--seed N]
"""

import os
import random
import shutil
import sys
import tempfile
import time
import unittest

_HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("harness", "e2e", "faults"):
    sys.path.insert(0, os.path.join(_HERE, "..", folder))
from e2e_base import CONTAINERS, COVERED, PROGRAM, SKIPPED, _take_value  # noqa: E402
from fault_base import Readers, slowness  # noqa: E402
from penstock_harness import Dataset, Job, Mount, container_support  # noqa: E402

SEED = int(_take_value("--seed", "0")) or random.SystemRandom().randrange(1, 1 << 32)
FAULTS = os.path.join(os.path.dirname(_HERE), "faults")
PAUSE_S = 5.0                # the longest that a call may take because its sidecar is not there


def make_data(folder):
    """More than the arena holds: small files, odd sizes, and some that are read in pieces."""
    generator = random.Random(6)
    data = Dataset(folder)
    for directory in ("a", "b", "c/d"):
        for i, size in enumerate([0, 1, 4095, 65_535, 65_536, 65_537, 131_072, 300_000]):
            data.add(f"{directory}/{i:02}.bin", generator.randbytes(size))
    for i in range(4):
        data.add(f"large-{i}.bin", generator.randbytes((5 << 20) + 12_345 * i))
    return data


class RestartTest(unittest.TestCase):
    memory = "16MiB"
    readers_count = 3
    mount_keys = {"metadata_ttl": "500ms"}
    linger = "60s"
    shared_in = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="pst-restart-", dir="/tmp")
        os.chmod(cls.folder, 0o755)
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.data = make_data(os.path.join(cls.folder, "data"))
        cls.names = sorted(cls.data.sizes)

    def setUp(self):
        print(f"{self.id()} --seed {SEED}", flush=True)
        self.random = random.Random(SEED)
        self.slow = slowness()

    def make_job(self, **options):
        options.setdefault("containers", CONTAINERS)
        options.setdefault("shared_in", self.shared_in)
        job = Job([Mount(COVERED, f"file://{self.data.root}", self.mount_keys)], memory=self.memory,
                  wait="60s", linger=self.linger, origin_folders=[self.data.root],
                  program_folders=[self.data.root, FAULTS], **options)
        self.addCleanup(job.close)
        return job

    def make_readers(self, job, count=None):
        readers = Readers(job, self.data, count or self.readers_count, wrap=job.on_program_side)
        self.addCleanup(readers.close)
        return readers

    def check(self, job, condition, text):
        if not condition:
            self.fail(f"{text}\n--seed {SEED}, {self.slow:.1f} times slower than alone\n{job.read_log()[-3000:]}")

    def assert_whole(self, job, outcome):
        self.check(job, not outcome.wrong, outcome)
        self.check(job, outcome.right > 0 and not outcome.errors and not outcome.short, outcome)

    def assert_paused_only(self, job, outcome):
        self.assert_whole(job, outcome)
        self.check(job, outcome.slowest < PAUSE_S * self.slow, outcome)

    def assert_calm(self, job, programs):
        """Nothing under way, nothing kept for anybody who is not there any more."""
        until = time.monotonic() + 10 * self.slow
        while True:
            now = job.stat()
            if now["requests_in_flight"] == now["inflight"] == now["tickets"] == 0 and now["sessions"] <= programs:
                return now
            self.assertLess(time.monotonic(), until, f"not calm: {now}\n--seed {SEED}")
            time.sleep(0.05)


def main():
    if CONTAINERS:
        reason = container_support(PROGRAM)
        if reason:
            print("skipped:", reason)
            sys.exit(SKIPPED)
    unittest.main(module="__main__")
