"""The second read: no request to the origin, no system call for data, right even while slots are reused."""

import json
import os
import re
import unittest

import e2e_base
from e2e_base import COVERED, JobTest, Origin

# Whatever could bring file data or wait for somebody who does.
READ_LIKE = {"read", "readv", "pread64", "preadv", "preadv2", "sendfile", "splice", "copy_file_range",
             "recvmsg", "recvfrom", "sendmsg", "sendto", "poll", "ppoll", "select", "pselect6", "futex",
             "epoll_wait", "epoll_pwait", "io_uring_enter", "process_vm_readv", "ioctl", "connect"}
STAT_LIKE = {"stat", "lstat", "fstat", "newfstatat", "statx", "access", "faccessat", "faccessat2",
             "getdents64", "readlink"}

# Does everything once to warm up, then once more between two marks in the trace.
TRACED = r"""
import ctypes, json, os
C = ctypes.CDLL(None)
C.fopen.restype = ctypes.c_void_p
block = ctypes.create_string_buffer(4096)
D = "/data/train"
names = [os.path.join(D, n) for n in json.loads(os.environ["NAMES"])]
buffer = bytearray(1 << 20)
def stats():
    for n in names: os.stat(n); os.access(n, os.R_OK)
def lists():
    for _ in range(20): os.listdir(D + "/train")
def reads():
    for n in names:
        fd = os.open(n, os.O_RDONLY); os.fstat(fd)
        os.preadv(fd, [buffer], 0); os.lseek(fd, 0, 0)
        while os.readv(fd, [buffer]): pass
        os.close(fd)
def streams():
    for n in names:
        stream = ctypes.c_void_p(C.fopen(n.encode(), b"r"))
        while C.fread(block, 1, 4096, stream): pass
        C.fclose(stream)
def mark(name):
    try: os.rmdir("/pst-mark-" + name)
    except OSError: pass
for step in (stats, lists, reads, streams): step()
for step in (stats, lists, reads, streams):
    mark(step.__name__ + "-begin"); step(); mark(step.__name__ + "-end")
"""


class WarmTest(JobTest):
    dataset = dict(small_files=120, big_mib=16)

    def everything(self):
        script = (f"cat {COVERED}/train/*.bin {COVERED}/big.bin {COVERED}/text.txt | sha256sum; "
                  f"ls -lR {COVERED} | md5sum; find {COVERED} -type f | wc -l; test -e {COVERED}/none; echo $?")
        return self.check(self.job.shell(script))

    def test_second_pass_asks_the_origin_nothing(self):
        first = self.everything()
        before = self.job.counter("origin_requests"), self.origin.server_requests()
        hits = self.job.counter("hits_memory")
        self.assertGreater(before[0], 0)
        self.assertEqual(self.everything(), first)
        self.assertEqual((self.job.counter("origin_requests"), self.origin.server_requests()), before)
        self.assertGreaterEqual(self.job.counter("hits_memory"), hits)

    def test_origin_is_read_about_once(self):
        self.everything()
        self.assertLess(self.job.counter("origin_bytes_read"), 1.3 * sum(self.data.sizes.values()) + (1 << 20))

    def test_no_system_call_for_data(self):
        names = [n for n in self.data.sizes if n.startswith("train/")] + ["big.bin"]
        trace = os.path.join(self.job.scratch, "trace")
        argv = ["strace", "-f", "-qq", "-o", trace, "-E", "NAMES=" + json.dumps(names)]
        command = argv + self.job.run_command(["python3", "-c", TRACED])
        self.check(self.job.execute(command, timeout=120))
        with open(trace) as file:
            lines = file.read().splitlines()
        for step, forbidden in (("stats", READ_LIKE | STAT_LIKE), ("lists", READ_LIKE | STAT_LIKE),
                                ("reads", READ_LIKE | STAT_LIKE), ("streams", READ_LIKE | STAT_LIKE)):
            calls = self.between(lines, step)
            bad = [line for line in calls if self.name_of(line) in forbidden]
            self.assertEqual(bad[:20], [], f"{step}: {len(bad)} of {len(calls)} calls")
            if step == "stats":
                self.assertEqual(calls[:20], [])
        # An open and a close of a number, and what malloc asks for; nothing that grows with the data.
        self.assertLess(len(self.between(lines, "reads")), 6 * len(names))

    def between(self, lines, step):
        marks = [i for i, line in enumerate(lines) if f'"/pst-mark-{step}-' in line]
        self.assertEqual(len(marks), 2, lines[-5:])
        return lines[marks[0] + 1:marks[1]]

    @staticmethod
    def name_of(line):
        found = re.match(r"(?:\d+ +)?(?:<\.\.\. )?(\w+)", line)
        return found.group(1) if found else line

    def test_warm(self):
        origin = Origin(small_files=20, big_mib=4)
        self.addCleanup(origin.close)
        with origin.job() as job:
            job.start()
            result = job.penstock("warm", COVERED + "/big.bin", COVERED + "/train")
            self.assertEqual(result.returncode, 0, result)
            before = job.counter("origin_bytes_read")
            self.assertGreaterEqual(before, origin.data.sizes["big.bin"])
            result = job.shell(f"sha256sum < {COVERED}/big.bin; cat {COVERED}/train/*.bin > /dev/null")
            self.assertEqual(result.stdout.decode().split()[0], origin.data.digests["big.bin"])
            self.assertEqual(job.counter("origin_bytes_read"), before)


READER = r"""
import hashlib, json, multiprocessing as mp, os, random, sys
D = "/data/train"
def check(seed):
    want = json.load(open(sys.argv[1])); names = list(want); r = random.Random(seed)
    for epoch in range(3):
        r.shuffle(names)
        for n in names:
            fd = os.open(f"{D}/{n}", os.O_RDONLY); h = hashlib.sha256()
            while part := os.read(fd, r.choice([4096, 65536, 99999, 1 << 20])): h.update(part)
            os.close(fd)
            if h.hexdigest() != want[n]: return n
    return None
if __name__ == "__main__":
    with mp.get_context("fork").Pool(4) as pool: print(pool.map(check, range(4)))
"""


class SmallArenaTest(JobTest):
    """Data four times the arena: slots are reused under readers that compare every byte."""

    dataset = dict(small_files=600, big_mib=64, strange=False)
    options = dict(memory="32MiB")

    def test_every_byte_while_slots_are_reused(self):
        names = os.path.join(self.job.scratch, "names.json")
        with open(names, "w") as file:
            json.dump(self.data.digests, file)
        for data_class in ("dataset", "general"):
            with self.subTest(data_class=data_class):
                with self.origin.job(self.origin.mount(**{"class": data_class}), memory="32MiB") as job:
                    job.start()
                    path = os.path.join(job.scratch, "names.json")
                    with open(path, "w") as file:
                        json.dump(self.data.digests, file)
                    result = job.run(["python3", "-c", READER, path], timeout=400)
                    self.assertEqual((result.stdout.decode(), result.returncode),
                                     ("[None, None, None, None]\n", 0), result.stderr[-2000:])
                    if data_class == "general":
                        self.assertGreater(job.counter("evictions"), 0)


if __name__ == "__main__":
    e2e_base.main()
