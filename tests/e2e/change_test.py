"""A file that changes at the origin while programs have it open and while it is cached: an open file is one version,
bytes that are not cached give ESTALE and never a mix, and a name shows the new version after `metadata_ttl` or at
once after `penstock refresh`."""

import os
import subprocess
import time
import unittest

import e2e_base
from e2e_base import COVERED, Origin

SIZE = 24 << 20
LATE = range(12 << 20, SIZE, 1 << 20)        # far behind what a read of the first bytes brings
ESTALE = "116"
ENOENT = "2"

# One line in, one line out. A read says which letters it saw, or the errno.
HOLDER = r"""
import os, sys
fds = {}
def seen(data):
    return "".join(sorted(set(data.decode("latin1")))) + ":" + str(len(data))
print("up", flush=True)
for line in sys.stdin:
    what, name, *rest = line.split()
    try:
        path = os.path.join(sys.argv[1], name)
        if what == "open":
            fds[name] = os.open(path, os.O_RDONLY); answer = "opened"
        elif what == "pread":
            answer = seen(os.pread(fds[name], 65536, int(rest[0])))
        elif what == "size":
            answer = str(os.fstat(fds[name]).st_size)
        elif what == "stat":
            answer = str(os.stat(path).st_size)
        elif what == "whole":
            with open(path, "rb") as file:
                answer = seen(file.read())
        elif what == "list":
            answer = " ".join(sorted(os.listdir(path)))
        print(answer, flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


def body(letter, size=SIZE):
    return letter.encode() * size


class ChangeTest(unittest.TestCase):
    ttl = "1h"

    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(small_files=1, big_mib=1, strange=False)
        cls.addClassCleanup(cls.origin.close)

    def setUp(self):
        self.job = self.origin.job(self.origin.mount(metadata_ttl=self.ttl), memory="128MiB")
        self.addCleanup(self.job.close)
        self.job.start()
        argv = self.job.on_program_side(self.job.run_command(["python3", "-c", HOLDER, COVERED]))
        self.holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                       bufsize=1, env=self.job.environment())
        self.addCleanup(self.end_holder)
        self.assertEqual(self.holder.stdout.readline(), "up\n")

    def end_holder(self):
        self.holder.stdin.close()
        self.holder.wait(20)
        self.holder.stdout.close()

    def ask(self, *words):
        self.holder.stdin.write(" ".join(map(str, words)) + "\n")
        return self.holder.stdout.readline().strip()

    def remove(self, name):
        os.unlink(os.path.join(self.origin.data.root, name))
        if self.origin.server:
            self.origin.server.delete_blob("set", e2e_base.BLOB_PREFIX + name)

    def open_and_change(self, name, change):
        """Opens a file of the letter a, reads its first bytes, and lets `change` happen at the origin."""
        self.origin.write(name, body("a"))
        self.assertEqual(self.job.penstock("refresh", COVERED).returncode, 0)
        self.assertEqual(self.ask("open", name), "opened")
        self.assertEqual(self.ask("pread", name, 0), "a:65536")
        change()
        return {self.ask("pread", name, at) for at in LATE}

    def check_open_file(self, name, late):
        """What was opened is the old version or ESTALE."""
        self.assertLessEqual(late, {"a:65536", ESTALE}, "bytes of another version")
        self.assertIn(ESTALE, late, "all of it was cached: the test shows nothing")
        self.assertEqual(self.ask("pread", name, 0), "a:65536", "cached bytes stay")
        self.assertEqual(self.ask("size", name), str(SIZE))

    def refreshed(self, name):
        self.assertEqual(self.job.penstock("refresh", f"{COVERED}/{name}").returncode, 0)

    def test_replaced(self):
        late = self.open_and_change("replaced", lambda: self.origin.write("replaced", body("b")))
        self.check_open_file("replaced", late)
        self.refreshed("replaced")
        self.assertEqual(self.ask("whole", "replaced"), f"b:{SIZE}")
        self.check_open_file("replaced", late)

    def test_grown(self):
        late = self.open_and_change("grown", lambda: self.origin.write("grown", body("b", SIZE + 4097)))
        self.check_open_file("grown", late)
        self.refreshed("grown")
        self.assertEqual(self.ask("stat", "grown"), str(SIZE + 4097))
        self.assertEqual(self.ask("whole", "grown"), f"b:{SIZE + 4097}")

    def test_shrunk(self):
        late = self.open_and_change("shrunk", lambda: self.origin.write("shrunk", body("b", 70_000)))
        self.check_open_file("shrunk", late)
        self.refreshed("shrunk")
        self.assertEqual(self.ask("stat", "shrunk"), "70000")
        self.assertEqual(self.ask("whole", "shrunk"), "b:70000")

    def test_deleted(self):
        late = self.open_and_change("deleted", lambda: self.remove("deleted"))
        self.check_open_file("deleted", late)
        self.refreshed("deleted")
        self.assertEqual(self.ask("stat", "deleted"), ENOENT)
        self.assertEqual(self.ask("open", "deleted"), ENOENT)

    def test_deleted_and_made_again(self):
        def change():
            self.remove("again")
            self.origin.write("again", body("b", 1000))
        late = self.open_and_change("again", change)
        self.check_open_file("again", late)
        self.refreshed("again")
        self.assertEqual(self.ask("whole", "again"), "b:1000")

    def test_a_small_file_that_is_cached_as_a_whole(self):
        """The old version is read until its name is asked for again, and never a mix."""
        self.origin.write("small", body("a", 100_000))
        self.refreshed("small")
        self.assertEqual(self.ask("whole", "small"), "a:100000")
        self.assertEqual(self.ask("open", "small"), "opened")
        self.origin.write("small", body("b", 50_000))
        self.assertEqual(self.ask("whole", "small"), "a:100000", "its ttl is an hour")
        self.refreshed("small")
        self.assertEqual(self.ask("whole", "small"), "b:50000")
        self.assertEqual(self.ask("pread", "small", 0), "a:65536", "an open file stays what it was")

    def test_refresh_of_a_folder_shows_what_came_and_went(self):
        self.origin.write("folder/one", b"1")
        self.origin.write("folder/two", b"2")
        self.refreshed("folder")
        self.assertEqual(self.ask("list", "folder"), "one two")
        self.remove("folder/one")
        self.origin.write("folder/three", b"3")
        self.assertEqual(self.ask("list", "folder"), "one two")
        self.refreshed("folder")
        self.assertEqual(self.ask("list", "folder"), "three two")
        self.assertEqual(self.ask("stat", "folder/one"), ENOENT)
        self.assertEqual(self.ask("whole", "folder/three"), "3:1")


class TtlTest(ChangeTest):
    """The same without anybody saying so: `metadata_ttl` later."""

    ttl = "1s"

    def refreshed(self, name):
        time.sleep(1.3)

    def test_a_small_file_that_is_cached_as_a_whole(self):
        self.origin.write("small", body("a", 100_000))
        self.refreshed("small")
        self.assertEqual(self.ask("whole", "small"), "a:100000")
        self.assertEqual(self.ask("open", "small"), "opened")
        self.origin.write("small", body("b", 50_000))
        self.refreshed("small")
        self.assertEqual(self.ask("whole", "small"), "b:50000")
        self.assertEqual(self.ask("pread", "small", 0), "a:65536", "an open file stays what it was")

    def test_refresh_of_a_folder_shows_what_came_and_went(self):
        self.origin.write("folder/one", b"1")
        self.refreshed("folder")
        self.assertEqual(self.ask("stat", "folder/one"), "1")
        self.remove("folder/one")
        self.origin.write("folder/three", b"33")
        self.refreshed("folder")
        self.assertEqual(self.ask("stat", "folder/one"), ENOENT)
        self.assertEqual(self.ask("stat", "folder/three"), "2")


if __name__ == "__main__":
    e2e_base.main()
