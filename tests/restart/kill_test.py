"""kill -9 of the sidecar and of programs at random moments, again and again: readers see at most a pause."""

import collections
import os
import re
import signal
import time
import unittest

import restart_base
from restart_base import CONTAINERS, Readers, RestartTest, _take_value

KILLS = int(_take_value("--kills", "25"))
WAYS = ["read", "random", "mmap", "stat"]


class KilledSidecarTest(RestartTest):
    def test_readers_see_a_pause_at_most(self):
        job = self.make_job()
        job.start()
        readers = self.make_readers(job)
        self.assert_whole(job, readers.all(self.names, how=WAYS))
        self.kill_under_load(job, readers)
        # And it is well afterwards: the same readers, everything again.
        job.wait_ready()
        self.assert_whole(job, readers.all(self.names, how=WAYS))
        self.assert_calm(job, self.readers_count)
        readers.close()
        now = self.assert_calm(job, 0)
        self.assertEqual((now["slots_leased"], now["kept_files"]), (0, 0), now)
        self.assertEqual(job.stop(), 0)
        self.assertEqual(left_beside(job), [])

    def kill_under_load(self, job, readers):
        for round_number in range(0, KILLS, 5):
            readers.start(self.names, how=WAYS, threads=2, seconds=1.2, seed=self.random.randrange(1 << 30))
            for _ in range(min(5, KILLS - round_number)):
                time.sleep(self.random.choice([0.01, 0.05, 0.2, 0.4]) * self.random.random())
                job.kill_sidecar()
                job.start(wait=False)
                wait_for_socket(job)
            self.assert_paused_only(job, readers.finish())


class KilledProgramTest(RestartTest):
    def test_programs_leave_nothing(self):
        job = self.make_job()
        job.start()
        stays = self.make_readers(job, 1)
        self.assert_whole(job, stays.all(self.names, how=WAYS))
        self.assert_calm(job, 1)
        before = job.stat()
        fds = open_files(job)
        for _ in range(KILLS):
            others = self.make_readers(job, 2)
            others.start(self.names, how=WAYS, threads=2, seconds=60, seed=self.random.randrange(1 << 30))
            time.sleep(0.3 * self.random.random())
            others.kill()
        self.assert_whole(job, stays.all(self.names, how=WAYS))
        now = self.assert_calm(job, 1)
        for name in ("slots_leased", "kept_files", "tickets", "programs"):
            self.assertLessEqual(now[name], before[name], (name, now))
        self.check(job, not open_files(job) - fds, f"descriptors leak: {open_files(job) - fds}")


@unittest.skipUnless(CONTAINERS, "the sidecar has a user of its own in containers only")
class AdoptedMemoryTest(RestartTest):
    """On tmpfs, under a user of its own: the successor goes on with what was cached."""

    shared_in = "/dev/shm"
    memory = "64MiB"
    mount_keys = {}

    def test_hits_go_on_and_nothing_is_read_twice(self):
        job = self.make_job()
        job.start()
        readers = self.make_readers(job)
        self.assert_whole(job, readers.all(self.names, how="read"))
        job.kill_sidecar()
        self.assert_whole(job, readers.all(self.names, how="read"))      # without any sidecar
        job.start()
        self.assertIn("adopted the memory", job.read_log())
        fresh = self.make_readers(job)
        self.assert_whole(job, fresh.all(self.names, how="read"))
        self.assert_whole(job, readers.all(self.names, how=["read", "random"]))
        now = job.stat()
        self.assertGreater(now["adopted_bytes"], 16 << 20)
        self.assertEqual(now["origin_bytes_read"], 0, now)
        self.assertEqual(now["corrupt_dropped"], 0)
        fresh.close()
        readers.close()
        self.assert_calm(job, 0)
        self.assertEqual(job.stop(), 0)
        self.assertEqual(left_beside(job), [])

    def test_kills_under_load(self):
        self.memory = "16MiB"                        # smaller than the data: segments are recycled all the time
        job = self.make_job()
        job.start()
        readers = self.make_readers(job)
        self.assert_whole(job, readers.all(self.names, how=WAYS))
        KilledSidecarTest.kill_under_load(self, job, readers)
        self.assertIn("adopted the memory", job.read_log())
        self.assertNotIn("was not adopted", job.read_log())
        self.assert_whole(job, readers.all(self.names, how=WAYS))
        self.assert_calm(job, self.readers_count)
        self.assertEqual(job.stat()["corrupt_dropped"], 0)

    def test_another_configuration_begins_anew(self):
        job = self.make_job()
        job.start()
        readers = self.make_readers(job, 1)
        self.assert_whole(job, readers.all(self.names, how="read"))
        job.kill_sidecar()
        with open(job.config) as file:
            text = file.read()
        with open(job.config, "w") as file:
            file.write(text.replace('memory = "64MiB"', 'memory = "48MiB"'))
        job.start()
        self.assertIn("was not adopted", job.read_log())
        self.assert_whole(job, readers.all(self.names, how=WAYS))
        self.assertEqual(job.stat()["adopted_bytes"], 0)


