"""A Blob server of ours that makes up the listing of millions of blobs: what no real server can be
filled with in a test's time. Conforming List Blobs answers (flat and hierarchical, prefixes, pages,
markers), HEAD, and GET of ranges; no writes, no signatures. Correctness is tested against Azurite;
this one is for scale.

    python3 list_server.py --tops 20 --folders 1000 --files 50 [--port 0] [--delay-ms 5]

prints its port, and its counters as JSON for each line that it reads. The tree: tTTT/dDDDDD/fFFFFFF.bin;
with --tops 0 all files lie in one folder."""

import argparse
import bisect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ACCOUNT, CONTAINER = "listacct", "set"
_TIME = "Sun, 01 Mar 2026 12:00:00 GMT"


class Tree:
    """Blob i of tops * folders * files, in the order of names."""

    def __init__(self, tops, folders, files):
        self.tops, self.folders, self.files = tops, folders, files
        self.deep = tops > 0
        self.count = tops * folders * files if self.deep else files

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        if not self.deep:
            return f"f{i:08}.bin"
        top, rest = divmod(i, self.folders * self.files)
        folder, file = divmod(rest, self.files)
        return f"t{top:03}/d{folder:05}/f{file:06}.bin"

    def index(self, name):
        """Of the first name that is not before `name`."""
        return bisect.bisect_left(self, name)

    @staticmethod
    def size(i):
        return 4096 + i % 1000

    @staticmethod
    def etag(i):
        return f"0x8DC{i * 7919 % (1 << 48):012X}"

    def find(self, name):
        i = self.index(name)
        return i if i < self.count and self[i] == name else None


def _after(prefix):
    """The smallest string that comes after everything beginning with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


class Lister(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 20

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _count(self, kind):
        with self.server.lock:
            counters = self.server.counters
            counters[kind] = counters.get(kind, 0) + 1

    def do_GET(self):
        if self.server.delay_s:
            time.sleep(self.server.delay_s)
        path, _, query = self.path.partition("?")
        values = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if values.get("comp") == "list":
            self._count("list_flat" if not values.get("delimiter") else "list")
            return self._list(values)
        self._blob(path, with_body=True)

    def do_HEAD(self):
        if self.server.delay_s:
            time.sleep(self.server.delay_s)
        self._blob(self.path.partition("?")[0], with_body=False)

    def _list(self, values):
        tree, prefix = self.server.tree, values.get("prefix", "")
        most = min(int(values.get("maxresults", 5000)), 5000)
        delimiter = values.get("delimiter", "")
        begin = tree.index(prefix)
        end = tree.index(_after(prefix)) if prefix else len(tree)
        i = int(values["marker"][2:]) if values.get("marker") else begin
        items = []
        while i < end and len(items) < most:
            name = tree[i]
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                common = name[:cut + 1]
                items.append(f"<BlobPrefix><Name>{common}</Name></BlobPrefix>")
                i = tree.index(_after(common))
                continue
            items.append(f"<Blob><Name>{name}</Name><Properties><Last-Modified>{_TIME}</Last-Modified>"
                         f"<Etag>{tree.etag(i)}</Etag><Content-Length>{tree.size(i)}</Content-Length>"
                         "<Content-Type>application/octet-stream</Content-Type>"
                         "<BlobType>BlockBlob</BlobType></Properties><Metadata/></Blob>")
            i += 1
        marker = f"i:{i}" if i < end else ""
        body = ('<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>' + "".join(items) +
                f"</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>").encode()
        self._answer(200, body, {"Content-Type": "application/xml"})

    def _blob(self, path, with_body):
        tree = self.server.tree
        name = urllib.parse.unquote(path).removeprefix(f"/{ACCOUNT}/{CONTAINER}/")
        self._count("get" if with_body else "head")
        i = tree.find(name)
        if i is None:
            return self._answer(404, b"", {"x-ms-error-code": "BlobNotFound"})
        size = tree.size(i)
        headers = {"ETag": f'"{tree.etag(i)}"', "Last-Modified": _TIME}
        if not with_body:
            headers["Content-Length"] = str(size)
            return self._answer(200, None, headers)
        data = (f"{i:015}\n".encode() * (size // 16 + 1))[:size]
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not found:
            return self._answer(200, data, headers)
        first, last = int(found[1]), min(int(found[2]), size - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self._answer(206, data[first:last + 1], headers)

    def _answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body:
            self.wfile.write(body)
        self.wfile.flush()


class ListServer:
    """The server as a process; counters() asks it."""

    def __init__(self, tops, folders, files, delay_ms=0):
        self.tree = Tree(tops, folders, files)
        self._process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--tops", str(tops), "--folders", str(folders),
             "--files", str(files), "--delay-ms", str(delay_ms)],
            stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        self.port = int(self._process.stdout.readline())

    url = f"az://{ACCOUNT}/{CONTAINER}"

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def counters(self):
        """Requests so far, by kind: list, list_flat, head, get."""
        self._process.stdin.write("counters\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def stop(self):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main():
    parser = argparse.ArgumentParser()
    for name, value in (("--tops", 20), ("--folders", 1000), ("--files", 50), ("--port", 0),
                        ("--delay-ms", 0)):
        parser.add_argument(name, type=int, default=value)
    options = parser.parse_args()
    server = _Server(("127.0.0.1", options.port), Lister)
    server.tree = Tree(options.tops, options.folders, options.files)
    server.delay_s = options.delay_ms / 1000
    server.lock = threading.Lock()
    server.counters = {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(server.server_address[1], flush=True)
    for _ in sys.stdin:                        # ends with whoever started it
        with server.lock:
            print(json.dumps(server.counters), flush=True)


if __name__ == "__main__":
    main()
