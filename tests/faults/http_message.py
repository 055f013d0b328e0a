"""HTTP/1.1 messages as the fault proxy sees them: heads, bodies of every framing, what a Blob request is."""

import asyncio
import urllib.parse
from dataclasses import dataclass, field

MAX_HEAD_BYTES = 1 << 20


class Broken(Exception):
    """The peer closed, or sent what is no HTTP."""


@dataclass
class Head:
    first: str
    fields: list = field(default_factory=list)      # (name, value) in order

    def get(self, name, default=None):
        for one, value in self.fields:
            if one.lower() == name.lower():
                return value
        return default

    def set(self, name, value):
        self.drop(name)
        self.fields.append((name, value))

    def drop(self, name):
        self.fields = [(one, value) for one, value in self.fields if one.lower() != name.lower()]

    def encode(self):
        lines = [self.first] + [f"{name}: {value}" for name, value in self.fields]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def read_head(reader):
    """The next head, or None where the peer has closed between two messages."""
    try:
        text = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if not end.partial:
            return None
        raise Broken("closed within a head") from end
    except (asyncio.LimitOverrunError, OSError) as error:
        raise Broken(str(error)) from error
    lines = text.decode("latin-1").split("\r\n")
    head = Head(lines[0])
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            head.fields.append((name.strip(), value.strip()))
    return head


async def body_pieces(reader, head, bodiless=False):
    """Yields the body's bytes, whatever its framing."""
    if bodiless:
        return
    if "chunked" in head.get("Transfer-Encoding", "").lower():
        while size := int((await reader.readline()).split(b";")[0], 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
        while (await reader.readline()).strip():
            pass
        return
    length = head.get("Content-Length")
    if length is None:
        while piece := await reader.read(1 << 18):
            yield piece
        return
    left = int(length)
    while left:
        piece = await reader.read(min(left, 1 << 18))
        if not piece:
            raise Broken("closed within a body")
        left -= len(piece)
        yield piece


@dataclass
class Request:
    """A request of the Blob API: `kind` is head, read, list or other; `name` is the blob's, decoded, or
    the prefix of a listing."""
    head: Head
    body: bytes
    connection: int
    method: str = ""
    target: str = ""
    kind: str = ""
    name: str = ""
    query: dict = field(default_factory=dict)

    def __post_init__(self):
        self.method, self.target, _ = self.head.first.split(" ", 2)
        url = urllib.parse.urlsplit(self.target)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        parts = urllib.parse.unquote(url.path).split("/", 3)       # "", account, container, name
        self.name = parts[3] if len(parts) > 3 else ""
        if self.query.get("comp") == "list":
            self.kind, self.name = "list", self.query.get("prefix", "")
        else:
            self.kind = {"HEAD": "head", "GET": "read"}.get(self.method, "other")

    @property
    def range(self):
        return self.head.get("x-ms-range") or self.head.get("Range") or ""

    @property
    def key(self):
        """What two tries of one request have in common."""
        return (self.method, self.target.split("sig=")[0], self.range)


async def read_request(reader, connection):
    head = await read_head(reader)
    if head is None:
        return None
    body = b""
    if head.get("Content-Length") or head.get("Transfer-Encoding"):
        body = b"".join([piece async for piece in body_pieces(reader, head)])
    return Request(head, body, connection)


@dataclass
class Response:
    """A whole answer. `encode` frames it by length; a fault that wants another framing does it itself."""
    head: Head
    body: bytes = b""
    bodiless: bool = False                           # to HEAD: the length is said and nothing comes

    @classmethod
    def make(cls, status, reason="Status", fields=(), body=b""):
        return cls(Head(f"HTTP/1.1 {status} {reason}", [("Content-Length", str(len(body))), *fields]), body)

    @property
    def status(self):
        return int(self.head.first.split(" ")[1])

    def encode(self):
        return self.head.encode() + (b"" if self.bodiless else self.body)
