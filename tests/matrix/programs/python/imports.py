"""Python's own files in the data: packages, extension modules, shared libraries, resources, runpy, tracebacks."""

import ctypes
import importlib.resources
import importlib.util
import inspect
import linecache
import os
import pkgutil
import runpy
import site
import subprocess
import sys
import traceback

from report import D, W, attempt, path, show

sys.path.insert(0, path("modules"))
import package  # noqa: E402
import package.deep.inner  # noqa: E402
import spaces.one  # noqa: E402  (a namespace package)

show("package", (package.VALUE, package.deep.inner.VALUE, spaces.one.VALUE, package.__file__[len(D):]))
show("namespace", [p[len(D):] for p in spaces.__path__])
show("modules", sorted(name for _, name, _ in pkgutil.walk_packages([path("modules")])))
show("data", pkgutil.get_data("package", "data.txt"))
show("resources", sorted(e.name for e in importlib.resources.files("package").iterdir() if not e.name.startswith("__pycache__")))
show("resource", (importlib.resources.files("package") / "data.txt").read_text())
show("source", inspect.getsource(package.deep.inner.fail))
try:
    package.deep.inner.fail()
except ValueError:
    show("traceback", traceback.format_exc().replace(D, ""))
show("linecache", linecache.getline(path("modules", "package", "deep", "inner.py"), 3))
show("runpy", runpy.run_path(path("modules", "script.py"), run_name="__main__")["RESULT"])
show("run a folder", runpy.run_path(path("modules", "application"))["RESULT"])
show("run_module", runpy.run_module("package.deep.inner")["VALUE"])
spec = importlib.util.spec_from_file_location("by_name", path("modules", "script.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
show("from a file", module.RESULT)
attempt("no such module", importlib.import_module, "package.none")
extension = next(name for name in os.listdir(path("modules", "native")) if name.startswith("_queue"))
spec = importlib.util.spec_from_file_location("_queue", path("modules", "native", extension))
native = importlib.util.module_from_spec(spec)
spec.loader.exec_module(native)
queue = native.SimpleQueue()
queue.put(7)
show("extension module", queue.get())
library = ctypes.CDLL(path("modules", "native", "libz.so.1"))
library.crc32.restype = ctypes.c_ulong
show("ctypes", library.crc32(0, b"penstock", 8))
site.addsitedir(path("modules", "site"))
import from_pth  # noqa: E402

show(".pth", from_pth.VALUE)
for arguments in (["script.py"], ["application"], ["-m", "package.deep.inner"], ["-c", "import package; print(package.VALUE)"]):
    where = [path("modules", arguments[0])] if not arguments[0].startswith("-") else arguments
    run = subprocess.run([sys.executable, *where], cwd=path("modules"), capture_output=True, text=True,
                         env=dict(os.environ, PYTHONPATH=path("modules")))
    show(f"python {' '.join(arguments)}", (run.returncode, run.stdout, run.stderr[-300:]))
run = subprocess.run([sys.executable, path("modules", "fails.py")], capture_output=True, text=True)
show("a program that fails", (run.returncode, run.stderr.replace(D, "")))
run = subprocess.run([path("modules", "executable.py"), "a"], capture_output=True, text=True)
show("by its first line", (run.returncode, run.stdout, run.stderr[-300:]))
os.makedirs(os.path.join(W, "cache"))
run = subprocess.run([sys.executable, "-X", f"pycache_prefix={W}/cache", "-c", "import package.deep.inner as i; print(i.VALUE)"],
                     env={**os.environ, "PYTHONPATH": path("modules"), "PYTHONDONTWRITEBYTECODE": ""}, capture_output=True)
show("bytecode elsewhere", (run.stdout, os.path.exists(os.path.join(W, "cache"))))
