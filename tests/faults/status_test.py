"""Refusals of the service: throttling, failures, and the answers that no other try can better."""

import time
import unittest

import fault_base
from fault_base import FaultTest, MARGIN_S, faults


class MendedTest(FaultTest):
    """What comes once and goes by itself: readers notice nothing but time."""

    deadline = 10.0

    def mended(self, fault, **which):
        since = time.monotonic()
        rule = self.proxy.add(fault, once_each=True, **which)
        outcome = self.readers.all(self.names, how="read", threads=len(self.names), split=True)
        self.assert_whole(outcome)
        self.assert_no_hang(outcome)
        self.assertGreater(rule.hits, 5, "the fault was not met")
        self.assertGreaterEqual(self.job.counter("origin_retries"), rule.hits)
        requests = self.proxy.count(kind="read", since=since) - self.hedges()
        self.assertEqual(requests, 2 * rule.hits, "each request was to come twice")
        self.assert_recovers()
        return outcome

    def test_500_once(self):
        self.mended(faults.status(500), kind="read")

    def test_503_without_retry_after(self):
        self.mended(faults.status(503), kind="read")

    def test_503_with_retry_after_is_waited_for(self):
        outcome = self.mended(faults.status(503, retry_after=1), kind="read")
        self.assertGreater(outcome.took, 1.0)

    def test_429_with_retry_after(self):
        self.mended(faults.status(429, retry_after=1), kind="read")

    def test_retry_after_that_makes_no_sense(self):
        for value in ("0", "-5", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"):
            self.proxy.add(faults.status(503, retry_after=value), kind="read", times=3)
        outcome = self.readers.all(self.names, how="read", threads=2)
        self.assert_whole(outcome)
        self.assertLess(outcome.took, 8)
        self.assert_recovers()


class RefusedTest(FaultTest):
    """What stays until the test takes it away."""

    deadline = 10.0

    def refused(self, fault, errno_name, kind="read", operations=None, **which):
        since = time.monotonic()
        self.proxy.add(fault, kind=kind, **which)
        names = [name for name in self.names if self.data.sizes[name]]
        outcome = self.readers.all(names, how="read", threads=len(names), split=True)
        self.assert_fails(outcome, errno_name)
        requests = self.assert_no_storm(since, operations or len(names) * self.readers_count * 2)
        self.assert_recovers()
        return outcome, requests

    def test_500_for_ever_is_eio(self):
        self.refused(faults.status(500), "EIO")

    def test_503_for_ever_is_eio(self):
        self.refused(faults.status(503), "EIO")

    def test_retry_after_beyond_the_deadline_is_not_waited_for(self):
        outcome, _ = self.refused(faults.status(503, retry_after=3600), "EIO")
        self.assertLess(outcome.slowest, MARGIN_S * self.slow)

    def test_403_in_mid_run_is_eacces_and_each_is_asked_once(self):
        half = self.readers.all(self.names[:8], how="read")
        self.assert_whole(half)
        names = [name for name in self.names[8:] if self.data.sizes[name]]
        self.proxy.add(faults.status(403))
        since = time.monotonic()
        outcome = self.readers.all(names, how="read")
        self.assert_fails(outcome, "EACCES")
        # A refusal is final: no second try of any of them.
        requests = self.proxy.count(since=since) - self.hedges()
        self.assertLessEqual(requests, len(names) * self.readers_count * 2)
        # What is in memory needs nobody's leave.
        self.assert_whole(self.readers.all(self.names[:8], how="read"))
        self.assertIn("AuthenticationFailed", self.job.read_log())
        self.assert_recovers()

    def test_401_is_eacces(self):
        self.refused(faults.status(401, error_code="InvalidAuthenticationInfo"), "EACCES")

    def test_404_of_a_known_file_is_estale_and_of_a_new_name_enoent(self):
        self.refused(faults.status(404), "ESTALE")

    def test_412_is_estale(self):
        outcome, requests = self.refused(faults.status(412), "ESTALE")

    def test_416_is_eio_and_not_asked_again(self):
        outcome, requests = self.refused(faults.status(416), "EIO")


if __name__ == "__main__":
    fault_base.main()
