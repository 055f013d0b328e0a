"""kill -9 of the sidecar and of programs at random moments, again and again: readers see at most a pause."""

import collections
import os
import re
import time

import restart_base
from restart_base import RestartTest, _take_value

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
