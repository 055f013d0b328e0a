"""The standard library's readers: pathlib, glob, shutil, filecmp, csv, json, pickle, shelve, dbm, configparser, xml, wave and more."""

import configparser
import csv
import dbm.dumb
import dbm.ndbm
import filecmp
import fileinput
import fnmatch
import glob
import hashlib
import json
import linecache
import mailbox
import os
import pathlib
import pickle
import plistlib
import shelve
import shutil
import sys
import tempfile
import tomllib
import wave
import xml.etree.ElementTree as tree

from report import D, W, attempt, path, show

S = path("standard")
root = pathlib.Path(D)
show("rglob", str(sorted(str(p.relative_to(root)) for p in (root / "tree").rglob("*"))))
show("glob", sorted(str(p.relative_to(root)) for p in root.glob("tree/d?/e[01]/*.txt")))
show("iterdir", sorted(p.name for p in (root / "tree").iterdir()))
show("kinds", [(p.exists(), p.is_file(), p.is_dir(), p.is_symlink(), p.is_mount()) for p in (
    root / "tree", root / "text/words", root / "none")])
show("read_text", (root / "text/table.tsv").read_text(encoding="utf-8"))
show("read_bytes", (root / "bytes_/b65537").read_bytes())
show("resolve", str((root / "tree/../text/./words").resolve().relative_to(root)))
attempt("owner", lambda: bool((root / "text/words").owner()))
show("glob module", sorted(n[len(D):] for n in glob.glob(path("**", "*.txt"), recursive=True)))
show("root_dir", sorted(glob.glob("d*/e0/*", root_dir=path("tree"))))
show("hidden", sorted(glob.glob("*", root_dir=path("tree", "odd"), include_hidden=True)))
show("fnmatch", fnmatch.filter(os.listdir(path("bytes_")), "b6*") != [])

# In containers the sidecar is another user: what only the owner may read it cannot fetch.
shutil.copytree(path("tree"), os.path.join(W, "tree"), ignore=shutil.ignore_patterns("private"))
shutil.copyfile(path("bytes_", "big"), os.path.join(W, "big"))
shutil.copy2(path("text", "words"), os.path.join(W, "words"))
shutil.copy(path("bytes_", "b65537"), W)
show("which", shutil.which("executable.py", path=path("modules"))[len(D):])
attempt("disk_usage", lambda: shutil.disk_usage(path("text"))._fields)
with tempfile.NamedTemporaryFile(dir=W) as file, open(path("text", "table.tsv"), "rb") as source:
    shutil.copyfileobj(source, file)
    file.flush()
    show("same", filecmp.cmp(file.name, path("text", "table.tsv"), shallow=False))
compared = filecmp.dircmp(path("tree"), os.path.join(W, "tree"))
show("dircmp", (sorted(compared.same_files), sorted(compared.diff_files), sorted(compared.common_dirs)))
with open(path("bytes_", "big"), "rb", buffering=0) as file:
    show("file_digest", hashlib.file_digest(file, "sha256").hexdigest())
with fileinput.input([path("text", "words"), path("text", "crlf")]) as lines:
    show("fileinput", [(fileinput.filelineno(), len(line)) for line in lines][-5:])
show("linecache", linecache.getlines(path("text", "sorted_a"))[100])

with open(os.path.join(S, "a.csv"), newline="", encoding="utf-8") as file:
    show("csv", str(list(csv.DictReader(file))))
show("sniffed", csv.Sniffer().sniff(open(os.path.join(S, "a.csv"), encoding="utf-8").read(1000)).delimiter)
show("json", str(json.load(open(os.path.join(S, "a.json"), encoding="utf-8"))))
show("pickle", str(pickle.load(open(os.path.join(S, "a.pickle"), "rb"))))
show("toml", tomllib.load(open(os.path.join(S, "a.toml"), "rb")))
config = configparser.ConfigParser()
show("ini", (len(config.read([os.path.join(S, "a.ini"), os.path.join(S, "none.ini")])), dict(config["part"])))
show("xml", [element.get("n") for element in tree.parse(os.path.join(S, "a.xml")).iter("item")])
show("iterparse", sum(1 for _ in tree.iterparse(os.path.join(S, "a.xml"))))
show("plist", plistlib.load(open(os.path.join(S, "a.plist"), "rb")))
with wave.open(os.path.join(S, "a.wav")) as sound:
    sound.setpos(500)
    show("wave", (sound.getparams(), sound.readframes(1000)))
show("mbox", [message["subject"] for message in mailbox.mbox(os.path.join(S, "a.mbox"))])
with shelve.open(os.path.join(S, "shelf"), flag="r") as shelf:
    show("shelve", {key: shelf[key] for key in sorted(shelf)})
with dbm.ndbm.open(os.path.join(S, "ndbm"), "r") as base:
    show("dbm.ndbm", [(key, base[key]) for key in sorted(base.keys())[5:9]])
with dbm.dumb.open(os.path.join(S, "dumb"), "r") as base:
    show("dbm.dumb", sorted((key, base[key]) for key in base.keys()))
show("whichdb", (dbm.whichdb(os.path.join(S, "ndbm")), dbm.whichdb(os.path.join(S, "dumb"))))
sys.stdout.flush()
