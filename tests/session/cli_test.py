"""The command line itself: help, wrong usage, what `run` does around the program, what ends the sidecar.

    PENSTOCK_BUILD=build/release python3 tests/session/cli_test.py
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

BUILD = os.path.realpath(os.environ.get("PENSTOCK_BUILD", "build/release"))
PENSTOCK = os.path.join(BUILD, "bin", "penstock")
COMMANDS = ("run", "env", "stop", "status", "stat", "doctor", "warm", "refresh", "flush", "pin", "unpin",
            "evict", "upgrade", "gen-config")


class CliTest(unittest.TestCase):
    def setUp(self):
        self.base = tempfile.mkdtemp(prefix="pst-cli-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        os.mkdir(self.base + "/origin")
        with open(self.base + "/origin/file", "w") as file:
            file.write("text\n")
        self.config = self.base + "/job.toml"
        self.write_config()
        self.addCleanup(lambda: self.penstock("stop", "--force"))

    def write_config(self, linger="1s", origin=None, sock=None):
        with open(self.config, "w") as file:
            file.write(f'version = 1\n[sidecar]\nsocket = "{sock or self.base + "/job.sock"}"\n'
                       f'linger = "{linger}"\n[cache]\ndir = "{self.base}/cache"\nmemory = "32MiB"\n'
                       f'nvme = "64MiB"\n[[mount]]\npath = "/data/it\'s here"\n'
                       f'origin = "{origin or "file://" + self.base + "/origin"}"\n')

    def environment(self):
        return {k: v for k, v in os.environ.items() if not k.startswith(("PENSTOCK_", "LD_"))}

    def call(self, *argv, **keywords):
        return subprocess.run([PENSTOCK, *argv], capture_output=True, text=True, timeout=60,
                              env=self.environment(), **keywords)

    def penstock(self, command, *arguments):
        return self.call(command, "-c", self.config, *arguments)

    def run_program(self, *argv, options=()):
        return self.call("run", "-c", self.config, *options, "--", *argv)

    def wait_gone(self, seconds=15):
        deadline = time.monotonic() + seconds
        while os.path.exists(self.base + "/job.sock") and time.monotonic() < deadline:
            time.sleep(0.05)
        return not os.path.exists(self.base + "/job.sock")

    def test_help_shows_an_example_of_each(self):
        self.assertIn("gen-config", self.call("--help").stdout)
        self.assertRegex(self.call("--version").stdout, r"^penstock \d+\.\d+\.\d+\n$")
        for command in COMMANDS:
            with self.subTest(command=command):
                result = self.call(command, "--help")
                self.assertEqual(result.returncode, 0)
                self.assertIn("Example:\n  ", result.stdout)
                self.assertIn("penstock " + command, result.stdout)

    def test_wrong_usage_is_2(self):
        for argv in ((), ("nonsense",), ("run",), ("run", "-c", self.config), ("warm", "-c", self.config),
                     ("run", "-c", self.config, "--jion", "--", "true"), ("stat", "-c", self.config, "--", "x"),
                     ("run", "-c", self.config, "--strict")):
            with self.subTest(argv=argv):
                result = self.call(*argv)
                self.assertEqual((result.returncode, result.stderr.strip() != ""), (2, True), result)
        self.assertFalse(os.path.exists(self.base + "/job.sock"))

    @unittest.skipUnless(os.geteuid() == 0, "only root can make another user's folder")
    def test_a_stranger_is_not_taken_for_the_sidecar(self):
        folder = self.base + "/runtime/penstock"  # the default socket's, which a stranger made
        os.makedirs(folder)
        os.chown(folder, 65534, 65534)
        with open(self.config) as file:
            text = file.read()
        with open(self.config, "w") as file:
            file.write("".join(line for line in text.splitlines(True) if not line.startswith("socket")))
        result = subprocess.run([PENSTOCK, "run", "-c", self.config, "--", "true"], capture_output=True,
                                text=True, timeout=60,
                                env={**self.environment(), "XDG_RUNTIME_DIR": self.base + "/runtime"})
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(f"{folder} belongs to user 65534", result.stderr)
        # In a folder for everybody the socket's owner is no proof either.
        place = self.base + "/everybody"
        os.mkdir(place)
        os.chmod(place, 0o1777)
        self.write_config(sock=place + "/job.sock")
        os.chmod(self.base, 0o755)
        server = subprocess.Popen(
            ["python3", "-c", "import os, socket, sys; os.setuid(65534)\n"
             "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind(sys.argv[1]); s.listen()\n"
             "os.chmod(sys.argv[1], 0o777); print('up', flush=True); sys.stdin.read()", place + "/job.sock"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.assertEqual(server.stdout.readline(), b"up\n")
            result = self.run_program("true")
            self.assertNotEqual(result.returncode, 0)
            self.assertIn("runs as user 65534", result.stderr)
        finally:
            server.communicate()

    def test_without_a_sidecar_there_is_one_line_and_1(self):
        for command in ("status", "stat", "stop", "flush"):
            with self.subTest(command=command):
                result = self.penstock(command)
                self.assertEqual((result.returncode, len(result.stderr.splitlines())), (1, 1), result)
                self.assertIn("no sidecar answers at " + self.base, result.stderr)

    def test_env_survives_a_shell(self):
        result = self.penstock("env")
        script = result.stdout + "\nprintf %s \"$PENSTOCK_PATHS\""
        shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
        self.assertEqual(shell.stdout, "/data/it's here")
        variables = json.loads(self.penstock("env", "--json").stdout)
        self.assertEqual(set(variables), {"LD_PRELOAD", "PENSTOCK_SOCKET", "PENSTOCK_PATHS", "PENSTOCK_WAIT"})
        self.assertEqual(variables["PENSTOCK_WAIT"], "60s")

    def test_an_existing_preload_stays_in_front(self):
        env = dict(self.environment(), LD_PRELOAD="libm.so.6")
        result = subprocess.run([PENSTOCK, "env", "--json", "-c", self.config], capture_output=True, env=env)
        first, last = json.loads(result.stdout)["LD_PRELOAD"].split(":")
        self.assertEqual((first, os.path.basename(last)), ("libm.so.6", "libpenstock.so"))

    def test_a_program_that_never_reads_keeps_the_sidecar(self):
        process = subprocess.Popen([PENSTOCK, "run", "-c", self.config, "--", "python3", "-c",
                                    "import sys; print('up', flush=True); sys.stdin.readline(); "
                                    "print(open(\"/data/it's here/file\").read(), end='')"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   env=self.environment())
        self.assertEqual(process.stdout.readline(), "up\n")
        time.sleep(2.5)
        self.assertEqual(self.penstock("status").returncode, 0)
        self.assertEqual(self.penstock("stop").returncode, 1)
        out, _ = process.communicate("\n")
        self.assertEqual((out, process.returncode), ("text\n", 0))
        self.assertTrue(self.wait_gone(), "the sidecar lingers")

    def test_stats_and_signals(self):
        result = self.run_program("cat", "/data/it's here/file", options=["--stats"])
        self.assertEqual((result.returncode, result.stdout), (0, "text\n"))
        self.assertRegex(result.stderr, r"origin_requests +[1-9]")
        result = self.run_program("sh", "-c", "kill -TERM $$", options=["--stats"])
        self.assertEqual(result.returncode, -signal.SIGTERM)
        self.assertIn("hits_memory", result.stderr)
        process = subprocess.Popen([PENSTOCK, "run", "-c", self.config, "--stats", "--", "sh", "-c",
                                    "trap 'exit 5' USR1; echo up; while :; do sleep 0.05; done"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment())
        self.assertEqual(process.stdout.readline(), b"up\n")
        process.send_signal(signal.SIGUSR1)
        process.communicate(timeout=20)
        self.assertEqual(process.returncode, 5)

    def test_a_sidecar_that_cannot_start_says_why(self):
        with open(self.base + "/cache", "w"):
            pass
        result = self.run_program("touch", self.base + "/ran")
        self.assertEqual(result.returncode, 1, result)
        self.assertIn(self.base + "/job.sock.log", result.stderr)
        self.assertIn("cache.dir", result.stderr)
        self.assertFalse(os.path.exists(self.base + "/ran"))

    def test_a_missing_folder_is_said_at_the_start_and_by_status(self):
        self.write_config(origin="file:///none/such/folder")
        result = self.run_program("true")
        self.assertEqual(result.returncode, 0, result)
        self.assertIn("/none/such/folder", result.stderr)
        status = self.penstock("status")
        self.assertEqual(status.returncode, 1)
        self.assertIn("/none/such/folder", status.stderr)

    def test_what_is_not_there_yet_says_so(self):
        self.run_program("true")
        self.assertEqual(self.penstock("flush").returncode, 0)
        for command in ("pin", "unpin", "evict"):
            result = self.penstock(command, "/data/it's here/file")
            self.assertEqual(result.returncode, 1)
            self.assertIn("not there yet", result.stderr)
        result = self.penstock("warm", "/elsewhere")
        self.assertEqual((result.returncode, "covered" in result.stderr), (1, True), result)

    def test_refresh_sees_a_change_before_the_ttl(self):
        keep = subprocess.Popen([PENSTOCK, "run", "-c", self.config, "--", "sleep", "60"], env=self.environment())
        self.addCleanup(keep.wait)
        self.addCleanup(keep.kill)
        cat = ["cat", "/data/it's here/file"]
        self.assertEqual(self.run_program(*cat).stdout, "text\n")
        with open(self.base + "/origin/file", "w") as file:
            file.write("another\n")
        self.assertEqual(self.penstock("refresh", "/data/it's here").returncode, 0)
        self.assertEqual(self.run_program(*cat).stdout, "another\n")

    def test_an_idle_sidecar_uses_no_cpu(self):
        script = "import time; open(\"/data/it's here/file\").read(); print('up', flush=True); time.sleep(60)"
        program = subprocess.Popen([PENSTOCK, "run", "-c", self.config, "--", "python3", "-c", script],
                                   stdout=subprocess.PIPE, env=self.environment())
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        self.assertEqual(program.stdout.readline(), b"up\n")
        pid = json.loads(self.penstock("status", "--json").stdout)["pid"]
        os.kill(program.pid, signal.SIGSTOP)      # a stopped program costs nothing
        time.sleep(3)

        def switches():
            total = 0
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/status") as status:
                    total += sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)
            return total
        before = switches()
        time.sleep(2)
        self.assertLessEqual(switches() - before, 4)


if __name__ == "__main__":
    unittest.main()
