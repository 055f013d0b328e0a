"""How the programs of this folder say what they saw: a line a look, data as a digest, an error as its type and errno."""

import errno
import hashlib
import os

D = os.environ["D"]
W = os.environ["W"]


def path(*parts):
    return os.path.join(D, *parts)


def _update(hashed, value):
    import numpy
    if isinstance(value, (bytes, bytearray, memoryview)):
        hashed.update(value)
    elif isinstance(value, numpy.ndarray) and value.dtype != object:
        hashed.update(f"{value.dtype}{value.shape}".encode())
        hashed.update(numpy.ascontiguousarray(value).tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            hashed.update(str(key).encode())
            _update(hashed, value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            _update(hashed, item)
    elif hasattr(value, "to_csv"):      # pandas
        hashed.update(value.to_csv().encode())
    elif hasattr(value, "to_pylist"):      # pyarrow
        hashed.update(repr(value.to_pylist()).encode())
    elif hasattr(value, "write_csv"):      # polars
        hashed.update(value.write_csv().encode())
    elif hasattr(value, "numpy"):      # tensors
        _update(hashed, numpy.asarray(value.numpy()))
    else:
        hashed.update(repr(value).encode())


def digest(value):
    hashed = hashlib.sha256()
    _update(hashed, value)
    text = repr(value) if isinstance(value, (int, float, str, bool, type(None), tuple, list)) else type(value).__name__
    return f"{text if len(text) < 160 else type(value).__name__} {hashed.hexdigest()[:16]}"


def show(label, value):
    print(f"{label}: {digest(value)}", flush=True)
    return value


def attempt(label, function, *arguments, **keywords):
    """Shows what the call returns, or how it fails. For what may fail; what must work is called without it."""
    try:
        return show(label, function(*arguments, **keywords))
    except OSError as error:
        print(f"{label}: {type(error).__name__} {errno.errorcode.get(error.errno, error.errno)}", flush=True)
    except Exception as error:
        print(f"{label}: {type(error).__name__} {str(error)[:200]}", flush=True)
    return None
