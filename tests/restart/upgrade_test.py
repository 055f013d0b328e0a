"""`penstock upgrade` under readers that compare every byte: again and again, and with either side killed at each step."""

import os
import re
import time
import unittest

import restart_base
from restart_base import CONTAINERS, Readers, RestartTest, _take_value

UPGRADES = int(_take_value("--upgrades", "12"))
WAYS = ["read", "random", "mmap", "stat"]
POINTS_OLD = ["old.ready", "old.before-take", "old.taken", "old.serving"]
POINTS_NEW = ["successor.before-ready", "successor.ready", "successor.taken", "successor.before-serving",
              "successor.serving"]


def serving(test, job):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        result = job.penstock("status")
        if result.returncode == 0:
            with open(job.socket + ".lock") as lock:
                return int(lock.readline())
        time.sleep(0.02)
    test.fail("nobody serves")


class UpgradeTest(RestartTest):
    @unittest.skipIf(CONTAINERS, "the first process of a container is the sidecar's: see the next class")
    def test_readers_see_a_pause_at_most(self):
        job = self.make_job()
        job.start()
        readers = self.make_readers(job)
        self.assert_whole(job, readers.all(self.names, how=WAYS))
        seen = {serving(self, job)}
        for round_number in range(0, UPGRADES, 4):
            readers.start(self.names, how=WAYS, threads=2, seconds=1.5, seed=self.random.randrange(1 << 30))
            for _ in range(min(4, UPGRADES - round_number)):
                time.sleep(0.2 * self.random.random())
                result = job.penstock("upgrade")
                self.check(job, result.returncode == 0, result)
                self.assertIn(b"ready; handing over", result.stdout)
                pid = serving(self, job)
                self.assertNotIn(pid, seen)
                seen.add(pid)
            self.assert_paused_only(job, readers.finish())
        self.assert_whole(job, readers.all(self.names, how=WAYS))
        self.assert_calm(job, self.readers_count)
        readers.close()
        now = self.assert_calm(job, 0)
        self.assertEqual((now["slots_leased"], now["kept_files"]), (0, 0), now)
        # Who started the first one still waits for the same process, and it passes the end on.
        self.assertIsNone(job._sidecar.poll())
        self.assertEqual(job.stop(), 0)
        self.assertEqual(sorted(os.listdir(job.shared)), [])

    def test_a_program_that_is_no_sidecar_changes_nothing(self):
        job = self.make_job()
        job.start()
        readers = self.make_readers(job, 1)
        self.assert_whole(job, readers.all(self.names, how=WAYS))
        pid = serving(self, job)
        for program, says in (("/bin/true", b"has ended"), ("/none/such", b"cannot be executed"),
                              ("bin/true", b"absolute path")):
            result = job.penstock("upgrade", "--binary", program)
            self.assertIn(result.returncode, (1, 2), result)
            self.assertIn(says, result.stderr)
        self.assertEqual(serving(self, job), pid)
        self.assert_whole(job, readers.all(self.names, how=WAYS))

    def test_a_configuration_that_is_wrong_now_changes_nothing(self):
        job = self.make_job()
        job.start()
        pid = serving(self, job)
        with open(job.config) as file:
            text = file.read()
        with open(job.config, "w") as file:
            file.write(text.replace("[cache]", "[cash]"))
        try:
            result = self.ask_for_upgrade(job, text)
        finally:
            with open(job.config, "w") as file:
                file.write(text)
        self.assertEqual(result.returncode, 1, result)
        self.assertIn(b"does not take over", result.stderr)
        self.assertEqual(serving(self, job), pid)

    def test_a_configuration_that_fails_after_the_hand_over_changes_nothing(self):
        job = self.make_job()
        job.start()
        readers = self.make_readers(job, 1)
        self.assert_whole(job, readers.all(self.names, how=WAYS))
        pid = serving(self, job)
        with open(job.config) as file:
            text = file.read()
        with open(job.config, "w") as file:  # more than there can be: known when the memory is made
            text_now = re.sub(r'(?m)^hugepages *=.*\n', '', text)
            file.write(re.sub(r'(?m)^memory *=.*$', 'memory = "7TiB"\nhugepages = "on"', text_now))
        try:
            result = self.ask_for_upgrade(job, text)
        finally:
            with open(job.config, "w") as file:
                file.write(text)
        self.assertEqual(result.returncode, 1, result)
        self.assertIn(b"handing over", result.stdout)
        self.assertEqual(serving(self, job), pid)
        self.assert_whole(job, readers.all(self.names, how=WAYS))

    def ask_for_upgrade(self, job, good):
        """By a command that reads the configuration as it was."""
        copy = os.path.join(job.config_folder, "before.toml")
        with open(copy, "w") as file:
            file.write(good)
        return job.execute([job.tool("penstock"), "upgrade", "-c", copy])


@unittest.skipIf(CONTAINERS, "points are named by the environment of `penstock run`")
class KilledUpgradeTest(RestartTest):
    """Whoever dies wherever: somebody serves, and readers see a pause at most."""

    def test_either_side_at_each_step(self):
        for point in POINTS_OLD + POINTS_NEW:
            with self.subTest(point=point):
                job = self.make_job()
                readers = Readers(job, self.data, 2, join=False,
                                  wrap=lambda argv: ["env", f"PENSTOCK_DIE_AT={point}"] + argv)
                self.addCleanup(readers.close)
                self.assert_whole(job, readers.all(self.names, how=WAYS))
                before = serving(self, job)
                readers.start(self.names, how=WAYS, threads=2, seconds=1.0, seed=self.random.randrange(1 << 30))
                result = job.penstock("upgrade")
                self.assert_paused_only(job, readers.finish())
                after = serving(self, job)
                if point in POINTS_NEW[:-1]:
                    self.assertEqual((result.returncode != 0, after), (True, before), (point, result))
                else:
                    self.assertNotEqual(after, before, point)
                self.assert_whole(job, readers.all(self.names, how=WAYS))
                self.assert_calm(job, 2)
                readers.close()
                job.close()


if __name__ == "__main__":
    restart_base.main()
