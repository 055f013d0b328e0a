"""A program that writes rubbish into the memory that it shares with the sidecar, as fast as it can: it hurts its own
session. Others read every byte right, and afterwards nothing of it is left."""

import subprocess
import time

import restart_base
from restart_base import COVERED, RestartTest, _take_value

SECONDS = float(_take_value("--seconds", "6"))
WAYS = ["read", "random", "mmap", "stat"]

# Joins by reading, then finds its own session's ring and doorbell.
VANDAL = r"""
import os, random, sys
generator = random.Random(int(sys.argv[2]))
with open(os.path.join(sys.argv[1], "a/01.bin"), "rb") as file:
    file.read()
ring = [line for line in open("/proc/self/maps") if "penstock-session" in line and "rw-s" in line]
begin, end = (int(x, 16) for x in ring[-1].split()[0].split("-"))
memory = open("/proc/self/mem", "r+b", buffering=0)
bells = []
for fd in os.listdir("/proc/self/fd"):
    try:
        if "eventfd" in os.readlink("/proc/self/fd/" + fd):
            bells.append(int(fd))
    except OSError:
        pass
assert bells
print("up", flush=True)
while True:
    for _ in range(generator.randrange(1, 40)):
        # The head with its bits of what was submitted, the requests, and anywhere.
        at = generator.choice([begin + 64, begin + generator.randrange(4096),
                               end - 64 * 4096 - generator.randrange(64 * 256), generator.randrange(begin, end - 300)])
        memory.seek(at)
        memory.write(generator.choice([b"\xff" * 8, b"\x02\0\0\0", generator.randbytes(generator.randrange(1, 256))]))
    for bell in bells:
        try:
            os.write(bell, (1).to_bytes(8, "little"))
        except OSError:
            pass
"""


class VandalTest(RestartTest):
    def test_it_hurts_itself_only(self):
        job = self.make_job()
        job.start()
        readers = self.make_readers(job, 2)
        self.assert_whole(job, readers.all(self.names, how=WAYS))
        self.assert_calm(job, 2)
        before, pid = job.stat(), job.sidecar_pid()
        readers.start(self.names, how=WAYS, threads=2, seconds=SECONDS, seed=self.random.randrange(1 << 30))
        until, vandals = time.monotonic() + SECONDS, 0
        while time.monotonic() < until:
            vandals += 1
            self.vandalise(job, min(0.5, until - time.monotonic()))
        self.assert_paused_only(job, readers.finish())
        self.assertEqual(job.sidecar_pid(), pid, "the sidecar has died of it")
        now = self.assert_calm(job, 2)
        for name in ("slots_leased", "kept_files", "tickets", "programs"):
            self.assertLessEqual(now[name], before[name], (name, now))
        self.assertGreater(vandals, 2)
        self.assertGreater(now["requests_refused"] + now["sessions_rubbish"],
                           before["requests_refused"] + before["sessions_rubbish"], "nothing has hurt")
        self.assert_whole(job, readers.all(self.names, how=WAYS))

    def vandalise(self, job, seconds):
        argv = job.on_program_side(job.run_command(["python3", "-c", VANDAL, COVERED,
                                                    str(self.random.randrange(1 << 30))]))
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=job.environment()) as process:
            line = process.stdout.readline()
            if line == b"up\n":
                time.sleep(max(0.0, seconds))
            process.kill()
            error = process.communicate()[1]
        self.check(job, line == b"up\n", f"the vandal did not begin: {error!r}")


if __name__ == "__main__":
    restart_base.main()
