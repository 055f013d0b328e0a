"""What a read-only tree refuses, and with which error."""

import dbm.ndbm
import os
import pathlib
import shutil
import tempfile

from report import D, W, attempt, path

TEXT = path("text", "table.tsv")
root = pathlib.Path(D)

for mode in ("w", "a", "r+", "x", "w+b", "a+"):
    attempt(f"open {mode} what is there", open, TEXT, mode)
    attempt(f"open {mode} what is not", open, path("text", "new"), mode)

for call, *arguments in (("unlink", TEXT), ("rmdir", path("tree", "empty")), ("mkdir", path("new")), ("mkdir", path("text")),
                         ("rename", TEXT, path("other")), ("rename", TEXT, os.path.join(W, "x")), ("chmod", TEXT, 0o777),
                         ("link", TEXT, path("other")), ("symlink", "a", path("link")), ("mkfifo", path("pipe")),
                         ("truncate", TEXT, 0), ("utime", TEXT), ("chown", TEXT, 0, 0), ("readlink", TEXT), ("mknod", path("n")),
                         ("removedirs", path("tree", "empty"))):
    attempt(f"{call} {arguments[0][len(D):]}", getattr(os, call), *arguments)
attempt("access W_OK", os.access, TEXT, os.W_OK)
os.mkdir(os.path.join(W, "folder"))
attempt("rename into", os.rename, os.path.join(W, "folder"), path("folder"))
attempt("unlink at", os.unlink, "private", dir_fd=os.open(path("tree"), os.O_RDONLY))

for flags in ("O_WRONLY", "O_RDWR", "O_TRUNC", "O_APPEND", "O_CREAT"):
    attempt(f"open {flags} what is there", lambda: os.pread(os.open(TEXT, getattr(os, flags)), 10, 0))
    attempt(f"open {flags} what is not", lambda: os.pread(os.open(path("n"), getattr(os, flags)), 10, 0))
attempt("O_CREAT O_EXCL", os.open, TEXT, os.O_CREAT | os.O_EXCL)
attempt("O_TMPFILE", os.open, path("text"), os.O_TMPFILE | os.O_RDWR)
attempt("folder to write", os.open, path("text"), os.O_RDWR)

attempt("write_text", (root / "text/new").write_text, "x")
attempt("touch", (root / "text/words").touch)
attempt("copy into", shutil.copy, __file__, path("text", "x"))
attempt("move out", shutil.move, path("text", "words"), os.path.join(W, "moved"))
attempt("rmtree", shutil.rmtree, path("tree"))
attempt("temporary there", tempfile.NamedTemporaryFile, dir=path("text"))
attempt("dbm.ndbm to write", dbm.ndbm.open, path("standard", "ndbm"), "w")
