"""Connections that break, stall or cannot be had."""

import time
import unittest

import fault_base
from fault_base import BUDGET_PER_SECOND, BUDGET_TOKENS, MARGIN_S, SCALE, FaultTest, faults


class BrokenTest(FaultTest):
    """Each request breaks once, at every place where it can: the next try mends it."""

    deadline = 10.0

    def mended(self, *each):
        rules = [self.proxy.add(fault, kind="read", once_each=True) for fault in each]
        # So few that the budget for retries lasts.
        outcome = self.readers.all(self.names[1::2] + ["large.bin"], how="read", threads=2)
        self.assert_whole(outcome)
        self.assert_no_hang(outcome)
        for rule in rules:
            self.assertGreater(rule.hits, 5, "the fault was not met")
        self.assert_recovers()

    def test_resets_before_headers_and_within(self):
        # Rules are asked in their order: the second try of each request meets the second.
        self.mended(faults.cut(faults.BEFORE_HEADERS), faults.cut(faults.WITHIN_HEADERS))

    def test_resets_after_headers_and_within_the_body(self):
        self.mended(faults.cut(faults.AFTER_HEADERS), faults.cut(faults.WITHIN_BODY))

    def test_closes_before_headers_and_within(self):
        self.mended(faults.cut(faults.BEFORE_HEADERS, reset=False),
                    faults.cut(faults.WITHIN_HEADERS, reset=False))

    def test_closes_after_headers_and_within_the_body(self):
        self.mended(faults.cut(faults.AFTER_HEADERS, reset=False),
                    faults.cut(faults.WITHIN_BODY, reset=False))

    def test_slow_bytes_within_the_deadline_are_read(self):
        self.proxy.add(faults.slow(1.0), kind="read", chance=0.3, seed=1)
        outcome = self.readers.all(self.names, how="read", threads=4)
        self.assert_whole(outcome)
        self.assert_no_hang(outcome)
        self.assert_recovers()


class SilentTest(FaultTest):
    deadline = 2.0

    def silent(self, where):
        since = time.monotonic()
        names = [name for name in self.names if self.data.sizes[name]]
        self.proxy.add(faults.silence(where), kind="read")
        outcome = self.readers.all(names, how="read", threads=len(names), split=True)
        self.assert_fails(outcome, "EIO")
        self.assert_no_storm(since, operations=len(names) * 4)
        self.assert_recovers()

    def test_silence_before_headers_ends_at_the_deadline(self):
        self.silent(faults.BEFORE_HEADERS)

    def test_silence_within_headers_ends_at_the_deadline(self):
        self.silent(faults.WITHIN_HEADERS)

    def test_silence_within_the_body_ends_at_the_deadline(self):
        self.silent(faults.WITHIN_BODY)

    def test_bytes_too_slow_for_the_deadline_end_at_it(self):
        self.proxy.add(faults.slow(60, pieces=600), kind="read", name="large")
        self.assert_fails(self.readers.all(["large.bin"], how="read"), "EIO")
        self.assert_recovers()

    def test_a_silent_listing_ends_at_the_deadline(self):
        self.job.penstock("refresh", "/data/train")
        self.proxy.add(faults.silence(), kind={"list", "head"})
        self.assert_fails(self.readers.all(["a", "b"], how="list", threads=2, split=True), "EIO")
        self.assert_recovers()


class QueuedTest(FaultTest):
    """More readers than connections and reads at once: who waits for a place waits no longer than the rest."""

    deadline = 1.5
    readers_count = 4

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.many = [f"many/{i:03}.bin" for i in range(160)]
        for name in cls.many:
            cls.data.add(name, name.encode() * 100)
            cls.azurite.put_blob("box", fault_base.PREFIX + name, name.encode() * 100)
        cls.names = sorted(cls.data.sizes)

    def test_everybody_hears_at_the_deadline(self):
        self.proxy.add(faults.silence(), kind="read")
        names = list(self.many)
        for reader in range(self.readers_count):
            self.readers.start_one(reader, names[reader::self.readers_count], threads=40, split=True)
        self.assert_fails(self.readers.finish(), "EIO")
        self.assert_recovers()


