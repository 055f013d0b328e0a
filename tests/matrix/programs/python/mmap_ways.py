"""mmap: shared, private, copy-on-write, offsets, after close, across fork, searched, advised, refused."""

import ctypes
import mmap
import os

from report import attempt, path, show

BIG = path("bytes_", "big")
PAGE = mmap.PAGESIZE


def opened(name=BIG):
    return os.open(name, os.O_RDONLY)


fd = opened()
size = os.fstat(fd).st_size
whole = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
os.close(fd)
show("whole", whole[:])
show("found", (whole.find(whole[100000:100020]), whole.rfind(whole[-10:])))
show("line", len(whole.readline()))
show("moved", (whole.seek(-100, os.SEEK_END), len(whole.read()), whole.tell()))
show("size", whole.size() == size)
attempt("store", whole.__setitem__, 0, 1)
attempt("resize", whole.resize, 10)
attempt("flush", whole.flush)
for advice in ("SEQUENTIAL", "RANDOM", "WILLNEED", "DONTNEED", "HUGEPAGE", "DONTFORK", "DOFORK"):
    attempt(f"madvise {advice}", whole.madvise, getattr(mmap, "MADV_" + advice))
show("after advice", whole[size - 300000:])

fd = opened()
os.lseek(fd, 1234, os.SEEK_SET)
for offset, length in ((0, 10), (PAGE, PAGE), (64 * PAGE, 70000), (size - 5 * PAGE, 5 * PAGE)):
    for flags in (mmap.MAP_SHARED, mmap.MAP_PRIVATE, mmap.MAP_PRIVATE | mmap.MAP_POPULATE):
        with mmap.mmap(fd, length, flags, mmap.PROT_READ, offset=offset) as view:
            show(f"{flags} at {offset} of {length}", view[:])
show("offset", os.lseek(fd, 0, os.SEEK_CUR))
show("read beside maps", os.read(fd, 1000))
attempt("beyond", mmap.mmap, fd, size + 1, prot=mmap.PROT_READ)
attempt("past the end", mmap.mmap, fd, 1, prot=mmap.PROT_READ, offset=size)
attempt("odd offset", mmap.mmap, fd, 10, prot=mmap.PROT_READ, offset=1)
attempt("shared, to write", mmap.mmap, fd, 10)
attempt("ACCESS_WRITE", mmap.mmap, fd, 0, access=mmap.ACCESS_WRITE)
attempt("executable", lambda: mmap.mmap(fd, 10, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)[:])
copy = mmap.mmap(fd, 0, access=mmap.ACCESS_COPY)
copy[5:10] = b"Hello"
copy[size - 3:] = b"end"
show("copy", copy[:])
show("not the file", os.pread(fd, 20, 0))
private = mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
private[PAGE:PAGE + 5] = b"mine!"
child = os.fork()
if not child:
    good = private[PAGE:PAGE + 5] == b"mine!" and whole[-5:] == private[-5:]
    private[0:3] = b"kid"
    os._exit(0 if good else 1)
show("child", os.waitpid(child, 0)[1])
show("parent", private[0:3] == whole[0:3])
array = (ctypes.c_char * 100).from_buffer(private, PAGE)
show("by address", bytes(array[:10]))
show("empty file", attempt("map nothing", mmap.mmap, opened(path("text", "empty")), 0, prot=mmap.PROT_READ))
attempt("map a folder", mmap.mmap, opened(path("text")), 10, prot=mmap.PROT_READ)
with open(path("bytes_", "sparse"), "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
    show("sparse", (view[:5], view[3 << 20:(3 << 20) + 4], view[-3:]))
views = []
for name in sorted(os.listdir(path("bytes_"))):
    with open(path("bytes_", name), "rb") as file:
        if os.fstat(file.fileno()).st_size:
            views.append((name, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
for name, view in views:
    show(name, view[:])
