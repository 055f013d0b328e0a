"""The cases of bench/cold: ours and the bare client take turns on one freshly started Azurite."""

import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

from penstock_harness import Azurite, Job, Mount

FILE_BYTES = 128 << 10
BIG_BYTES = 256 << 20
BLOCK = 4096
CONTAINER = "cold"
CONCURRENCIES = (2, 4, 8, 16, 32)


def median(values):
    return statistics.median(values)


class Place:
    """Azurite with the data set, the two programs, and a scratch folder."""

    def __init__(self, options, say):
        self.options = options
        self.say = say
        self.bin = pathlib.Path(os.environ["PENSTOCK_BUILD"]) / "bin"
        self.scratch = tempfile.mkdtemp(prefix="pst-cold-", dir="/tmp")
        self.files = [f"files/{i * options.folders // options.files:02d}/{i:04d}.bin"
                      for i in range(options.files)]
        self.big = "big/big.bin"
        self.server = Azurite()
        self.best = {}

    def close(self):
        self.server.stop()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def contents(self):
        """(name, bytes) of every file."""
        def bytes_of(first, count, size):
            return subprocess.run([str(self.bin / "cold_reader"), "make", str(first), str(count),
                                   str(size)], check=True, stdout=subprocess.PIPE).stdout

        data = memoryview(bytes_of(0, len(self.files), FILE_BYTES))
        for number, name in enumerate(self.files):
            yield name, data[number * FILE_BYTES:(number + 1) * FILE_BYTES]
        yield self.big, bytes_of(len(self.files), 1, BIG_BYTES)

    def fill(self):
        self.server.create_container(CONTAINER)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda item: self.server.put_blob(CONTAINER, *item), self.contents()))

    # ---- the bare client

    def request_line(self, name, first=None, last=None):
        path = f"/{self.server.account}/{CONTAINER}/{name}"
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02",
                   "Content-Length": "0"}
        if first is not None:
            headers["x-ms-range"] = f"bytes={first}-{last}"
        headers["Authorization"] = self.server._sign("GET", path, {}, headers)
        del headers["Content-Length"]
        return "\t".join([f"http://127.0.0.1:{self.server.port}{path}",
                          *[f"{name}: {value}" for name, value in headers.items()]])

    def bare(self, lines, concurrency, rounds=1):
        path = os.path.join(self.scratch, "requests")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        done = subprocess.run([str(self.bin / "wire_bare"), path, str(concurrency), str(rounds)],
                              stdout=subprocess.PIPE, timeout=120, check=True)
        return json.loads(done.stdout)

    def ceiling(self, case, make_lines):
        """One run of the bare client at the concurrency that is best for this case."""
        if case not in self.best:
            found = {}
            for concurrency in CONCURRENCIES:
                found[concurrency] = min(self.bare(make_lines(), concurrency)["seconds"]
                                         for _ in range(2))
            self.best[case] = min(found, key=found.get)
            self.say(f"{case}: bare client " + ", ".join(
                f"{concurrency}: {seconds:.2f} s" for concurrency, seconds in found.items()))
        return self.bare(make_lines(), self.best[case])

    # ---- ours

    def cold_job(self):
        return Job([Mount("/data/cold", f"az://{self.server.account}/{CONTAINER}",
                          {"endpoint": f"http://127.0.0.1:{self.server.port}/{self.server.account}",
                           "metadata_ttl": "600s"})],
                   credentials=self.server.credentials(), memory="1GiB", nvme="2GiB")

    def list_file(self, names, root="/data/cold"):
        numbers = {name: i for i, name in enumerate(self.files)} | {self.big: len(self.files)}
        path = os.path.join(self.scratch, "list")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"{numbers[name]} {root}/{name}\n" for name in names)
        return path

    def read(self, job, what, names, *arguments):
        done = job.run([str(self.bin / "cold_reader"), what, self.list_file(names),
                        *map(str, arguments)])
        if done.returncode != 0:
            raise RuntimeError(f"cold_reader: {done.stderr.decode()}\n{job.read_log()}")
        return json.loads(done.stdout)

    def ours(self, what, names, *arguments, counters=False, settled=False):
        """One run with a new sidecar; `settled`: after its own question, whether the origin answers."""
        with self.cold_job() as job:
            job.start()
            for _ in range(200):
                if not settled or job.counter("origin_requests") > 0:
                    break
                time.sleep(0.05)
            if settled:
                time.sleep(0.5)
            before = (job.counter("origin_requests"), job.counter("origin_bytes_read"))
            result = self.read(job, what, names, *arguments)
            if counters:
                result["requests"] = job.counter("origin_requests") - before[0]
                result["moved"] = job.counter("origin_bytes_read") - before[1]
            if self.options.keep_log:
                pathlib.Path(self.options.keep_log).write_text(
                    job.read_log() + json.dumps(job.stat(), indent=1), encoding="utf-8")
        return result


def shuffled(place, round_number):
    names = list(place.files)
    random.Random(place.options.seed + round_number).shuffle(names)
    return names


