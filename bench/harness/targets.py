"""The folders that pst_bench is run on: ext4, tmpfs, and the same data through Penstock."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

COMMAND_DEADLINE_S = 300


class BenchError(Exception):
    """Something that makes the measurement worthless; the message says what."""


def check_output(command, env=None, deadline_s=COMMAND_DEADLINE_S):
    """Runs a command, returns its stdout; a failure is a BenchError with what it said."""
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=deadline_s, check=False)
    except subprocess.TimeoutExpired as late:
        raise BenchError(f"no end after {deadline_s} s: {' '.join(command)}") from late
    if done.returncode != 0:
        raise BenchError(f"exit {done.returncode}: {' '.join(command)}\n{done.stderr.strip()}")
    return done.stdout


def cpu_ticks(pid):
    """Processor time of a process and its threads, in clock ticks."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Target:
    """A folder with the data set, and how a program is started that shall see it."""

    def __init__(self, name, bench, folder, prefix=()):
        self.name = name
        self.bench = str(bench)
        self.folder = str(folder)
        self.prefix = list(prefix)

    def command(self, case, *options):
        return [*self.prefix, self.bench, case, self.folder, *map(str, options)]

    def run(self, case, *options):
        """One run of one case in a fresh process: the parsed line of JSON."""
        return json.loads(check_output(self.command(case, *options)).splitlines()[-1])

    def verify(self):
        """Every byte of the data set is read and compared; warms the target as well."""
        check_output(self.command("verify"))


class Workplace:
    """Temporary folders with the data set on ext4 and tmpfs; removed at the end."""

    def __init__(self, build, disk_root):
        self.build = pathlib.Path(build)
        self.bench = self.build / "bin" / "pst_bench"
        if not self.bench.exists():
            raise BenchError(f"{self.bench} is not built: ./scripts/build")
        self.disk = pathlib.Path(tempfile.mkdtemp(prefix="pst-bench.", dir=disk_root))
        self.shm = pathlib.Path(tempfile.mkdtemp(prefix="pst-bench.", dir="/dev/shm"))
        self.ext4 = Target("ext4", self.bench, self.disk / "data")
        self.tmpfs = Target("tmpfs", self.bench, self.shm / "data")
        self.penstock = None

    def prepare(self):
        for target in (self.ext4, self.tmpfs):
            check_output(target.command("prepare"))
            target.verify()

    def start_penstock(self, hugetlb=False):
        """Starts the job's sidecar, reads everything through it once and compares each byte."""
        self.penstock = Penstock(self, hugetlb)
        self.penstock.start()
        return self.penstock.target

    def close(self):
        if self.penstock is not None:
            self.penstock.stop()
        shutil.rmtree(self.disk, ignore_errors=True)
        shutil.rmtree(self.shm, ignore_errors=True)


JOB = """version = 1
[sidecar]
socket = "{folder}/job.sock"
linger = "600s"
cpus = 2
[cache]
dir = "{folder}/cache"
memory = "{memory}"
nvme = "1GiB"
hugepages = "{hugepages}"
[[mount]]
path = "{mount}"
origin = "file://{origin}"
mode = "ro"
class = "dataset"
metadata_ttl = "600s"
"""


class Penstock:
    """One job over the ext4 copy of the data set. The mount is as deep in the tree as the copy."""

    MEMORY_MIB = 768

    def __init__(self, workplace, hugetlb):
        self.folder = workplace.disk
        self.binary = workplace.build / "bin" / "penstock"
        self.library = workplace.build / "lib" / "libpenstock.so"
        self.config = self.folder / "job.toml"
        self.mount = self.folder / "pens"
        self.memory_bytes = self.MEMORY_MIB << 20
        (self.folder / "cache").mkdir(exist_ok=True)
        self.config.write_text(JOB.format(
            folder=self.folder, memory=f"{self.MEMORY_MIB}MiB", mount=self.mount,
            hugepages="on" if hugetlb else "auto", origin=workplace.ext4.folder), encoding="utf-8")
        self.target = Target("penstock", workplace.bench, self.mount, self.run_prefix())

    def run_prefix(self, *options):
        return [str(self.binary), "run", "-c", str(self.config), *options, "--"]

    def start(self):
        check_output([*self.run_prefix(), "/bin/true"])
        self.target.verify()
        self.target.verify()
        self.settle()

    def settle(self):
        """Waits until the sidecar has ended what filling left behind (huge pages made afterwards):
        until it used no processor time for two seconds, a minute at most."""
        pid = self.sidecar_pid()
        for _ in range(30):
            before = cpu_ticks(pid)
            time.sleep(2)
            if cpu_ticks(pid) == before:
                return

    def environment(self):
        """The variables that `penstock env` tells a container to set."""
        values = {}
        for line in check_output([str(self.binary), "env", "-c", str(self.config)]).splitlines():
            name, found, value = line.removeprefix("export ").partition("=")
            if found:
                values[name.strip()] = value.strip().strip("'\"")
        return values

    def counters(self):
        return json.loads(check_output([str(self.binary), "stat", "-c", str(self.config), "--json"]))

    def sidecar_pid(self):
        """The process that runs penstockd with our configuration or holds our socket's folder."""
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                name = os.path.basename(os.readlink(entry / "exe"))
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if name == "penstockd" and str(self.folder).encode() in arguments:
                return int(entry.name)
        raise BenchError("no penstockd with this job's configuration is running")

    def stop(self):
        try:
            pid = self.sidecar_pid()
        except BenchError:
            return
        subprocess.run([str(self.binary), "stop", "-c", str(self.config), "--force"], check=False,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)
        for _ in range(50):
            if not os.path.exists(f"/proc/{pid}"):
                return
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
