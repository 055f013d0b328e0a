#!/usr/bin/env python3
"""A walk over a tree of many names: time, requests, and what the sidecar's memory holds.

    bench/walk.py --build build/release [--tops 20 --folders 1000 --files 50] [--memory 1GiB] [--delay-ms 0]

The names come from a List server of the tests (tests/harness/penstock_harness/list_server.py), which makes
them up: no real server can be filled with a million blobs for a measurement. `find -ls` runs through the
library, first over listings, twice, then over a snapshot."""

import argparse
import json
import os
import resource
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "harness"))


def memory_of(pid):
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return {name: int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon", "RssFile", "RssShmem")}


def mib(number):
    return f"{number / 2**20:.1f} MiB"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    for name, value in (("--tops", 20), ("--folders", 1000), ("--files", 50), ("--delay-ms", 0)):
        parser.add_argument(name, type=int, default=value)
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--only", choices=("lists", "snapshot"))
    options = parser.parse_args()
    os.environ["PENSTOCK_BUILD"] = os.path.realpath(options.build)
    from penstock_harness import Job, ListServer, Mount
    covered = "/data/walk"
    with ListServer(options.tops, options.folders, options.files, options.delay_ms) as server:
        keys = {"endpoint": server.endpoint, "metadata_ttl": "1h"}
        names = len(server.tree) + options.tops * (options.folders + 1)

        def walk(job, title):
            before, started = server.counters(), time.monotonic()
            result = job.shell(f"find {covered} -ls | wc -l", timeout=3600)
            seconds = time.monotonic() - started
            if result.returncode != 0 or int(result.stdout) != names + 1:
                sys.exit(f"{title}: {result.stdout!r} {result.stderr[-500:]!r}")
            after = server.counters()
            asked = {kind: after[kind] - before.get(kind, 0) for kind in after
                     if after[kind] != before.get(kind, 0)}
            memory, stat = memory_of(job.sidecar_pid()), job.stat()
            beyond = memory["VmRSS"] - stat["arena_bytes_used"]
            print(f"| {title} | {seconds:.1f} s | {names / seconds:,.0f}/s | {asked or 'none'} | "
                  f"{mib(memory['VmRSS'])} | {mib(stat['arena_bytes_used'])} | {mib(beyond)} |", flush=True)

        print(f"{names:,} names: {len(server.tree):,} blobs in {options.tops * options.folders:,} folders of "
              f"{options.tops}; arena {options.memory}, {options.delay_ms} ms for each answer\n")
        print("| `find -ls` through the library | time | names | requests | RSS of penstockd | arena in use | "
              "RSS beyond it |\n|---|---|---|---|---|---|---|", flush=True)
        mount = Mount(covered, server.url, keys, auth="anon")
        with Job([mount], memory=options.memory) as job:
            if options.only != "snapshot":
                job.start()
                walk(job, "listings, first pass")
                walk(job, "listings, second pass")
                job.stop()
            path = os.path.join(job.scratch, "walk.snapshot")
            before = server.counters()
            result = job.execute([job.tool("penstock"), "snapshot", "create", "-c", job.config, "--json",
                                  covered, "-o", path], timeout=3600)
            if result.returncode != 0:
                sys.exit(result.stderr.decode())
            made, after = json.loads(result.stdout), server.counters()
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
            if options.only != "lists":
                with Job([Mount(covered, server.url, dict(keys, snapshot=path), auth="anon")],
                         memory=options.memory) as other:
                    started = time.monotonic()
                    other.start()
                    seconds = time.monotonic() - started
                    walk(other, "snapshot, first pass")
                    walk(other, "snapshot, second pass")
                    print(f"\nsidecar with the snapshot ready after {seconds:.2f} s")
        print(f"\n`penstock snapshot create`: {made['seconds']:.1f} s, {made['lists']} Lists "
              f"({ {k: after[k] - before.get(k, 0) for k in after} }), {mib(made['manifest_bytes'])} = "
              f"{made['manifest_bytes'] / made['files']:.1f} bytes a file, peak of all commands {mib(peak)}")


if __name__ == "__main__":
    main()
