"""The cases of bench/peers: every target that is here takes its turn in every round, on one freshly
started Azurite, whose own log says what it was asked and whose process what it sent."""

import contextlib
import json
import os
import platform
import statistics
import time
import xml.etree.ElementTree

from . import chart
from .cold import BIG_BYTES, BLOCK, Place, shuffled
from .targets_cold import Missing, every

BARE = "bare client"
RANDOM_READS = 200
MIB = 1 << 20

# case: (what it is, unit, key of the figure)
CASES = {
    "order": ("2,000 files of 128 KiB in order, one thread", "files/s", "rate"),
    "shuffle": ("the same shuffled, 8 workers", "files/s", "rate"),
    "seq": ("256 MiB sequential", "MB/s", "rate"),
    "random": ("200 random reads of 4 KiB in 256 MiB", "MiB moved", "moved"),
    "open": ("open + first 4 KiB", "ms", "ms"),
    "requests": ("requests: ls -lR and read 2,000 files; again; 20 ls -lR", "", None),
}


# ---- what the server says

def count(log):
    """(GETs of blobs, Lists, other requests) that lines of Azurite's access log tell of."""
    lines = [line for line in log.splitlines() if ' HTTP/1.1" ' in line]
    gets = [line for line in lines if '"GET /' in line]
    lists = sum("comp=list" in line for line in gets)
    return len(gets) - lists, lists, len(lines) - len(gets)


class Served:
    """What the server has answered and sent since; waits until it does nothing more, so that what a
    target reads ahead counts too."""

    def __init__(self, server):
        self.server = server
        self.log_bytes, self.sent = len(server.access_log()), self.bytes_written()

    def bytes_written(self):
        """Bytes given to write(2): sockets, and a line of the log for each request."""
        with open(f"/proc/{self.server.pid}/io", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("wchar"))

    def now(self, quiet_s=0.3, deadline_s=10):
        last, since, end = self.bytes_written(), time.monotonic(), time.monotonic() + deadline_s
        while time.monotonic() < min(since + quiet_s, end):
            time.sleep(0.02)
            if self.bytes_written() != last:
                last, since = self.bytes_written(), time.monotonic()
        log = self.server.access_log()[self.log_bytes:]
        return {"moved": (last - self.sent - len(log)) / MIB, "requests": count(log)}


# ---- one pass of one target

def read(place, run, root, what, names, *arguments):
    done = run([str(place.bin / "cold_reader"), what, place.list_file(names, root),
                *map(str, arguments)])
    if done.returncode != 0:
        raise RuntimeError(f"cold_reader {what}: {done.stderr.decode()}")
    return json.loads(done.stdout)


def listing(run, root):
    done = run(["ls", "-lR", f"{root}/files"])
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode())


def one_pass(place, target, case, number):
    seed = place.options.seed + number
    with target.cold() as (run, root):
        served = Served(place.server)
        if case == "requests":
            counts = []
            for _ in range(2):  # as programs do: look what there is, then read it
                listing(run, root)
                read(place, run, root, "files", place.files, 1, "verify")
                counts.append(served.now()["requests"])
                served = Served(place.server)
            for _ in range(20):
                listing(run, root)
            return {"passes": [*counts, served.now()["requests"]]}
        names, what, arguments, amount = {
            "order": (place.files, "files", [1], len(place.files)),
            "shuffle": (shuffled(place, number), "files", [8], len(place.files)),
            "seq": ([place.big], "seq", [], BIG_BYTES / 1e6),
            "random": ([place.big], "random", [RANDOM_READS, seed], RANDOM_READS),
            "open": ([place.big], "open4k", [], 1)}[case]
        seconds = read(place, run, root, what, names, *arguments)["seconds"]
        return {"ms": seconds * 1e3, "rate": amount / seconds, **served.now()}


def bare_pass(place, case, number):
    """The bare client's turn; None where it would measure nothing."""
    if case == "open":
        time.sleep(0.5)  # the server as the others find it: with nothing to do for a while
        return {"ms": place.bare([place.request_line(place.big, 0, BLOCK - 1)], 1)["p50_ms"]}
    step = 4 * MIB
    lines = {
        "order": lambda: [place.request_line(name) for name in place.files],
        "shuffle": lambda: [place.request_line(name) for name in shuffled(place, number)],
        "seq": lambda: [place.request_line(place.big, at, at + step - 1)
                        for at in range(0, BIG_BYTES, step)]}.get(case)
    if lines is None:
        return None
    amount = BIG_BYTES / 1e6 if case == "seq" else len(place.files)
    return {"rate": amount / place.ceiling(case, lines)["seconds"]}


def one_round(place, targets, case, number, say):
    found = {}
    bare = bare_pass(place, case, number)
    if bare:
        found[BARE] = bare
    turns = targets[number % len(targets):] + targets[:number % len(targets)]
    for target in turns:
        found[target.name] = one_pass(place, target, case, number)
    for figures in found.values():
        figures["load"] = round(os.getloadavg()[0], 2)
    say(f"{case}, round {number + 1}: {json.dumps(found)}")
    return found


def machine():
    return (f"{os.cpu_count()} CPUs, {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >> 30}"
            f" GiB, Linux {platform.release()}")


def measure(options, say):
    with contextlib.ExitStack() as stack:
        place = Place(options, say)
        stack.callback(place.close)
        say(f"seed {options.seed}, {machine()}, load {os.getloadavg()[0]:.2f}; filling Azurite")
        place.fill()
        targets, found = [], {"seed": options.seed, "machine": machine(), "versions": {},
                              "skipped": {}, "cases": {}}
        for target in every(place):
            try:
                found["versions"][target.name] = target.what()
            except Missing as missing:
                found["skipped"][target.name] = str(missing)
                say(f"{target.name} is skipped: it is not here; {missing}")
                continue
            stack.callback(target.close)
            target.fill()
            targets.append(target)
        for case in options.case or CASES:
            for number in range(1 if case == "requests" else options.rounds):
                for name, figures in one_round(place, targets, case, number, say).items():
                    found["cases"].setdefault(case, {}).setdefault(name, []).append(figures)
        return found


