"""What a case and a fixture of the matrix are, and their registries. A file cases_NAME.py registers its own on import.

    from case import case, fixture

    @fixture
    def words(folder):                     # builds files below `folder`, which programs see as $D/words
        write(folder, "list.txt", "a\\nb\\n")

    case("sort_unique", "sort -u $D/words/list.txt > out", needs="sort", data="words")
"""

import os
import re
from dataclasses import dataclass, field

CASES = {}
FIXTURES = {}


@dataclass(frozen=True)
class Differs:
    """A case that cannot give the plain answer: how it fails instead, and why. The plain run is not looked at."""
    why: str
    status: int
    stderr: str = ""            # a regular expression that its stderr must match somewhere


@dataclass(frozen=True)
class Case:
    """One command line, run on a plain folder and through Penstock; both must say and write the same."""
    name: str
    script: str                 # read by `shell -c` in an empty folder $W; the data is $D
    shell: str = "bash"
    needs: tuple = ()           # programs; "python:NAME" is a module of python3, a word with "/" a file
    data: tuple = ()            # fixtures that must lie below $D
    full: bool = False          # runs with --full only
    az: bool = False            # runs on Azurite too: it looks at no mode, owner or time, and needs no empty folder
    containers: bool = True     # runs in containers too
    root: bool = False          # needs root
    deadline_s: float = 60
    status: int | None = None   # how the plain run must end, where two equal failures would prove nothing
    stderr: bool = True         # compare stderr
    sort: bool = False          # the order of lines does not count: folders are read in the order they lie in
    times: bool = False         # compare the times of the files it wrote
    clean: tuple = ()           # (regular expression, replacement) for stdout and stderr, for what differs between any two runs
    ignore: tuple = ()          # regular expressions of names below $W that are not compared
    env: dict = field(default_factory=dict)
    differs: Differs | None = None
    group: str = ""             # the file that it comes from


def _words(value):
    return tuple(value.split()) if isinstance(value, str) else tuple(value)


def case(name, script, **keys):
    """Registers a case. `needs`, `data` may be strings of words; needs are programs, see Case."""
    if name in CASES or not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"bad or double case name {name!r}")
    for key in ("needs", "data"):
        if key in keys:
            keys[key] = _words(keys[key])
    CASES[name] = Case(name=name, script=script.strip("\n"), group=case.group, **keys)


case.group = ""


def fixture(function):
    """Registers a builder of files; it is called with the empty folder that it fills, before anything runs. An attribute
    keep_times leaves the files' times as they are; otherwise they become the same in every run. `needs` as for a case."""
    FIXTURES[function.__name__] = function
    return function


def write(folder, name, data, mode=0o644):
    """Writes text or bytes to folder/name."""
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
    os.chmod(path, mode)
    return path
