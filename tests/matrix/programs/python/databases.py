"""sqlite3 on a database that lies in the data: read-only, immutable, mapped, attached, by two processes, and not to be written."""

import os
import sqlite3
import subprocess
import sys

from report import D, W, attempt, path, show

BASE = path("standard", "a.sqlite")
QUERY = "select kind, count(*), sum(value), max(length(body)) from things group by kind order by kind"


def rows(uri, before=()):
    base = sqlite3.connect(uri, uri=True)
    for statement in before:
        base.execute(statement).fetchall()
    try:
        return base.execute(QUERY).fetchall()
    finally:
        base.close()


for options in ("mode=ro", "immutable=1", "mode=ro&immutable=1", "mode=ro&nolock=1", "mode=ro&vfs=unix-none", "mode=ro&vfs=unix-dotfile",
                "mode=ro&vfs=unix-excl", "mode=ro&cache=shared", "mode=rw", "mode=rwc"):
    attempt(options, rows, f"file:{BASE}?{options}")
attempt("mapped", rows, f"file:{BASE}?mode=ro", ["pragma mmap_size=268435456"])
attempt("as it comes", lambda: sqlite3.connect(BASE).execute(QUERY).fetchall())
attempt("write", lambda: sqlite3.connect(BASE).execute("delete from things"))
attempt("write-ahead log", rows, f"file:{path('standard', 'wal.sqlite')}?mode=ro")
attempt("write-ahead log, immutable", rows, f"file:{path('standard', 'wal.sqlite')}?immutable=1")
base = sqlite3.connect(f"file:{BASE}?mode=ro", uri=True)
show("check", base.execute("pragma integrity_check").fetchall())
show("indexed", base.execute("select name, body from things where name between 'n100' and 'n11' order by name").fetchall()[:20])
base.execute(f"attach 'file:{path('standard', 'other.sqlite')}?mode=ro' as other")
show("joined", base.execute("select count(*) from things t join other.marks m on m.id = t.id").fetchall())
show("in a transaction", (base.execute("begin").fetchall(), base.execute(QUERY).fetchall()))
show("another process", subprocess.run([sys.executable, "-c", f"import sqlite3\nprint(sqlite3.connect('file:{BASE}?mode=ro', uri=True)"
                                        ".execute('select count(*) from things').fetchone())"], capture_output=True).stdout)
with sqlite3.connect(os.path.join(W, "copy.sqlite")) as copy:
    base.backup(copy)
    show("backed up", copy.execute(QUERY).fetchall())
copy.close()
os.unlink(os.path.join(W, "copy.sqlite"))
blob = base.blobopen("things", "body", 5, readonly=True)
show("blob", blob.read(50))
attempt("nothing", lambda: sqlite3.connect(f"file:{D}/none.sqlite?mode=ro", uri=True).execute("select 1"))
attempt("not a database", lambda: sqlite3.connect(f"file:{path('text', 'words')}?mode=ro", uri=True).execute("select * from t"))
