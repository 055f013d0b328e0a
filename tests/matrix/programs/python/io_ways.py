"""io and open(): every mode and buffering, text with multi-byte characters, positions, refusals."""

import codecs
import io
import os

from report import D, attempt, path, show

BIG, TEXT, CRLF = path("bytes_", "big"), path("text", "table.tsv"), path("text", "crlf")

for buffering in (0, 1, 512, 4096, 1 << 20, -1):
    if buffering == 1:
        continue      # lines, for text alone
    with open(BIG, "rb", buffering=buffering) as file:
        show(f"buffering {buffering} head", file.read(1000))
        show("tell", file.tell())
        show("seek", file.seek(-70000, os.SEEK_END))
        show("rest", file.read())
        show("again", file.read(1))
        file.seek(65530)
        buffer = bytearray(100000)
        show("readinto", file.readinto(buffer))
        show("buffer", buffer)
        show("readable", (file.readable(), file.writable(), file.seekable(), file.isatty()))
with open(BIG, "rb") as file:
    show("peek", len(file.peek(1)) > 0)
    show("read1", len(file.read1(10)))
    show("lines", sum(len(line) for line in file))
show("detached", open(BIG, "rb").detach().read(10))
with io.FileIO(path("bytes_", "b65537")) as file:
    show("readall", file.readall())
    show("mode", (file.mode, file.closefd))

for newline in (None, "", "\n", "\r\n"):
    with open(CRLF, newline=newline, encoding="utf-8") as file:
        show(f"newline {newline!r}", file.readlines())
with open(TEXT, encoding="utf-8") as file:
    places = []
    for number in range(0, 3000):
        if number % 100 == 0:
            places.append((file.tell(), number))
        file.readline()
    for place, number in reversed(places):
        file.seek(place)
        assert file.readline().startswith(f"{number}\t"), number
    show("rest of text", file.read())
with open(TEXT, encoding="utf-8", buffering=1) as file:
    show("iterated", "".join(file))
with codecs.open(path("text", "latin1"), encoding="latin-1") as file:
    show("latin1", file.read())
attempt("wrong encoding", lambda: open(path("text", "latin1"), encoding="utf-8").read())
with io.open_code(path("text", "words")) as file:
    show("open_code", file.read())
with open(os.open(TEXT, os.O_RDONLY), "rb") as file:
    show("from a number", file.read())
fd = os.open(TEXT, os.O_RDONLY)
with open(fd, "rb", closefd=False) as file:
    file.read(10)
show("left open", os.lseek(fd, 0, os.SEEK_CUR) > 0)
os.close(fd)
with open("words", opener=lambda name, flags: os.open(name, flags, dir_fd=os.open(path("text"), os.O_RDONLY))) as file:
    show("opener", file.read())

attempt("open a folder", open, path("text"))
attempt("open nothing", open, path("text", "none"))
attempt("open through a file", open, path("text", "words", "x"))
attempt("open with a slash", open, path("text", "words") + "/")
attempt("open a long name", open, path("text", "x" * 256))
attempt("open a NUL", open, path("text", "a\0b"))
attempt("open bytes", lambda: open(os.fsencode(path("text", "one_byte")), "rb").read())
with open(TEXT, "rb") as file:
    attempt("write", file.write, b"x")
    attempt("truncate", file.truncate)
    attempt("os.write", os.write, file.fileno(), b"x")
show("names of odd kinds", sorted(os.listdir(path("tree", "odd"))))
for name in sorted(os.listdir(os.fsencode(path("tree", "odd")))):
    with open(os.path.join(os.fsencode(D), b"tree", b"odd", name), "rb") as file:
        show(repr(name)[:60], file.read())
