"""Checksums that the server sends: the last thing between a bad wire and a reader."""

import unittest

import fault_base
from fault_base import FaultTest, faults


class ChecksumTest(FaultTest):
    """Content-MD5 that the server sends is checked: the last thing between a bad wire and a reader."""

    deadline = 10.0

    def test_a_flipped_bit_is_mended(self):
        rules = [self.proxy.add(faults.flipped_bit(at), kind="read", once_each=True) for at in (0.0, 1.0)]
        # So few that the budget for retries lasts.
        self.assert_whole(self.readers.all(self.names[1::2] + ["large.bin"], how="read", threads=2))
        for rule in rules:
            self.assertGreater(rule.hits, 5)
        self.assert_recovers(restart=True)

    def test_a_checksum_that_fits_is_no_fault(self):
        rule = self.proxy.add(faults.right_md5(), kind="read")
        before = self.job.counter("origin_retries")
        self.assert_whole(self.readers.all(self.names, how="read", threads=2))
        self.assertGreater(rule.hits, 5)
        self.assertEqual(self.job.counter("origin_retries"), before)
        self.assert_recovers()

    def test_a_checksum_that_never_fits_is_eio_and_never_cached(self):
        self.proxy.add(faults.flipped_bit(0.3), kind="read")
        names = [name for name in self.names if self.data.sizes[name]]
        outcome = self.readers.all(names, how=["read", "mmap"], threads=len(names), split=True)
        self.assert_fails(outcome, "EIO")
        self.assert_recovers(restart=True)


if __name__ == "__main__":
    fault_base.main()
