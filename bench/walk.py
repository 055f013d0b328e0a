#!/usr/bin/env python3
"""A walk over many names: time, requests, and what the sidecar's memory holds.

    bench/walk.py --build build/release [--tops 20 --folders 1000 --files 50 | --tops 0 --files 1000000]
                  [--memory 1GiB] [--delay-ms 0] [--disk /var/tmp] [--command "ls -lR"]

The names come from a List server of the tests (tests/harness/penstock_harness/list_server.py), which makes
them up: no real server can be filled with a million blobs for a measurement. --tops 0 puts all files into one
folder. A command, `find -ls`, runs through the library, first over listings, twice, then over a snapshot, twice; with --disk
also over the same tree of empty files of the same sizes there, made for this, twice.

RSS is of penstockd, with the arena's pages; `beyond` is what is not arena in use, now and at its highest."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "harness"))


def memory_of(pid):
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return {name: int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")}


def mib(number):
    return f"{number / 2**20:.1f}"


def row(title, seconds, names, *rest):
    print("| " + " | ".join([title, f"{seconds:.1f} s", f"{names / seconds:,.0f}/s", *rest]) + " |", flush=True)


def enough(count, names):
    """find says a line for each name and one for the top; others more."""
    return int(count) >= names


def walk_job(job, server, covered, names, title, command):
    """One walk; what it cost."""
    before, started = server.counters(), time.monotonic()
    result = job.shell(f"{command.replace('{}', covered)} | wc -l", timeout=3600)
    seconds = time.monotonic() - started
    if result.returncode != 0 or not enough(result.stdout, names):
        sys.exit(f"{title}: {result.stdout!r} {result.stderr[-500:]!r}")
    after = server.counters()
    asked = {kind: after[kind] - before.get(kind, 0) for kind in after if after[kind] != before.get(kind, 0)}
    memory, used = memory_of(job.sidecar_pid()), job.stat()["arena_bytes_used"]
    row(title, seconds, names, " + ".join(f"{n} {kind}" for kind, n in sorted(asked.items())) or "none",
        mib(used), mib(memory["VmRSS"] - used), mib(memory["VmHWM"] - used))


def walk_disk(folder, tree, names, command):
    """The same tree on a file system, warm the second time."""
    root = tempfile.mkdtemp(prefix="penstock-walk-", dir=folder)
    try:
        made = set()
        for i in range(len(tree)):
            path = os.path.join(root, tree[i])
            parent = os.path.dirname(path)
            if parent not in made:
                os.makedirs(parent, exist_ok=True)
                made.add(parent)
            fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
            os.ftruncate(fd, tree.size(i))
            os.close(fd)
        for title in ("the same tree on disk, just made", "on disk, again"):
            started = time.monotonic()
            count = subprocess.run(["sh", "-c", f"{command.replace('{}', root)} | wc -l"],
                                   stdout=subprocess.PIPE, check=True)
            seconds = time.monotonic() - started
            assert enough(count.stdout, names), count.stdout
            row(title, seconds, names, "", "", "", "")
    finally:
        shutil.rmtree(root)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    for name, value in (("--tops", 20), ("--folders", 1000), ("--files", 50), ("--delay-ms", 0)):
        parser.add_argument(name, type=int, default=value)
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--disk", help="a folder on ext4")
    parser.add_argument("--command", default="find {} -ls", help="what walks {}")
    parser.add_argument("--only", choices=("lists", "snapshot"))
    options = parser.parse_args()
    os.environ["PENSTOCK_BUILD"] = os.path.realpath(options.build)
    from penstock_harness import Job, ListServer, Mount
    covered = "/data/walk"
    with ListServer(options.tops, options.folders, options.files, options.delay_ms) as server:
        keys = {"endpoint": server.endpoint, "metadata_ttl": "1h"}
        names = len(server.tree) + options.tops * (options.folders + 1)
        print(f"{len(server.tree):,} blobs" + (f" in {options.tops} x {options.folders:,} folders" if options.tops
                                               else " in one folder") +
              f"; arena {options.memory}, {options.delay_ms} ms for each answer\n")
        print(f"| `{options.command}` | time | names | requests | arena, MiB | RSS beyond, MiB | at most, MiB |\n"
              "|---|---|---|---|---|---|---|", flush=True)
        mount = Mount(covered, server.url, keys, auth="anon")
        with Job([mount], memory=options.memory) as job:
            if options.only != "snapshot":
                job.start()
                walk_job(job, server, covered, names, "listings, first pass", options.command)
                walk_job(job, server, covered, names, "listings, second pass", options.command)
                job.stop()
            if options.only != "lists":
                path = os.path.join(job.scratch, "walk.snapshot")
                result = job.execute([job.tool("penstock"), "snapshot", "create", "-c", job.config, "--json",
                                      covered, "-o", path], timeout=3600)
                if result.returncode != 0:
                    sys.exit(result.stderr.decode())
                made = json.loads(result.stdout)
                with Job([Mount(covered, server.url, dict(keys, snapshot=path), auth="anon")],
                         memory=options.memory) as other:
                    started = time.monotonic()
                    other.start()
                    ready = time.monotonic() - started
                    walk_job(other, server, covered, names, "snapshot, first pass", options.command)
                    walk_job(other, server, covered, names, "snapshot, second pass", options.command)
        if options.disk:
            walk_disk(options.disk, server.tree, names, options.command)
        if options.only != "lists":
            print(f"\n`penstock snapshot create`: {made['seconds']:.1f} s, {made['lists']} Lists, "
                  f"{made['manifest_bytes'] / made['files']:.1f} bytes a file; a sidecar with it is ready after "
                  f"{ready:.2f} s.")


if __name__ == "__main__":
    main()
