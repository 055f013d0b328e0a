"""Accounts with a hierarchical namespace: detection, listings by the dfs endpoint, empty directories. Azurite
has none: the server is ours and answers in the shapes of the public REST reference.

    python3 tests/e2e/hierarchical_test.py [unittest arguments]
"""

import os
import sys
import unittest

import e2e_base
from e2e_base import COVERED, main
from penstock_harness import DfsServer, Job, Mount

ENTRIES = {"a": None, "a/empty": None, "a/deep": None, "a/deep/er": None, "plain.txt": b"plain",
           "a/deep/er/x y+z&%.bin": b"strange", "a/file": b"f" * 200_000, "a-b": b"beside", "ü": None,
           "ü/日本": b"unicode"}
for number in range(25):
    ENTRIES[f"a/many{number:02}"] = b"%d" % number


class HierarchicalTest(unittest.TestCase):
    def job(self, server, **keys):
        return Job([Mount(COVERED, server.url, dict(server.mount_keys(), **keys), auth="anon")])

    def walk(self, job):
        result = job.run(["find", COVERED, "-printf", "%y %s %P\\n"])
        self.assertEqual(result.returncode, 0, result.stderr)
        return set(result.stdout.decode().splitlines())

    def expected(self):
        files = {f"f {len(data)} {name}" for name, data in ENTRIES.items() if data is not None}
        return files | {f"d 4096 {name}" for name, data in ENTRIES.items() if data is None} | {"d 4096 "}

    def check(self, job, server):
        self.assertEqual(self.walk(job), self.expected())
        result = job.run(["cat", f"{COVERED}/a/deep/er/x y+z&%.bin", f"{COVERED}/ü/日本"])
        self.assertEqual(result.stdout, b"strangeunicode", result.stderr)
        result = job.shell(f"ls {COVERED}/nothing; ls {COVERED}/plain.txt/x; ls -A {COVERED}/a/empty")
        self.assertEqual(result.stdout, b"")
        self.assertIn(b"No such file", result.stderr)
        self.assertIn(b"Not a directory", result.stderr)
        result = job.run(["stat", "-c", "%F %Y", f"{COVERED}/a"])
        self.assertEqual(result.stdout, b"directory 1772366400\n", result.stderr)

    def test_is_noticed_and_listed_by_the_dfs_endpoint(self):
        with DfsServer(ENTRIES, page=7) as server, self.job(server) as job:
            job.start()
            self.check(job, server)
            asked = [values for service, _, _, values in server.seen
                     if service == "dfs" and values.get("resource") == "filesystem"]
            self.assertTrue(any("continuation" in values for values in asked))
            self.assertEqual(sum(values.get("action") == "getAccessControl"
                                 for *_, values in server.seen), 1)

    def test_a_flat_account_is_listed_by_blob(self):
        flat = {name: data for name, data in ENTRIES.items() if data is not None}
        with DfsServer(flat, hierarchical=False) as server, self.job(server) as job:
            job.start()
            self.assertEqual({line for line in self.walk(job) if line[0] == "f"},
                             {line for line in self.expected() if line[0] == "f"})
            self.assertFalse([1 for service, _, _, values in server.seen
                              if service == "dfs" and values.get("resource")])

    def test_answers_that_make_no_sense_lead_back_to_blob(self):
        with DfsServer(ENTRIES) as server, self.job(server) as job:
            server.break_lists()
            job.start()
            self.check(job, server)

    def test_a_snapshot_of_it(self):
        with DfsServer(ENTRIES) as server, self.job(server) as job:
            path = os.path.join(job.scratch, "hns.snapshot")
            result = job.execute([job.tool("penstock"), "snapshot", "create", "-c", job.config, COVERED,
                                  "-o", path])
            self.assertEqual(result.returncode, 0, result.stderr)
            with self.job(server, snapshot=path) as other:
                other.start()
                before = len(server.seen)
                self.assertEqual(self.walk(other), self.expected())
                self.assertEqual(len(server.seen), before)


if __name__ == "__main__":
    if e2e_base.CONTAINERS:
        sys.exit(e2e_base.SKIPPED)
    main()
