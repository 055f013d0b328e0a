"""How the programs of this folder say what they saw: a line a look, bytes as a digest, an error as its errno."""

import errno
import hashlib
import os

D = os.environ["D"]      # the data, covered or plain
W = os.environ["W"]      # an empty folder of the run's own


def path(*parts):
    return os.path.join(D, *parts)


def digest(value):
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value)
        return f"{len(value)} bytes {hashlib.sha256(value).hexdigest()[:16]}"
    if isinstance(value, str) and len(value) > 200:
        return f"{len(value)} characters {hashlib.sha256(value.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
    return repr(value)


def show(label, value):
    print(f"{label}: {digest(value)}", flush=True)
    return value


def attempt(label, function, *arguments, **keywords):
    """Shows what the call returns, or how it fails."""
    try:
        return show(label, function(*arguments, **keywords))
    except OSError as error:
        name = errno.errorcode.get(error.errno, error.errno)
        print(f"{label}: {type(error).__name__} {name}", flush=True)
    except Exception as error:      # what any library raises counts as its answer
        print(f"{label}: {type(error).__name__} {str(error)[:200]}", flush=True)
    return None


def read(name):
    with open(name, "rb") as file:
        return file.read()
