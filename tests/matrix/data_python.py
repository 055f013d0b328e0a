"""What the Python programs of programs/python read, beside the data of every kind."""

import bz2
import compileall
import csv
import dbm.dumb
import glob
import gzip
import io
import json
import lzma
import os
import pickle
import plistlib
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
import tarfile
import wave
import zipapp
import zipfile

from case import fixture, write

PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")
PYTHON = "/usr/bin/python3"      # Debian's: what modules are built for must be what loads them


@fixture
def py(folder):
    """The programs themselves: they run from the data, as modules beside each other."""
    for path in glob.glob(os.path.join(PROGRAMS, "python", "*.py")):
        shutil.copy(path, folder)


def _members():
    rnd = random.Random(11)
    yield "text/table.tsv", "".join(f"{i}\tline {rnd.random():.5f}\n" for i in range(8000)).encode()
    yield "text/words", b"one two three\n" * 3000
    yield "bytes", rnd.randbytes(300000)
    yield "empty", b""
    yield "deep/er/still/file", b"deep"


def _by_debian(program, *arguments):
    return subprocess.run([PYTHON, "-c", program, *arguments], capture_output=True, text=True, check=True).stdout.strip()


@fixture
def archives(folder):
    """Archives of every kind, a zip file with modules, one that runs."""
    for name, method in (("a.zip", zipfile.ZIP_DEFLATED), ("stored.zip", zipfile.ZIP_STORED)):
        with zipfile.ZipFile(os.path.join(folder, name), "w", method) as archive:
            for member, data in _members():
                archive.writestr(zipfile.ZipInfo(member), data, method)
    for name, mode in (("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tar.bz2", "w:bz2"), ("a.tar.xz", "w:xz")):
        with tarfile.open(os.path.join(folder, name), mode) as archive:
            for member, data in _members():
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    for module, name in ((gzip, "table.gz"), (bz2, "table.bz2"), (lzma, "table.xz")):
        with module.open(os.path.join(folder, name), "wb") as file:
            file.write(next(_members())[1])
    with zipfile.ZipFile(os.path.join(folder, "modules.zip"), "w") as archive:
        archive.writestr("zipped/__init__.py", "import pkgutil\nVALUE = 17\ndef text():\n"
                         "    return pkgutil.get_data('zipped', 'note.txt').decode()\n")
        archive.writestr("zipped/note.txt", "a note")
    source = os.path.join(folder, "source")
    write(source, "__main__.py", "import sys\nprint('application', sys.argv[1:])\n")
    zipapp.create_archive(source, os.path.join(folder, "app.pyz"), interpreter="/usr/bin/env python3")