def against_ceiling(place, case, bar, make_lines, run_ours, unit, amount):
    """Rates of ours and of the bare client, in turns; the ratio of the medians."""
    ours, bare, requests = [], [], []
    for number in range(place.options.rounds):
        bare.append(amount / place.ceiling(case, lambda: make_lines(number))["seconds"])
        result = run_ours(number)
        ours.append(amount / result["seconds"])
        requests.append(result.get("requests"))
    ratio = median(ours) / median(bare)
    return {"case": case, "ours": round(median(ours), 2), "ceiling": round(median(bare), 2),
            "unit": unit, "concurrency": place.best[case], "ratio": round(ratio, 3),
            "rounds": [round(a / b, 3) for a, b in zip(ours, bare)], "requests": requests[-1],
            "bar": f">= {bar}", "pass": ratio >= bar}


def order(place):
    return [against_ceiling(
        place, "order", 0.9, lambda _: [place.request_line(name) for name in place.files],
        lambda _: place.ours("files", place.files, 1, counters=True), "files/s", len(place.files))]


def shuffle(place):
    return [against_ceiling(
        place, "shuffle", 0.9,
        lambda n: [place.request_line(name) for name in shuffled(place, n)],
        lambda n: place.ours("files", shuffled(place, n), 8, counters=True), "files/s",
        len(place.files))]


def seq(place):
    step = 4 << 20
    lines = [place.request_line(place.big, at, at + step - 1) for at in range(0, BIG_BYTES, step)]
    return [against_ceiling(place, "seq", 0.9, lambda _: lines,
                            lambda _: place.ours("seq", [place.big], counters=True), "MB/s",
                            BIG_BYTES / 1e6)]


def random_reads(place):
    moved, seconds = [], []
    for number in range(place.options.rounds):
        result = place.ours("random", [place.big], 200, place.options.seed + number, counters=True)
        moved.append(result["moved"] / (1 << 20))
        seconds.append(result["seconds"])
    return [{"case": "random", "ours": round(max(moved), 2), "unit": "MiB moved", "bar": "<= 16",
             "pass": max(moved) <= 16, "milliseconds": round(median(seconds) * 1e3, 1)}]


def open4k(place):
    trips, busy_trips, times, requests, moved = [], [], [], [], []
    line = place.request_line(place.big, 0, BLOCK - 1)
    for _ in range(place.options.rounds):
        busy_trips.append(place.bare([line], 1, 50)["p50_ms"])
        time.sleep(0.5)  # as ours finds the server: with nothing to do for a while, asked once
        trips.append(place.bare([line], 1)["p50_ms"])
        result = place.ours("open4k", [place.big], counters=True, settled=True)
        times.append(result["seconds"] * 1e3)
        requests.append(result["requests"])
        moved.append(result["moved"])
    ratio = median(times) / median(trips)
    good = ratio <= 2 and max(requests) <= 2 and max(moved) <= 1 << 20
    return [{"case": "open", "ours": round(median(times), 2), "ceiling": round(median(trips), 2),
             "unit": "ms (a bare GET of 4 KiB)", "ratio": round(ratio, 2),
             "one_of_50_in_a_row": round(median(busy_trips), 2),
             "requests": max(requests), "moved": max(moved),
             "bar": "<= 2 trips, 2 requests, 1 MiB", "pass": good}]


def requests(place):
    """What the server itself has answered: GETs of blobs and Lists apart."""
    def count(log, begin):
        lines = [line for line in log[begin:].splitlines() if '"GET /' in line]
        lists = sum("comp=list" in line for line in lines)
        return len(lines) - lists, lists

    def listing(job):
        done = job.run(["ls", "-lR", "/data/cold/files"])
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())

    with place.cold_job() as job:
        job.start()
        marks = [len(place.server.access_log())]
        for _ in range(2):  # as programs do: look what there is, then read it
            listing(job)
            place.read(job, "files", place.files, 1, "verify")
            marks.append(len(place.server.access_log()))
        for _ in range(20):
            listing(job)
        log = place.server.access_log()
    first, second, listings = (count(log[:end], begin) for begin, end in
                               zip(marks, [*marks[1:], len(log)]))
    good = first[0] <= len(place.files) and first[1] <= 25 and second == listings == (0, 0)
    return [{"case": "requests", "ours": f"{first[0]} GET + {first[1]} List", "unit": "",
             "second_pass": second, "twenty_listings": listings,
             "bar": f"<= {len(place.files)} GET + 25 List, then 0", "pass": good}]


CASES = {"order": order, "shuffle": shuffle, "seq": seq, "random": random_reads, "open": open4k,
         "requests": requests}


def measure(options, say):
    place = Place(options, say)
    try:
        say("filling Azurite")
        place.fill()
        results = []
        for case in options.case or CASES:
            say(case)
            results += CASES[case](place)
            say(json.dumps(results[-1]))
        return results
    finally:
        place.close()


def show(results):
    lines = ["| cold work | ours | ceiling | ratio (rounds) | bar | |", "|---|---|---|---|---|---|"]
    for result in results:
        rounds = result.get("rounds")
        spread = f" ({min(rounds)}-{max(rounds)})" if rounds else ""
        ceiling = f"{result['ceiling']}" if "ceiling" in result else "-"
        lines.append(f"| {result['case']} | {result['ours']} {result['unit']} | {ceiling} | "
                     f"{result.get('ratio', '-')}{spread} | {result['bar']} | "
                     f"{'PASS' if result['pass'] else 'FAIL'} |")
    return "\n".join(lines)
