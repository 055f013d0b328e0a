"""Where cases run: the data, a plain view of it, and a job whose mount shows the same bytes at the same path.

The plain run has its own mount namespace (or container), in which the data lies at COVERED, bound read-only: a covered
path cannot be written to either. The covered run sees no such folder at all, only the library's answers."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
from penstock_harness import BLOB_PREFIX, Azurite, Container, Job, Mount, build_dir  # noqa: E402
from penstock_harness.containers import BUILD_INSIDE, OUTER_BASE  # noqa: E402
from penstock_harness.job import PROGRAM_UID  # noqa: E402

from case import FIXTURES  # noqa: E402
from compare import Result  # noqa: E402

COVERED = "/run/matrix/data"     # below a folder that every machine has and nothing of ours lies in
EPOCH = 1_600_000_000            # times of the data's files begin here
CONTAINER_PROGRAM = os.path.join(build_dir(), "tests", "pst_container")


class PlainView:
    """A mount namespace in which the data lies at COVERED, held open by a process that waits in it."""

    def __init__(self, data):
        script = ('mount -t tmpfs none /run && mkdir -p "$1" && mount --bind "$0" "$1" && '
                  'mount -o remount,bind,ro "$1" && echo ready && read -r _')
        self.user = os.geteuid() != 0
        self.holder = subprocess.Popen(
            ["unshare", "-Urm" if self.user else "-m", "sh", "-c", script, data, COVERED],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        if self.holder.stdout.readline() != b"ready\n":
            raise RuntimeError("no mount namespace for the plain runs")

    def command(self, argv):
        namespaces = ["-U", "--preserve-credentials", "-m"] if self.user else ["-m"]
        return ["nsenter", "-t", str(self.holder.pid), *namespaces, "--", *argv]

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(10)


class World:
    """The data of the chosen fixtures, and runs on it."""

    def __init__(self, fixtures, origin="file", containers=False, keep=False, lie=None):
        self.base = tempfile.mkdtemp(prefix="pst-matrix-", dir="/tmp")
        os.chmod(self.base, 0o755)
        self.origin, self.containers, self.keep, self.lie = origin, containers, keep, lie
        self.data = os.path.join(self.base, "data")
        self.broken = {}         # fixtures that could not be built, and why: their cases fail
        self.plain = self.job = self.server = None
        try:
            self._build(fixtures)
            self._start()
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------ data

    def _build(self, fixtures):
        os.mkdir(self.data)
        for name in sorted(fixtures):
            folder = os.path.join(self.data, name)
            os.mkdir(folder)
            try:
                FIXTURES[name](folder)
            except (OSError, subprocess.SubprocessError) as error:
                self.broken[name] = f"fixture {name}: {error}"
            if not getattr(FIXTURES[name], "keep_times", False):
                self._set_times(folder)
        os.utime(self.data, (EPOCH, EPOCH))
        if self.origin == "azurite":      # which keeps no modes
            for parent, _, files in os.walk(self.data):
                os.chmod(parent, 0o555)
                for name in files:
                    path = os.path.join(parent, name)
                    os.chmod(path, 0o444 | os.stat(path).st_mode & 0o111)      # what is a program may be executed there
        if self.containers:      # to the program its files are its own, as those of a mount are
            owner = OUTER_BASE + PROGRAM_UID
            for parent, _, files in os.walk(self.data):
                for path in [parent] + [os.path.join(parent, name) for name in files]:
                    os.lchown(path, owner, owner)
                    if not os.path.islink(path):      # the sidecar is another user
                        os.chmod(path, os.stat(path).st_mode | (0o555 if os.path.isdir(path) else 0o444))

    def _set_times(self, folder):
        names = sorted(os.path.join(parent, name) for parent, folders, files in os.walk(folder) for name in folders + files)
        for number, path in enumerate(names + [folder]):
            os.utime(path, ns=((EPOCH + number * 61) * 10**9 + number * 1001,) * 2, follow_symlinks=False)

    def _start(self):
        options = {"containers": self.containers, "memory": "256MiB", "nvme": "4GiB"}
        mount = Mount(COVERED, f"file://{self.data}")
        if self.origin == "azurite":
            self.server = Azurite(own_netns=self.containers, container_program=CONTAINER_PROGRAM)
            self.server.upload_folder(self.data, "set", BLOB_PREFIX)
            mount = Mount(COVERED, f"az://{self.server.account}/set/{BLOB_PREFIX[:-1]}", {"endpoint": self.server.endpoint})
            options.update(credentials=self.server.credentials(), netns_of=self.server.pid)
        else:
            options["origin_folders"] = [self.data]
        self.job = Job([mount], **options)
        self.home = os.path.join(self.job.scratch, "home")
        self.work = os.path.join(self.job.scratch, "work")
        for folder in (self.home, self.work):
            os.mkdir(folder)
            os.chmod(folder, 0o777)
        if self.containers:
            self.plain = Container(CONTAINER_PROGRAM, PROGRAM_UID, [
                (self.job.scratch, self.job.scratch, False), (build_dir(), BUILD_INSIDE, True), (self.data, COVERED, True)])
        else:
            self.plain = PlainView(self.data)
        self.job.start()

    # ------------------------------------------------------------ runs

    def _environment(self, case, work):
        return dict({"W": work, "D": COVERED, "HOME": self.home, "LC_ALL": "C.UTF-8", "TZ": "UTC", "TERM": "dumb",
                     "PYTHONDONTWRITEBYTECODE": "1"}, **case.env)

    def run_plain(self, case):
        argv, work = self._prepare(case)
        result = self._run(case, self.plain.command(["env"] + argv), work)
        result.folder = os.path.join(self.base, "plain-" + case.name)
        shutil.move(work, result.folder)
        return result

    def run_covered(self, case):
        argv, work = self._prepare(case)
        if self.lie:
            argv.insert(0, f"LD_PRELOAD={self.lie}:{self.job.library()}")
        return self._run(case, self.job.on_program_side(self.job.run_command(["env"] + argv)), work)

    def _prepare(self, case):
        work = os.path.join(self.work, case.name)
        shutil.rmtree(work, ignore_errors=True)
        os.mkdir(work)
        os.chmod(work, 0o777)
        words = [f"{name}={value}" for name, value in self._environment(case, work).items()]
        return words + [case.shell, "-c", 'cd "$W" || exit 125; ' + case.script], work

    def _run(self, case, argv, work):
        """Runs in a process group of its own, which is killed as a whole at the deadline."""
        process = subprocess.Popen(argv, env=self.job.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, start_new_session=True)
        try:
            stdout, stderr = process.communicate(timeout=case.deadline_s)
            return Result(process.returncode, stdout, stderr, work)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            try:
                stdout, stderr = process.communicate(timeout=5)
            except subprocess.TimeoutExpired:      # a descendant in another group holds the pipes
                stdout = stderr = b""
            return Result(None, stdout, stderr, work)

    def forget(self, *results):
        """Removes what runs left, unless it is to be kept for a look."""
        if not self.keep:
            for result in results:
                shutil.rmtree(result.folder, ignore_errors=True)

    def health(self):
        """What went wrong beside the programs' answers: a sidecar that died, bytes that it found damaged."""
        if self.job.penstock("status").returncode != 0:
            return ["the sidecar does not answer any more:\n" + self.job.read_log()]
        corrupt = self.job.counter("corrupt_dropped")
        return [f"corrupt_dropped is {corrupt}"] if corrupt else []

    def close(self):
        for part in (self.job, self.plain if isinstance(self.plain, PlainView) else None):
            if part:
                part.close() if not (self.keep and part is self.job) else part.stop()
        if self.server:
            self.server.stop()
        if self.keep:
            print(f"kept: {self.base}" + (f" {self.job.base}" if self.job else ""))
        else:
            shutil.rmtree(self.base, ignore_errors=True)
