"""The claims beside the table: instructions per uncovered read, start-up, scaling, memory."""

import os
import pathlib
import re
import shutil
import statistics
import subprocess
import time

from .targets import BenchError, check_output, cpu_ticks

BAR_UNCOVERED_INSTRUCTIONS = 15
BAR_PRELOAD_MS = 0.3
BAR_PROCS = 0.95
BAR_OVERHEAD_MIB = 48
BAR_PAGE_TABLES = 0.003
IDLE_SECONDS = 10


def result(name, value, bar, passed, **more):
    return {"claim": name, "value": value, "bar": bar, "pass": passed, **more}


# ---- uncovered ----

def count_instructions(command, env):
    """User-space instructions of a whole process: by callgrind, since virtual machines often have
    no hardware counters."""
    if shutil.which("valgrind") is None:
        raise BenchError("uncovered needs valgrind")
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
        env=env, capture_output=True, text=True, timeout=300, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None:
        raise BenchError(f"callgrind: {done.stderr.strip()[-500:]}")
    return int(found.group(1))


def instructions_per_read(bench, env):
    few, many = 10_000, 60_000
    counts = [count_instructions([str(bench), "uncovered", "/", "--count", str(n)], env)
              for n in (few, many)]
    return (counts[1] - counts[0]) / (many - few)


def uncovered(workplace, _options):
    plain = dict(os.environ)
    bare = instructions_per_read(workplace.bench, plain)
    shimmed = instructions_per_read(workplace.bench, plain | workplace.penstock.environment())
    added = shimmed - bare
    return [result("uncovered: instructions added to a read", round(added, 2),
                   f"<= {BAR_UNCOVERED_INSTRUCTIONS}", added <= BAR_UNCOVERED_INSTRUCTIONS,
                   without=round(bare, 2), with_shim=round(shimmed, 2))]


# ---- preload ----

def preload(workplace, options):
    """`true`, started again and again: bare, with an empty library, with the shim without its
    environment, and as `penstock env` sets it. env(1) stands before all four."""
    environment = workplace.penstock.environment()
    empty = workplace.build / "lib" / "libpst_bench_empty.so"
    variants = {
        "bare": ["PST_NOTHING=1"],
        "empty library": [f"LD_PRELOAD={empty}"],
        "shim, no environment": [f"LD_PRELOAD={environment['LD_PRELOAD']}"],
        "shim": [f"{name}={value}" for name, value in environment.items()],
    }
    times = {name: [] for name in variants}
    for _ in range(max(options.rounds, 15)):
        for name, settings in variants.items():
            command = workplace.ext4.command("spawn", "--count", 40)
            found = check_output([*command, "--", "/usr/bin/env", *settings, "/bin/true"])
            times[name].append(float(re.search(r'"p50_ns": ([\d.]+)', found).group(1)) / 1e6)
    # The lower quartile of the rounds' medians: other programs on the machine can only add to them.
    medians = {name: statistics.quantiles(each, n=4)[0] for name, each in times.items()}
    added = medians["shim"] - medians["bare"]
    return [result("preload: ms added to true", round(added, 3), f"<= {BAR_PRELOAD_MS}",
                   added <= BAR_PRELOAD_MS,
                   quartiles_ms={name: round(value, 3) for name, value in medians.items()})]


# ---- procs ----

def procs(workplace, options):
    out = []
    for target in (workplace.penstock.target, workplace.ext4, workplace.tmpfs):
        rates = {2: [], 16: []}
        for _ in range(options.rounds):
            for count in rates:
                found = target.run("procs", "--procs", count, "--seconds", max(1, options.seconds))
                rates[count].append(found["bytes_per_s"])
        two, sixteen = (statistics.median(rates[count]) for count in (2, 16))
        ours = target is workplace.penstock.target
        out.append(result(f"procs: 16 readers over 2, {target.name}", round(sixteen / two, 3),
                          f">= {BAR_PROCS}" if ours else "-",
                          sixteen / two >= BAR_PROCS if ours else None,
                          gb_per_s_2=round(two / 1e9, 2), gb_per_s_16=round(sixteen / 1e9, 2)))
    return out


# ---- memory ----

def status_kib(pid, field):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE).group(1))


