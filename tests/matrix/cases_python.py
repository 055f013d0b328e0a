"""Python's standard library, by the programs of programs/python, which run from the data themselves."""

import data_common  # noqa: F401
import data_python
from case import case as any_case

P = data_python.PYTHON + " $D/py/"


def case(name, script, **keys):
    any_case(name, script, needs=data_python.PYTHON, status=0, **keys)


case("python_io", P + "io_ways.py", data="py text bytes_ tree")
case("python_os", P + "os_calls.py", data="py text bytes_ tree")
# As root: a folder bound read-only looks at a file's mode before it says EROFS, a file system that is read-only after.
case("python_refusals", P + "refusals.py", data="py standard text tree", root=True)
case("python_mmap", P + "mmap_ways.py", data="py text bytes_", az=True)
case("python_archives", P + "archives.py", data="py archives text bytes_ tree")
for part in ("children", "spawned", "forked", "handed_over", "pools"):
    case(f"python_{part}", f"{P}processes.py {part}", data="py text bytes_ tree modules", az=True)
case("python_waiting", P + "waiting.py", data="py text bytes_", az=True, ignore=("trace",))
case("python_standard", P + "standard_files.py", data="py standard text bytes_ tree modules")
case("python_sqlite", P + "databases.py", data="py standard text", az=True)
case("python_imports", P + "imports.py", data="py modules text")
case("python_venv", """
    $D/venv/env/bin/python -c 'import installed, sys, importlib.metadata as m
print(installed.VALUE, m.version("installed"), sys.prefix, sys.executable, sys.base_prefix)'
    . $D/venv/env/bin/activate && python -m site | sort
    find $D/venv -name '*.cfg' | xargs cat
""", data="venv", clean=((r"command = .*", "command"), (r"/tmp/\S*", "made there")))
