"""The measurement of bench/safetensors: in each round a bare transfer, a cold load, a warm load and a load from the
page cache take turns, the first two in changing order."""

import json
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

from penstock_harness import Azurite, Job, Mount

COVERED = "/data/models"
NAME = "model.safetensors"
TENSOR_BYTES = 32 << 20
STEP = 4 << 20
BLOCKS = 16                       # of random bytes, from which the file is made
VENV = pathlib.Path.home() / ".cache" / "penstock" / "safetensors"
PACKAGES = ["safetensors==0.4.5", "numpy==2.1.3"]
THREADS = (1, 2, 4, 8)            # of the bare copy: the best counts
COLD_BAR, WARM_BAR = 1.1, 0.95


def python():
    """A Python that has safetensors, from PyPI on first use."""
    mark = VENV / "of"
    if not mark.exists() or mark.read_text() != " ".join(PACKAGES):
        shutil.rmtree(VENV, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        subprocess.run([str(VENV / "bin" / "pip"), "install", "-q", *PACKAGES], check=True)
        mark.write_text(" ".join(PACKAGES))
    return str(VENV / "bin" / "python3")


def make(path, size):
    """A file of about `size` bytes: header and tensors of 32 MiB, no two stretches of it alike."""
    count = max(size // TENSOR_BYTES, 1)
    header = {f"layer.{i}.weight": {"dtype": "F32", "shape": [TENSOR_BYTES // 4096, 1024],
                                    "data_offsets": [i * TENSOR_BYTES, (i + 1) * TENSOR_BYTES]} for i in range(count)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    blocks = [os.urandom(1 << 20) for _ in range(BLOCKS)]
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for number in range(count * TENSOR_BYTES >> 20):
            block = blocks[number * 7 % BLOCKS]
            file.write(struct.pack("<Q", number) + block[8:])
    return os.path.getsize(path)


def copy(source, target, threads):
    """Seconds of a plain parallel copy."""
    size = os.path.getsize(source)
    inside = os.open(source, os.O_RDONLY)
    outside = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    places, lock = iter(range(0, size, STEP)), threading.Lock()

    def work():
        buffer = bytearray(STEP)
        view = memoryview(buffer)
        while True:
            with lock:
                at = next(places, None)
            if at is None:
                return
            got = os.preadv(inside, [buffer], at)
            os.pwrite(outside, view[:got], at)

    begin = time.monotonic()
    os.ftruncate(outside, size)
    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.monotonic() - begin
    os.close(inside)
    os.close(outside)
    os.unlink(target)
    return seconds


class Place:
    def __init__(self, options, say):
        self.options, self.say = options, say
        self.folder = tempfile.mkdtemp(prefix="pst-safetensors-", dir=options.disk)
        os.chmod(self.folder, 0o755)
        self.origin = os.path.join(self.folder, "origin")
        os.mkdir(self.origin)
        self.file = os.path.join(self.origin, NAME)
        self.python = python()
        say("making the file")
        self.size = make(self.file, int(options.gib * (1 << 30)))
        self.server = None
        self.threads = None
        if options.origin == "az":
            self.server = Azurite()
            self.server.create_container("models")
            self.server.put_blob("models", NAME, pathlib.Path(self.file).read_bytes())

    def close(self):
        if self.server:
            self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def job(self):
        nvme = f"{(self.size >> 30) * 2 + 2}GiB"
        if self.server:
            mount = Mount(COVERED, f"az://{self.server.account}/models",
                          {"endpoint": f"http://127.0.0.1:{self.server.port}/{self.server.account}"})
            job = Job([mount], credentials=self.server.credentials(), memory="256MiB", nvme=nvme)
        else:
            job = Job([Mount(COVERED, f"file://{self.origin}", {})], memory="256MiB", nvme=nvme,
                      origin_folders=[self.origin])
        cache = os.path.join(self.folder, "cache")
        shutil.rmtree(cache, ignore_errors=True)
        os.mkdir(cache)
        text = pathlib.Path(job.config).read_text().replace(json.dumps(job.cache), json.dumps(cache))
        pathlib.Path(job.config).write_text(text)
        return job

    def load(self, job, *arguments):
        script = str(pathlib.Path(__file__).with_name("tensors_load.py"))
        argv = [self.python, script, f"{COVERED}/{NAME}" if job else self.file, *arguments]
        done = job.run(argv, timeout=600) if job else subprocess.run(argv, stdout=subprocess.PIPE, check=True)
        if done.returncode != 0:
            raise RuntimeError(f"{done.stderr.decode()}\n{job.read_log()}")
        return json.loads(done.stdout)

    def ready(self):
        """The origin's bytes in the page cache, and memory for a second copy of them that was just in use: what this
        machine has given back to its host costs twenty times as much to touch, and would be the whole measurement."""
        copy(self.file, os.path.join(self.folder, "copy"), self.threads or 4)

    def bare(self):
        if self.server:
            from harness import cold
            client = cold.Place.__new__(cold.Place)
            client.server, client.scratch, client.say, client.best = self.server, self.folder, self.say, self.__dict__.setdefault("best", {})
            client.bin = pathlib.Path(os.environ["PENSTOCK_BUILD"]) / "bin"
            cold.CONTAINER = "models"
            lines = [client.request_line(NAME, at, min(at + STEP, self.size) - 1) for at in range(0, self.size, STEP)]
            return client.ceiling("models", lambda: lines)["seconds"]
        if self.threads is None:
            found = {}
            for threads in THREADS:
                self.ready()
                found[threads] = copy(self.file, os.path.join(self.folder, "copy"), threads)
            self.threads = min(found, key=found.get)
            self.say("bare copy: " + ", ".join(f"{n} threads {s:.2f} s" for n, s in found.items()))
        self.ready()
        return copy(self.file, os.path.join(self.folder, "copy"), self.threads)

    def cold(self, check):
        """A cold load and, of the same sidecar, a warm one."""
        with self.job() as job:
            job.start()
            job.run(["ls", COVERED])
            self.ready()
            first = self.load(job)
            moved = job.counter("origin_bytes_read")
            again = self.load(job)
            if check:
                ours, plain = self.load(job, "verify"), self.load(None, "verify")
                if ours["sha256"] != plain["sha256"]:
                    raise RuntimeError("the library gave other bytes")
        return first, again, moved


def measure(options, say):
    place = Place(options, say)
    try:
        rounds = []
        for number in range(options.rounds):
            one = {}
            for turn in ("bare", "cold") if number % 2 == 0 else ("cold", "bare"):
                if turn == "bare":
                    one["bare"] = place.bare()
                else:
                    cold, warm, one["moved"] = place.cold(number == 0 and options.gib <= 2)
                    one["cold"], one["cold_map"], one["warm"] = cold["seconds"], cold["map_seconds"], warm["seconds"]
            place.load(None)
            one["page_cache"] = place.load(None)["seconds"]
            rounds.append(one)
            say(json.dumps({key: round(value, 3) for key, value in one.items()}))
    finally:
        place.close()

    def middle(key):
        return statistics.median(one[key] for one in rounds)

    result = {"bytes": place.size, "origin": options.origin, "threads": place.threads, "rounds": rounds}
    result |= {key: round(middle(key), 3) for key in rounds[0]}
    result["map_ratio"] = round(statistics.median(one["cold_map"] / one["bare"] for one in rounds), 3)
    result["cold_ratio"] = round(statistics.median(one["cold"] / one["bare"] for one in rounds), 3)
    result["read_ratio"] = round(statistics.median(one["cold"] / (one["bare"] + one["page_cache"]) for one in rounds), 3)
    result["warm_ratio"] = round(statistics.median(one["page_cache"] / one["warm"] for one in rounds), 3)
    result["pass"] = result["map_ratio"] <= COLD_BAR and result["warm_ratio"] >= WARM_BAR
    return result


def show(result):
    gib = result["bytes"] / (1 << 30)
    rate = result["bytes"] / 1e9
    return "\n".join([
        f"{gib:.2f} GiB from {'Azurite' if result['origin'] == 'az' else 'a folder'}, {len(result['rounds'])} rounds",
        "| | seconds | GB/s | ratio | bar |", "|---|---|---|---|---|",
        f"| bare transfer | {result['bare']:.2f} | {rate / result['bare']:.2f} | | |",
        f"| cold: until it is mapped | {result['cold_map']:.2f} | {rate / result['cold_map']:.2f} | {result['map_ratio']} of bare | <= {COLD_BAR} |",
        f"| cold: until every tensor is read | {result['cold']:.2f} | {rate / result['cold']:.2f} | {result['cold_ratio']} of bare, "
        f"{result['read_ratio']} of bare and then read | |",
        f"| warm | {result['warm']:.2f} | {rate / result['warm']:.2f} | {result['warm_ratio']} of the page cache | >= {WARM_BAR} |",
        f"| page cache | {result['page_cache']:.2f} | {rate / result['page_cache']:.2f} | | |"])
