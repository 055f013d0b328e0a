"""A proxy between the transport and a Blob server that relays every byte but where a rule says otherwise.

In a test:

    with FaultProxy(azurite.port) as proxy:
        rule = proxy.add(faults.status(503), kind="read", times=3)
        ...                                 # the transport talks to proxy.endpoint(account)
        proxy.clear()

It runs on a thread of its own; all methods may be called from any thread. Whatever it did with a
request, it has counted it: `requests` are heads that arrived whole."""

import asyncio
import random
import re
import socket
import struct
import threading
import time

from http_message import (MAX_HEAD_BYTES, Broken, Response, body_pieces, read_head, read_request)


class Rule:
    """Which requests get a fault. Everything that is given must fit.

    kind       head, read, list, other (http_message.Request)
    name       a regular expression that is searched in the blob's name or the listing's prefix
    nth        a set or range of positions among those that fit so far, from 0
    once_each  only the first try of each request: whatever is asked again goes through
    times      how often at the most
    chance     probability, drawn from `seed`"""

    def __init__(self, fault, kind=None, name=None, nth=None, once_each=False, times=None, chance=1.0,
                 seed=0, where=None):
        self.fault = fault
        self._kinds = {kind} if isinstance(kind, str) else kind
        self._name = re.compile(name) if name else None
        self._nth = nth
        self._once_each = once_each
        self._times = times
        self._chance = chance
        self._random = random.Random(seed)
        self._where = where
        self._fitting = 0
        self._seen = set()
        self.hits = 0

    def takes(self, request):
        if self._kinds and request.kind not in self._kinds:
            return False
        if self._name and not self._name.search(request.name):
            return False
        if self._where and not self._where(request):
            return False
        at = self._fitting
        self._fitting += 1
        if self._nth is not None and at not in self._nth:
            return False
        if self._once_each:
            if request.key in self._seen:
                return False
            self._seen.add(request.key)
        if self._times is not None and self.hits >= self._times:
            return False
        if self._chance < 1.0 and self._random.random() >= self._chance:
            return False
        self.hits += 1
        return True


class Exchange:
    """One request and the way to answer it: what a fault gets. After its coroutine the connection is
    kept, unless `end` or `reset` was called."""

    def __init__(self, proxy, request, upstream, writer):
        self.proxy = proxy
        self.request = request
        self._upstream = upstream
        self._writer = writer
        self.ended = False

    async def fetch(self):
        """The server's own answer, whole."""
        head, pieces = await self._upstream.ask(self.request)
        body = b"".join([piece async for piece in pieces])
        return Response(head, body, self._upstream.bodiless(self.request, head))

    async def relay(self):
        head, pieces = await self._upstream.ask(self.request)
        await self.send(head.encode())
        if "chunked" in head.get("Transfer-Encoding", "").lower():
            async for piece in pieces:
                await self.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await self.send(b"0\r\n\r\n")
            return
        async for piece in pieces:
            await self.send(piece)

    async def send(self, data):
        self._writer.write(data)
        await self._writer.drain()

    async def respond(self, response):
        await self.send(response.encode())

    def end(self):
        """Closes in good order after what was sent."""
        self.ended = True

    def reset(self):
        """Ends the connection with a reset. What was sent before may be lost on the way."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.ended = True

    async def until_client_leaves(self):
        """Silence: nothing until the other side closes."""
        await self.proxy.client_left(self._writer)
        self.ended = True


class _Upstream:
    """The connection to the real server that belongs to one of a client's."""

    def __init__(self, port):
        self._port = port
        self._reader = self._writer = None

    @staticmethod
    def bodiless(request, head):
        return request.method == "HEAD" or head.first.split(" ")[1] in ("204", "304")

    async def ask(self, request):
        """Head of the answer and its body's pieces, which must be read to their end."""
        for attempt in (1, 2):
            fresh = self._writer is None
            if fresh:
                self._reader, self._writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, limit=MAX_HEAD_BYTES)
            request.head.set("Host", f"127.0.0.1:{self._port}")
            self._writer.write(request.head.encode() + request.body)
            try:
                head = await read_head(self._reader)
            except Broken:
                head = None
            if head is not None:
                return head, self._pieces(request, head)
            self.close()
            if fresh:
                break
        raise Broken("the server closed the connection without an answer")

    async def _pieces(self, request, head):
        async for piece in body_pieces(self._reader, head, self.bodiless(request, head)):
            yield piece
        if "close" in head.get("Connection", "").lower():
            self.close()

    def close(self):
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


