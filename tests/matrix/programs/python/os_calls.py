"""os: positional and vectored reads, copies inside the kernel, folders by name and number, and what a read-only tree refuses."""

import array
import fcntl
import os
import socket
import stat
import termios

from report import D, W, attempt, path, read, show

BIG, TEXT = path("bytes_", "big"), path("text", "table.tsv")
SIZE = os.stat(BIG).st_size


def looks(status):
    return stat.filemode(status.st_mode), status.st_size, status.st_mtime_ns, status.st_nlink


fd = os.open(BIG, os.O_RDONLY)
for at in (0, 1, 4095, 65535, 65536, 131071, SIZE - 5, SIZE, SIZE + 10):
    show(f"pread {at}", os.pread(fd, 70001, at))
show("offset", os.lseek(fd, 0, os.SEEK_CUR))
attempt("pread before", os.pread, fd, 1, -1)
parts = [bytearray(7), bytearray(0), bytearray(100000), bytearray(1)]
show("preadv", os.preadv(fd, parts, 65000))
show("parts", b"".join(parts))
attempt("preadv nowait", lambda: os.preadv(fd, [bytearray(10)], 0, os.RWF_HIPRI))
show("readv", os.readv(fd, parts))
show("moved", os.lseek(fd, 0, os.SEEK_CUR))
for advice in ("NORMAL", "SEQUENTIAL", "RANDOM", "NOREUSE", "WILLNEED", "DONTNEED"):
    attempt(f"fadvise {advice}", os.posix_fadvise, fd, 0, SIZE, getattr(os, "POSIX_FADV_" + advice))
attempt("fadvise badly", os.posix_fadvise, fd, 0, 0, 99)
for whence in ("SEEK_DATA", "SEEK_HOLE"):
    attempt(f"{whence} at the end", os.lseek, fd, SIZE, getattr(os, whence))
attempt("SEEK_HOLE", os.lseek, fd, 0, os.SEEK_HOLE)
attempt("SEEK_DATA", os.lseek, fd, 77, os.SEEK_DATA)
attempt("seek before", os.lseek, fd, -1, os.SEEK_SET)
attempt("seek badly", os.lseek, fd, 0, 99)
show("seek far", os.lseek(fd, SIZE + 1000, os.SEEK_SET))
show("read there", os.read(fd, 10))
os.lseek(fd, 0, os.SEEK_SET)

# copies inside the kernel
out = os.open(os.path.join(W, "sent"), os.O_RDWR | os.O_CREAT)
show("sendfile", os.sendfile(out, fd, 1000, 200000))
show("sendfile keeps the offset", os.lseek(fd, 0, os.SEEK_CUR))
os.lseek(fd, 4321, os.SEEK_SET)
show("sendfile from the offset", os.sendfile(out, fd, None, 100000))
show("offset after", os.lseek(fd, 0, os.SEEK_CUR))


def all_sent(copy):
    total = 0
    while step := copy():
        total += step
    return total


os.lseek(fd, 0, os.SEEK_SET)
try:
    show("copy_file_range", all_sent(lambda: os.copy_file_range(fd, out, 1 << 20)))
except OSError as error:
    # EXDEV is an answer that every caller has to know: other file systems give it too.
    print("copy_file_range: refused" if error.errno != 18 else f"copy_file_range: {SIZE}")
    os.lseek(fd, 0, os.SEEK_SET)
    while block := os.read(fd, 1 << 20):
        os.write(out, block)
os.close(out)
show("copied", read(os.path.join(W, "sent")))
left, right = socket.socketpair()
os.lseek(fd, 0, os.SEEK_SET)
show("sendfile to a socket", os.sendfile(left.fileno(), fd, 50, 5000))
show("received", right.recv(5000, socket.MSG_WAITALL))
with open(TEXT, "rb") as file:
    left.settimeout(10)
    file.seek(10)
    show("socket.sendfile", left.sendfile(file, 5, 3000))
    show("received", right.recv(3000, socket.MSG_WAITALL))
    show("where it is", file.tell())
pipe_out, pipe_in = os.pipe()
attempt("splice", os.splice, fd, pipe_in, 4096, 65000)
show("spliced", os.read(pipe_out, 4096))
attempt("splice from the offset", os.splice, fd, pipe_in, 4096)
show("spliced", os.read(pipe_out, 4096))
show("where it is", os.lseek(fd, 0, os.SEEK_CUR))

# descriptors
show("flags", fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK))
show("inheritable", os.get_inheritable(fd))
os.set_inheritable(fd, True)
show("inheritable", os.get_inheritable(fd))
os.set_blocking(fd, False)
show("blocking", os.get_blocking(fd))
os.set_blocking(fd, True)
other = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100)
show("dup at 100", other >= 100)
os.lseek(other, 99, os.SEEK_SET)
show("shared", os.lseek(fd, 0, os.SEEK_CUR))
os.close(other)
attempt("closed", os.read, other, 1)
available = array.array("i", [0])
os.lseek(fd, SIZE - 77, os.SEEK_SET)
attempt("FIONREAD", lambda: (fcntl.ioctl(fd, termios.FIONREAD, available), available[0]))
attempt("TCGETS", termios.tcgetattr, fd)
show("isatty", os.isatty(fd))
attempt("ttyname", os.ttyname, fd)
for kind in ("LOCK_SH", "LOCK_EX", "LOCK_UN"):
    attempt(f"flock {kind}", fcntl.flock, fd, getattr(fcntl, kind) | fcntl.LOCK_NB)
