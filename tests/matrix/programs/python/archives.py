"""zipfile, tarfile, gzip, bz2, lzma, zipimport and shutil's unpacking, of archives that lie in the data."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

from report import W, attempt, path, read, show

for name in ("a.zip", "stored.zip"):
    with zipfile.ZipFile(path("archives", name)) as archive:
        show(f"{name} names", archive.namelist())
        show("bad", archive.testzip())
        for member in archive.namelist():
            show(member, archive.read(member))
        with archive.open("text/table.tsv") as file:
            file.seek(5000)
            show("inside", file.read(100))
        archive.extractall(os.path.join(W, name + ".d"))
    show("is one", zipfile.is_zipfile(path("archives", name)))
with zipfile.ZipFile(open(path("archives", "a.zip"), "rb", buffering=0)) as archive:
    first, second = archive.open("text/words"), archive.open("text/table.tsv")
    show("in turns", b"".join(first.read(1000) + second.read(777) for _ in range(20)))
    show("by path", sorted(p.name for p in zipfile.Path(archive, "text/").iterdir()))
attempt("append", zipfile.ZipFile, path("archives", "a.zip"), "a")
attempt("not one", zipfile.ZipFile, path("text", "words"))

for name in ("a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"):
    with tarfile.open(path("archives", name)) as archive:
        show(f"{name} names", archive.getnames())
        for member in archive.getmembers():
            if member.isfile():
                show(member.name, archive.extractfile(member).read())
    with tarfile.open(path("archives", name), "r|*") as archive:
        show("as a stream", [(m.name, m.size, len(archive.extractfile(m).read()) if m.isfile() else 0) for m in archive])
    with open(path("archives", name), "rb", buffering=0) as raw, tarfile.open(fileobj=raw, mode="r|*") as archive:
        archive.extractall(os.path.join(W, name + ".d"))
for module, name in ((gzip, "table.gz"), (bz2, "table.bz2"), (lzma, "table.xz")):
    with module.open(path("archives", name), "rb") as file:
        show(name, file.read())
        file.seek(1000)
        show("sought", file.read(100))
    with module.open(path("archives", name), "rt", encoding="utf-8") as file:
        show("lines", sum(1 for _ in file))
    attempt("not one", lambda: module.open(path("text", "words")).read())
shutil.unpack_archive(path("archives", "a.tar.gz"), os.path.join(W, "unpacked"))
made = io.BytesIO()
with zipfile.ZipFile(made, "w") as archive:
    archive.write(path("text", "words"), "words")
    archive.writestr("b", read(path("bytes_", "b65537")))
show("made of data", zipfile.ZipFile(made).read("words"))
with tarfile.open(os.path.join(W, "made.tar"), "w") as archive:
    archive.add(path("tree", "d0"), "d0")

sys.path.insert(0, path("archives", "modules.zip"))
import zipped  # noqa: E402

show("zipimport", (zipped.VALUE, zipped.__file__.endswith("modules.zip/zipped/__init__.py"), zipped.text()))
show("python a.pyz", subprocess.run([sys.executable, path("archives", "app.pyz"), "arg"], capture_output=True).stdout)