class RefusedTest(FaultTest):
    """Nobody listens for a while."""

    deadline = 2.0
    down = 2.0 * SCALE

    def test_a_server_that_is_back_before_the_deadline_costs_time_only(self):
        self.proxy.refuse()
        self.readers.start(self.names, how="read", threads=2)
        time.sleep(self.deadline / 4)
        self.proxy.accept_again()
        self.assert_whole(self.readers.finish())
        self.assert_recovers()

    def test_refused_for_long_then_back(self):
        since, before = time.monotonic(), self.job.counter("origin_requests")
        names = [name for name in self.names if self.data.sizes[name]]
        self.proxy.refuse()
        self.readers.start(names, how="read", threads=4, seconds=self.down + self.deadline)
        time.sleep(self.down + self.deadline)
        outcome = self.readers.finish()
        self.assert_fails(outcome, "EIO")
        seconds = time.monotonic() - since
        # Tries that found nobody are counted by the sidecar, since the proxy cannot. An operation that has
        # used up the budget tries every 4 s.
        operations = sum(outcome.errors.values())
        tried = self.job.counter("origin_requests") - before
        self.assertLessEqual(tried, operations * (1 + self.deadline / 4) + BUDGET_TOKENS +
                             BUDGET_PER_SECOND * seconds)
        self.proxy.accept_again()
        self.assert_recovers(restart=True)


class RestartTest(FaultTest):
    """A sidecar that dies under many threads, and its successor: no question gets lost between the two, so
    that somebody would wait for an answer until the end of his patience."""

    deadline = 10.0
    readers_count = 3

    def test_requests_given_up_at_the_end_go_on_with_the_next_sidecar(self):
        names = [name for name in self.names if self.data.sizes[name]]
        self.proxy.add(faults.silence(), kind="read")
        self.readers.start(names, how="read", threads=len(names), split=True)
        time.sleep(0.3)
        self.assertEqual(self.job.stop(), 0)
        self.assertIn("given up", self.job.read_log())
        self.proxy.clear()
        self.job.start()
        outcome = self.readers.finish()
        # What was in flight may be told so; an open file stays open.
        self.assert_no_wrong_byte(outcome)
        self.check(set(outcome.errors) <= {"EIO"}, outcome)
        self.assert_recovers()

    def test_threads_that_ask_while_another_one_joins_anew(self):
        for round_number in range(2):
            self.proxy.add(faults.late(0.3 * self.slow), kind="read")
            names = [name for name in self.names if self.data.sizes[name]]
            self.readers.start(names, how="read", threads=len(names), split=True, seed=round_number)
            time.sleep(0.1)
            self.job.kill_sidecar()
            self.job.start(wait=False)
            outcome = self.readers.finish()
            self.proxy.clear()
            self.assert_whole(outcome)
            self.assert_no_hang(outcome)
        self.job.wait_ready()
        self.assert_recovers()


class StormTest(FaultTest):
    """A dead server and 16 readers that do not give up."""

    deadline = 2.0
    readers_count = 4

    def storm(self, fault, files=22):
        """16 readers over the whole data set: what reaches the server is each operation once and what
        retry.h's budget allows, 64 + 4 a second (and 0.1 for each success, of which there is none)."""
        since, fetches = time.monotonic(), self.job.counter("fetches")
        names = [name for name in self.names if self.data.sizes[name]][:files]
        self.proxy.add(fault)
        outcome = self.readers.all(names, how="read", threads=4)
        self.assert_fails(outcome, "EIO")
        operations = self.job.counter("fetches") - fetches
        self.assertLessEqual(operations, len(names) * 16 + 16)
        self.assert_no_storm(since, operations)
        self.assertLess(outcome.took, (self.deadline + MARGIN_S) * len(names) * self.slow)
        self.assert_recovers()

    def test_resets(self):
        self.storm(faults.cut(faults.BEFORE_HEADERS))

    def test_500(self):
        self.storm(faults.status(500))

    def test_503_that_asks_to_wait(self):
        self.storm(faults.status(503, retry_after=1), files=2)


if __name__ == "__main__":
    fault_base.main()