attempt("lockf shared", fcntl.lockf, fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
attempt("lockf exclusive", fcntl.lockf, fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
attempt("os.lockf", os.lockf, fd, os.F_TEST, 0)
attempt("fpathconf", os.fpathconf, fd, "PC_NAME_MAX")
attempt("pathconf", os.pathconf, TEXT, "PC_NAME_MAX")
for name in ("fsync", "fdatasync"):
    attempt(name, getattr(os, name), fd)
for name, *arguments in (("ftruncate", 0), ("fchmod", 0o600), ("fchown", -1, -1), ("posix_fallocate", 0, 10), ("utime",)):
    attempt(f"{name} by number", getattr(os, name), fd, *arguments)
os.close(fd)

# names
for name in (BIG, TEXT, path("tree"), path("tree", "bin", "hello"), path("text", "empty"), path("tree", "odd", "x" * 255)):
    show(f"stat {name[-20:]}", looks(os.stat(name))[:3] if os.path.isdir(name) else looks(os.stat(name)))
    show("lstat", looks(os.lstat(name))[0:2] if not os.path.isdir(name) else stat.filemode(os.lstat(name).st_mode))
for mode in ("F_OK", "R_OK", "X_OK"):
    attempt(f"access {mode}", lambda: [os.access(path(*n), getattr(os, mode)) for n in (
        ("text",), ("text", "words"), ("tree", "bin", "hello"), ("none",), ("text", "words", "x"))])
attempt("effective access", os.access, TEXT, os.R_OK, effective_ids=True)
attempt("listxattr", os.listxattr, path("text", "words"))
show("realpath", os.path.realpath(path("text", "..", "tree", ".", "bin//hello"))[len(D):])
attempt("realpath strictly", os.path.realpath, path("none", "x"), strict=True)
show("samefile", os.path.samefile(TEXT, path("text", "..", "text", "table.tsv")))
show("another file", os.path.samefile(TEXT, BIG))
show("ismount", os.path.ismount(path("text")))

# open's flags
for flags in ("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "O_CLOEXEC", "O_NOCTTY", "O_LARGEFILE"):
    attempt(f"open {flags}", lambda: os.pread(os.open(TEXT, os.O_RDONLY | getattr(os, flags)), 10, 0))
handle = os.open(TEXT, os.O_PATH)
attempt("read O_PATH", os.read, handle, 1)
show("fstat O_PATH", looks(os.fstat(handle)))
show("reopened", os.pread(os.open(f"/proc/self/fd/{handle}", os.O_RDONLY), 100, 0))
show("its name", os.readlink(f"/proc/self/fd/{handle}")[len(D):])

# folders
here = os.open(path("tree"), os.O_RDONLY | os.O_DIRECTORY)
show("listdir by number", sorted(os.listdir(here)))
show("again", sorted(os.listdir(here)))
show("scandir by number", sorted((e.name, e.is_dir(), e.is_file(), e.is_symlink()) for e in os.scandir(here)))
show("scandir", sorted((e.name, e.is_dir(), e.stat().st_size, e.path[len(D):]) for e in os.scandir(path("tree", "odd"))))
show("open at", os.read(os.open("bin/hello", os.O_RDONLY, dir_fd=here), 100))
show("stat at", looks(os.stat("bin/hello", dir_fd=here, follow_symlinks=False)))
show("access at", os.access("bin/hello", os.X_OK, dir_fd=here))
attempt("read a folder", os.read, here, 10)
attempt("at a file", os.stat, "x", dir_fd=os.open(TEXT, os.O_RDONLY))
os.fchdir(here)
show("getcwd", os.getcwd()[len(D):])
show("relative", read("d0/e0/f0.txt"))
os.chdir("d1/e1")
show("getcwd", os.getcwdb()[len(D):])
show("up", read("../../d0/e0/f1.txt"))
os.chdir(W)
show("many", sorted(os.listdir(path("tree", "many")))[::50])
walked = [(top[len(D):], sorted(folders), sorted(files)) for top, folders, files in os.walk(path("tree"))]
show("walk", str(sorted(walked)))
walked = [(top[len(D):], sorted(folders), sorted(files)) for top, folders, files in os.walk(path("tree"), topdown=False)]
show("walk from below", str(sorted(walked)))
walked = [(top[len(D):], sorted(folders), sorted(os.stat(n, dir_fd=at).st_size for n in files))
          for top, folders, files, at in os.fwalk(path("tree"))]
show("fwalk", str(sorted(walked)))
attempt("scandir nothing", lambda: list(os.scandir(path("none"))))
attempt("scandir a file", lambda: list(os.scandir(TEXT)))
attempt("statvfs", lambda: os.statvfs(TEXT).f_namemax)
attempt("fstatvfs read-only", lambda: bool(os.fstatvfs(here).f_flag & os.ST_RDONLY))
