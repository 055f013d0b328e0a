"""A job: its configuration, its sidecar, and programs that read through it.

The same test runs plain or in two containers: Job hides where the sidecar and the program live. In
containers both sit in namespaces of their own under different uids, with containerd's default
seccomp profile; the program's sees neither the origin nor the cache nor the credentials, only the
socket's folder, the build and a scratch folder."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field

from .containers import BUILD_INSIDE, OUTER_BASE, Container, descendants

SIDECAR_UID, PROGRAM_UID = 1000, 2000


def repo_dir():
    return os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))


def build_dir():
    return os.path.realpath(os.environ.get("PENSTOCK_BUILD",
                                           os.path.join(repo_dir(), "build", "release")))


@dataclass
class Mount:
    path: str
    origin: str
    keys: dict = field(default_factory=dict)      # more keys of [[mount]]
    auth: str = ""                                # mode of [mount.auth]
    auth_keys: dict = field(default_factory=dict)  # more keys of it


def _toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value)      # strings and numbers are written alike in both languages


class Job:
    """One job. Use as a context manager; start() is separate, so a test can run without a sidecar."""

    def __init__(self, mounts, containers=False, credentials=None, memory="256MiB", nvme="1GiB",
                 wait="20s", linger="2s", origin_folders=(), netns_of=0, sidecar_keys=None, tables=None,
                 shared_in=None, program_folders=()):
        self.base = tempfile.mkdtemp(prefix="pst-job-", dir="/tmp")
        os.chmod(self.base, 0o755)
        self.containers = containers
        self.credentials = dict(credentials or {})
        self.wait = wait
        self.mounts = mounts
        if shared_in:                                    # another file system: /dev/shm
            self.shared = tempfile.mkdtemp(prefix="pst-shared-", dir=shared_in)
            os.chmod(self.shared, 0o777)
        else:
            self.shared = self._folder("shared", 0o777)  # as an emptyDir is
        self.scratch = self._folder("scratch", 0o777)
        self.cache = self._folder("cache", 0o700)
        if containers:
            os.chown(self.cache, OUTER_BASE + SIDECAR_UID, OUTER_BASE + SIDECAR_UID)
        self.config_folder = self._folder("config", 0o755)
        self.config = os.path.join(self.config_folder, "job.toml")
        self.socket = os.path.join(self.shared, "job.sock")
        self.log = os.path.join(self.base, "penstockd.log")
        self._sidecar = None
        self._write_config(memory, nvme, linger, sidecar_keys or {}, tables or {})
        program = os.path.join(build_dir(), "tests", "pst_container")
        common = [(self.shared, self.shared, False), (self.config_folder, self.config_folder, True),
                  (build_dir(), BUILD_INSIDE, True)]
        self._program_side = Container(program, PROGRAM_UID, common + [
            (self.scratch, self.scratch, False)] + [(f, f, True) for f in program_folders])
        self._sidecar_side = Container(program, SIDECAR_UID, common + [
            (self.cache, self.cache, False)] + [(f, f, True) for f in origin_folders], netns_of)

    def _folder(self, name, mode):
        path = os.path.join(self.base, name)
        os.mkdir(path)
        os.chmod(path, mode)
        return path

    def _write_config(self, memory, nvme, linger, sidecar_keys, tables):
        lines = ["version = 1", "[sidecar]", f"socket = {_toml(self.socket)}",
                 f"linger = {_toml(linger)}"]
        lines += [f"wait = {_toml(self.wait)}"]
        if self.containers:
            # The tests administer from the program's side.
            lines += [f"allow_uids = [{PROGRAM_UID}]", f"admin_uids = [{PROGRAM_UID}]"]
        lines += [f"{key} = {_toml(value)}" for key, value in sidecar_keys.items()]
        lines += ["[cache]", f"dir = {_toml(self.cache)}", f"memory = {_toml(memory)}",
                  f"nvme = {_toml(nvme)}"]
        for table, keys in tables.items():      # {"limits": {...}}
            lines += [f"[{table}]"] + [f"{key} = {_toml(value)}" for key, value in keys.items()]
        for mount in self.mounts:
            lines += ["[[mount]]", f"path = {_toml(mount.path)}", f"origin = {_toml(mount.origin)}"]
            lines += [f"{key} = {_toml(value)}" for key, value in mount.keys.items()]
            if mount.auth:
                lines += ["[mount.auth]", f"mode = {_toml(mount.auth)}"]
                lines += [f"{key} = {_toml(value)}" for key, value in mount.auth_keys.items()]
        with open(self.config, "w") as file:
            file.write("\n".join(lines) + "\n")

    # ------------------------------------------------------------ programs

    def tool(self, name):
        """Path of a program of the build, as its user sees it."""
        build = BUILD_INSIDE if self.containers else build_dir()
        return os.path.join(build, "bin", name)

    def library(self):
        build = BUILD_INSIDE if self.containers else build_dir()
        return os.path.join(build, "lib", "libpenstock.so")

    def environment(self, extra=None):
        """A clean environment for programs: no secrets, no shim."""
        keep = {k: v for k, v in os.environ.items()
                if not k.startswith(("AZURE_", "PENSTOCK_", "LD_"))}
        keep["PENSTOCK_WAIT"] = self.wait
        keep.update(extra or {})
        return keep

    def on_program_side(self, argv, env=None):
        """`argv` as a command line of this machine; with `env` set for it alone, not for what makes
        its container."""
        if env:
            argv = ["env"] + [f"{name}={value}" for name, value in env.items()] + list(argv)
        return self._program_side.command(argv) if self.containers else list(argv)

    def execute(self, argv, env=None, timeout=120, **keywords):
        """Runs `argv` where programs live, without the shim. Output is bytes."""
        keywords.setdefault("stdout", subprocess.PIPE)
        keywords.setdefault("stderr", subprocess.PIPE)
        keywords.setdefault("stdin", subprocess.DEVNULL)
        if "input" in keywords:
            keywords.pop("stdin")
        return subprocess.run(self.on_program_side(argv, env), env=self.environment(),
                              timeout=timeout, **keywords)

    def run_command(self, argv, join=True, options=()):
        """The `penstock run` line for `argv`, for a caller that starts it itself."""
        return [self.tool("penstock"), "run", "-c", self.config] + (["--join"] if join else []) + \
            list(options) + ["--"] + list(argv)

    def run(self, argv, join=True, options=(), **keywords):
        """Runs `argv` through `penstock run`; joins the sidecar that start() started, by default."""
        return self.execute(self.run_command(argv, join, options), **keywords)

    def shell(self, script, **keywords):
        return self.run(["bash", "-c", script], **keywords)

    def penstock(self, *arguments, **keywords):
        return self.execute([self.tool("penstock"), arguments[0], "-c", self.config,
                             *arguments[1:]], **keywords)

    def shim_environment(self):
        """What `penstock env` prints, as a dict."""
        result = self.penstock("env")
        if result.returncode != 0:
            raise RuntimeError(f"penstock env: {result.stderr.decode()}")
        variables = {}
        for line in result.stdout.decode().splitlines():
            name, sign, value = line.removeprefix("export ").partition("=")
            if sign:
                variables[name] = value.strip("'\"")
        return variables

    # ------------------------------------------------------------ sidecar

    def sidecar_command(self):
        argv = [self.tool("penstockd"), "-c", self.config]
        return self._sidecar_side.command(argv) if self.containers else argv

    def start(self, wait=True):
        with open(self.log, "ab") as log:
            self._sidecar = subprocess.Popen(
                self.sidecar_command(), env=self.environment(self.credentials),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=30):
        deadline = time.monotonic() + seconds
        while self.penstock("status").returncode != 0:
            if self._sidecar and self._sidecar.poll() is not None:
                raise RuntimeError(f"penstockd ended with {self._sidecar.returncode}:\n{self.read_log()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"no answer to penstock status in {seconds} s:\n{self.read_log()}")
            time.sleep(0.05)

    def sidecar_pid(self):
        """The host's pid of penstockd itself."""
        pids = [self._sidecar.pid] + descendants(self._sidecar.pid)
        for pid in pids:
            with open(f"/proc/{pid}/comm") as comm:
                if comm.read().strip() == "penstockd":
                    return pid
        raise RuntimeError("penstockd is not running")

    def kill_sidecar(self):
        os.kill(self.sidecar_pid(), signal.SIGKILL)
        self._sidecar.wait(20)

    def stop(self, seconds=20):
        """SIGTERM; returns the exit status, which is 0 for a sidecar that drained."""
        if self._sidecar is None:
            return 0
        if self._sidecar.poll() is None:
            self._sidecar.terminate()
            try:
                self._sidecar.wait(seconds)
            except subprocess.TimeoutExpired:
                self._sidecar.kill()
                self._sidecar.wait()
                raise RuntimeError(f"penstockd ignored SIGTERM for {seconds} s:\n{self.read_log()}")
        status = self._sidecar.returncode
        self._sidecar = None
        return status

    def read_log(self):
        try:
            with open(self.log, errors="replace") as file:
                return file.read()[-8000:]
        except OSError:
            return ""

    def stat(self):
        result = self.penstock("stat", "--json")
        if result.returncode != 0:
            raise RuntimeError(f"penstock stat: {result.stderr.decode()}\n{self.read_log()}")
        return json.loads(result.stdout)

    def counter(self, name):
        """A counter of `penstock stat --json`, wherever in the document it stands."""
        def find(node):
            if isinstance(node, dict):
                if name in node and isinstance(node[name], (int, float)):
                    return node[name]
                return next((v for v in map(find, node.values()) if v is not None), None)
            return None
        value = find(self.stat())
        if value is None:
            raise KeyError(name)
        return value

    # ------------------------------------------------------------ end

    def close(self):
        try:
            self.stop()
        finally:
            self.end_lingering()
            shutil.rmtree(self.base, ignore_errors=True)
            shutil.rmtree(self.shared, ignore_errors=True)

    def end_lingering(self):
        """Ends a sidecar that `penstock run` started by itself, without waiting for its linger."""
        if os.path.exists(self.socket) and not self.containers:
            self.penstock("stop", "--force")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
