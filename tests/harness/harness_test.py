"""The harness itself: containers are separate and confined, Azurite answers only to its key."""

import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from penstock_harness import Azurite, Container, build_dir, container_support  # noqa: E402

PROGRAM = os.path.join(build_dir(), "tests", "pst_container")

# Tries system calls with arguments that are invalid everywhere; prints name and errno of each.
PROBE = r"""
import ctypes, os, socket
pid = os.getpid()
libc = ctypes.CDLL(None, use_errno=True)
calls = dict(io_uring_setup=(425, 0, 0), io_uring_enter=(426, -1, 0, 0, 0, 0, 0),
             io_uring_register=(427, -1, 0, 0, 0), mount=(165, 0, 0, 0, 0, 0), unshare=(272, 0x10000000),
             setns=(308, -1, 0), bpf=(321, 99, 0, 0), keyctl=(250, 99), userfaultfd=(323, -1),
             perf_event_open=(298, 0, 0, -1, -1, -1), clone3=(435, 0, 0), pivot_root=(155, 0, 0),
             clone_newuser=(56, 0x10000000, 0, 0, 0, 0))
for name, call in calls.items():
    ctypes.set_errno(0)
    print(name, ctypes.get_errno() if libc.syscall(*call) == -1 else 0, flush=True)
    if os.getpid() != pid:
        os._exit(0)          # clone made a child after all
try:
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    print("vsock 0")
except OSError as error:
    print("vsock", error.errno)
"""


def probe(wrap):
    result = subprocess.run(wrap(["python3", "-c", PROBE]), capture_output=True, text=True, timeout=60)
    return {line.split()[0]: int(line.split()[1]) for line in result.stdout.splitlines()}, result


class ContainerTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="pst-harness-", dir="/tmp")
        os.chmod(self.folder, 0o777)
        self.addCleanup(subprocess.run, ["rm", "-rf", self.folder])
        binds = [(self.folder, "/run/penstock", False)]
        self.one = Container(PROGRAM, 1000, binds)
        self.two = Container(PROGRAM, 2000, binds)

    def output(self, container, *argv):
        return subprocess.check_output(container.command(argv), text=True, timeout=60)

    def test_seccomp_refuses_what_containerd_refuses(self):
        inside, result = probe(self.one.command)
        self.assertEqual(len(inside), 14, result)
        self.assertEqual(inside.pop("clone3"), 38)       # ENOSYS
        self.assertEqual(set(inside.values()), {1}, inside)    # EPERM

    def test_the_probe_can_tell(self):
        outside, result = probe(list)
        for name in ("io_uring_setup", "io_uring_enter", "mount", "setns", "clone3", "bpf"):
            self.assertNotIn(outside[name], (1, 38), (name, result))

    def test_what_programs_need_is_allowed(self):
        script = ("import mmap, os, socket, threading, multiprocessing as m, signal\n"
                  "fd = os.memfd_create('x'); os.ftruncate(fd, 4096); mmap.mmap(fd, 4096)\n"
                  "t = threading.Thread(target=print); t.start(); t.join()\n"
                  "p = m.Process(target=print); p.start(); p.join(); assert p.exitcode == 0\n"
                  "os.pidfd_open(os.getpid()); os.eventfd(0); socket.socket(socket.AF_INET)\n"
                  "os.mknod('/run/penstock/s', 0o140600); print('fine')\n")
        self.assertIn("fine", self.output(self.one, "python3", "-c", script))

    def test_namespaces_differ(self):
        kinds = ["mnt", "pid", "ipc", "net", "cgroup", "user", "uts"]
        argv = ["readlink"] + [f"/proc/self/ns/{kind}" for kind in kinds]
        # Both at once: the ids of ended namespaces are given out again.
        both = [subprocess.Popen(c.command(["sh", "-c", " ".join(argv) + "; read end"]), text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                for c in (self.one, self.two)]
        seen = [[p.stdout.readline().strip() for _ in kinds] for p in both]
        for process in both:
            process.communicate("")
        seen.append([os.readlink(f"/proc/self/ns/{kind}") for kind in kinds])
        for column in zip(*seen):
            self.assertEqual(len(set(column)), 3, column)

    def test_ids_and_rights(self):
        for container, uid in ((self.one, 1000), (self.two, 2000)):
            self.output(container, "touch", f"/run/penstock/{uid}")
            self.assertEqual(os.stat(f"{self.folder}/{uid}").st_uid, 100000 + uid)
            status = self.output(container, "cat", "/proc/self/status")
            for line in ("NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000",
                         "CapBnd:\t0000000000000000"):
                self.assertIn(line, status)
        # The shell counts by itself: the container's first process and the shell are all there is.
        self.assertEqual(self.output(self.one, "sh", "-c", "ls /tmp; echo /proc/[0-9]*"),
                         "/proc/1 /proc/2\n")

    def test_binds(self):
        secret = tempfile.NamedTemporaryFile(dir="/tmp")
        script = f"test ! -e {secret.name} && ! touch /tmp/here/x 2>/dev/null && ls /tmp/here"
        open(f"{self.folder}/seen", "w").close()
        container = Container(PROGRAM, 1000, [(self.folder, "/tmp/here", True)])
        self.assertEqual(self.output(container, "sh", "-c", script), "seen\n")

    def test_exit_status_and_signals(self):
        self.assertEqual(subprocess.call(self.one.command(["sh", "-c", "exit 7"])), 7)
        self.assertEqual(subprocess.call(self.one.command(["sh", "-c", "kill -9 $$"])), 137)
        process = subprocess.Popen(self.one.command(
            ["sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"]),
            stdout=subprocess.PIPE)
        process.stdout.readline()
        process.terminate()
        self.assertEqual(process.wait(20), 3)
        process.stdout.close()

    def test_a_socket_in_the_shared_folder_connects_two_containers(self):
        server = ("import array, os, socket, struct\n"
                  "s = socket.socket(socket.AF_UNIX); s.bind('/run/penstock/sock')\n"
                  "os.chmod('/run/penstock/sock', 0o777); s.listen(); print('up', flush=True)\n"
                  "c, _ = s.accept()\n"
                  "print(*struct.unpack('3i', c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))\n"
                  "fd = os.memfd_create('x'); os.write(fd, b'through')\n"
                  "socket.send_fds(c, [b'x'], [fd]); c.recv(1)\n")
        client = ("import os, socket\n"
                  "s = socket.socket(socket.AF_UNIX); s.connect('/run/penstock/sock')\n"
                  "print(os.pread(socket.recv_fds(s, 1, 1)[1][0], 100, 0).decode())\n")
        process = subprocess.Popen(self.one.command(["python3", "-c", server]), text=True,
                                   stdout=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), "up\n")
        self.assertEqual(self.output(self.two, "python3", "-c", client), "through\n")
        pid, uid, gid = process.stdout.readline().split()
        process.stdout.close()
        process.wait(20)
        # As in a pod: the pid means nothing across pid namespaces, the uid does.
        self.assertEqual((pid, uid, gid), ("0", "2000", "2000"))


class AzuriteTest(unittest.TestCase):
    def check(self, server):
        server.create_container("box")
        name = "a b/ü %20+&#?.bin"
        server.put_blob("box", name, b"payload")
        self.assertEqual(server.get_blob("box", name), b"payload")
        server.delete_blob("box", name)
        with self.assertRaisesRegex(RuntimeError, "404"):
            server.get_blob("box", name)
        server.key = "d3Jvbmc="
        with self.assertRaisesRegex(RuntimeError, "403"):
            server.get_blob("box", name)

    def test_plain(self):
        with Azurite() as server:
            folder = server.folder
            self.check(server)
            log = server.access_log()
            self.assertEqual([status in log for status in ('" 201 ', '" 202 ', '" 404 ')], [True] * 3)
            self.assertEqual(server.request_count("PUT"), 2)
        self.assertFalse(os.path.exists(folder))

    def test_in_a_network_namespace_of_its_own(self):
        with Azurite(own_netns=True, container_program=PROGRAM) as server:
            self.check(server)
            script = ("import socket; socket.create_connection(('127.0.0.1', %d), 5); print('in')"
                      % server.port)
            inside = Container(PROGRAM, 1000, netns_of=server.pid).command(["python3", "-c", script])
            self.assertEqual(subprocess.check_output(inside, text=True), "in\n")
            outside = Container(PROGRAM, 1000).command(["python3", "-c", script])
            self.assertNotEqual(subprocess.run(outside, capture_output=True).returncode, 0)


if __name__ == "__main__":
    reason = container_support(PROGRAM)
    if reason:
        print("skipped:", reason)
        sys.exit(77)
    unittest.main()
