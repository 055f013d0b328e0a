"""What every end-to-end test file shares: its arguments, a data set, an origin that holds it, a job.

    python3 tests/e2e/read_test.py [--origin file|az] [--containers] [unittest arguments]
"""

import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
from penstock_harness import (BLOB_PREFIX, Azurite, Job, Mount, build_dir,  # noqa: E402
                              container_support, make_dataset)

COVERED = "/data/train"       # no such folder on the machine
SKIPPED = 77                  # ctest: could not run here


def _take(flag):
    if flag in sys.argv:
        sys.argv.remove(flag)
        return True
    return False


def _take_value(option, default):
    if option in sys.argv:
        at = sys.argv.index(option)
        value = sys.argv[at + 1]
        del sys.argv[at:at + 2]
        return value
    return default


CONTAINERS = _take("--containers")
ORIGIN = _take_value("--origin", "file")
PROGRAM = os.path.join(build_dir(), "tests", "pst_container")


class Origin:
    """A data set where the sidecar can reach it: a folder, or a container of Azurite."""

    def __init__(self, kind=None, containers=None, **dataset):
        self.kind = kind or ORIGIN
        self.containers = CONTAINERS if containers is None else containers
        self.folder = tempfile.mkdtemp(prefix="pst-origin-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.server = None
        try:
            self.data = make_dataset(os.path.join(self.folder, "data"), **dataset)
            if self.kind == "az":
                self.server = Azurite(own_netns=self.containers, container_program=PROGRAM)
                self.server.upload_folder(self.data.root, "set", BLOB_PREFIX)
        except BaseException:
            self.close()
            raise

    def mount(self, path=COVERED, **keys):
        if self.server:
            return Mount(path, f"az://{self.server.account}/set/{BLOB_PREFIX[:-1]}",
                         dict(keys, endpoint=self.server.endpoint))
        return Mount(path, f"file://{self.data.root}", keys)

    def job(self, mount=None, **options):
        if self.server:
            options.setdefault("credentials", self.server.credentials())
            options.setdefault("netns_of", self.server.pid)
        else:
            options.setdefault("origin_folders", [self.data.root])
        options.setdefault("containers", self.containers)
        return Job([mount or self.mount()], **options)

    def write(self, name, data):
        """Replaces or adds an object behind the sidecar's back."""
        self.data.add(name, data)
        if self.server:
            self.server.put_blob("set", BLOB_PREFIX + name, data)

    def server_requests(self):
        """What the server itself has counted; None for a folder."""
        if not self.server:
            return None
        return self.server.request_count("GET") + self.server.request_count("HEAD")

    def close(self):
        if self.server:
            self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class JobTest(unittest.TestCase):
    """One origin and one running job for the whole class; `dataset` and `options` may be overridden."""

    dataset = {}
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(**cls.dataset)
        cls.addClassCleanup(cls.origin.close)
        cls.job = cls.origin.job(**cls.options)
        cls.addClassCleanup(cls.job.close)
        cls.job.start()
        cls.data = cls.origin.data

    def check(self, result, status=0):
        self.assertEqual(result.returncode, status,
                         f"{result.stdout[-2000:]!r}\n{result.stderr[-2000:]!r}\n{self.job.read_log()[-2000:]}")
        return result.stdout.decode(errors="surrogateescape")

    def python(self, script, *arguments, **keywords):
        """Runs a Python program through the shim; `D` is the covered folder, `S` the scratch one."""
        prefix = f"import os, sys\nD, S = {COVERED!r}, {self.job.scratch!r}\n"
        return self.check(self.job.run(["python3", "-c", prefix + script, *arguments], **keywords))


def main():
    if CONTAINERS:
        reason = container_support(PROGRAM)
        if reason:
            print("skipped:", reason)
            sys.exit(SKIPPED)
    unittest.main(module="__main__")
