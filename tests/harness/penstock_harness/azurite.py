"""A real Blob server (Azurite) on a free port, and the client that fills it.

The client speaks the Blob REST API with SharedKey signatures, written here a second time on
purpose: it shares no code with what is tested."""

import base64
import ctypes
import hashlib
import hmac
import http.client
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

_CLONE_NEWNET = 0x40000000
_HERE = os.path.dirname(os.path.abspath(__file__))
_SERVER = os.path.join(_HERE, "..", "..", "azurite", "node_modules", ".bin", "azurite-blob")


class _InNetns:
    """Makes this thread enter the network namespace of `pid` for the duration of a with block."""

    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        if not self.pid:
            return
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._enter(f"/proc/{self.pid}/ns/net")

    def __exit__(self, *_):
        if not self.pid:
            return
        _setns(self.home)
        os.close(self.home)

    @staticmethod
    def _enter(path):
        fd = os.open(path, os.O_RDONLY)
        try:
            _setns(fd)
        finally:
            os.close(fd)


def _setns(fd):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Azurite:
    """One server with a fresh folder (Azurite frees overwritten data late) and an account of its own.

    With `own_netns` it runs in a network namespace with nothing but loopback, which a sidecar's
    container joins: `pid` names that namespace. With `tls` (files: certificate, key, CA) it speaks
    https and takes Entra ID's bearer tokens (issuer, audience and times are looked at)."""

    def __init__(self, own_netns=False, container_program=None, tls=None):
        self.tls = tls
        self.account = "pensttest" + secrets.token_hex(4)
        self.key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.folder = tempfile.mkdtemp(prefix="pst-azurite-", dir="/tmp")
        self._netns_pid = None
        self.port = 10000 if own_netns else _free_port()
        self.log = os.path.join(self.folder, "access.log")
        env = dict(os.environ, AZURITE_ACCOUNTS=f"{self.account}:{self.key}")
        command = ["node", os.path.realpath(_SERVER), "--blobHost", "127.0.0.1", "--blobPort",
                   str(self.port), "--location", os.path.join(self.folder, "data"),
                   "--skipApiVersionCheck", "--disableTelemetry"]
        if tls:
            command += ["--oauth", "basic", "--cert", tls[0], "--key", tls[1]]
        if own_netns:
            command = [container_program, "--net-only", "--"] + command
        os.mkdir(os.path.join(self.folder, "data"))
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=subprocess.STDOUT)
        self.pid = self._process.pid
        try:
            self._wait_until_it_answers(own_netns)
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_answers(self, own_netns):
        deadline = time.monotonic() + 60
        while True:
            if self._process.poll() is not None:
                raise RuntimeError("Azurite ended at once:\n" + self.access_log())
            try:
                # Before its exec the server's process is still in our network namespace.
                if not own_netns or "Azurite Blob service" in self.access_log():
                    self._netns_pid = self.pid if own_netns else None
                    self._connect().close()
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError("Azurite did not answer in 60 s:\n" + self.access_log())
            time.sleep(0.05)

    @property
    def endpoint(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/{self.account}"

    def access_log(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def request_count(self, method="GET"):
        """Requests that the server itself has answered: what a counter of ours is compared with."""
        return self.access_log().count(f'"{method} /')

    def credentials(self):
        """The environment of a sidecar that may read and write here."""
        return {"AZURE_STORAGE_ACCOUNT": self.account, "AZURE_STORAGE_KEY": self.key}

    def stop(self):
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # ------------------------------------------------------------ client

    def create_container(self, container):
        self._request("PUT", f"/{container}", {"restype": "container"}, expect=(201, 409))

    def put_blob(self, container, name, data):
        self._request("PUT", f"/{container}/{name}", headers={"x-ms-blob-type": "BlockBlob"},
                      body=data, expect=(201,))

    def get_blob(self, container, name):
        return self._request("GET", f"/{container}/{name}", expect=(200,))

    def delete_blob(self, container, name):
        self._request("DELETE", f"/{container}/{name}", expect=(202,))

    def upload_folder(self, folder, container, prefix=""):
        """Every regular file below `folder`, as <prefix><relative path>. Returns how many."""
        self.create_container(container)
        files = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]

        def upload(path):
            with open(path, "rb") as file:
                self.put_blob(container, prefix + os.path.relpath(path, folder), file.read())

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(upload, files))
        return len(files)

    def _connect(self):
        with _InNetns(self._netns_pid):
            return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def _request(self, method, path, query=None, headers=None, body=b"", expect=(200,)):
        quoted = "/" + self.account + urllib.parse.quote(path, safe="/~-._")
        headers = dict(headers or {})
        headers["x-ms-date"] = formatdate(usegmt=True)
        headers["x-ms-version"] = "2021-12-02"
        headers["Content-Length"] = str(len(body))
        headers["Authorization"] = self._sign(method, quoted, query or {}, headers)
        target = quoted + ("?" + urllib.parse.urlencode(query) if query else "")
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.sock = self._connect()
        if self.tls:
            connection.sock = ssl.create_default_context(cafile=self.tls[2]).wrap_socket(
                connection.sock, server_hostname="127.0.0.1")
        try:
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if response.status not in expect:
            raise RuntimeError(f"{method} {path[:200]}: {response.status} {data[:300]!r}")
        return data

    def _sign(self, method, quoted_path, query, headers):
        length = headers["Content-Length"]
        standard = ["", "", "" if length == "0" else length] + [""] * 8
        own = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers)
                      if name.startswith("x-ms-"))
        resource = f"/{self.account}{quoted_path}" + "".join(
            f"\n{name}:{query[name]}" for name in sorted(query))
        text = "\n".join([method] + standard) + "\n" + own + resource
        digest = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        return f"SharedKey {self.account}:{base64.b64encode(digest).decode()}"


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