class FaultProxy:
    def __init__(self, upstream_port, host="127.0.0.1", port=0, tls=None):
        """`tls` is an ssl.SSLContext, which a test may change between connections through `set_tls`."""
        self._upstream_port = upstream_port
        self._host = host
        self._tls = tls
        self._lock = threading.Lock()
        self._rules = []
        self._accept_fault = None
        self._server = None
        self._clients = {}              # writer: event that is set when it has left
        self._next_connection = 0
        self.port = port
        self.requests = []              # (monotonic time, Request)
        self.connections = 0            # accepted so far
        self.problems = []              # of the proxy itself: a test fails where there are any
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._call(self._listen())

    # ------------------------------------------------------------ for tests

    def endpoint(self, account, host=None):
        return f"{'https' if self._tls else 'http'}://{host or self._host}:{self.port}/{account}"

    def add(self, fault, **which):
        rule = Rule(fault, **which)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self):
        """No more faults. A connection that is silent stays so."""
        with self._lock:
            self._rules = []

    def count(self, kind=None, name=None, since=0.0):
        with self._lock:
            return sum(1 for at, request in self.requests if at >= since and
                       (kind is None or request.kind == kind) and
                       (name is None or re.search(name, request.name)))

    def open_connections(self):
        return len(self._clients)

    def refuse(self):
        """Nobody listens any more and every connection is reset: as after the server's death."""
        self._call(self._unlisten())

    def accept_again(self):
        self._call(self._listen())

    def set_tls(self, context):
        """For connections from now on; those that are there are closed."""
        self._call(self._unlisten())
        self._tls = context
        self._call(self._listen())

    def close(self):
        self._call(self._unlisten())
        self._call(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ------------------------------------------------------------ on the proxy's thread

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _listen(self):
        self._server = await asyncio.start_server(
            self._serve, self._host, self.port, limit=MAX_HEAD_BYTES, ssl=self._tls, backlog=1024,
            reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _unlisten(self):
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._clients):
            writer.transport.abort()
        for _ in range(200):
            if not self._clients:
                return
            await asyncio.sleep(0.01)

    async def _end_tasks(self):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _choose(self, request):
        with self._lock:
            self.requests.append((time.monotonic(), request))
            return next((rule.fault for rule in self._rules if rule.takes(request)), None)

    async def client_left(self, writer):
        await self._clients[writer].wait()

    async def _serve(self, reader, writer):
        self._clients[writer] = left = asyncio.Event()
        self.connections += 1
        upstream = _Upstream(self._upstream_port)
        try:
            while await self._serve_one(reader, writer, upstream, self.connections):
                pass
        except (Broken, ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass                                     # the client left, or the server is being stopped
        except Exception as problem:                 # pylint: disable=broad-except
            self.problems.append(repr(problem))
        finally:
            left.set()
            del self._clients[writer]
            upstream.close()
            writer.close()

    async def _serve_one(self, reader, writer, upstream, connection):
        request = await read_request(reader, connection)
        if request is None:
            return False
        exchange = Exchange(self, request, upstream, writer)
        fault = self._choose(request)
        if fault is None:
            await exchange.relay()
            return True
        answering = asyncio.ensure_future(fault(exchange))
        # A client that leaves while a fault holds its breath must end the fault.
        leaving = asyncio.ensure_future(self._watch(reader, writer))
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not answering.done():
            answering.cancel()
            return False
        answering.result()
        return not exchange.ended

    @staticmethod
    async def _watch(reader, writer):
        """Ends when the client has closed. No request comes before its answer: we do not pipeline."""
        while not reader.at_eof() and reader.exception() is None and not writer.is_closing():
            await asyncio.sleep(0.02)
