"""Random faults for a while: several readers compare every byte, whatever happens, and nothing hangs.

    python3 tests/faults/random_test.py [--seconds 600] [--seed N]"""

import os
import random
import sys
import time

import fault_base
from fault_base import MARGIN_S, FaultTest, faults


def _take(option, default):
    if option not in sys.argv:
        return default
    at = sys.argv.index(option)
    value = sys.argv[at + 1]
    del sys.argv[at:at + 2]
    return float(value)


SECONDS = _take("--seconds", 10)
SEED = int(_take("--seed", time.time_ns() % 1_000_000))

# What a reader may be told while the origin does this.
ALLOWED = {"EIO", "ESTALE", "EACCES", "ENOENT"}


class RandomTest(FaultTest):
    deadline = 2.0
    mount_keys = {"metadata_ttl": "1s", "class": "general"}
    memory = "16MiB"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        generator = random.Random(5)
        # More than the memory holds: reads stay cold.
        for i in range(64):
            name = f"cold/{i % 4}/{i:03}.bin"
            data = generator.randbytes(generator.choice([300_000, 700_001, 1 << 20, 1_500_000]))
            cls.data.add(name, data)
            cls.azurite.put_blob("box", fault_base.PREFIX + name, data)
        cls.names = sorted(cls.data.sizes)

    def draw_fault(self, draw):
        prefix = fault_base.PREFIX
        bytes_of = lambda blob: self.data.bytes_of(blob.removeprefix(prefix))     # noqa: E731
        where = draw.choice([faults.BEFORE_HEADERS, faults.WITHIN_HEADERS, faults.AFTER_HEADERS,
                             faults.WITHIN_BODY])
        return draw.choice([
            lambda: (faults.status(draw.choice([408, 429, 500, 502, 503, 504])), None),
            lambda: (faults.status(draw.choice([429, 503]), retry_after=draw.choice([0, 1])), None),
            lambda: (faults.status(draw.choice([401, 403, 404, 409, 412, 416])), None),
            lambda: (faults.cut(where), None),
            lambda: (faults.cut(where, reset=False), None),
            lambda: (faults.silence(where), None),
            lambda: (faults.slow(draw.uniform(0.05, 3)), None),
            lambda: (faults.late(draw.uniform(0.01, 1)), None),
            lambda: (faults.shorter(draw.choice([1, 5, 4096])), "read"),
            lambda: (faults.longer(draw.choice([1, 5, 4096])), "read"),
            lambda: (faults.surplus(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd"), "read"),
            lambda: (faults.other_range(bytes_of, draw.choice([1, 512, 65536])), "read"),
            lambda: (faults.content_range(draw.choice([1, 65536])), "read"),
            lambda: (faults.whole_instead(), "read"),
            lambda: (faults.set_field("ETag", "\"0xBAD\""), "read"),
            lambda: (faults.drop_field("ETag"), "read"),
            lambda: (faults.flipped_bit(draw.random()), "read"),
            lambda: (faults.wrong_md5(), "read"),
            lambda: (faults.no_length("chunked"), "read"),
            lambda: (faults.no_length("close"), "read"),
            lambda: (faults.chunked_cut(draw.choice(["early", "garbage"])), "read"),
            lambda: (faults.broken_xml(draw.choice(["cut", "garbage", "html", "no_marker", "no_size"])), "list"),
            lambda: (faults.raw(draw.randbytes(draw.randrange(1, 2000))), None),
        ])()

    def weather(self, draw):
        """One spell: a few faults at once, sometimes a dead server or a dead sidecar."""
        self.proxy.clear()
        for _ in range(draw.choice([0, 1, 1, 2, 4])):
            fault, kind = self.draw_fault(draw)
            self.proxy.add(fault, kind=kind, chance=draw.choice([0.02, 0.05, 0.1, 0.2, 0.5, 1.0]), seed=draw.random())
        event = draw.random()
        if event < 0.08:
            self.proxy.refuse()
            time.sleep(draw.uniform(0.05, 1.0))
            self.proxy.accept_again()
        elif event < 0.12:
            self.job.kill_sidecar()
            self.job.start(wait=False)
        elif event < 0.16:
            self.job.stop()
            self.job.start(wait=False)
        time.sleep(draw.uniform(0.1, 0.8))

    def test_random_faults(self):
        print(f"seed {SEED}, {SECONDS:.0f} s", flush=True)
        draw = random.Random(SEED)
        self.readers.start(self.names, how=["read", "random", "read", "mmap", "stat"], threads=3,
                           seconds=SECONDS, seed=SEED)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            self.weather(draw)
        outcome = self.readers.finish(within=10 * self.deadline + 60)
        print(outcome, f"{self.proxy.count()} requests", flush=True)
        self.assert_no_wrong_byte(outcome)
        self.check(set(outcome.errors) <= ALLOWED, outcome)
        self.check(outcome.right > 0, outcome)
        # A call may ask twice (a listing, then the name), and wait for the next sidecar in between.
        self.assert_no_hang(outcome, questions=4)
        self.proxy.clear()
        time.sleep(1.5)          # the metadata's time to live: what was absent by a fault is asked again
        peak_mib = self.baseline["peak_mib"]
        self.take_baseline()
        self.baseline["peak_mib"] = peak_mib
        self.assert_recovers()


if __name__ == "__main__":
    fault_base.main()
