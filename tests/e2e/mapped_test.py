#!/usr/bin/env python3
"""Mappings of covered files: what is fetched, counted at the origin; that every byte is right; what a mapping that
the cache folder cannot hold is told; and that bytes stay when the number, the process or the name goes."""

import os
import sys
import unittest

import e2e_base
from e2e_base import COVERED, JobTest, main

GIB = 1 << 30
HUGE = 20 * GIB          # of a sparse object: only what is written takes room on the origin's disk
PAGE = 4096


class Mapped(JobTest):
    dataset = {"small_files": 4, "big_mib": 1}
    options = {"nvme": "30GiB"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("huge", "ends", "middle", "grow"):
            with open(os.path.join(cls.data.root, name), "wb") as file:
                file.truncate(HUGE)
                file.write(os.urandom(PAGE))
                file.seek(HUGE - PAGE)
                file.write(os.urandom(PAGE))
                file.seek(HUGE // 2)
                file.write(os.urandom(1 << 20))

    def moved(self, script, *arguments):
        """What the origin gave while the program ran."""
        before = self.job.counter("origin_bytes_read")
        out = self.python(script, *arguments)
        return self.job.counter("origin_bytes_read") - before, out

    def part(self, name, at, count):
        with open(os.path.join(self.data.root, name), "rb") as file:
            file.seek(at)
            return file.read(count)

    def test_first_and_last_page_are_two_ranges(self):
        moved, out = self.moved("""
import mmap
f = os.open(D + "/ends", os.O_RDONLY)
n = os.fstat(f).st_size
a = mmap.mmap(f, 4096, prot=mmap.PROT_READ)
b = mmap.mmap(f, 4096, prot=mmap.PROT_READ, offset=n - 4096, flags=mmap.MAP_PRIVATE)
os.close(f)
print(n, a[:].hex(), b[:].hex())
""")
        self.assertEqual(out.split(), [str(HUGE), self.part("ends", 0, PAGE).hex(),
                                       self.part("ends", HUGE - PAGE, PAGE).hex()])
        self.assertLessEqual(moved, 2 * 65536)

    def test_a_window_in_the_middle_is_its_range(self):
        moved, out = self.moved("""
import hashlib, mmap
f = open(D + "/middle", "rb")
m = mmap.mmap(f.fileno(), 1 << 20, access=mmap.ACCESS_READ, offset=10 << 30)
print(hashlib.sha256(m).hexdigest())
""")
        import hashlib
        self.assertEqual(out.strip(), hashlib.sha256(self.part("middle", HUGE // 2, 1 << 20)).hexdigest())
        self.assertLessEqual(moved, (1 << 20) + 65536)

    def test_growing_a_mapping_fetches_what_it_shows(self):
        moved, out = self.moved("""
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
f = os.open(D + "/grow", os.O_RDONLY)
at = libc.mmap(None, 4096, 1, 1, f, 10 << 30)
os.close(f)
at = libc.mremap(at, 4096, 1 << 20, 1)
print(ctypes.string_at(at, 1 << 20).hex())
""")
        self.assertEqual(out.strip(), self.part("grow", HUGE // 2, 1 << 20).hex())
        self.assertLessEqual(moved, (1 << 20) + 65536)

    def test_the_whole_of_a_sparse_object_moves_its_data_only(self):
        """A mapping of all waits for all. Of a folder's sparse file that is what is not a hole, and as much is stored."""
        moved, out = self.moved("""
import mmap
f = open(D + "/huge", "rb")
m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
m.madvise(mmap.MADV_WILLNEED, 0, 4096); m.madvise(mmap.MADV_RANDOM)
print(len(m), m[:4096].hex(), m[-4096:].hex(), m[10 << 30:(10 << 30) + 4096].hex(), m[5 << 30:(5 << 30) + 9].hex())
""")
        self.assertEqual(out.split(), [str(HUGE), self.part("huge", 0, PAGE).hex(), self.part("huge", HUGE - PAGE, PAGE).hex(),
                                       self.part("huge", HUGE // 2, PAGE).hex(), "00" * 9])
        self.assertLessEqual(moved, 4 << 20)
        stored = sum(entry.stat().st_blocks * 512 for folder, _, names in os.walk(self.job.cache)
                     for entry in os.scandir(folder) if entry.is_file())
        self.assertLessEqual(stored, 64 << 20)


class TooLarge(JobTest):
    """More than cache.nvme: a clear errno, a line that says what to do, and reads go on."""
    dataset = {"small_files": 1, "big_mib": 1}
    options = {"nvme": "64MiB"}

    def test_a_mapping_that_cannot_be_held(self):
        with open(os.path.join(self.data.root, "wide"), "wb") as file:
            file.truncate(200 << 20)
            file.write(b"front")
        out = self.python("""
import errno, mmap
f = os.open(D + "/wide", os.O_RDONLY)
try: mmap.mmap(f, 0, prot=mmap.PROT_READ)
except OSError as e: print(errno.errorcode[e.errno])
print(os.read(f, 5), mmap.mmap(f, 4096, prot=mmap.PROT_READ)[:5])
""")
        self.assertEqual(out.split("\n")[:2], ["ENOSPC", "b'front' b'front'"])
        self.assertIn("raise cache.nvme", self.job.read_log())


if __name__ == "__main__":
    main()