@fixture
def standard(folder):
    """Files of the standard library's formats."""
    rnd = random.Random(12)
    name = lambda n: os.path.join(folder, n)
    with open(name("a.csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "word", "quoted"])
        writer.writerows([i, f"wörd {i}", f'with "quotes", commas\nand lines {i}'] for i in range(2000))
    records = [{"id": i, "value": rnd.random(), "name": "ñ" * (i % 9)} for i in range(3000)]
    write(folder, "a.json", json.dumps(records))
    write(folder, "a.pickle", pickle.dumps({"records": records, "bytes": rnd.randbytes(100000)}, protocol=5))
    write(folder, "a.toml", '[part]\nkey = "value"\nlist = [1, 2, 3]\n')
    write(folder, "a.ini", "[part]\nkey = value\nother = more\n")
    write(folder, "a.xml", "<items>" + "".join(f'<item n="{i}">text {i}</item>' for i in range(3000)) + "</items>")
    write(folder, "a.plist", plistlib.dumps({"key": [1, 2.5, "three"], "data": b"bytes"}))
    with wave.open(name("a.wav"), "wb") as sound:
        sound.setparams((2, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"".join(struct.pack("<hh", i % 32000, -(i % 32000)) for i in range(8000)))
    write(folder, "a.mbox", "".join(f"From a@example.org Sat Jan  1 00:00:00 2000\nSubject: letter {i}\n\nbody {i}\n\n"
                                    for i in range(50)))
    _by_debian("import dbm.ndbm, sys\n"
               "with dbm.ndbm.open(sys.argv[1], 'n') as base:\n"
               "    for i in range(500): base[f'key{i}'] = f'value {i}' * (i % 20)", name("ndbm"))
    with dbm.dumb.open(name("dumb"), "n") as base:
        for i in range(50):
            base[f"key{i}"] = f"value {i}"
    with dbm.dumb.open(name("shelf"), "n") as base:      # as shelve keeps it, whatever dbm is best on this machine
        for i in range(50):
            base[f"key{i}"] = pickle.dumps([i, {"n": "x" * i}])
    _database(name("a.sqlite"), rnd)
    with sqlite3.connect(name("other.sqlite")) as base:
        base.execute("create table marks(id integer primary key)")
        base.executemany("insert into marks values (?)", ((i,) for i in range(0, 5000, 7)))
    base.close()
    base = sqlite3.connect(name("wal.sqlite"))
    base.execute("pragma journal_mode=wal")
    base.close()
    _database(name("wal.sqlite"), rnd)


def _database(name, rnd):
    with sqlite3.connect(name) as base:
        base.execute("create table things(id integer primary key, name text, kind text, value real, body blob)")
        base.executemany("insert into things values (?, ?, ?, ?, ?)", (
            (i, f"n{i}", "abc"[i % 3], rnd.random(), rnd.randbytes(10 + i % 300)) for i in range(5000)))
        base.execute("create index by_name on things(name)")
    base.close()


@fixture
def modules(folder):
    """Packages, native modules and programs to be imported and run from here."""
    write(folder, "package/__init__.py", "VALUE = 3\n")
    write(folder, "package/data.txt", "package data\n")
    write(folder, "package/deep/__init__.py", "")
    write(folder, "package/deep/inner.py", "VALUE = 5\ndef fail():\n    raise ValueError('on purpose')\n"
                                           "if __name__ == '__main__':\n    print('inner as a program')\n")
    write(folder, "spaces/one.py", "VALUE = 8\n")
    write(folder, "script.py", "import sys\nRESULT = (__name__ != '', __file__.endswith('script.py'))\n"
                               "if sys.argv[0].endswith('script.py'):\n    print('script', RESULT)\n")
    write(folder, "application/__main__.py", "RESULT = 21\nprint('application')\n")
    write(folder, "fails.py", "def outer():\n    return 1 / 0  # the line that fails\n\n\nouter()\n")
    write(folder, "executable.py", "#!/usr/bin/env python3\nimport sys\nprint('executed', sys.argv[1:])\n", 0o755)
    write(folder, "site/here.pth", "inside\n")
    write(folder, "site/inside/from_pth.py", "VALUE = 13\n")
    native = os.path.join(folder, "native")
    os.mkdir(native)
    shutil.copy(_by_debian("import _queue; print(_queue.__file__)"), native)
    shutil.copy(glob.glob("/usr/lib/*/libz.so.1")[0], os.path.join(native, "libz.so.1"))
    compileall.compile_dir(os.path.join(folder, "package"), quiet=1)


@fixture
def venv(folder):
    """A virtual environment whose interpreter, configuration and packages all lie in the data."""
    subprocess.run([PYTHON, "-m", "venv", "--copies", "--without-pip", os.path.join(folder, "env")], check=True)
    packages = glob.glob(os.path.join(folder, "env", "lib", "python3*", "site-packages"))[0]
    write(packages, "installed/__init__.py", "VALUE = 'installed here'\n")
    write(packages, "installed-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n")
    if sys.maxsize > 2**32 and os.path.islink(os.path.join(folder, "env", "lib64")):
        os.unlink(os.path.join(folder, "env", "lib64"))      # the same folder again
