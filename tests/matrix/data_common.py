"""Files that cases of every kind read. Deterministic: the same bytes on every machine."""

import hashlib
import os
import random

from case import fixture, write

ODD_NAMES = ["with space.txt", "new\nline.txt", "tab\there.txt", "quote'single.txt", 'quote"double.txt', "back\\slash.txt",
             "star*.txt", "question?.txt", "[bracket].txt", "$dollar.txt", "-dash.txt", "ümlaut-ß.txt", "日本語.txt", ".hidden",
             "~tilde", "#hash", "semi;colon", "a=b", "dot..dots", "x" * 255]


@fixture
def text(folder):
    """Lines of words and numbers."""
    rnd = random.Random(5)
    words = ["alpha", "beta", "gamma", "delta", "épsilon", "zeta", "eta", "theta", "iota", "kappa"]
    lines = [f"{i}\t{rnd.choice(words)}\t{rnd.randrange(1000)}\t{rnd.random():.6f}\n" for i in range(20000)]
    write(folder, "table.tsv", "".join(lines))
    write(folder, "sorted_a", "".join(f"{i:05} a{i % 7}\n" for i in range(0, 3000, 2)))
    write(folder, "sorted_b", "".join(f"{i:05} b{i % 5}\n" for i in range(0, 3000, 3)))
    write(folder, "words", "\n".join(rnd.choice(words) for _ in range(5000)) + "\n")
    write(folder, "pairs", "shirt tie\nsocks shoes\ntrousers shoes\ntie jacket\ntrousers belt\nbelt jacket\n")
    write(folder, "no_newline", "first\nlast without newline")
    write(folder, "crlf", "one\r\ntwo\r\nthree\r\n")
    write(folder, "empty", "")
    write(folder, "one_byte", "x")
    write(folder, "long_line", "abc" * 100000 + "\n")
    write(folder, "latin1", "caf\xe9\n".encode("latin-1") * 100)
    names = ["table.tsv", "words", "empty", "no_newline"]
    write(folder, "list0", b"".join(os.path.join("/run/matrix/data/text", name).encode() + b"\0" for name in names))


@fixture
def bytes_(folder):
    """Bytes that do not compress, of sizes around those that the cache cuts at; one that is mostly a hole; their sums."""
    rnd = random.Random(6)
    sizes = [0, 1, 511, 512, 4095, 4096, 4097, 65535, 65536, 65537, 131072, 131073, 1 << 20, (1 << 21) + 17]
    sums = []
    for size in sizes:
        data = rnd.randbytes(size)
        write(folder, f"b{size}", data)
        sums.append(f"{hashlib.md5(data).hexdigest()}  b{size}\n")
    write(folder, "MD5SUMS", "".join(sums))
    write(folder, "big", rnd.randbytes(9 << 20))
    with open(os.path.join(folder, "sparse"), "wb") as file:
        file.write(b"begin")
        file.seek(6 << 20)
        file.write(b"end")


@fixture
def tree(folder):
    """Folders in folders, odd names, an executable, an empty folder."""
    for a in range(4):
        for b in range(3):
            for c in range(5):
                write(folder, f"d{a}/e{b}/f{c}.txt", f"leaf {a} {b} {c} needle-{a * b * c}\n" * (c + 1))
    for name in ODD_NAMES:
        write(folder, "odd/" + name, f"in {name}\n")
    write(folder, "bin/hello", "#!/bin/sh\necho hello \"$@\"\n", 0o755)
    write(folder, "private", "for the owner\n", 0o600)
    write(folder, "source_me", "sourced=yes\ngreet() { echo \"greetings, $1\"; }\n")
    os.mkdir(os.path.join(folder, "empty"))
    for number in range(300):
        write(folder, f"many/{number:04}", str(number))
