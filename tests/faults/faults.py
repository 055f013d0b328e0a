"""What the fault proxy can do to an answer. Each function returns a coroutine function for a Rule."""

import asyncio
import base64
import hashlib
import re

from http_message import Response

AZURE_CODES = {403: "AuthenticationFailed", 404: "BlobNotFound", 412: "ConditionNotMet",
               416: "InvalidRange", 429: "TooManyRequests", 500: "InternalError", 503: "ServerBusy"}


def status(code, retry_after=None, error_code=None):
    """The service refuses. Azure's own shape: an error code in a header and in XML."""
    error_code = error_code or AZURE_CODES.get(code, "Unknown")

    async def fault(exchange):
        fields = [("x-ms-error-code", error_code), ("Content-Type", "application/xml")]
        if retry_after is not None:
            fields.append(("Retry-After", str(retry_after)))
        body = f"<?xml version=\"1.0\"?><Error><Code>{error_code}</Code></Error>".encode()
        answer = Response.make(code, error_code, fields, body)
        answer.bodiless = exchange.request.method == "HEAD"
        await exchange.respond(answer)
    return fault


# ---- the connection breaks ----

BEFORE_HEADERS, WITHIN_HEADERS, AFTER_HEADERS, WITHIN_BODY = "before", "within", "after", "body"


