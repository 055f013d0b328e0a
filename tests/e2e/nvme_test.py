"""The NVMe tier with real programs: what memory drops comes from the disk, over restarts and kills, and a damaged
disk gives no wrong byte."""

import glob
import os
import random
import shutil
import subprocess
import time
import unittest

from e2e_base import COVERED, Origin, main

READ_ALL = """
import hashlib
for folder, _, names in sorted(os.walk(D)):
    for name in sorted(names):
        path = os.path.join(folder, name)
        with open(path, "rb", buffering=0) as file:
            digest = hashlib.sha256()
            while chunk := file.read(128 << 10):
                digest.update(chunk)
        print(os.path.relpath(path, D).encode(errors="surrogateescape").hex(), digest.hexdigest())
"""


class NvmeTest(unittest.TestCase):
    def setUp(self):
        self.origin = Origin(small_files=200, big_mib=40)
        self.addCleanup(self.origin.close)
        self.job = self.origin.job(memory="16MiB", nvme="512MiB")
        self.addCleanup(self.job.close)
        self.job.start()

    def read_all(self):
        """Every file through the mount, compared with what it should be."""
        prefix = f"import os, sys\nD = {COVERED!r}\n"
        result = self.job.run(["python3", "-c", prefix + READ_ALL], timeout=120)
        self.assertEqual(result.returncode, 0, f"{result.stderr[-2000:]}\n{self.job.read_log()}")
        found = {}
        for line in result.stdout.decode().splitlines():
            name, digest = line.split()
            found[bytes.fromhex(name).decode(errors="surrogateescape")] = digest
        self.assertEqual(found, self.origin.data.digests)

    def wait_for_disk(self):
        """Until nothing more comes to the disk."""
        last = -1
        until = time.monotonic() + 20
        while time.monotonic() < until:
            written = self.job.stat()["nvme_ranges_written"]
            if written == last:
                return
            last = written
            time.sleep(0.3)
        self.fail("the tier does not come to rest")

    def fill(self):
        for _ in range(3):  # what came faster than the disk takes it comes again
            self.read_all()
            self.wait_for_disk()

    def assert_warm(self, now):
        """A few first bytes came along with names, no more."""
        total = sum(self.origin.data.sizes.values())
        self.assertLess(now["origin_bytes_read"], total // 10, f"of {total} bytes")

    def fsck(self):
        """On the sidecar's side, where the folder is."""
        return subprocess.run([*self.job.sidecar_command()[:-3], self.job.tool("penstock"), "fsck", "-c", self.job.config],
                              capture_output=True, timeout=60)

    def regions(self):
        return sorted(glob.glob(os.path.join(self.job.cache, "objects", "regions", "*.region")))

    def test_what_memory_drops_comes_from_the_disk(self):
        self.fill()
        before = self.job.stat()
        self.read_all()
        after = self.job.stat()
        self.assertEqual(after["origin_bytes_read"], before["origin_bytes_read"])
        # What read-ahead has brought is a hit of memory, what it brought just now a miss: the tier's own count is exact.
        self.assertGreater(after["hits_nvme"], before["hits_nvme"])
        total = sum(self.origin.data.sizes.values())
        self.assertGreater((after["nvme_ranges_read"] - before["nvme_ranges_read"]) << 16, total // 2)
        self.assertGreater(after["nvme_bytes"], sum(self.origin.data.sizes.values()))
        self.assertEqual(after["nvme_files"], len(self.regions()) + after["objects"])
        on_disk = sum(os.stat(path).st_blocks * 512 for path in self.regions())
        self.assertLess(on_disk, 512 << 20)
        self.assertEqual(after["corrupt_dropped"], 0)

    def test_a_restarted_sidecar_is_warm(self):
        self.fill()
        self.assertEqual(self.job.stop(), 0)
        self.job.start()
        self.read_all()
        after = self.job.stat()
        self.assert_warm(after)
        self.assertGreater(after["hits_nvme"], 0)

    def test_fsck_finds_nothing_in_a_good_folder(self):
        self.fill()
        self.check_mapped()
        running = self.fsck()
        self.assertEqual(running.returncode, 1, running)
        self.assertIn(b"in use", running.stderr)
        self.job.kill_sidecar()
        found = self.fsck()
        self.assertEqual(found.returncode, 0, found)
        self.assertRegex(found.stdout.decode(), r"[1-9][0-9]+ ranges in [1-9]\d* regions .* [1-9]\d* objects with [1-9]")

    def test_two_folders_share_the_work(self):
        second = os.path.join(self.job.base, "cache2")
        os.mkdir(second)
        if self.job.containers:
            self.skipTest("the second folder is not in the sidecar's container")
        self.assertEqual(self.job.stop(), 0)
        with open(self.job.config) as file:
            text = file.read()
        with open(self.job.config, "w") as file:
            file.write(text.replace(f'dir = "{self.job.cache}"', f'dir = ["{self.job.cache}", "{second}"]'))
        self.job.start()
        self.fill()
        there = [sum(os.path.getsize(path) for path in glob.glob(os.path.join(folder, "objects/regions/*.region")))
                 for folder in (self.job.cache, second)]
        self.assertGreater(min(there), 16 << 20, there)
        self.assertEqual(self.job.stop(), 0)
        shutil.rmtree(os.path.join(second, "objects"))  # a disk is lost
        self.job.start()
        self.read_all()

    def check_mapped(self):
        """A mapped file is filled from the tier."""
        before = self.job.stat()
        script = ("import hashlib, mmap\nfile = open(sys.argv[1], 'rb')\n"
                  "print(hashlib.sha256(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)).hexdigest())")
        result = self.job.run(["python3", "-c", "import sys\n" + script, f"{COVERED}/big.bin"])
        self.assertEqual(result.stdout.decode().strip(), self.origin.data.digests["big.bin"], result)
        self.assertEqual(self.job.stat()["origin_bytes_read"], before["origin_bytes_read"])

    def test_a_killed_sidecar_is_warm(self):
        self.fill()
        self.job.kill_sidecar()
        self.job.start()
        self.read_all()
        after = self.job.stat()
        self.assert_warm(after)
        self.assertEqual(after["corrupt_dropped"], 0)

    def test_a_kill_while_it_writes_loses_hits_only(self):
        seed = random.SystemRandom().randrange(1 << 32)
        generator = random.Random(seed)
        print(f"seed {seed}", flush=True)
        for _ in range(5):
            self.read_all()
            time.sleep(0.15 * generator.random())
            self.job.kill_sidecar()
            self.job.start()
            self.read_all()
        self.assertEqual(self.job.stat()["corrupt_dropped"], 0)

    def test_a_damaged_disk_gives_no_wrong_byte(self):
        seed = random.SystemRandom().randrange(1 << 32)
        generator = random.Random(seed)
        print(f"seed {seed}", flush=True)
        self.fill()
        self.assertEqual(self.job.stop(), 0)
        regions = self.regions()
        self.assertGreater(len(regions), 1)
        for path in regions:
            size = os.path.getsize(path)
            with open(path, "r+b") as file:
                for _ in range(20):
                    at = generator.randrange(4096, size)
                    file.seek(at)
                    byte = file.read(1)[0]
                    file.seek(at)
                    file.write(bytes([byte ^ (1 << generator.randrange(8))]))
                file.seek(generator.randrange(4096, size - 4096) // 4096 * 4096)
                file.write(bytes(4096))
        found = self.fsck()
        self.assertEqual(found.returncode, 1, found)
        self.assertGreater(found.stdout.count(b"does not match its checksum"), 5, found)
        os.truncate(regions[0], os.path.getsize(regions[0]) * 2 // 3)
        os.unlink(regions[-1])
        self.job.start()
        self.read_all()
        self.assertGreater(self.job.stat()["corrupt_dropped"], 5)
        self.read_all()

    def test_a_replaced_file_is_not_the_old_one(self):
        self.fill()
        self.origin.write("train/0100.bin", b"another version" * 10_000)
        self.assertEqual(self.job.stop(), 0)
        self.job.start()
        self.read_all()


if __name__ == "__main__":
    main()
