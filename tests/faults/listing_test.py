"""Listings that are garbage, do not end, or go in circles."""

import time
import unittest

import fault_base
from fault_base import COVERED, MARGIN_S, FaultTest, faults


class ListingTest(FaultTest):
    deadline = 2.0
    mount_keys = {"metadata_ttl": "0s"}      # every question is asked again

    def assert_recovers(self, restart=False):
        self.proxy.clear()
        self.assert_whole(self.readers.all(["a", "b", "c", "c/d"], how="list"))
        super().assert_recovers(restart)

    def listings_fail(self, *each, kind="list"):
        for fault in each:
            self.proxy.add(fault, kind=kind)
            self.assert_fails(self.readers.all(["a", "b", "c/d"], how="list", threads=3, split=True), "EIO")
            self.proxy.clear()
        self.assert_recovers()

    def test_listings_that_are_not_whole_are_never_shorter_ones(self):
        self.listings_fail(*(faults.broken_xml(how) for how in (
            "cut", "garbage", "empty", "html", "no_marker", "no_size")))

    def test_a_listing_that_is_garbage_once_is_asked_again(self):
        for how in ("cut", "garbage", "html"):
            rule = self.proxy.add(faults.broken_xml(how), kind="list", times=2)
            self.assert_whole(self.readers.all(["a", "b", "c/d"], how="list"))
            self.assertEqual(rule.hits, 2)
        self.assert_recovers()

    def test_refused_and_throttled_listings(self):
        self.proxy.add(faults.status(503, retry_after=1), kind="list", once_each=True)
        self.assert_whole(self.readers.all(["a", "b"], how="list"))
        self.proxy.clear()
        self.proxy.add(faults.status(403), kind={"list", "head"})
        self.assert_fails(self.readers.all(["a", "b"], how="list"), "EACCES")
        self.assert_recovers()

    def endless(self, make_page, requests_at_most):
        since = time.monotonic()
        self.proxy.add(faults.listing(make_page), kind="list", name="^set/a/")
        outcome = self.readers.all(["a"], how="list")
        self.assert_no_wrong_byte(outcome)
        self.assertEqual(set(outcome.errors), {"EIO"}, outcome)
        self.assertLessEqual(self.proxy.count(since=since), requests_at_most)
        # Another folder is not held up meanwhile, and nobody goes on asking.
        self.assert_whole(self.readers.all(["b"], how="list"))
        count = self.proxy.count()
        time.sleep(0.3)
        self.assertEqual(self.proxy.count(), count, "the listing goes on without anybody waiting")
        self.assert_recovers()

    def test_a_marker_that_repeats_itself(self):
        self.endless(lambda prefix, marker, n: faults.listing_page(prefix, [f"f{n}"], "again"), 20)

    def test_markers_that_go_in_a_circle(self):
        self.endless(lambda prefix, marker, n: faults.listing_page(prefix, [f"f{n}"], f"m{n % 3}"), 20)

    def test_pages_without_names_for_ever(self):
        self.endless(lambda prefix, marker, n: faults.listing_page(prefix, [], f"m{n}"), 4000)


class EndlessNamesTest(FaultTest):
    """A listing with ever new names and markers cannot be told from a very large one: it is followed as
    long as somebody waits, in bounded memory (1 GiB, which it does not get to here), and others are served
    beside it."""

    deadline = 2.0
    peak_mib = 400

    def test_it_ends_with_its_reader(self):
        names = [f"{i:04}" + "n" * 60 for i in range(1000)]
        self.proxy.add(faults.listing(lambda prefix, marker, n: faults.listing_page(
            f"{prefix}{n:08}-", names, f"m{n}")), kind="list", name="^set/a/")
        self.job.penstock("refresh", COVERED)
        result = None
        try:
            result = self.job.run(["timeout", "2", "ls", f"{COVERED}/a"])
            self.assertEqual(result.returncode, 124)
        finally:
            self.assert_whole(self.readers.all(["b/06.bin"], how="read"))
        until = time.monotonic() + self.deadline + 3 * MARGIN_S * self.slow
        count = -1
        while count != self.proxy.count(kind="list"):
            self.assertLess(time.monotonic(), until, "the listing goes on without anybody waiting")
            count = self.proxy.count(kind="list")
            time.sleep(0.3)
        self.proxy.clear()
        self.job.penstock("refresh", COVERED)
        self.assert_recovers()


if __name__ == "__main__":
    fault_base.main()
