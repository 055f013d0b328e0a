"""What the fault tests share: a data set on a real Azurite behind the fault proxy, a sidecar, readers
that compare every byte, and what must hold after every fault.

    PENSTOCK_BUILD=build/release python3 tests/faults/status_test.py [unittest arguments]

PENSTOCK_FAULT_SCALE stretches times that a fault lasts (1 in CI; 10 makes 2 s of refused connections 20)."""

import json
import os
import random
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(_HERE, "..", "harness"))
sys.path.insert(0, _HERE)
import faults  # noqa: E402,F401  (the tests take it from here)
from fault_proxy import FaultProxy  # noqa: E402
from penstock_harness import Azurite, Dataset, Job, Mount  # noqa: E402

COVERED = "/data/train"
PREFIX = "set/"
SCALE = float(os.environ.get("PENSTOCK_FAULT_SCALE", "1"))
LONG = bool(os.environ.get("PENSTOCK_FAULT_LONG"))

# transport/http/retry.h: what retries may add, for a whole origin.
BUDGET_TOKENS, BUDGET_PER_SECOND, BUDGET_PER_SUCCESS, MAX_TRIES = 64, 4, 0.1, 5
MAX_CONNECTIONS = 16
ARENA_MIB = 64

MARGIN_S = 5.0          # for scheduling on a busy machine, beside every deadline
RECOVERED_S = 1.5       # a cold read after the fault has gone
KEPT_MIB = 32           # what the sidecar's own memory may have grown by


def slowness():
    """How many times longer than alone on a processor this machine takes now: 1 on a quiet one. Every
    time that a test allows is stretched by it."""
    wall, cpu = time.monotonic(), time.process_time()
    while time.process_time() - cpu < 0.1:
        pass
    seen = (time.monotonic() - wall) / 0.1 - 1
    return min(10.0, max(1.0, seen, os.getloadavg()[0] / os.cpu_count() - 1))


def make_data(folder):
    generator = random.Random(4)
    data = Dataset(folder)
    os.makedirs(folder, exist_ok=True)
    sizes = [0, 1, 4096, 65_535, 65_536, 65_537, 131_072, 200_000]
    for directory in ("a", "b", "c/d"):
        for i, size in enumerate(sizes):
            data.add(f"{directory}/{i:02}.bin", generator.randbytes(size))
    data.add("large.bin", generator.randbytes((6 << 20) + 12_345))
    return data


class Outcome:
    """What several readers saw together."""

    def __init__(self, answers):
        self.bytes = sum(one["bytes"] for one in answers)
        self.right = sum(one["right"] for one in answers)
        self.short = sum(one["short"] for one in answers)
        self.wrong = [text for one in answers for text in one["wrong"]]
        self.failed = [text for one in answers for text in one["failed"]]
        self.slowest = max(one["slowest"] for one in answers)
        self.took = max(one["took"] for one in answers)
        self.errors = {}
        for one in answers:
            for name, count in one["errors"].items():
                self.errors[name] = self.errors.get(name, 0) + count

    def __str__(self):
        return (f"{self.right} right, errors {self.errors} {self.failed[:5]}, wrong {self.wrong}, {self.short} short, "
                f"{self.bytes} bytes, slowest {self.slowest:.2f} s of {self.took:.2f}")


