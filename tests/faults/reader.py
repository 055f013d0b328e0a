"""A program that reads below a covered path and compares every byte with a plain copy.

    reader.py COVERED PLAIN

Takes one JSON object a line on stdin and answers each with one on stdout, so that the same process is
there before, during and after a fault:

    {"names": [...], "how": "read"|"random"|"mmap"|"stat"|"list", "threads": 4, "seed": 1, "seconds": 0,
     "split": false}

`seconds` 0 goes through the names once, in an order drawn from the seed; else again and again until then. With `split`
each thread takes a part of the names; else each goes through all of them.
Answer: bytes compared, files that were right as a whole, wrong (what and where), errors by errno and the last of them, the
slowest single system call, how many reads were short before the end (as one is where what follows could
not be had), and the whole time, in seconds."""

import errno
import json
import mmap
import os
import random
import sys
import threading
import time

COVERED, PLAIN = sys.argv[1], sys.argv[2]


class Tally:
    def __init__(self):
        self.lock = threading.Lock()
        self.bytes = self.right = self.short = 0
        self.wrong, self.errors, self.failed, self.slowest = [], {}, [], 0.0

    def timed(self, call, *arguments, **keywords):
        begin = time.monotonic()
        try:
            return call(*arguments, **keywords)
        finally:
            took = time.monotonic() - begin
            with self.lock:
                self.slowest = max(self.slowest, took)


def expected(name):
    with open(os.path.join(PLAIN, name), "rb") as file:
        return file.read()


def compare(tally, name, at, got, want):
    if got != want:
        first = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        with tally.lock:
            tally.wrong.append(f"{name} at {at + first}: {len(got)} bytes, {len(want)} expected")
        return False
    with tally.lock:
        tally.bytes += len(got)
    return True


def compare_piece(tally, name, at, got, want, size):
    """What a read of `size` bytes at `at` gave."""
    whole = want[at:at + size]
    if got and len(got) < len(whole):
        with tally.lock:
            tally.short += 1
        whole = whole[:len(got)]
    return compare(tally, name, at, got, whole)


def by_read(tally, generator, name, want):
    fd = tally.timed(os.open, os.path.join(COVERED, name), os.O_RDONLY)
    try:
        at, good = 0, True
        while good:
            size = generator.choice([4096, 65536, 100_001, 1 << 20])
            got = tally.timed(os.read, fd, size)
            good = compare_piece(tally, name, at, got, want, size)
            at += len(got)
            if not got:
                break
        return good
    finally:
        os.close(fd)


def by_random(tally, generator, name, want):
    fd = tally.timed(os.open, os.path.join(COVERED, name), os.O_RDONLY)
    try:
        good = True
        for _ in range(12):
            at, size = generator.randrange(len(want) + 1), generator.choice([1, 4096, 70_000])
            good &= compare_piece(tally, name, at, tally.timed(os.pread, fd, size, at), want, size)
        return good
    finally:
        os.close(fd)


def by_mmap(tally, _, name, want):
    fd = tally.timed(os.open, os.path.join(COVERED, name), os.O_RDONLY)
    try:
        if not want:
            return True
        with tally.timed(mmap.mmap, fd, len(want), prot=mmap.PROT_READ) as mapping:
            return compare(tally, name, 0, bytes(mapping), want)
    finally:
        os.close(fd)


def by_stat(tally, _, name, want):
    return compare(tally, name, 0, str(tally.timed(os.stat, os.path.join(COVERED, name)).st_size),
                   str(len(want)))


def by_list(tally, _, name, __):
    return compare(tally, name, 0, sorted(tally.timed(os.listdir, os.path.join(COVERED, name))),
                   sorted(os.listdir(os.path.join(PLAIN, name))))


HOW = {"read": by_read, "random": by_random, "mmap": by_mmap, "stat": by_stat, "list": by_list}


def work(order, tally, number, until):
    generator = random.Random(order.get("seed", 0) * 1000 + number)
    names, how = order["names"], order["how"]
    if order.get("split"):
        names = names[number::order["threads"]]
    while True:
        for name in generator.sample(names, len(names)):
            one = how if isinstance(how, str) else generator.choice(how)
            want = b"" if one == "list" else expected(name)
            try:
                if HOW[one](tally, generator, name, want):
                    with tally.lock:
                        tally.right += 1
            except OSError as error:
                key = errno.errorcode.get(error.errno, str(error.errno))
                with tally.lock:
                    tally.errors[key] = tally.errors.get(key, 0) + 1
                    tally.failed.append(f"{key} {one} {name}")
            if until and time.monotonic() >= until:
                return
        if not until:
            return


def main():
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        tally = Tally()
        begin = time.monotonic()
        until = begin + order["seconds"] if order.get("seconds") else 0
        threads = [threading.Thread(target=work, args=(order, tally, i, until))
                   for i in range(order.get("threads", 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(json.dumps({"bytes": tally.bytes, "right": tally.right, "short": tally.short, "wrong": tally.wrong[:5],
                          "errors": tally.errors, "failed": tally.failed[-3:], "slowest": tally.slowest,
                          "took": time.monotonic() - begin}), flush=True)


main()
