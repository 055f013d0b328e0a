"""An account with a hierarchical namespace, as the public REST reference describes it: Path - List and
getAccessControl on the dfs endpoint, and the part of the Blob API that reads need. Azurite has no such
accounts. Answers have the shapes that the reference shows; signatures are not checked.

Both endpoints are one port: /blob/ACCOUNT/... and /dfs/ACCOUNT/..."""

import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

ACCOUNT, FILE_SYSTEM = "hnsacct", "files"
_TIME = "Sun, 01 Mar 2026 12:00:00 GMT"


class DfsHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._serve(False)

    def do_GET(self):
        self._serve(True)

    def _serve(self, body):
        path, _, query = self.path.partition("?")
        values = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        _, service, account, rest = (urllib.parse.unquote(path) + "/").split("/", 3)
        file_system, _, name = rest.rstrip("/").partition("/")
        self.server.seen.append((service, self.command, name, values))
        if account != ACCOUNT or file_system != FILE_SYSTEM:
            return self._error(404, "FilesystemNotFound" if service == "dfs" else "ContainerNotFound")
        if service == "dfs":
            return self._dfs(path, values)
        if values.get("comp") == "list":
            return self._list_blobs(values)
        return self._blob(name, body)

    # ---- dfs

    def _dfs(self, path, values):
        if values.get("action") == "getAccessControl":
            if not self.server.hierarchical:
                return self._error(400, "HierarchicalNamespaceNotEnabled")
            # The root is named by a slash after the file system.
            if not path.endswith("/"):
                return self._error(400, "InvalidUri")
            return self._answer(200, b"", {"x-ms-owner": "$superuser", "x-ms-group": "$superuser",
                                           "x-ms-permissions": "rwxr-x---",
                                           "x-ms-acl": "user::rwx,group::r-x,other::---"})
        if values.get("resource") != "filesystem" or "recursive" not in values:
            return self._error(400, "MissingRequiredQueryParameter")
        if self.server.broken_lists:
            return self._answer(200, b'{"paths":[{"na', {"Content-Type": "application/json"})
        directory = values.get("directory", "")
        entries = self.server.entries
        if directory and directory not in entries:
            return self._error(404, "PathNotFound")
        prefix = directory + "/" if directory else ""
        names = sorted(n for n in entries if n.startswith(prefix) and n != directory and
                       (values["recursive"] == "true" or "/" not in n[len(prefix):]))
        if directory and entries[directory] is not None:
            names = [directory]               # a file lists itself
        begin = int(values.get("continuation", "=0").rpartition("=")[2])
        page = names[begin:begin + self.server.page]
        paths = []
        for name in page:
            data = entries[name]
            one = {"contentLength": str(len(data or b"")), "creationTime": "133855056000000000",
                   "etag": self.server.etag(name), "group": "$superuser", "lastModified": _TIME,
                   "name": name, "owner": "$superuser", "permissions": "rw-r-----"}
            if data is None:
                one["isDirectory"] = "true"
            paths.append(one)
        headers = {"Content-Type": "application/json;charset=utf-8"}
        if begin + len(page) < len(names):
            headers["x-ms-continuation"] = f"VBaL+/k/6&r=={begin + len(page)}"
        self._answer(200, json.dumps({"paths": paths}).encode(), headers)

    # ---- blob

    def _list_blobs(self, values):
        prefix, delimiter = values.get("prefix", ""), values.get("delimiter", "")
        items, last = [], None
        for name in sorted(n for n in self.server.entries if n.startswith(prefix)):
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                if name[:cut + 1] != last:
                    last = name[:cut + 1]
                    items.append(f"<BlobPrefix><Name>{escape(last)}</Name></BlobPrefix>")
                continue
            data = self.server.entries[name]
            kind = "directory" if data is None else "file"
            meta = "<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>" if data is None else "<Metadata/>"
            items.append(f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{_TIME}</Last-Modified>"
                         f"<Etag>{self.server.etag(name)}</Etag><ResourceType>{kind}</ResourceType>"
                         f"<Content-Length>{len(data or b'')}</Content-Length></Properties>{meta}</Blob>")
        body = ('<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>' + "".join(items) +
                "</Blobs><NextMarker /></EnumerationResults>")
        self._answer(200, body.encode(), {"Content-Type": "application/xml"})

    def _blob(self, name, with_body):
        if name not in self.server.entries:
            return self._error(404, "BlobNotFound")
        data = self.server.entries[name]
        headers = {"ETag": f'"{self.server.etag(name)}"', "Last-Modified": _TIME,
                   "x-ms-resource-type": "directory" if data is None else "file"}
        if data is None:
            headers["x-ms-meta-hdi_isfolder"] = "true"
        data = data or b""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not with_body:
            headers["Content-Length"] = str(len(data))
            return self._answer(200, None, headers)
        if not found:
            return self._answer(200, data, headers)
        first, last = int(found[1]), min(int(found[2]), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self._answer(206, data[first:last + 1], headers)

    def _error(self, status, code):
        body = json.dumps({"error": {"code": code, "message": code}}).encode()
        self._answer(status, body if self.command == "GET" else None,
                     {"x-ms-error-code": code, "Content-Type": "application/json"})

    def _answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(body)


class DfsServer:
    """`entries`: path to bytes, or to None for a directory. Directories are not implied."""

    def __init__(self, entries, page=5000, hierarchical=True):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), DfsHandler)
        self._server.daemon_threads = True
        self._server.entries = entries
        self._server.page = page
        self._server.hierarchical = hierarchical
        self._server.broken_lists = False
        self._server.seen = []
        self._server.etag = lambda name: f"0x8DC{sum(name.encode()):012X}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def break_lists(self):
        self._server.broken_lists = True

    @property
    def seen(self):
        """(service, method, name, query) of every request."""
        return self._server.seen

    def mount_keys(self):
        base = f"http://127.0.0.1:{self._server.server_address[1]}"
        return {"endpoint": f"{base}/blob/{ACCOUNT}", "dfs_endpoint": f"{base}/dfs/{ACCOUNT}"}

    url = f"abfss://{FILE_SYSTEM}@{ACCOUNT}.dfs.core.windows.net"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
