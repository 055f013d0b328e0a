"""Python programs: every way it reads, forked loaders, threads, and values compared with the source."""

import json
import unittest

import e2e_base
from e2e_base import JobTest


class PythonTest(JobTest):
    def digests(self, names):
        return {name: self.data.digests[name] for name in names}

    def train(self):
        return [name for name in self.data.digests if name.startswith("train/")]

    def hash_with(self, reader, names=None):
        """Runs `reader` (a function read(path) -> bytes) on files; compares with the source."""
        names = names or self.train() + ["big.bin", "text.txt"]
        script = ("import hashlib, json\n" + reader + "\n"
                  "names = json.loads(sys.argv[1])\n"
                  "print(json.dumps({n: hashlib.sha256(read(os.path.join(D, n))).hexdigest() for n in names}))")
        self.assertEqual(json.loads(self.python(script, json.dumps(names))), self.digests(names))

    def test_open_read(self):
        self.hash_with("def read(p):\n  with open(p, 'rb') as f: return f.read()")

    def test_unbuffered(self):
        self.hash_with("def read(p):\n  with open(p, 'rb', buffering=0) as f: return f.readall()")

    def test_os_read_in_odd_steps(self):
        self.hash_with("def read(p):\n"
                       "  fd = os.open(p, os.O_RDONLY); parts = []\n"
                       "  while part := os.read(fd, 77777): parts.append(part)\n"
                       "  os.close(fd); return b''.join(parts)")

    def test_pread_backwards(self):
        self.hash_with("def read(p):\n"
                       "  fd = os.open(p, os.O_RDONLY); size = os.fstat(fd).st_size; parts = []\n"
                       "  for at in range(0, size, 65521): parts.append(os.pread(fd, 65521, size - at - 65521) if size - at >= 65521 else os.pread(fd, size - at, 0))\n"
                       "  assert os.lseek(fd, 0, os.SEEK_CUR) == 0\n"
                       "  os.close(fd); return b''.join(reversed(parts))")

    def test_readv_preadv(self):
        self.hash_with("def read(p):\n"
                       "  fd = os.open(p, os.O_RDONLY); size = os.fstat(fd).st_size\n"
                       "  a = [bytearray(size // 3), bytearray(0), bytearray(size - size // 3)]\n"
                       "  b = [bytearray(size // 2), bytearray(size - size // 2)]\n"
                       "  assert os.preadv(fd, b, 0) == size and os.readv(fd, a) == size\n"
                       "  assert b''.join(a) == b''.join(b) and os.read(fd, 1) == b''\n"
                       "  os.close(fd); return b''.join(a)")

    def test_lseek(self):
        self.hash_with("def read(p):\n"
                       "  fd = os.open(p, os.O_RDONLY); size = os.lseek(fd, 0, os.SEEK_END)\n"
                       "  assert size == os.stat(p).st_size and os.read(fd, 5) == b''\n"
                       "  assert os.lseek(fd, -size, os.SEEK_CUR) == 0 and os.lseek(fd, size // 2, os.SEEK_SET) == size // 2\n"
                       "  tail = os.read(fd, size) if size else b''; os.lseek(fd, 0, 0); head = os.read(fd, size // 2)\n"
                       "  try: os.lseek(fd, -1, 0); raise SystemExit('negative offset')\n"
                       "  except OSError as e: assert e.errno == 22\n"
                       "  os.close(fd); return head + tail",
                       names=["train/0005.bin", "train/0013.bin", "big.bin"])

    def test_mmap(self):
        self.hash_with("import mmap\n"
                       "def read(p):\n"
                       "  with open(p, 'rb') as f:\n"
                       "    if not os.fstat(f.fileno()).st_size: return b''\n"
                       "    with mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m: return bytes(m)")

    def test_mmap_after_reads_keeps_the_offset(self):
        self.hash_with("import mmap\n"
                       "def read(p):\n"
                       "  fd = os.open(p, os.O_RDONLY); head = os.read(fd, 1000)\n"
                       "  m = mmap.mmap(fd, 0, prot=mmap.PROT_READ); assert m[:1000] == head\n"
                       "  parts = [head]\n"
                       "  while part := os.read(fd, 1 << 20): parts.append(part)\n"
                       "  os.close(fd); assert m[:] == b''.join(parts); return m[:]",
                       names=["train/0013.bin", "big.bin"])

    def test_shutil_copy(self):
        self.hash_with("import shutil\n"
                       "def read(p):\n"
                       "  shutil.copyfile(p, S + '/copied')\n"
                       "  with open(S + '/copied', 'rb') as f: return f.read()")

    def test_sendfile_and_splice(self):
        self.hash_with("def read(p):\n"
                       "  fd = os.open(p, os.O_RDONLY); out = os.open(S + '/sent', os.O_RDWR | os.O_CREAT | os.O_TRUNC)\n"
                       "  while os.sendfile(out, fd, None, 1 << 20): pass\n"
                       "  os.lseek(out, 0, 0); data = b''\n"
                       "  while part := os.read(out, 1 << 20): data += part\n"
                       "  os.close(fd); os.close(out); return data")

    def test_text_lines(self):
        script = ("lines = open(D + '/text.txt').readlines()\n"
                  "with open(D + '/text.txt') as f:\n"
                  "  f.seek(len(lines[0])); assert f.readline() == lines[1]; f.tell()\n"
                  "print(len(lines), lines[12345].strip())")
        self.assertEqual(self.python(script), "20000 line 12345 of the text needle-26\n")

    def test_buffered_seeks(self):
        script = ("import random\nr = random.Random(5)\nwhole = open(D + '/big.bin', 'rb').read()\n"
                  "f = open(D + '/big.bin', 'rb')\n"
                  "for _ in range(3000):\n"
                  "  at, n = r.randrange(len(whole)), r.randrange(9000); f.seek(at)\n"
                  "  assert f.read(n) == whole[at:at + n], (at, n)\n"
                  "print('same')")
        self.assertEqual(self.python(script), "same\n")

    def test_stat_and_directories(self):
        script = ("import json, stat\nout = {}\n"
                  "for parent, dirs, files in os.walk(D):\n"
                  "  for f in files:\n"
                  "    p = os.path.join(parent, f); s = os.stat(p)\n"
                  "    assert stat.S_ISREG(s.st_mode) and s.st_nlink == 1 and s.st_ino and os.lstat(p).st_size == s.st_size\n"
                  "    assert s.st_uid == os.getuid() and s.st_blocks * 512 >= s.st_size\n"
                  "    fd = os.open(p, os.O_RDONLY); t = os.fstat(fd); os.close(fd)\n"
                  "    assert (t.st_ino, t.st_dev, t.st_size, t.st_mtime_ns) == (s.st_ino, s.st_dev, s.st_size, s.st_mtime_ns)\n"
                  "    out[os.path.relpath(p, D)] = s.st_size\n"
                  "  for d in dirs: assert stat.S_ISDIR(os.stat(os.path.join(parent, d)).st_mode)\n"
                  "print(json.dumps(out))")
        self.assertEqual(json.loads(self.python(script)), self.data.sizes)

    def test_inodes_differ_and_stay(self):
        script = ("names = sorted(os.listdir(D + '/train'))\n"
                  "inodes = [os.stat(f'{D}/train/{n}').st_ino for n in names]\n"
                  "assert len(set(inodes)) == len(inodes)\n"
                  "assert inodes == [{e.name: e.inode() for e in os.scandir(D + '/train')}[n] for n in names]\n"
                  "print(hash(tuple(inodes)))")
        self.assertEqual(self.python(script), self.python(script))

    def test_scandir_and_dirfd(self):
        script = ("entries = {e.name: (e.is_dir(), e.is_file()) for e in os.scandir(D)}\n"
                  "assert entries['tree'] == (True, False) and entries['big.bin'] == (False, True), entries\n"
                  "d = os.open(D + '/tree', os.O_RDONLY | os.O_DIRECTORY)\n"
                  "fd = os.open('d1/e2/leaf.txt', os.O_RDONLY, dir_fd=d)\n"
                  "print(os.read(fd, 100).decode().strip(), sorted(os.listdir(d)), os.stat('d0', dir_fd=d).st_nlink > 0)\n"
                  "os.fchdir(d); print(os.getcwd() == D + '/tree', sorted(os.listdir('.')))")
        self.assertEqual(self.python(script), "leaf 1 2 haystack ['d0', 'd1', 'd2'] True\n"
                                              "True ['d0', 'd1', 'd2']\n")

    def test_errors(self):
        script = ("import errno\n"
                  "def err(f, *a):\n"
                  "  try: f(*a)\n"
                  "  except OSError as e: return errno.errorcode[e.errno]\n"
                  "print(err(os.open, D + '/none', 0), err(os.open, D + '/text.txt/x', 0), err(os.listdir, D + '/text.txt'),\n"
                  "  err(os.open, D + '/text.txt', os.O_RDONLY | os.O_DIRECTORY), err(os.open, D + '/text.txt', os.O_WRONLY),\n"
                  "  err(os.stat, D + '/none'), err(os.open, D + '/new', os.O_CREAT | os.O_WRONLY),\n"
                  "  err(os.open, D + '/' + 'x' * 300, 0), err(os.stat, D + '/y' * 3000), err(os.readlink, D + '/text.txt'),\n"
                  "  err(os.open, D + '/text.txt', os.O_CREAT | os.O_EXCL), err(os.mkdir, D + '/tree'))\n"
                  "fd = os.open(D + '/tree', 0); print(err(os.read, fd, 1)); os.close(fd); print(err(os.read, fd, 1))\n"
                  "fd = os.open(D + '/text.txt', 0); print(err(os.write, fd, b'x'), err(os.pread, fd, 1, -1), err(os.ftruncate, fd, 0))")
        self.assertEqual(self.python(script).split(), (
            "ENOENT ENOTDIR ENOTDIR ENOTDIR EROFS ENOENT EROFS ENAMETOOLONG ENAMETOOLONG EINVAL "
            "EEXIST EEXIST EISDIR EBADF EBADF EINVAL EINVAL").split())

    def test_fd_numbers_are_posix(self):
        script = ("fds = [os.open(D + '/text.txt', 0) for _ in range(20)]\n"
                  "assert fds == list(range(fds[0], fds[0] + 20)), fds\n"
                  "os.close(fds[3]); assert os.open('/etc/passwd', 0) == fds[3]\n"
                  "os.close(fds[3]); r, w = os.pipe(); os.write(w, b'pipe'); assert r == fds[3] and os.read(r, 9) == b'pipe'\n"
                  "n = os.dup(fds[0]); os.read(fds[0], 7); assert os.lseek(n, 0, 1) == 7\n"
                  "os.dup2(r, n); os.write(w, b'again'); assert os.read(n, 9) == b'again'\n"
                  "os.dup2(fds[0], r); assert os.read(r, 3) == b'of '[:0] + os.pread(fds[0], 3, 7)\n"
                  "os.closerange(fds[0], fds[-1] + 1); print('fine')")
        self.assertEqual(self.python(script), "fine\n")

    def test_threads(self):
        script = ("import hashlib, threading, json, random\n"
                  "want = json.loads(sys.argv[1]); bad = []\n"
                  "def work(seed):\n"
                  "  names = list(want); random.Random(seed).shuffle(names)\n"
                  "  for n in names:\n"
                  "    if hashlib.sha256(open(f'{D}/{n}', 'rb').read()).hexdigest() != want[n]: bad.append(n)\n"
                  "t = [threading.Thread(target=work, args=(i,)) for i in range(8)]\n"
                  "[x.start() for x in t]; [x.join() for x in t]; print(bad)")
        self.assertEqual(self.python(script, json.dumps(self.digests(self.train()))), "[]\n")

    def loader(self, method, workers=4):
        script = ("import hashlib, json, random, multiprocessing as mp\n"
                  "def load(name): return name, hashlib.sha256(open(f'{D}/{name}', 'rb').read()).hexdigest()\n"
                  "if __name__ == '__main__':\n"
                  "  want = json.loads(sys.argv[1]); shared = open(f'{D}/big.bin', 'rb'); shared.read(10)\n"
                  f"  with mp.get_context({method!r}).Pool({workers}) as pool:\n"
                  "    for epoch in range(3):\n"
                  "      names = list(want); random.Random(epoch).shuffle(names)\n"
                  "      assert dict(pool.imap_unordered(load, names, 5)) == want\n"
                  "  print('same', shared.tell())")
        names = self.digests(self.train())
        return self.python(script, json.dumps(names), timeout=180)

    def test_forked_loader(self):
        self.assertEqual(self.loader("fork"), "same 10\n")

    def test_forkserver_and_spawn(self):
        path = self.job.scratch + "/loader.py"
        with open(path, "w") as file:
            file.write("import hashlib, json, multiprocessing as mp, sys\nD = '/data/train'\n"
                       "def load(n): return n, hashlib.sha256(open(f'{D}/{n}', 'rb').read()).hexdigest()\n"
                       "if __name__ == '__main__':\n"
                       "  want = json.load(open(sys.argv[2]))\n"
                       "  with mp.get_context(sys.argv[1]).Pool(2) as pool: assert dict(pool.map(load, want)) == want\n"
                       "  print('same')\n")
        names = self.job.scratch + "/names.json"
        with open(names, "w") as file:
            json.dump(self.digests(self.train()[:40]), file)
        for method in ("spawn", "forkserver"):
            with self.subTest(method=method):
                self.assertEqual(self.check(self.job.run(["python3", path, method, names])), "same\n")

    def test_fork_shares_the_offset(self):
        script = ("fd = os.open(D + '/text.txt', 0); os.read(fd, 5)\n"
                  "if os.fork() == 0: os.read(fd, 6); os._exit(0)\n"
                  "os.wait(); print(os.lseek(fd, 0, 1), os.read(fd, 4) == os.pread(fd, 4, 11))")
        self.assertEqual(self.python(script), "11 True\n")

    def test_subprocesses(self):
        script = ("import subprocess as s\nf = open(D + '/text.txt', 'rb'); f.read(0)\n"
                  "a = s.run(['sha256sum', D + '/big.bin'], capture_output=True, text=True).stdout.split()[0]\n"
                  "b = s.run('sha256sum', stdin=open(D + '/big.bin', 'rb'), capture_output=True, text=True).stdout.split()[0]\n"
                  "c = s.run('cat | wc -c', shell=True, stdin=f, capture_output=True, text=True).stdout.strip()\n"
                  "d = os.popen(f'head -n 1 {D}/text.txt').read().strip()\n"
                  "e = s.run(['head', '-n', '1', 'text.txt'], cwd=D, capture_output=True, text=True, close_fds=False).stdout.strip()\n"
                  "print(a == b, a, c, d, e, sep='|')")
        want = f"True|{self.data.digests['big.bin']}|{self.data.sizes['text.txt']}|" + \
            "|".join(["line 0 of the text needle-0"] * 2) + "\n"
        self.assertEqual(self.python(script), want)

    def test_select_poll_isatty(self):
        script = ("import select\nfd = os.open(D + '/text.txt', 0)\n"
                  "p = select.poll(); p.register(fd, select.POLLIN); print(p.poll(0) == [(fd, select.POLLIN)])\n"
                  "print(select.select([fd], [], [], 0)[0] == [fd], os.isatty(fd))\n"
                  "try: select.epoll().register(fd)\n"
                  "except OSError as e: print(e.errno)")
        self.assertEqual(self.python(script), "True\nTrue False\n1\n")

    def test_locks(self):
        script = ("import fcntl\nf = open(D + '/text.txt', 'rb')\n"
                  "fcntl.flock(f, fcntl.LOCK_SH); fcntl.lockf(f, fcntl.LOCK_SH); print(f.read(4))")
        self.assertEqual(self.python(script), "b'line'\n")

    def test_glob_and_pathlib(self):
        script = ("import glob, pathlib\n"
                  "print(len(glob.glob(D + '/train/*.bin')), len(glob.glob(D + '/tree/**/*.txt', recursive=True)),\n"
                  "  len(list(pathlib.Path(D).rglob('*.txt'))), pathlib.Path(D, 'tree/../text.txt').resolve() == pathlib.Path(D, 'text.txt'))")
        self.assertEqual(self.python(script), "200 9 10 True\n")


if __name__ == "__main__":
    e2e_base.main()
