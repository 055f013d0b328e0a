"""Bodies and headers that are not what was asked for. None of them may reach a reader or the cache."""

import unittest

import fault_base
from fault_base import COVERED, FaultTest, faults


class WrongOnceTest(FaultTest):
    """Each read is answered wrongly the first time, then rightly."""

    deadline = 10.0

    def mended(self, *each, kind="read", restart=False):
        rules = [self.proxy.add(fault, kind=kind, once_each=True) for fault in each]
        # So few that the budget for retries lasts.
        outcome = self.readers.all(self.names[1::2] + ["large.bin"], how="read", threads=2)
        self.assert_whole(outcome)
        self.assert_no_hang(outcome)
        for rule in rules:
            self.assertGreater(rule.hits, 5, "the fault was not met")
        self.assert_recovers(restart)

    def test_shorter_and_longer_bodies_that_say_so(self):
        self.mended(faults.shorter(1), faults.longer(1000))

    def test_bytes_after_the_end(self):
        # They can be taken for the next answer on that connection: that is an error, never bytes.
        other = self.data.bytes_of("a/06.bin")
        poison = (b"HTTP/1.1 206 Partial\r\nETag: \"x\"\r\nContent-Range: bytes 0-131071/131072\r\n"
                  b"Content-Length: 131072\r\n\r\n" + other)
        rules = [self.proxy.add(faults.surplus(data), kind="read", chance=0.3, seed=len(data))
                 for data in (poison, b"surplus", bytes(70_000))]
        outcome = self.readers.all(self.names, how="read", threads=2)
        self.assert_no_wrong_byte(outcome)
        self.check(set(outcome.errors) <= {"ESTALE", "EIO"}, outcome)
        for rule in rules:
            self.assertGreater(rule.hits, 1)
        # Connections that are out of step, and names that were learned from them, are used up one by one.
        self.proxy.clear()
        self.proxy.refuse()
        self.proxy.accept_again()
        self.job.penstock("refresh", COVERED)
        outcome = self.readers.all(self.names, how="read", threads=2)
        self.assert_no_wrong_byte(outcome)
        self.job.penstock("refresh", COVERED)
        self.assert_recovers(restart=True)

    def test_another_range(self):
        name = fault_base.PREFIX
        bytes_of = lambda blob: self.data.bytes_of(blob.removeprefix(name))     # noqa: E731
        self.mended(faults.other_range(bytes_of, 1), faults.content_range(1))

    def test_whole_instead_of_a_range(self):
        self.mended(faults.whole_instead(), faults.drop_field("Content-Range"))

    def test_chunks_that_end_early_or_are_garbage(self):
        self.mended(faults.chunked_cut("early"), faults.chunked_cut("garbage"))

    def test_chunked_without_a_length_is_as_good(self):
        self.mended(faults.no_length("chunked"))

    def test_a_body_that_ends_with_the_connection_is_as_good(self):
        self.mended(faults.no_length("close"))

    def test_answers_that_are_no_http(self):
        self.mended(faults.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), faults.raw(b"\0" * 100_000))

    def test_impossible_lengths(self):
        self.mended(faults.set_field("Content-Length", "-1"),
                    faults.set_field("Content-Length", "99999999999999999999999"))


class WrongVersionTest(FaultTest):
    def test_another_etag_is_estale_and_nothing_of_it_is_kept(self):
        self.proxy.add(faults.set_field("ETag", "\"0xDEADBEEF\""), kind="read")
        names = [name for name in self.names if self.data.sizes[name]]
        self.assert_fails(self.readers.all(names, how="read"), "ESTALE", questions=2)
        self.assert_recovers(restart=True)

    def test_no_etag_is_eio(self):
        self.proxy.add(faults.drop_field("ETag"), kind="read")
        names = [name for name in self.names if self.data.sizes[name]]
        self.assert_fails(self.readers.all(names, how="read"), "EIO", questions=2)
        self.assert_recovers(restart=True)


class WrongForEverTest(FaultTest):
    """A server that keeps doing it: an error, never a byte."""

    deadline = 1.0

    def failing(self, fault, restart=False):
        self.proxy.add(fault, kind="read")
        names = [name for name in self.names if self.data.sizes[name]][::4] + ["large.bin"]
        outcome = self.readers.all(names, how=["read", "mmap"], threads=len(names), split=True)
        self.assert_fails(outcome, "EIO")
        self.assert_recovers(restart)

    def test_always_shorter(self):
        self.failing(faults.shorter(1), restart=True)

    def test_always_longer(self):
        self.failing(faults.longer(1), restart=True)

    def test_always_another_range(self):
        self.failing(faults.content_range(512))

    def test_headers_without_end(self):
        self.failing(faults.endless_headers())

    def test_a_body_without_end(self):
        self.failing(faults.endless_body())


if __name__ == "__main__":
    fault_base.main()
