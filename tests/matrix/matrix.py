#!/usr/bin/env python3
"""Real programs on a plain folder and through Penstock: output, exit status and every file written must be the same.

    python3 tests/matrix/matrix.py [-k REGEX] [--full | --only-full] [--origin file|azurite] [--containers]
                                   [--jobs N] [--repeat N] [--list] [--keep] [--require-needs] [--lie LIBRARY]

One line a case, counts at the end. --repeat runs the covered side N times, the later ones warm. --require-needs makes a
missing program a failure instead of a skip. --keep leaves folders for a look. --lie preloads a library that spoils answers:
it is how must_bite.py proves that this finds what it looks for.
"""

import argparse
import concurrent.futures
import glob
import importlib
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from case import CASES, FIXTURES, case as register  # noqa: E402
from compare import differences, not_as_expected  # noqa: E402
from world import CONTAINER_PROGRAM, World  # noqa: E402
from penstock_harness import container_support  # noqa: E402

SKIPPED = 77      # ctest: could not run here


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("-k", default="", metavar="REGEX", help="cases whose file:name matches")
    parser.add_argument("--full", action="store_true", help="the long cases too")
    parser.add_argument("--only-full", action="store_true", help="the long cases alone")
    parser.add_argument("--origin", choices=("file", "azurite"), default="file")
    parser.add_argument("--containers", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--require-needs", action="store_true")
    parser.add_argument("--lie", metavar="LIBRARY")
    return parser.parse_args()


def load_cases():
    for path in sorted(glob.glob(os.path.join(HERE, "cases_*.py"))):
        name = os.path.basename(path)[:-3]
        register.group = name.removeprefix("cases_")
        importlib.import_module(name)


def chosen(options):
    for case in CASES.values():
        if not re.search(options.k, f"{case.group}:{case.name}"):
            continue
        if options.only_full and not case.full or case.full and not (options.full or options.only_full):
            continue
        if options.origin == "azurite" and not case.az or options.containers and (not case.containers or case.root):
            continue
        yield case


MODULES = {}


def has_module(name):
    """Whether python3 of the PATH, not the one that runs this, can import it."""
    if name not in MODULES:
        find = f"import importlib.util as u, sys; sys.exit(u.find_spec({name!r}) is None)"
        MODULES[name] = subprocess.run(["python3", "-c", find], capture_output=True).returncode == 0
    return MODULES[name]


def missing(case):
    """What the case needs and this machine lacks, or None."""
    needs = list(case.needs) + [need for name in case.data for need in getattr(FIXTURES[name], "needs", ())]
    for need in needs:
        if need.startswith("python:"):
            there = has_module(need.removeprefix("python:"))
        else:
            there = os.path.exists(need) if "/" in need else shutil.which(need)
        if not there:
            return need
    return "root" if case.root and os.geteuid() != 0 else None


def run_case(world, case, repeat):
    """(problems, seconds of the plain run, of the covered one)."""
    broken = [world.broken[name] for name in case.data if name in world.broken]
    if broken:
        return broken, 0.0, 0.0
    if case.differs:
        start = time.monotonic()
        covered = world.run_covered(case)
        problems = not_as_expected(case.differs, covered)
        world.forget(covered)
        return problems, 0.0, time.monotonic() - start
    start = time.monotonic()
    plain = world.run_plain(case)
    middle = time.monotonic()
    problems = []
    for turn in range(repeat):
        covered = world.run_covered(case)
        problems += [f"run {turn + 1}: {line}" if repeat > 1 else line for line in differences(case, plain, covered)]
        if problems:
            break
    end = time.monotonic()
    world.forget(plain, covered)
    return problems, middle - start, end - middle


class Tally:
    """Prints a line for each case and counts."""

    def __init__(self):
        self.passed, self.failed, self.skipped, self.expected = 0, [], [], 0

    def skip(self, case, need, is_error):
        name = f"{case.group}:{case.name}"
        (self.failed if is_error else self.skipped).append(name)
        print(f"{'FAILED ' if is_error else 'skipped'} {name}: needs {need}", flush=True)

    def report(self, case, problems, plain_s, covered_s):
        name = f"{case.group}:{case.name}"
        if problems:
            self.failed.append(name)
            print(f"FAILED  {name}", *problems[:12], sep="\n        ", flush=True)
        elif case.differs:
            self.expected += 1
            print(f"differs {name}: {case.differs.why}", flush=True)
        else:
            self.passed += 1
            print(f"same    {name} {plain_s:.2f} s, {covered_s:.2f} s", flush=True)

    def summary(self):
        for name in self.failed:
            print("FAILED:", name)
        print(f"{self.passed} the same, {self.expected} different as expected, {len(self.failed)} failed, "
              f"{len(self.skipped)} skipped")
        return 1 if self.failed or not self.passed + self.expected else 0


def main():
    options = arguments()
    load_cases()
    cases = list(chosen(options))
    if options.list:
        for case in cases:
            print(f"{case.group}:{case.name}{' (full)' if case.full else ''}")
        return 0
    if options.containers:
        reason = container_support(CONTAINER_PROGRAM)
        if reason:
            print("skipped:", reason)
            return SKIPPED
    tally, ready = Tally(), []
    for case in cases:
        need = missing(case)
        if need:
            tally.skip(case, need, options.require_needs and need != "root")
        else:
            ready.append(case)
    world = World({name for case in ready for name in case.data}, options.origin, options.containers, options.keep,
                  options.lie)
    try:
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            running = {pool.submit(run_case, world, case, options.repeat): case for case in ready}
            for done in concurrent.futures.as_completed(running):
                try:
                    tally.report(running[done], *done.result())
                except Exception as error:      # of the runner itself: the case has failed, the others go on
                    tally.report(running[done], [f"{type(error).__name__}: {error}"], 0, 0)
        for line in world.health():
            tally.failed.append(line)
    finally:
        world.close()
    return tally.summary()


if __name__ == "__main__":
    sys.exit(main())
