"""asyncio, selectors, poll and epoll on files of the data, 64 threads, signal handlers that read."""

import asyncio
import faulthandler
import os
import random
import select
import selectors
import signal
import socket
import sys
import threading

from report import W, attempt, path, read, show

BIG, TEXT = path("bytes_", "big"), path("text", "table.tsv")


async def looped():
    loop = asyncio.get_running_loop()
    parts = await asyncio.gather(*(loop.run_in_executor(None, read, path("bytes_", name))
                                   for name in sorted(os.listdir(path("bytes_")))))
    show("in the executor", b"".join(parts))
    show("to_thread", await asyncio.to_thread(read, TEXT))
    with open(TEXT, "rb") as file:
        attempt("add_reader", loop.add_reader, file.fileno(), print)
        try:
            await loop.connect_read_pipe(asyncio.Protocol, file)
        except ValueError as error:
            show("as a pipe", str(error))

    async def serve(reader, writer):
        with open(BIG, "rb") as file:
            show("sendfile", await loop.sendfile(writer.transport, file, 1000, 300000))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    show("received", await reader.read(-1))
    writer.close()
    server.close()
    process = await asyncio.create_subprocess_exec("wc", "-c", stdin=open(TEXT, "rb"), stdout=asyncio.subprocess.PIPE)
    show("child", (await process.communicate())[0])


def waited():
    with open(TEXT, "rb") as file:
        for kind in ("SelectSelector", "PollSelector", "EpollSelector"):
            with getattr(selectors, kind)() as selector:
                if attempt(f"{kind} takes it", lambda: bool(selector.register(file, selectors.EVENT_READ))):
                    show("ready", [(mask, key.fileobj is file) for key, mask in selector.select(5)])
        number = file.fileno()
        show("select", [len(part) for part in select.select([number], [number], [], 5)])
        poll = select.poll()
        poll.register(number, select.POLLIN | select.POLLOUT)
        show("poll", [event for _, event in poll.poll(5000)])
        left, right = socket.socketpair()
        left.send(b"x")
        show("beside a socket", [len(part) for part in select.select([number, right], [], [], 5)])
        attempt("epoll", lambda: select.epoll().register(number))
    show("select of a number that is closed", attempt("select", select.select, [number], [], [], 0))


def threaded():
    names = [path("bytes_", name) for name in sorted(os.listdir(path("bytes_"))) if name != "sparse"]
    whole = {name: read(name) for name in names}
    shared = os.open(BIG, os.O_RDONLY)
    wrong = []

    def work(seed):
        rnd = random.Random(seed)
        for _ in range(25):
            name = rnd.choice(names)
            size = len(whole[name])
            with open(name, "rb", buffering=rnd.choice((0, -1))) as file:
                at = rnd.randrange(size + 1)
                file.seek(at)
                n = rnd.randrange(1, 100000)
                if file.read(n) != whole[name][at:at + n]:
                    wrong.append((name, at, n))
            at = rnd.randrange(len(whole[BIG]))
            if os.pread(shared, 5000, at) != whole[BIG][at:at + 5000]:
                wrong.append((seed, at))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    show("wrong", wrong)
    # One offset for all: each byte is given out once.
    got = []

    def take():
        while part := os.read(shared, 9973):
            got.append(part)

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    show("given out once", (sum(map(len, got)), sorted(map(hash, got)) == sorted(
        hash(whole[BIG][at:at + 9973]) for at in range(0, len(whole[BIG]), 9973))))


def interrupted():
    expected, seen = read(TEXT), []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(read(TEXT) == expected))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    total = 0
    while len(seen) < 20:
        with open(BIG, "rb", buffering=0) as file:
            while block := file.read(3000):
                total += len(block)
        assert total % os.stat(BIG).st_size == 0
    signal.setitimer(signal.ITIMER_REAL, 0)
    show("handlers that read", all(seen))
    out, into = os.pipe()
    os.set_blocking(into, False)
    signal.set_wakeup_fd(into)
    signal.raise_signal(signal.SIGALRM)
    show("wakeup", os.read(out, 10))
    with open(os.path.join(W, "trace"), "w") as file:
        faulthandler.dump_traceback(file)
        faulthandler.dump_traceback_later(0.05, file=file)
        for _ in range(300):
            read(TEXT)
        faulthandler.cancel_dump_traceback_later()


for part in (lambda: asyncio.run(looped()), waited, threaded, interrupted):
    part()
sys.stdout.flush()
