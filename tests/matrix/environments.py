#!/usr/bin/env python3
"""Makes the virtual environments of the long Python cases from PyPI, with the versions that venvs/NAME.txt pins.

    python3 tests/matrix/environments.py [data|torch|tensorflow]...      all, by default

They lie in ~/.cache/penstock-matrix, one for each content of its file, so that a changed pin makes a new one; the ones
that it replaces are removed. 9 GiB in all, once made nothing is downloaded again."""

import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "penstock-matrix")
BASE = "/usr/bin/python3"      # Debian's: the pins are for its version


def names():
    return sorted(os.path.basename(path)[:-4] for path in glob.glob(os.path.join(HERE, "venvs", "*.txt")))


def _pins(name):
    return os.path.join(HERE, "venvs", name + ".txt")


def python_of(name):
    """The interpreter of an environment, whether it is made already or not."""
    with open(_pins(name), "rb") as file:
        return os.path.join(CACHE, f"{name}-{hashlib.sha256(file.read()).hexdigest()[:12]}", "bin", "python")


def make(name):
    python = python_of(name)
    folder = os.path.dirname(os.path.dirname(python))
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(python):
            return python
        for old in glob.glob(os.path.join(CACHE, name + "-*")):
            shutil.rmtree(old)
        made = folder + ".part"      # renamed when it is complete: its own files name it nowhere that we use
        subprocess.run([BASE, "-m", "venv", made], check=True)
        subprocess.run([os.path.join(made, "bin", "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:",
                        "--no-binary=pyspark", "--use-pep517", "--disable-pip-version-check", "-r", _pins(name)], check=True)
        os.rename(made, folder)
    return python


if __name__ == "__main__":
    for wanted in sys.argv[1:] or names():
        print(make(wanted), flush=True)
