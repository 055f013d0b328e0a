"""Limits of a job and of a node, and what `stat` says of requests, against a real Blob server."""

import glob
import hashlib
import os
import tempfile
import threading
import time
import unittest

import e2e_base
from e2e_base import COVERED, Origin

RATE = 100
BURST = 0.05          # seconds: README, "Limits and cost"
READ_ALL = f"cat {COVERED}/train/*.bin | sha256sum"


class LimitsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = Origin()
        cls.addClassCleanup(cls.origin.close)

    def job(self, tables):
        job = self.origin.job(tables=tables)
        self.addCleanup(job.close)
        job.start()
        return job

    def read_all(self, job):
        """Reads every file; gives the seconds, after comparing the bytes with the source's."""
        started = time.monotonic()
        result = job.shell(READ_ALL)
        took = time.monotonic() - started
        self.assertEqual(result.returncode, 0, result.stderr[-500:])
        folder = os.path.join(self.origin.data.root, "train")
        digest = hashlib.sha256()
        for name in sorted(glob.glob(os.path.join(folder, "*.bin"))):
            with open(name, "rb") as file:
                digest.update(file.read())
        self.assertEqual(result.stdout.split()[0].decode(), digest.hexdigest())
        return took

    def requests(self, job):
        kinds = job.stat()["mounts"][COVERED]["requests"]
        return sum(n for kind in kinds.values() for key, n in kind.items()
                   if not key.endswith("_us"))

    def test_requests_of_a_job(self):
        job = self.job({"limits": {"requests_per_second": RATE}})
        before = self.requests(job)
        took = self.read_all(job)
        sent = self.requests(job) - before
        self.assertGreater(sent, RATE // 2)
        self.assertGreaterEqual(took, (sent - 1) / RATE - BURST)
        mount = job.stat()["mounts"][COVERED]
        self.assertGreater(mount["paced"], 0)
        self.assertGreater(mount["paced_ms"], 0)

    def test_bandwidth_of_a_job(self):
        job = self.job({"limits": {"bandwidth": "16MiB/s"}})
        before = job.stat()["mounts"][COVERED]["bytes_received"]
        took = self.read_all(job)
        moved = job.stat()["mounts"][COVERED]["bytes_received"] - before
        largest = 8 << 20      # may go out whole at the end
        self.assertGreaterEqual(took, (moved - largest) / (16 << 20) - BURST)

    def test_jobs_of_a_node_share_its_limit(self):
        folder = tempfile.mkdtemp(prefix="pst-node-", dir="/tmp")
        self.addCleanup(lambda: os.rmdir(folder))
        node = os.path.join(folder, "limits")
        self.addCleanup(lambda: os.unlink(node))
        tables = {"limits": {"node_requests_per_second": RATE, "node_file": node}}
        jobs = [self.job(tables), self.job(tables)]
        before = [self.requests(job) for job in jobs]
        started = time.monotonic()
        threads = [threading.Thread(target=job.shell, args=(READ_ALL,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - started
        sent = [self.requests(job) - n for job, n in zip(jobs, before)]
        self.assertGreater(min(sent), RATE // 2)
        self.assertGreaterEqual(took, (sum(sent) - 2) / RATE - BURST)

    def test_an_unusable_file_of_the_node_is_said_and_kept_to(self):
        job = self.job({"limits": {"node_requests_per_second": RATE, "node_file": "/proc/none/x"}})
        before = self.requests(job)
        took = self.read_all(job)
        sent = self.requests(job) - before
        self.assertGreaterEqual(took, (sent - 1) / RATE - BURST)
        self.assertIn("/proc/none/x", job.read_log())

    def test_what_stat_says(self):
        job = self.job({"cost": {"read_per_10k": 10000.0, "list_per_10k": 20000.0,
                                 "currency": "EUR"}})
        self.assertEqual(job.penstock("status").returncode, 0)   # the look at the start is over
        at_start = self.origin.server_requests()
        before = job.stat()["mounts"][COVERED]["requests"]
        self.read_all(job)
        stat = job.stat()
        mount = stat["mounts"][COVERED]
        kinds = mount["requests"]

        def answered(kinds, kind):
            return sum(kinds.get(kind, {}).get(c, 0) for c in ("2xx", "3xx", "4xx"))
        grown = sum(answered(kinds, k) - answered(before, k) for k in ("get", "head", "list"))
        unanswered = sum(n for kind in kinds.values() for c, n in kind.items()
                         if not c.endswith("us")) - sum(
            answered(kinds, k) for k in kinds)               # cancelled: the server may have seen them
        served = self.origin.server_requests() - at_start
        self.assertLessEqual(grown, served)
        self.assertLessEqual(served, grown + unanswered)
        self.assertEqual(mount["paced"], 0)
        self.assertEqual(mount["throttled"], 0)
        for kind in kinds.values():
            self.assertLessEqual(kind["p50_us"], kind["p99_us"])
            self.assertGreater(kind["p50_us"], 0)
        reads = answered(kinds, "get") + answered(kinds, "head")
        self.assertAlmostEqual(stat["cost"]["total"], reads + 2 * answered(kinds, "list"))
        self.assertEqual(stat["cost"]["currency"], "EUR")
        text = job.penstock("stat").stdout.decode()
        self.assertIn(f"requests for {COVERED}", text)
        self.assertIn("EUR", text)
        metrics = job.penstock("stat", "--prometheus").stdout.decode()
        self.assertIn(f'penstock_requests_total{{mount="{COVERED}",kind="get",answer="2xx"}}',
                      metrics)
        self.assertIn("penstock_request_seconds_bucket", metrics)


if __name__ == "__main__":
    e2e_base.main()
