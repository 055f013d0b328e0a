"""The data of the hostile cases:  tree.py FOLDER"""

import os
import random
import sys

ODD = ["new\nline", b"\xff\xfe", "trailing  ", "..foo", "...", ".hidden", " ", "a\\b", "*", "?[x]", "%41", "tab\there", "\u00e4",
       "-rf", "~", "#hash", "a:b", '"q"', "'", "L" * 255]


def main(base):
    source = random.Random(5)
    base = os.fsencode(base)

    def put(name, data, mode=0o644):
        path = os.path.join(base, os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, mode)

    put("numbers", b"".join(b"%d\n" % i for i in range(1, 20001)))
    put("records", b"".join(b"%015d\n" % i for i in range(60000)))
    put("small", b"small file\nof two lines\n")
    put("wide", "\u00e4\u00f6\u20ac and more\n".encode())
    put("big", source.randbytes(700_000))
    put("greet", b'#!/bin/bash\necho "script $# $1"\ncat "$(dirname "$0")/small" 2>/dev/null\nexit 3\n', 0o755)
    put("tell", b'#!/bin/bash\necho "script $# $1"\nexit 3\n', 0o755)
    for name in ("tree/one", "tree/two", "tree/deep/er/e1", "tree/deep/er/e2"):
        put(name, name.encode() + b"\n")
    os.makedirs(os.path.join(base, b"tree/empty"))
    for name in ODD:
        put(b"odd/" + os.fsencode(name), b"odd " + os.fsencode(name)[:40] + b"\n")
    cold = list("abcdefghijklmnop")
    cold += [f"{letter}{i:02d}" for letter, count in (("c", 32), ("s", 64), ("j", 64), ("t", 40)) for i in range(count)]
    for i, name in enumerate(cold):
        put("cold/" + name, source.randbytes(66_000 + 131 * i))
    for i in range(100_000):
        put(f"many/n{i:05d}" + "x" * (i % 40), b"")
    # Modes as a read-only mount shows them would differ by the origin's: they are not compared.


main(sys.argv[1])