# ---- what is shown

def merged(parts):
    """Several runs as one: the rounds of a case one after the other."""
    whole = {"seed": parts[0]["seed"], "machine": parts[0]["machine"], "versions": {},
             "skipped": {}, "cases": {}}
    for part in parts:
        whole["versions"] |= part["versions"]
        whole["skipped"] |= part["skipped"]
        for case, by_target in part["cases"].items():
            for name, rounds in by_target.items():
                whole["cases"].setdefault(case, {}).setdefault(name, []).extend(rounds)
    whole["skipped"] = {name: how for name, how in whole["skipped"].items()
                        if name not in whole["versions"]}
    return whole


def names_of(found):
    return [BARE, *found["versions"]]


def median(rounds, key):
    return statistics.median(one[key] for one in rounds)


def text_of(counts):
    gets, lists, others = counts
    parts = [f"{gets:,} GET"] * (gets > 0) + [f"{lists:,} List"] * (lists > 0) + \
        [f"{others:,} other"] * (others > 0)
    return " + ".join(parts) or "0"


def cell(case, rounds):
    if not rounds:
        return "-"
    if case == "requests":
        return "; ".join(map(text_of, rounds[-1]["passes"]))
    key = CASES[case][2]
    values = [one[key] for one in rounds]
    text = f"{statistics.median(values):.4g} ({min(values):.4g}-{max(values):.4g})"
    if case == "random":
        text += f", {median(rounds, 'ms'):.4g} ms"
    if case == "open" and "moved" in rounds[0]:
        most = max(rounds, key=lambda one: sum(one["requests"]))["requests"]
        text += f", {text_of(most)}, {median(rounds, 'moved'):.3g} MiB"
    return text


def show(found):
    names = names_of(found)
    lines = ["| cold work | " + " | ".join(names) + " | rounds | load |",
             "|---|" + "---|" * (len(names) + 2)]
    for case, (what, unit, _) in CASES.items():
        by_target = found["cases"].get(case)
        if not by_target:
            continue
        all_rounds = [one for rounds in by_target.values() for one in rounds]
        loads = [one["load"] for one in all_rounds]
        lines.append(" | ".join(
            [f"| {what}{', ' + unit if unit else ''}",
             *(cell(case, by_target.get(name)) for name in names),
             str(max(map(len, by_target.values()))), f"{min(loads)}-{max(loads)} |"]))
    lines += ["", "Median (least-most) of the rounds. " + "; ".join(
        f"{name}: {version}" for name, version in found["versions"].items())]
    lines += [f"Skipped, because it is not here: {name}. To get it: {how}"
              for name, how in found["skipped"].items()]
    return "\n".join(lines)


def panels(found):
    """What chart.draw() draws: the cases that have a figure."""
    return [(f"{what}, {unit} ({'more' if key == 'rate' else 'less'} is better)",
             {name: median(by_target[name], key) for name in names_of(found) if name in by_target})
            for case, (what, unit, key) in CASES.items()
            if key and (by_target := found["cases"].get(case))]


def self_check():
    """What counts and shows, on an invented log and invented figures."""
    start = '127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] "'
    log = "\n".join(["Azurite Blob service is starting on 127.0.0.1:1"] + [
        f'{start}{request} HTTP/1.1" 200 -' for request in (
            "GET /a/cold?restype=container&comp=list", "GET /a/cold/x", "GET /a/cold/y", "HEAD /a/c/x",
            "GET /a/cold?comp=list&marker=1")])
    assert count(log) == (2, 2, 1), count(log)
    assert text_of((2000, 21, 0)) == "2,000 GET + 21 List" and text_of((0, 0, 0)) == "0"
    figures = [{"ms": 2.0, "rate": rate, "moved": 0.5, "requests": (1, 0, 0), "load": 1.0}
               for rate in (300.0, 100.0)]
    part = {"seed": 1, "machine": "m", "versions": {"penstock": "1"}, "skipped": {"peer & co": "how"},
            "cases": {case: {"penstock": figures} for case in CASES if case != "requests"}}
    part["cases"]["requests"] = {"penstock": [{"passes": [(5, 1, 0), (0,) * 3, (0, 0, 2)], "load": 1}]}
    part["cases"]["order"][BARE] = [{"rate": 400.0, "load": 2.0}]
    found = merged([part, {**part, "versions": {"penstock": "1", "peer & co": "2"}, "cases": {
        "order": {"peer & co": figures, "penstock": [dict(figures[0], rate=500.0)]}}}])
    table = show(found).splitlines()
    assert table[2].startswith(f"| {CASES['order'][0]}, files/s | 400 (400-400) | 300 (100-500) | "
                               "200 (100-300) | 3 | 1.0-2.0 |"), table[2]
    assert "| 2 (2-2), 1 GET, 0.5 MiB | - | 2 |" in table[6], table[6]
    assert "| 5 GET + 1 List; 0; 2 other | - | 1 |" in table[7], table[7]
    assert "Skipped" not in table[-1] and show(part).endswith("peer & co. To get it: how")
    drawing = xml.etree.ElementTree.fromstring(chart.draw(panels(found)))
    bars = drawing.findall(".//{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 1 + 3 + 4, len(bars)
    print("1 passed, 0 failed")
    return 0
