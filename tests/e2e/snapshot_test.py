"""Snapshots: a listing saved as a manifest serves names without a request, is refused when it is not
whole, and never mixes versions.

    python3 tests/e2e/snapshot_test.py [unittest arguments]
"""

import hashlib
import json
import os
import sys
import tempfile
import unittest

import e2e_base
from e2e_base import COVERED, Origin, main

WALK = """
import hashlib, os, sys
for parent, folders, files in os.walk(sys.argv[1]):
    folders.sort()
    for name in sorted(files):
        path = os.path.join(parent, name)
        status = os.stat(path)
        print(os.path.relpath(path, sys.argv[1]), status.st_size)
"""


class SnapshotTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(kind="az", containers=False, small_files=60, big_mib=4)
        cls.addClassCleanup(cls.origin.close)
        cls.folder = tempfile.mkdtemp(prefix="pst-snapshot-", dir="/tmp")
        cls.manifest = os.path.join(cls.folder, "set.snapshot")
        with cls.origin.job() as job:
            cls.made = cls.create(job, "-o", cls.manifest)
        cls.sizes = dict(cls.origin.data.sizes)      # as they were then

    @classmethod
    def create(cls, job, *arguments):
        result = job.execute([job.tool("penstock"), "snapshot", "create", "-c", job.config, "--json",
                              COVERED, *arguments], env=job.credentials)
        if result.returncode != 0:
            raise RuntimeError(result.stderr.decode())
        return json.loads(result.stdout)

    def use(self, job, manifest, *arguments, status=0):
        result = job.execute([job.tool("penstock"), "snapshot", "use", "-c", job.config, manifest,
                              *arguments], env=job.credentials)
        self.assertEqual(result.returncode, status, result.stderr)
        return result.stdout.decode() + result.stderr.decode()

    def snapshot_job(self, manifest=None):
        return self.origin.job(self.origin.mount(snapshot=manifest or self.manifest))

    def check(self, result):
        self.assertEqual(result.returncode, 0, result.stderr[-2000:])
        return result.stdout.decode(errors="surrogateescape")

    def test_says_what_it_holds(self):
        self.assertEqual(self.made["files"], len(self.sizes))
        self.assertEqual(self.made["bytes"], sum(self.sizes.values()))
        with open(self.manifest, "rb") as file:
            data = file.read()
        self.assertEqual(self.made["digest"], "sha256:" + hashlib.sha256(data[:-32]).hexdigest())

    def test_a_walk_asks_for_nothing(self):
        with self.snapshot_job() as job:
            job.start()
            self.check(job.penstock("status"))       # waits for the question that is asked at start
            before = self.origin.server_requests()
            for _ in range(2):
                lines = self.check(job.run(["python3", "-c", WALK, COVERED])).splitlines()
                seen = {line.rsplit(" ", 1)[0]: int(line.rsplit(" ", 1)[1]) for line in lines}
                self.assertEqual(seen, self.sizes)
            missing = job.shell(f"stat {COVERED}/train/none {COVERED}/none/x; cat {COVERED}/nope")
            self.assertEqual(missing.stderr.count(b"No such file"), 3, missing.stderr)
            self.assertEqual(self.origin.server_requests(), before)
            name = "train/0013.bin"
            self.assertEqual(self.check(job.run(["sha256sum", f"{COVERED}/{name}"])).split()[0],
                             self.origin.data.digests[name])
            stat = job.stat()["snapshots"][0]
            self.assertEqual((stat["digest"], stat["created"]),
                             (self.made["digest"], self.made["created"]))
            self.assertIn(self.made["digest"], job.penstock("status").stdout.decode())
            self.assertIn(self.made["digest"], job.penstock("stat").stdout.decode())

    def test_a_changed_file_is_stale_and_never_mixed(self):
        name = "changing/file.bin"
        self.origin.write(name, b"a" * 300_000)
        with self.origin.job() as job:
            manifest = os.path.join(self.folder, "changing.snapshot")
            self.create(job, "-o", manifest)
        self.origin.write(name, b"b" * 300_000)
        self.origin.write("changing/new.bin", b"new")
        with self.snapshot_job(manifest) as job:
            job.start()
            script = f"""
import errno, os
status = os.stat({COVERED + "/" + name!r})
assert status.st_size == 300000
for _ in range(3):
    fd = os.open({COVERED + "/" + name!r}, os.O_RDONLY)
    try:
        data = os.read(fd, 300000)
        raise SystemExit(f"read {{data[:4]!r}}")
    except OSError as error:
        assert error.errno == errno.ESTALE, error
    os.close(fd)
assert not os.path.exists({COVERED + "/changing/new.bin"!r})
"""
            self.check(job.run(["python3", "-c", script]))

    def test_from_a_blob(self):
        url = f"az://{self.origin.server.account}/set/snapshots/one.snapshot"
        with self.origin.job() as job:
            made = self.create(job, "--to", url)
            self.assertEqual(made["snapshot"], url)
            shown = self.use(job, url, "--write")
            self.assertIn(made["digest"], shown)
            job.start()
            self.assertEqual(job.stat()["snapshots"][0]["digest"], made["digest"])
            self.check(job.run(["cat", f"{COVERED}/text.txt"]))

    def test_a_damaged_one_is_refused(self):
        with open(self.manifest, "rb") as file:
            good = file.read()
        path = os.path.join(self.folder, "bad.snapshot")
        for bad, what in ((good[:-1000], "cut off"), (b"x" * 500, "no snapshot"), (b"", "empty"),
                          (good[:2000] + bytes([good[2000] ^ 1]) + good[2001:], "digest")):
            with open(path, "wb") as file:
                file.write(bad)
            with self.snapshot_job(path) as job:
                result = job.execute([job.tool("penstockd"), "-c", job.config], env=job.credentials)
                self.assertEqual(result.returncode, 1)
                self.assertIn(what, result.stderr.decode())
                self.assertIn("mount[0].snapshot", result.stderr.decode())
                self.use(job, path, status=1)
        with self.snapshot_job(os.path.join(self.folder, "gone")) as job:
            result = job.execute([job.tool("penstockd"), "-c", job.config], env=job.credentials)
            self.assertIn("No such file", result.stderr.decode())

    def test_of_another_origin_is_refused(self):
        mount = self.origin.mount(snapshot=self.manifest)
        mount.origin += "/train"
        with self.origin.job(mount) as job:
            result = job.execute([job.tool("penstockd"), "-c", job.config], env=job.credentials)
            self.assertEqual(result.returncode, 2)
            self.assertIn("is a snapshot of az://", result.stderr.decode())
            self.assertIn("no mount", self.use(job, self.manifest, status=1))

    def test_of_a_folder_below_the_mount(self):
        with self.origin.job() as job:
            path = os.path.join(self.folder, "train.snapshot")
            result = job.execute([job.tool("penstock"), "snapshot", "create", "-c", job.config,
                                  "--json", COVERED + "/train", "-o", path], env=job.credentials)
            made = json.loads(self.check(result))
            self.assertEqual(made["files"], 60)
            self.assertTrue(made["origin"].endswith("/train"), made["origin"])


if __name__ == "__main__":
    if e2e_base.CONTAINERS:
        sys.exit(e2e_base.SKIPPED)
    main()