@unittest.skipIf(CONTAINERS, "in containers the kubelet restarts the sidecar")
class KeptSidecarTest(RestartTest):
    """A sidecar that `penstock run` has started and that is killed comes back by itself."""

    linger = "1s"

    def start_program(self, job):
        readers = Readers(job, self.data, 1, join=False)
        self.addCleanup(readers.close)
        return readers

    def serving(self, job):
        """The pid of the sidecar that serves, not of one that is dead."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                with open(job.socket + ".lock") as lock:
                    pid = int(lock.readline())
                if job.penstock("status").returncode == 0 and os.path.exists(f"/proc/{pid}"):
                    return pid
            except (OSError, ValueError):
                pass
        self.fail("no sidecar came back\n" + read_run_log(job))

    def processes(self, job):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline") as line:
                    if job.config in line.read() and os.readlink(f"/proc/{pid}/exe").endswith("penstockd"):
                        found.append(int(pid))
            except OSError:
                continue
        return found

    def test_it_comes_back_again_and_again(self):
        job = self.make_job()
        readers = self.start_program(job)
        killed = set()
        for _ in range(max(2, KILLS // 5)):
            readers.start(self.names, how=WAYS, threads=2, seconds=0.5, seed=self.random.randrange(1 << 30))
            time.sleep(0.3 * self.random.random())
            pid = self.serving(job)
            self.assertNotIn(pid, killed)
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
            self.assert_paused_only(job, readers.finish())
        self.assertEqual(len(self.processes(job)), 2, "a sidecar and its keeper")
        readers.close()
        self.assert_all_end(job)

    def test_it_stays_for_a_program_that_has_not_asked_again(self):
        """The successor knows of a program that reads from memory alone."""
        job = self.make_job()
        readers = self.start_program(job)
        small = [name for name in self.names if name.startswith("a/")]
        self.assert_whole(job, readers.all(small, how="read"))
        os.kill(self.serving(job), signal.SIGKILL)
        pid = self.serving(job)
        time.sleep(2.5)                              # its linger is 1 s
        self.assertEqual(self.serving(job), pid)
        self.assert_paused_only(job, readers.all(self.names, how=WAYS))
        readers.close()
        self.assert_all_end(job)

    def test_a_keeper_passes_the_end_on(self):
        job = self.make_job()
        readers = self.start_program(job)
        pid = self.serving(job)
        keeper = next(p for p in self.processes(job) if p != pid)
        with open(f"/proc/{keeper}/environ", "rb") as environ:
            self.assertNotIn(b"AZURE_STORAGE_KEY=", environ.read())
        readers.close()
        os.kill(keeper, signal.SIGTERM)
        self.assert_all_end(job)

    def assert_all_end(self, job):
        until = time.monotonic() + 20 * self.slow
        while self.processes(job):
            self.assertLess(time.monotonic(), until, read_run_log(job))
            time.sleep(0.05)
        self.assertEqual(left_beside(job), [])


def read_run_log(job):
    with open(job.socket + ".log") as log:
        return log.read()[-3000:]


def wait_for_socket(job):
    """Until the successor listens, or a kill would hit a process that is still the loader's."""
    until = time.monotonic() + 30
    while job.penstock("status").returncode != 0 and time.monotonic() < until:
        pass


def open_files(job):
    """What the sidecar has open, by kind; not the objects, which it keeps."""
    folder = f"/proc/{job.sidecar_pid()}/fd"
    links = (os.readlink(os.path.join(folder, fd)) for fd in os.listdir(folder))
    return collections.Counter(re.sub(r"\d+", "N", link) for link in links if "/objects/" not in link)


def left_beside(job):
    """What a job leaves in the socket's folder."""
    return sorted(name for name in os.listdir(job.shared) if not name.endswith(".log"))


if __name__ == "__main__":
    restart_base.main()
