"""subprocess, posix_spawn, fork, exec, multiprocessing in its three ways, executors, descriptors handed around."""

import concurrent.futures
import fcntl
import hashlib
import multiprocessing
import os
import pty
import socket
import subprocess
import sys

from report import D, W, attempt, path, read, show

BIG, TEXT = path("bytes_", "big"), path("text", "table.tsv")


def hashed(name):
    return hashlib.sha256(read(name)).hexdigest()[:16]


def head(number, n):
    return os.read(number, n)


def opened_before(file, at):
    return os.pread(file, 100, at)


def children():
    with open(TEXT, "rb") as file:
        show("stdin", subprocess.run(["md5sum"], stdin=file, capture_output=True).stdout)
        show("where it is", os.lseek(file.fileno(), 0, os.SEEK_CUR) == os.fstat(file.fileno()).st_size)
    with open(TEXT, "rb", buffering=0) as file:
        file.read(100)
        show("from there on", subprocess.run(["head", "-n", "1"], stdin=file, capture_output=True).stdout)
        file.seek(3)
        show("shared offset", subprocess.run(["dd", "bs=10", "count=1", "status=none"], stdin=file, capture_output=True).stdout)
        show("moved by the child", file.tell())
        show("pass_fds", subprocess.run(["sh", "-c", f"head -c 50 <&{file.fileno()}; echo; head -c 9 /dev/fd/{file.fileno()}"],
                                        pass_fds=[file.fileno()], capture_output=True).stdout)
        show("close_fds", subprocess.run(["sh", "-c", f"head -c 5 <&{file.fileno()}"], capture_output=True).returncode)
        show("all left open", subprocess.run(["cat", f"/proc/self/fd/{file.fileno()}"], close_fds=False, pass_fds=(),
                                             capture_output=True).returncode)

        def enter():
            os.chdir(path("tree"))
            os.dup2(file.fileno(), 0)
            assert read(TEXT)

        show("preexec", subprocess.run(["sh", "-c", "pwd; head -c 20; ls -d d*"], preexec_fn=enter, capture_output=True).stdout)
    show("cwd", subprocess.run(["sh", "-c", "pwd; ls -d d*; cat d0/e0/f0.txt"], cwd=path("tree"), capture_output=True).stdout)
    attempt("cwd nothing", subprocess.run, ["true"], cwd=path("none"))
    show("run from there", subprocess.run([path("modules", "executable.py"), "x"], capture_output=True).stdout)
    attempt("run no program", subprocess.run, [TEXT])
    show("piped", subprocess.run(f"cat {TEXT} | sort | uniq | wc", shell=True, capture_output=True).stdout)
    show("empty environment", subprocess.run(["wc", "-c", TEXT], env={}, capture_output=True).stdout)
    show("session", subprocess.run(["wc", "-c", TEXT], start_new_session=True, capture_output=True).stdout)
    show("popen", os.popen(f"wc -l < {TEXT}").read())
    show("system", os.system(f"cmp {TEXT} {TEXT}"))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        show("communicate", process.communicate(read(TEXT))[0])


def spawned():
    out = os.path.join(W, "spawned")
    actions = [(os.POSIX_SPAWN_OPEN, 0, TEXT, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, out, os.O_WRONLY | os.O_CREAT, 0o644),
               (os.POSIX_SPAWN_DUP2, 1, 2)]
    show("posix_spawn", os.waitpid(os.posix_spawn("/usr/bin/sort", ["sort", "-r"], os.environ, file_actions=actions), 0)[1])
    show("sorted", read(out))
    fd = os.open(TEXT, os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, fd, 0), (os.POSIX_SPAWN_CLOSE, fd), (os.POSIX_SPAWN_OPEN, 1, out, os.O_WRONLY, 0o644)]
    pid = os.posix_spawnp("head", ["head", "-c", "77"], os.environ, file_actions=actions, setpgroup=0)
    show("posix_spawnp", os.waitpid(pid, 0)[1])
    show("written", read(out)[:77])
    attempt("spawn with nothing", os.posix_spawn, "/bin/true", ["true"], os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, path("none"), os.O_RDONLY, 0)])


def forked():
    fd = os.open(BIG, os.O_RDONLY)
    out, into = os.pipe()
    for step in range(6):
        if not os.fork():
            os.write(into, hashlib.sha256(os.read(fd, 10000)).digest())
            os._exit(0)
        os.wait()
        show(f"child {step}", os.read(out, 100))
        show("parent", os.read(fd, 5000))
    os.dup2(os.open(TEXT, os.O_RDONLY), fd)
    show("dup2 over", os.read(fd, 20))
    saved = os.dup(0)
    os.dup2(fd, 0)
    show("stdin taken", os.read(0, 20))
    show("its child", subprocess.run(["head", "-c", "10"], capture_output=True).stdout)
    os.dup2(saved, 0)
    show("stdin back", os.read(0, 10))
    os.close(fd)
    attempt("closed", os.read, fd, 1)
    low = os.open(TEXT, os.O_RDONLY)
    os.dup2(low, 90, inheritable=False)
    os.closerange(low, 80)
    show("past closerange", os.read(90, 10))
    os.close(90)
    if not os.fork():
        fd = os.open(TEXT, os.O_RDONLY)
        os.lseek(fd, 30, os.SEEK_SET)
        os.set_inheritable(fd, True)
        os.execvp("sh", ["sh", "-c", f"head -n 1 <&{fd}"])
    show("exec", os.wait()[1])


def handed_over():
    left, right = socket.socketpair(socket.AF_UNIX)
    fd = os.open(BIG, os.O_RDONLY)
    os.lseek(fd, 12345, os.SEEK_SET)
    socket.send_fds(left, [b"x"], [fd])
    _, numbers, _, _ = socket.recv_fds(right, 1, 1)
    show("received", os.read(numbers[0], 1000))
    show("one file", os.lseek(fd, 0, os.SEEK_CUR))
    show("lock through another", (fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB), fcntl.flock(numbers[0], fcntl.LOCK_UN)))
    leader, follower = pty.openpty()
    with subprocess.Popen(["cat", path("text", "sorted_a")], stdout=follower, stderr=follower) as process:
        os.close(follower)
        seen = b""
        try:
            while block := os.read(leader, 4096):
                seen += block
        except OSError:      # EIO: the other side has gone
            pass
        process.wait()
    show("through a terminal", seen)


def pools():
    names = [path("bytes_", name) for name in sorted(os.listdir(path("bytes_")))] + [TEXT]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        show("threads", list(pool.map(hashed, names * 3)))
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(3) as pool:
            show(f"{method} pool", pool.map(hashed, names))
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            show(f"{method} executor", list(pool.map(hashed, names)))
        with open(BIG, "rb") as file:
            queue = context.Queue()
            process = context.Process(target=send_part, args=(queue, file.fileno() if method == "fork" else None))
            process.start()
            show(f"{method} process", queue.get(timeout=30))
            process.join()


def send_part(queue, number):
    queue.put(hashlib.sha256(os.pread(number if number is not None else os.open(BIG, os.O_RDONLY), 100000, 5)).hexdigest())


if __name__ == "__main__":
    for part in (children, spawned, forked, handed_over, pools):
        if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
            part()
    sys.stdout.flush()
