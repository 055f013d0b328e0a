"""What a run left behind, and how two runs differ."""

import os
import re
import stat
from dataclasses import dataclass


@dataclass
class Result:
    """How a run ended. `status` is None where its deadline passed; `folder` is what $W was."""
    status: int | None
    stdout: bytes
    stderr: bytes
    folder: str


def _entries(folder):
    """{relative name: lstat} of everything below `folder`."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, folder)] = os.lstat(path)
    return found


def _first_difference(one, other):
    """Where the bytes of two files differ, or None."""
    at = 0
    with open(one, "rb") as a, open(other, "rb") as b:
        while True:
            left, right = a.read(1 << 20), b.read(1 << 20)
            if left != right:
                shorter = min(len(left), len(right))
                return at + next((i for i in range(shorter) if left[i] != right[i]), shorter)
            if not left:
                return None
            at += len(left)


def _file_difference(plain, covered, name, before, after, times):
    if stat.S_IFMT(before.st_mode) != stat.S_IFMT(after.st_mode):
        return f"{name}: another kind of file"
    if before.st_mode != after.st_mode:
        return f"{name}: mode {stat.S_IMODE(before.st_mode):o} plain, {stat.S_IMODE(after.st_mode):o} covered"
    if times and before.st_mtime_ns != after.st_mtime_ns:
        return f"{name}: mtime {before.st_mtime_ns} plain, {after.st_mtime_ns} covered"
    paths = os.path.join(plain, name), os.path.join(covered, name)
    if stat.S_ISLNK(before.st_mode) and os.readlink(paths[0]) != os.readlink(paths[1]):
        return f"{name}: the link leads elsewhere"
    if stat.S_ISREG(before.st_mode):
        at = _first_difference(*paths)
        if at is not None:
            return f"{name}: bytes differ from offset {at} (sizes {before.st_size} plain, {after.st_size} covered)"
    return None


def files_differ(plain, covered, times, ignore):
    """What differs between two folders, a line each."""
    before, after, found = _entries(plain), _entries(covered), []
    for name in sorted(before.keys() | after.keys()):
        if any(re.search(pattern, name) for pattern in ignore):
            continue
        if name not in after:
            found.append(f"{name}: not written by the covered run")
        elif name not in before:
            found.append(f"{name}: written by the covered run alone")
        else:
            found.append(_file_difference(plain, covered, name, before[name], after[name], times))
    return [line for line in found if line]


def _text_difference(what, plain, covered):
    left, right = plain.split(b"\n"), covered.split(b"\n")
    for number, (a, b) in enumerate(zip(left + [None] * len(right), right + [None] * len(left)), 1):
        if a != b:
            show = lambda line: "nothing" if line is None else repr(line[:300].decode(errors="replace"))
            return f"{what} line {number}: plain {show(a)}, covered {show(b)}"
    return None


def _cleaned(case, text):
    for pattern, replacement in case.clean:
        text = re.sub(pattern.encode(), replacement.encode(), text)
    return b"\n".join(sorted(text.split(b"\n"))) if case.sort else text


def differences(case, plain, covered):
    """Every way in which the covered run differs from the plain one, a line each; [] is a pass."""
    found = []
    if plain.status is None:
        return [f"the plain run did not end within {case.deadline_s} s"]
    if covered.status is None:
        return [f"the covered run did not end within {case.deadline_s} s"]
    if case.status not in (None, plain.status):
        return [f"the plain run ended with {plain.status}: {plain.stderr[-1500:].decode(errors='replace')}"]
    if plain.status != covered.status:
        found.append(f"exit status {plain.status} plain, {covered.status} covered")
    found.append(_text_difference("stdout", _cleaned(case, plain.stdout), _cleaned(case, covered.stdout)))
    if case.stderr:
        found.append(_text_difference("stderr", _cleaned(case, plain.stderr), _cleaned(case, covered.stderr)))
    elif plain.status != covered.status:
        found.append(f"stderr of the covered run: {covered.stderr[-600:].decode(errors='replace')!r}")
    found += files_differ(plain.folder, covered.folder, case.times, case.ignore)
    return [line for line in found if line]


def not_as_expected(expected, covered):
    """The same for a case that is expected to fail in a way of its own."""
    if covered.status is None:
        return ["the covered run hung"]
    if covered.status != expected.status:
        return [f"exit status {covered.status}, expected {expected.status} ({expected.why}); stderr "
                f"{covered.stderr[-600:].decode(errors='replace')!r}"]
    text = covered.stderr.decode(errors="replace")
    return [] if re.search(expected.stderr, text) else [f"stderr {text[-600:]!r} does not match {expected.stderr!r}"]