def _first_part(answer, where):
    head = answer.head.encode()
    return {BEFORE_HEADERS: b"", WITHIN_HEADERS: head[:len(head) // 2], AFTER_HEADERS: head,
            WITHIN_BODY: head + answer.body[:len(answer.body) // 2]}[where]


def cut(where, reset=True):
    """The answer ends there, by a reset or by a close in good order."""
    async def fault(exchange):
        if where != BEFORE_HEADERS:
            await exchange.send(_first_part(await exchange.fetch(), where))
            await asyncio.sleep(0.01)             # a reset overtakes what was just sent
        exchange.reset() if reset else exchange.end()
    return fault


def silence(where=BEFORE_HEADERS):
    """Nothing more comes, and the connection stays."""
    async def fault(exchange):
        if where != BEFORE_HEADERS:
            await exchange.send(_first_part(await exchange.fetch(), where))
        await exchange.until_client_leaves()
    return fault


def slow(seconds, pieces=20):
    """The whole answer, the head too, in pieces spread over so long."""
    async def fault(exchange):
        data = (await exchange.fetch()).encode()
        step = max(1, len(data) // pieces)
        for at in range(0, len(data), step):
            await exchange.send(data[at:at + step])
            await asyncio.sleep(seconds / pieces)
    return fault


def late(seconds):
    """A pause, then the right answer."""
    async def fault(exchange):
        await asyncio.sleep(seconds)
        await exchange.relay()
    return fault


# ---- the body is not what was promised ----

def _changing(change):
    """A fault that changes the whole answer of the server. Errors go through as they are."""
    def make(*arguments):
        async def fault(exchange):
            answer = await exchange.fetch()
            if answer.status in (200, 206):
                change(exchange, answer, *arguments)
            await exchange.respond(answer)
        return fault
    return make


@_changing
def shorter(_, answer, by):
    """Fewer bytes, and the length agrees with them."""
    answer.body = answer.body[:-by]
    answer.head.set("Content-Length", str(len(answer.body)))


@_changing
def longer(_, answer, by):
    """More bytes than were asked for, and the length agrees with them."""
    answer.body += bytes(by)
    answer.head.set("Content-Length", str(len(answer.body)))


@_changing
def surplus(_, answer, data):
    """Bytes after the end of the body: whoever reuses the connection meets them."""
    answer.body += data


@_changing
def set_field(_, answer, name, value):
    answer.head.set(name, value)


@_changing
def drop_field(_, answer, name):
    answer.head.drop(name)


def no_length(exchange_end="close"):
    """No Content-Length: chunked in odd sizes, or the body ends with the connection."""
    async def fault(exchange):
        answer = await exchange.fetch()
        answer.head.drop("Content-Length")
        if exchange_end == "close":
            answer.head.set("Connection", "close")
            await exchange.respond(answer)
            return exchange.end()
        answer.head.set("Transfer-Encoding", "chunked")
        await exchange.send(answer.head.encode())
        at, size = 0, 1
        while at < len(answer.body):
            piece = answer.body[at:at + size]
            await exchange.send(b"%x;extension=1\r\n%b\r\n" % (len(piece), piece))
            at, size = at + size, size * 3 + 1
        await exchange.send(b"0\r\nX-Trailer: 1\r\n\r\n")
    return fault


def chunked_cut(how):
    """Chunked, and it ends `early` (without the last chunk), or with a chunk whose size is no number."""
    async def fault(exchange):
        answer = await exchange.fetch()
        answer.head.drop("Content-Length")
        answer.head.set("Transfer-Encoding", "chunked")
        half = answer.body[:len(answer.body) // 2]
        await exchange.send(answer.head.encode() + b"%x\r\n%b\r\n" % (len(half), half))
        if how != "early":
            await exchange.send(b"zz\r\n" + answer.body[len(half):])
        exchange.end()
    return fault


# ---- another range, another version, other bytes ----

@_changing
def other_range(exchange, answer, bytes_of, shift):
    """The server serves a range elsewhere, and its Content-Range admits it. `bytes_of(name)` is the blob."""
    data = bytes_of(exchange.request.name)
    first, last, _ = _content_range(answer)
    first, last = first + shift, min(last + shift, len(data) - 1)
    answer.body = data[first:last + 1]
    answer.head.set("Content-Range", f"bytes {first}-{last}/{len(data)}")
    answer.head.set("Content-Length", str(len(answer.body)))


def _content_range(answer):
    return (int(n) for n in re.findall(r"\d+", answer.head.get("Content-Range", "bytes 0-0/1")))


@_changing
def content_range(_, answer, shift):
    """The bytes that were asked for, under a Content-Range that lies."""
    first, last, total = _content_range(answer)
    answer.head.set("Content-Range", f"bytes {first + shift}-{last + shift}/{max(total, last + shift + 1)}")


@_changing
def whole_instead(exchange, answer):
    """A server that knows no ranges: 200 and bytes from the beginning, as many as were asked for."""
    answer.head.first = "HTTP/1.1 200 OK"
    answer.head.drop("Content-Range")


def _md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


@_changing
def flipped_bit(_, answer, at_fraction):
    """One bit is wrong, and Content-MD5 is that of the right bytes, as a server says it of a range."""
    answer.head.set("Content-MD5", _md5(answer.body))
    if answer.body:
        changed = bytearray(answer.body)
        changed[int((len(changed) - 1) * at_fraction)] ^= 0x10
        answer.body = bytes(changed)


@_changing
def wrong_md5(_, answer):
    """The bytes are right and the checksum is another's."""
    answer.head.set("Content-MD5", _md5(answer.body + b"x"))


@_changing
def right_md5(_, answer):
    """No fault: the checksum fits, which must not be refused."""
    answer.head.set("Content-MD5", _md5(answer.body))


# ---- answers that are no HTTP, or too much of it ----

def raw(data, then="close"):
    async def fault(exchange):
        await exchange.send(data)
        exchange.reset() if then == "reset" else exchange.end()
    return fault


def endless_headers(limit_bytes=64 << 20):
    async def fault(exchange):
        await exchange.send(b"HTTP/1.1 200 OK\r\n")
        line = b"X-Filler: " + b"f" * 4000 + b"\r\n"
        for _ in range(limit_bytes // len(line)):
            await exchange.send(line)
        exchange.end()
    return fault


def endless_body(limit_bytes=1 << 30):
    """A body without a length that goes on and on."""
    async def fault(exchange):
        answer = await exchange.fetch()
        answer.head.drop("Content-Length")
        answer.head.set("Transfer-Encoding", "chunked")
        await exchange.send(answer.head.encode())
        piece = b"40000\r\n" + bytes(0x40000) + b"\r\n"
        for _ in range(limit_bytes // 0x40000):
            await exchange.send(piece)
        exchange.end()
    return fault


# ---- listings ----

def xml(text):
    """A listing's answer with this body."""
    async def fault(exchange):
        await exchange.respond(Response.make(200, "OK", [("Content-Type", "application/xml")],
                                             text.encode() if isinstance(text, str) else text))
    return fault


def listing_page(prefix, names, marker):
    blobs = "".join(
        f"<Blob><Name>{prefix}{name}</Name><Properties><Last-Modified>Wed, 01 Jan 2025 00:00:00 GMT"
        f"</Last-Modified><Etag>0x1</Etag><Content-Length>1</Content-Length></Properties></Blob>"
        for name in names)
    return ("<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>"
            f"{blobs}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>")


def listing(make_page):
    """`make_page(prefix, marker, number)` gives the body of the nth page that is asked for."""
    count = 0

    async def fault(exchange):
        nonlocal count
        request = exchange.request
        page = make_page(request.name, request.query.get("marker", ""), count)
        count += 1
        await xml(page)(exchange)
    return fault


@_changing
def broken_xml(_, answer, how):
    body = answer.body
    answer.body = {"cut": body[:len(body) // 2], "garbage": bytes(b ^ 0x55 for b in body),
                   "empty": b"", "html": b"<html><body>Log in, please</body></html>",
                   "no_marker": re.sub(rb"<NextMarker[^>]*/>|<NextMarker>.*</NextMarker>", b"", body),
                   "no_size": re.sub(rb"<Content-Length>\d+</Content-Length>", b"", body)}[how]
    answer.head.drop("Transfer-Encoding")
    answer.head.set("Content-Length", str(len(answer.body)))
