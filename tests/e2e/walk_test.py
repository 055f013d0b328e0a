"""Walks over trees: every name that is there and no other, and how few requests they take.

    python3 tests/e2e/walk_test.py [unittest arguments]
"""

import json
import os
import random
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor

import e2e_base
from e2e_base import COVERED, main
from penstock_harness import Azurite, Job, ListServer, Mount

PARTS = ["a", "a-b", "a.b", "b", "c d", "ü", "日本", "z+%", "Z"]


def find(job, status=0):
    result = job.run(["find", COVERED, "-mindepth", "1", "-printf", "%y %P\\t%s\\n"], timeout=300)
    if result.returncode != status:
        raise AssertionError(result.stderr[-2000:])
    return result.stdout.decode().splitlines()


class RealServerTest(unittest.TestCase):
    """A tree of names that sort in odd ways, in a real server."""

    def test_a_walk_shows_what_was_uploaded(self):
        seed = random.randrange(1 << 32)
        generator = random.Random(seed)
        names = {}
        for _ in range(1500):
            folder = [generator.choice(PARTS) for _ in range(generator.randrange(5))]
            names["/".join(folder + [f"f{generator.randrange(400)}"])] = generator.randrange(20)
        for i in range(40):
            for j in range(12):
                names[f"many/d{i}/x{j}"] = j
        with Azurite() as server:
            server.create_container("set")
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda one: server.put_blob("set", one[0], b"x" * one[1]), names.items()))
            folders = {name[:at] for name in names for at in range(len(name)) if name[at] == "/"}
            expected = sorted([f"f {name}\t{size}" for name, size in names.items()] +
                              [f"d {name}\t4096" for name in folders])
            mount = Mount(COVERED, f"az://{server.account}/set", {"endpoint": server.endpoint})
            with Job([mount], credentials=server.credentials()) as job:
                job.start()
                before = server.request_count("GET") + server.request_count("HEAD")
                self.assertEqual(sorted(find(job)), expected, f"seed {seed}")
                asked = server.request_count("GET") + server.request_count("HEAD") - before
                self.assertLess(asked, len(folders) / 2, f"seed {seed}, {len(folders)} folders")
                self.assertEqual(sorted(find(job)), expected, f"seed {seed}")
                path = os.path.join(job.scratch, "walk.snapshot")
                result = job.execute([job.tool("penstock"), "snapshot", "create", "-c", job.config,
                                      "--json", COVERED, "-o", path], env=job.credentials)
                made = json.loads(result.stdout)
                self.assertEqual((made["files"], made["directories"]), (len(names), len(folders)))


RSS_BESIDE_ARENA = 48 << 20
PAGE = 5000


def memory(job, field):
    with open(f"/proc/{job.sidecar_pid()}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(field + ":"))


class ScaleTest(unittest.TestCase):
    """Trees that a server of ours makes up."""

    def walk(self, tops, folders, files, arena="256MiB"):
        """Lists at most: a page for each 5,000 names, one for the folders of each top folder, three until it is
        known that this is a walk, and again what lies below the first top folder, which a listing of all of
        them begins with. No name is asked for by itself, none is asked for twice."""
        with ListServer(tops, folders, files) as server, \
                Job([Mount(COVERED, server.url, {"endpoint": server.endpoint, "metadata_ttl": "1h"},
                           auth="anon")], memory=arena) as job:
            tree = server.tree
            job.start()
            before = server.counters()
            lines = find(job)
            expected = len(tree) + (tops * (1 + folders) if tree.deep else 0)
            self.assertEqual(len(lines), expected)
            for i in (0, len(tree) // 3, len(tree) - 1):
                self.assertIn(f"f {tree[i]}\t{tree.size(i)}", lines)
            after = server.counters()
            asked = {kind: after[kind] - before.get(kind, 0) for kind in after}
            self.assertEqual(asked.get("head", 0), 0, asked)
            self.assertEqual(asked.get("get", 0), 0, asked)
            lists = asked.get("list", 0) + asked.get("list_flat", 0)
            least = -(-len(tree) // PAGE)
            # The look at the container when the sidecar starts may come a moment later.
            most = least + (tops + 3 - (-folders * files // PAGE) if tree.deep else 0) + 1
            self.assertLessEqual(lists, most, asked)
            self.assertGreaterEqual(lists, least, asked)
            self.assertEqual(len(find(job)), expected)
            self.assertEqual(server.counters(), after, "the second pass asks for nothing")
            used = job.counter("arena_bytes_used")
            self.assertLessEqual(memory(job, "VmRSS"), used + RSS_BESIDE_ARENA)
            self.assertLessEqual(memory(job, "VmHWM"), used + RSS_BESIDE_ARENA, "the most there ever was")

    def test_twenty_folders_of_a_hundred(self):
        self.walk(1, 20, 100)

    def test_many_small_folders(self):
        self.walk(10, 100, 20)

    def test_a_hundred_thousand_names(self):
        self.walk(10, 100, 100)

    def test_a_hundred_thousand_names_in_one_folder(self):
        self.walk(0, 0, 100_000)

    def test_a_folder_that_its_arena_cannot_hold(self):
        self.walk(0, 0, 100_000, arena="32MiB")

    def test_the_first_name_of_a_long_folder_comes_with_the_first_answer(self):
        with ListServer(0, 0, 100_000) as server, \
                Job([Mount(COVERED, server.url, {"endpoint": server.endpoint, "metadata_ttl": "1h"},
                           auth="anon")]) as job:
            job.start()
            before = server.counters().get("list", 0)
            first = job.run(["python3", "-c", "import os, sys; print(next(os.scandir(sys.argv[1])).name)", COVERED])
            self.assertEqual(first.stdout.decode().strip(), server.tree[0], first.stderr)
            # What is read ahead of a reader who has come no further.
            self.assertLessEqual(server.counters()["list"] - before, 4)
            # A name that has not come is asked for alone; one that has is not.
            result = job.run(["stat", "-c", "%s", f"{COVERED}/{server.tree[3]}", f"{COVERED}/{server.tree[99_000]}"])
            self.assertEqual(result.stdout.split(), [b"%d" % server.tree.size(i) for i in (3, 99_000)])
            self.assertEqual(server.counters().get("head", 0), 1)


if __name__ == "__main__":
    if e2e_base.CONTAINERS:
        sys.exit(e2e_base.SKIPPED)
    main()