class Readers:
    """Reader processes through the shim, which live until close()."""

    def __init__(self, job, data, count, wrap=list, join=True):
        argv = wrap(job.run_command(["python3", os.path.join(_HERE, "reader.py"), COVERED, data.root],
                                    join))
        self._all = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      env=job.environment(), bufsize=0) for _ in range(count)]
        for process in self._all:
            if self._line(process, 30) != b"ready\n":
                raise RuntimeError("a reader did not start")

    @staticmethod
    def _line(process, seconds):
        line, until = b"", time.monotonic() + seconds
        while not line.endswith(b"\n"):
            if not select.select([process.stdout], [], [], max(0, until - time.monotonic()))[0]:
                raise TimeoutError(f"a reader hangs: no answer in {seconds} s")
            piece = process.stdout.read(65536)
            if not piece:
                raise RuntimeError(f"a reader ended with {process.wait()}")
            line += piece
        return line

    def start(self, names, **order):
        for i in range(len(self._all)):
            self.start_one(i, names, **order)

    def start_one(self, i, names, how="read", threads=1, seconds=0, seed=1, split=False):
        order = {"names": names, "how": how, "threads": threads, "seconds": seconds, "seed": seed + i,
                 "split": split}
        self._all[i].stdin.write(json.dumps(order).encode() + b"\n")

    def finish(self, within=180):
        return Outcome([json.loads(self._line(process, within)) for process in self._all])

    def finish_one(self, i, within=180):
        return Outcome([json.loads(self._line(self._all[i], within))])

    def signal(self, i, number):
        self._all[i].send_signal(number)

    def all(self, names, within=180, **order):
        self.start(names, **order)
        return self.finish(within)

    def kill(self):
        """All at once, whatever they are doing."""
        for process in self._all:
            process.kill()

    def close(self):
        for process in self._all:
            process.stdin.close()
        for process in self._all:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


