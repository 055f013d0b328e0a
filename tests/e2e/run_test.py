"""`penstock run` and its kin: exit codes, signals, starting and ending a sidecar, the environment."""

import os
import signal
import socket
import subprocess
import time
import unittest

import e2e_base
from e2e_base import CONTAINERS, COVERED, Origin


class RunTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(small_files=3, big_mib=1, strange=False)
        cls.addClassCleanup(cls.origin.close)

    def setUp(self):
        self.job = self.origin.job(linger="1s")
        self.addCleanup(self.job.close)

    def sidecars(self):
        """Pids of penstockd processes of this job."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/comm") as comm, open(f"/proc/{pid}/cmdline") as line:
                    if comm.read().strip() == "penstockd" and self.job.config in line.read():
                        found.append(int(pid))
            except OSError:
                continue
        return found

    def run_with_sidecar(self, argv, **keywords):
        """Starts the sidecar by hand in containers (there it is a container of its own)."""
        if CONTAINERS and self.job._sidecar is None:
            self.job.start()
        return self.job.run(argv, join=CONTAINERS, **keywords)

    def test_exit_codes(self):
        for status in (0, 1, 7, 255):
            self.assertEqual(self.run_with_sidecar(["bash", "-c", f"exit {status}"]).returncode, status)

    def test_a_command_that_cannot_start(self):
        result = self.run_with_sidecar(["/none/such"])
        self.assertEqual(result.returncode, 127, result)
        self.assertIn(b"/none/such", result.stderr)
        result = self.run_with_sidecar(["/etc/passwd"])
        self.assertEqual(result.returncode, 126, result)

    def test_signals_end_it_as_they_would_end_the_program(self):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
            result = self.run_with_sidecar(["bash", "-c", f"ulimit -c 0; kill -{int(number)} $$"])
            self.assertIn(result.returncode, (-number, 128 + number))

    @unittest.skipIf(CONTAINERS, "signals a process of this namespace")
    def test_a_signal_reaches_the_program(self):
        process = subprocess.Popen(
            self.job.run_command(["bash", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done"],
                                 join=False), stdout=subprocess.PIPE, env=self.job.environment())
        self.assertEqual(process.stdout.readline(), b"up\n")
        process.terminate()
        self.assertEqual(process.wait(20), 9)
        process.stdout.close()

    def test_stdin_arguments_and_directory(self):
        result = self.run_with_sidecar(["bash", "-c", 'cat; echo "$#" "$2"; pwd', "x", "a b", "-- c d"],
                                       input=b"in\n")
        self.assertEqual(result.stdout.decode().split("\n")[:2], ["in", "2 -- c d"])

    @unittest.skipIf(CONTAINERS, "in containers the sidecar is started by its own container")
    def test_it_starts_one_sidecar_and_that_ends(self):
        argv = ["bash", "-c", f"sha256sum < {COVERED}/big.bin; sleep 0.3"]
        processes = [subprocess.Popen(self.job.run_command(argv, join=False), stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, env=self.job.environment(self.job.credentials))
                     for _ in range(4)]
        most = 0
        while any(process.poll() is None for process in processes):
            most = max(most, len(self.sidecars()))
            time.sleep(0.02)
        for process in processes:
            out, err = process.communicate()
            self.assertEqual((process.returncode, out.split()[0].decode()),
                             (0, self.origin.data.digests["big.bin"]), err)
        self.assertEqual(len(self.sidecars()), 1)
        deadline = time.monotonic() + 20
        while self.sidecars() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(self.sidecars(), [], "it lingers longer than its second")
        self.assertNotEqual(self.job.penstock("status").returncode, 0)

    def test_join_without_a_sidecar_waits_and_says_so(self):
        job = self.origin.job(wait="1s")
        self.addCleanup(job.close)
        begin = time.monotonic()
        result = job.run(["cat", COVERED + "/text.txt"], join=True, env={"LC_ALL": "C"})
        self.assertEqual((result.returncode, result.stdout), (1, b""), result)
        self.assertIn(b"Input/output error", result.stderr)
        self.assertIn(job.socket.encode(), result.stderr)
        self.assertGreater(time.monotonic() - begin, 0.8)
        self.assertLess(time.monotonic() - begin, 15)

    def test_stop(self):
        self.job.start()
        self.assertEqual(self.job.penstock("status").returncode, 0)
        self.assertEqual(self.job.run(["cat", COVERED + "/text.txt"]).returncode, 0)
        result = self.job.penstock("stop")
        self.assertEqual(result.returncode, 0, result)
        self.assertEqual(self.job._sidecar.wait(20), 0)
        self.assertNotEqual(self.job.penstock("status").returncode, 0)

    def test_stop_refuses_while_programs_are_joined(self):
        self.job.start()
        argv = self.job.on_program_side(self.job.run_command(
            ["python3", "-c", f"import sys; f = open('{COVERED}/text.txt'); f.read(1); print('up', flush=True); sys.stdin.read()"]))
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   env=self.job.environment())
        self.assertEqual(process.stdout.readline(), b"up\n")
        try:
            self.assertNotEqual(self.job.penstock("stop").returncode, 0)
            self.assertEqual(self.job.penstock("status").returncode, 0)
        finally:
            process.communicate(b"")
        self.assertEqual(self.job.penstock("stop", "--force").returncode, 0)
        self.assertEqual(self.job._sidecar.wait(20), 0)

    def test_sigterm_drains_and_exits_0(self):
        self.job.start()
        self.assertEqual(self.job.run(["cat", COVERED + "/text.txt"]).returncode, 0)
        self.assertEqual(self.job.stop(), 0)

    def test_doctor_and_stat(self):
        self.job.start()
        result = self.job.penstock("doctor")
        self.assertTrue(result.stdout.strip(), result)
        stat = self.job.stat()
        for name in ("hits_memory", "hits_nvme", "misses", "origin_requests", "origin_bytes_read",
                     "origin_bytes_written", "evictions", "corrupt_dropped", "passthrough"):
            self.assertIsInstance(self.job.counter(name), int, stat)

    def test_gen_config_is_a_configuration(self):
        result = self.job.execute([self.job.tool("penstock"), "gen-config"])
        self.assertEqual(result.returncode, 0, result)
        path = os.path.join(self.job.base, "generated.toml")
        with open(path, "wb") as file:
            file.write(result.stdout)
        result = subprocess.run([os.path.join(e2e_base.build_dir(), "bin", "penstock"), "env", "-c", path],
                                capture_output=True, env=self.job.environment())
        self.assertEqual(result.returncode, 0, result)


class EnvironmentTest(unittest.TestCase):
    """The library with and without its environment, and with nobody behind it."""

    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(small_files=3, big_mib=1, strange=False)
        cls.addClassCleanup(cls.origin.close)

    def setUp(self):
        self.job = self.origin.job()
        self.addCleanup(self.job.close)
        self.local = os.path.join(self.job.scratch, "covered")
        os.mkdir(self.local)
        with open(os.path.join(self.local, "file"), "w") as file:
            file.write("local secret\n")

    def preload(self, **variables):
        return {"LD_PRELOAD": self.job.library(), **variables}

    def test_env_is_all_that_a_program_needs(self):
        self.job.start()
        variables = self.job.shim_environment()
        self.assertLessEqual(set(variables), {"LD_PRELOAD", "PENSTOCK_SOCKET", "PENSTOCK_PATHS", "PENSTOCK_WAIT"})
        self.assertEqual(variables["PENSTOCK_PATHS"], COVERED)
        self.assertEqual(variables["PENSTOCK_SOCKET"], self.job.socket)
        result = self.job.execute(["sha256sum", COVERED + "/big.bin"], env=variables)
        self.assertEqual(result.stdout.split()[0].decode(), self.origin.data.digests["big.bin"], result)

    def test_without_environment_it_is_transparent(self):
        script = f"cat {self.local}/file; ls {self.local}; test -e {COVERED}; echo $?"
        result = self.job.execute(["bash", "-c", script], env=self.preload())
        self.assertEqual((result.stdout, result.stderr), (b"local secret\nfile\n1\n", b""))

    def without_sidecar(self, script, sock, wait="1s"):
        env = self.preload(PENSTOCK_SOCKET=sock, PENSTOCK_PATHS=self.local, PENSTOCK_WAIT=wait)
        begin = time.monotonic()
        result = self.job.execute(["bash", "-c", script], env=env)
        return result, time.monotonic() - begin

    def assert_loud(self, sock, least=0.8):
        result, seconds = self.without_sidecar(f"cat {self.local}/file", sock)
        self.assertNotIn(b"secret", result.stdout)
        self.assertIn(b"Input/output error", result.stderr)
        self.assertEqual(result.returncode, 1)
        self.assertGreater(seconds, least)
        self.assertLess(seconds, 10)

    def test_no_sidecar_is_eio_after_the_wait(self):
        self.assert_loud(os.path.join(self.job.shared, "nobody.sock"))

    def test_no_folder_for_the_socket(self):
        self.assert_loud("/none/such/job.sock")

    def test_a_dead_socket(self):
        path = os.path.join(self.job.shared, "dead.sock")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
        os.chmod(path, 0o777)
        self.assert_loud(path)

    def test_somebody_else_listens(self):
        path = os.path.join(self.job.shared, "mute.sock")
        with socket.socket(socket.AF_UNIX) as mute:
            mute.bind(path)
            os.chmod(path, 0o777)
            mute.listen(16)
            self.assert_loud(path)

    def test_other_calls_are_loud_too(self):
        sock = os.path.join(self.job.shared, "nobody.sock")
        for script in (f"ls {self.local}", f"stat {self.local}/file", f"echo x > {self.local}/file",
                       f"cp {self.local}/file {self.job.scratch}/copied", f"cd {self.local} && cat file",
                       f"mkdir {self.local}/made", f"rm {self.local}/file", f"cd {self.job.scratch} && cat covered/file"):
            with self.subTest(script=script):
                result, _ = self.without_sidecar(script, sock)
                self.assertNotEqual(result.returncode, 0, result)
                self.assertNotIn(b"secret", result.stdout)
        self.assertEqual(sorted(os.listdir(self.local)), ["file"])
        with open(os.path.join(self.local, "file")) as file:
            self.assertEqual(file.read(), "local secret\n")

    def test_uncovered_paths_work_without_a_sidecar(self):
        result, seconds = self.without_sidecar("cat /etc/hostname > /dev/null && ls / > /dev/null && echo fine",
                                               "/none/such/job.sock", wait="20s")
        self.assertEqual(result.stdout, b"fine\n")
        self.assertLess(seconds, 5)

    def test_a_late_sidecar_is_waited_for(self):
        env = self.preload(PENSTOCK_SOCKET=self.job.socket, PENSTOCK_PATHS=COVERED, PENSTOCK_WAIT="30s")
        process = subprocess.Popen(self.job.on_program_side(["sha256sum", COVERED + "/big.bin"], env),
                                   stdout=subprocess.PIPE, env=self.job.environment())
        time.sleep(0.5)
        self.job.start()
        out, _ = process.communicate(timeout=60)
        self.assertEqual(out.split()[0].decode(), self.origin.data.digests["big.bin"])


if __name__ == "__main__":
    e2e_base.main()