class Holder:
    """A program that has touched everything and waits; a context manager."""

    def __init__(self, target, count=0):
        self.process = subprocess.Popen(target.command("hold", "--count", count),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._expect("ready")

    def _expect(self, word):
        said = self.process.stdout.readline().strip()
        if said != word:
            raise BenchError(f"hold: said {said!r}, not {word!r}")

    def step(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self._expect("done")

    @property
    def pid(self):
        """The bench program's own pid: what was started may have forked it."""
        pid = self.process.pid
        while os.path.basename(os.readlink(f"/proc/{pid}/exe")) != "pst_bench":
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
            pid = int(children.split()[0])
        return pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=30)


def mapped_mib(pid, name):
    """Resident MiB of the mappings of this name."""
    total, counts = 0, False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counts = name in line
        elif counts and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total / 1024


def resident(workplace):
    """MiB that the sidecar has resident beside the arena in use, and what they are. In use is what stat
    says, segments that hold data and those made ready ahead of need, and what is resident of the index
    that tells where it lies."""
    pid = workplace.penstock.sidecar_pid()
    counters = workplace.penstock.counters()
    counters = counters.get("now", counters)
    parts = {name: counters[name] / 2**20 for name in ("arena_bytes_used", "arena_bytes_prepared")}
    parts["index_bytes"] = mapped_mib(pid, "penstock-index")
    rss, anon = status_kib(pid, "VmRSS") / 1024, status_kib(pid, "RssAnon") / 1024
    shown = {name.replace("bytes", "mib"): round(value, 1) for name, value in parts.items()}
    return rss - sum(parts.values()), dict(shown, rss_mib=round(rss, 1), anon_mib=round(anon, 1),
                                           over_segments_alone_mib=round(rss - parts["arena_bytes_used"], 1))


WALK = """
import os, sys
names = sum(1 for _ in os.scandir(sys.argv[1] + "/wide"))
files = sum(os.stat(os.path.join(at, name)).st_size >= 0
            for at, _, all in os.walk(sys.argv[1] + "/deep") for name in all)
print(names, files)
"""
MAP = """
import mmap, sys
with open(sys.argv[1] + "/large", "rb") as file:
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as map:
        print(sum(map[at] for at in range(0, len(map), 4096)))
"""
WIDE_NAMES, DEEP_FOLDERS, DEEP_NAMES, LARGE_MIB = 150_000, 100, 1_000, 512


def make_wide_and_deep(folder):
    for path in (folder / "wide", *(folder / "deep" / f"d{i:03}" for i in range(DEEP_FOLDERS))):
        path.mkdir(parents=True)
    for i in range(WIDE_NAMES):
        os.close(os.open(folder / "wide" / f"a file of the wide folder {i:06}", os.O_CREAT | os.O_WRONLY))
    for i in range(DEEP_FOLDERS):
        for n in range(DEEP_NAMES):
            os.close(os.open(folder / "deep" / f"d{i:03}" / f"{n:06}.jpg", os.O_CREAT | os.O_WRONLY))
    with open(folder / "large", "wb") as large:
        for i in range(LARGE_MIB):
            large.write(bytes([i % 251]) * 2**20)


def memory_after_walks(workplace):
    """150,000 names in one folder, a walk over 100,000 files, a large file as a real file: then and after."""
    make_wide_and_deep(pathlib.Path(workplace.ext4.folder))
    out = []
    for what, program, expected in (("names and a walk", WALK, f"{WIDE_NAMES} {DEEP_FOLDERS * DEEP_NAMES}"),
                                    ("a large materialisation", MAP, None)):
        said = check_output([*workplace.penstock.run_prefix(), "/usr/bin/python3", "-c", program,
                             str(workplace.penstock.mount)]).strip()
        if expected not in (None, said):
            raise BenchError(f"{what}: {said!r}, not {expected!r}")
        over_mib, more = resident(workplace)
        out.append(result(f"memory: MiB resident beside the arena in use after {what}", round(over_mib, 1),
                          f"<= {BAR_OVERHEAD_MIB}", over_mib <= BAR_OVERHEAD_MIB, **more))
    return out


def memory(workplace, _options):
    pid = workplace.penstock.sidecar_pid()
    before = cpu_ticks(pid)
    time.sleep(IDLE_SECONDS)
    ticks = cpu_ticks(pid) - before
    over_mib, more = resident(workplace)

    with Holder(workplace.penstock.target) as ours, Holder(workplace.ext4) as plain:
        page_tables = status_kib(ours.pid, "VmPTE")
        page_tables_plain = status_kib(plain.pid, "VmPTE")
    share = page_tables * 1024 / workplace.penstock.memory_bytes
    return [
        result(f"memory: sidecar's CPU ticks in {IDLE_SECONDS} idle s", ticks, "0", ticks == 0),
        result("memory: MiB resident beside the arena in use", round(over_mib, 1),
               f"<= {BAR_OVERHEAD_MIB}", over_mib <= BAR_OVERHEAD_MIB, **more),
        result("memory: page tables of a reader over the arena", round(share, 6),
               f"<= {BAR_PAGE_TABLES}", share <= BAR_PAGE_TABLES, kib=page_tables,
               kib_unshimmed=page_tables_plain),
        *memory_after_walks(workplace),
    ]


# ---- shared stores ----

LINE_BYTES = 64


def shared_mappings(pid):
    """(start, end, writable, name) of every MAP_SHARED mapping of a process."""
    out = []
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
        span, mode, _offset, _device, _inode, *name = line.split(maxsplit=5)
        if mode[3] == "s":
            start, end = (int(part, 16) for part in span.split("-"))
            out.append((start, end, mode[1] == "w", name[0] if name else ""))
    return out


def snapshot(pid, start, end):
    with open(f"/proc/{pid}/mem", "rb") as memory_file:
        memory_file.seek(start)
        return memory_file.read(end - start)


def changed_lines(before, after):
    if before == after:
        return []
    return [at for at in range(0, len(before), LINE_BYTES)
            if before[at:at + LINE_BYTES] != after[at:at + LINE_BYTES]]


def shared_stores(workplace, _options):
    """100,000 hits; every shared mapping that the reader can write is compared before and after.
    What it cannot write (index, arena) it cannot store to: those mappings are listed as such."""
    hits = 100_000
    with Holder(workplace.penstock.target, hits) as holder:
        holder.step()
        pid = holder.pid
        mappings = shared_mappings(pid)
        writable = [one for one in mappings if one[2]]
        before = [snapshot(pid, one[0], one[1]) for one in writable]
        holder.step()
        after = [snapshot(pid, one[0], one[1]) for one in writable]
    found = {one[3]: len(changed_lines(*pair)) for one, pair in zip(writable, zip(before, after))}
    # The session is this process's own; a line of any other writable mapping is shared.
    foreign = sum(count for name, count in found.items() if "session" not in name)
    return [result(f"shared-stores: shared lines changed by {hits} hits", foreign, "0", foreign == 0,
                   changed_lines=found,
                   read_only=sorted({one[3] for one in mappings if not one[2]}))]


CLAIMS = {"uncovered": uncovered, "preload": preload, "procs": procs, "memory": memory,
          "shared-stores": shared_stores}