class FaultTest(unittest.TestCase):
    """A class has one Azurite; each test a proxy, a cold sidecar and its readers."""

    deadline = 2.0
    readers_count = 3
    mount_keys = {}
    memory = f"{ARENA_MIB}MiB"
    job_class = Job
    sidecar_keys = {"grace": "1s"}
    peak_mib = ARENA_MIB + KEPT_MIB          # what it may have grown by in between

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="pst-faults-", dir="/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.data = make_data(os.path.join(cls.folder, "data"))
        cls.azurite = Azurite()
        cls.addClassCleanup(cls.azurite.stop)
        cls.azurite.upload_folder(cls.data.root, "box", PREFIX)
        cls.names = sorted(cls.data.sizes)

    def setUp(self):
        self.slow = slowness()
        self.deadline = type(self).deadline * self.slow
        self.proxy = self.make_proxy()
        self.addCleanup(self.proxy.close)
        self.job = self.make_job()
        self.addCleanup(self.job.close)
        self.job.start()
        self.readers = self.make_readers()
        self.take_baseline()

    def make_proxy(self):
        return FaultProxy(self.azurite.port)

    def endpoint(self):
        return self.proxy.endpoint(self.azurite.account)

    def make_job(self):
        mount = Mount(COVERED, f"az://{self.azurite.account}/box/{PREFIX[:-1]}",
                      {"endpoint": self.endpoint(), "deadline": f"{int(self.deadline * 1000)}ms",
                       "max_connections": MAX_CONNECTIONS, **self.mount_keys})
        return self.job_class([mount], credentials=self.azurite.credentials(), memory=self.memory, wait="10s",
                              sidecar_keys=self.sidecar_keys)

    def make_readers(self, count=None):
        readers = Readers(self.job, self.data, count or self.readers_count)
        self.addCleanup(readers.close)
        return readers

    def take_baseline(self):
        """What names there are is known, the bytes are cold, all programs have joined."""
        self.assert_whole(self.readers.all(self.names, how="stat"))
        self.baseline = self.process_state()
        self.baseline["sockets"] -= self.proxy.open_connections()

    # ------------------------------------------------------------ what must hold

    def check(self, condition, outcome):
        if not condition:
            self.fail(f"{outcome}\n{self.slow:.1f} times slower than alone, {self.proxy.count()} requests, {self.proxy.connections} connections, "
                      f"problems {self.proxy.problems}\n{self.job.read_log()[-1500:]}")

    def assert_no_wrong_byte(self, outcome):
        self.check(not outcome.wrong, outcome)

    def assert_whole(self, outcome):
        """Every byte of every file came."""
        self.assert_no_wrong_byte(outcome)
        self.check(outcome.right > 0 and not outcome.errors and not outcome.short, outcome)

    def assert_fails(self, outcome, name, questions=1):
        """Nothing but this errno, and no call took longer than the deadlines of so many questions."""
        self.assert_no_wrong_byte(outcome)
        self.check(set(outcome.errors) == {name}, outcome)
        self.assert_no_hang(outcome, questions)

    def assert_no_hang(self, outcome, questions=1):
        self.check(outcome.slowest <= self.deadline * questions + MARGIN_S * self.slow, outcome)

    def assert_no_storm(self, since, operations):
        """Requests that the proxy has seen since then: each operation once, what the budget allows, and once
        more for each connection that was open: libcurl by itself sends a request again where a kept-alive
        connection turns out to be closed."""
        seconds = time.monotonic() - since
        requests = self.proxy.count(since=since) - self.hedges()
        allowed = operations + BUDGET_TOKENS + BUDGET_PER_SECOND * seconds + BUDGET_PER_SUCCESS * requests
        self.assertLessEqual(requests, min(allowed, operations * MAX_TRIES) + MAX_CONNECTIONS,
                             f"{operations} operations in {seconds:.1f} s")
        return requests

    def hedges(self):
        """Second requests beside slow ones, which the proxy sees too."""
        return self.job.stat().get("origin_hedges", 0)

    def process_state(self):
        pid = self.job.sidecar_pid()
        with open(f"/proc/{pid}/status") as file:
            status = dict(line.split(":", 1) for line in file)
        kib = {key: int(status[key].split()[0]) for key in ("RssAnon", "VmHWM")}
        links = []
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                links.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except OSError:
                pass
        return {"anon_mib": kib["RssAnon"] / 1024, "peak_mib": kib["VmHWM"] / 1024,
                "sockets": sum(link.startswith("socket:") for link in links),
                # Slots that programs have leased and objects that are kept are counted elsewhere.
                "others": sorted(re.sub(r"\d+", "N", link) for link in links
                                 if not link.startswith(("socket:", self.job.base)))}

    def assert_calm(self):
        """Nothing is under way any more, and nothing has leaked."""
        until = time.monotonic() + self.deadline + MARGIN_S * self.slow
        while True:
            now = self.job.stat()
            if now["requests_in_flight"] == 0 and now["inflight"] == 0:
                break
            self.assertLess(time.monotonic(), until, f"requests stay in flight: {now}")
            time.sleep(0.05)
        self.assertLessEqual(self.proxy.open_connections(), MAX_CONNECTIONS)
        state = self.process_state()
        # A connection that the other side has closed is noticed when it would be used again.
        self.assertLessEqual(state["sockets"], self.baseline["sockets"] + MAX_CONNECTIONS, "sockets leak")
        leaked = [link for link in state["others"] if link not in self.baseline["others"]] or \
            state["others"][len(self.baseline["others"]):]
        self.assertEqual(leaked, [], "descriptors leak")
        self.assertLessEqual(state["anon_mib"], self.baseline["anon_mib"] + KEPT_MIB)
        self.assertLessEqual(state["peak_mib"], self.baseline["peak_mib"] + self.peak_mib)

    def assert_recovers(self, restart=False):
        """The fault has gone: the same programs read everything, at once, and again after a restart."""
        self.proxy.clear()
        begin = time.monotonic()
        self.assert_whole(self.readers.all(["large.bin"], how="random"))
        self.assertLess(time.monotonic() - begin, RECOVERED_S * self.slow, "a read after the fault took long")
        self.assert_whole(self.readers.all(self.names, how="read", threads=2))
        self.assert_whole(self.readers.all(self.names, how="mmap"))
        self.job.wait_ready(int(10 * self.slow))         # for probes it is well again, too
        self.assert_calm()
        if restart:
            self.assertEqual(self.job.stop(), 0)
            self.job.start()
            self.assert_whole(self.readers.all(self.names, how=["read", "mmap"]))
            self.assert_calm()
        self.assertEqual(self.proxy.problems, [])


def main():
    unittest.main(module="__main__", verbosity=2 if "-v" in sys.argv else 1)
