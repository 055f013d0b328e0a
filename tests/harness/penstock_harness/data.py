"""Data sets of the tests: the same bytes in every run."""

import hashlib
import os
import random
from dataclasses import dataclass, field

# What the origin's protocol could trip over.
STRANGE_NAMES = [
    "with space.bin", "per%cent%20.bin", "plus+plus.bin", "amp&ersand.bin", "hash#tag.bin",
    "question?mark.bin", "equals=sign;semi.bin", "quote'single.bin", "br[ack]et{s}.bin",
    "tilde~at@colon:.bin", "umlaut-äöü-ß.bin", "日本語のファイル.bin", "emoji-🚰.bin", "dot..dots.bin",
    ".hidden", "back`tick$dollar.bin", "trailing-dash-",
]
# With this prefix a Blob name of 1,024 characters, the longest there is, in components that a local
# file system takes too.
BLOB_PREFIX = "some/prefix/"
LONG_NAME = "/".join(["long"] + ["n" * 250] * 4 + ["mmm"])
assert len(BLOB_PREFIX + LONG_NAME) == 1024

SMALL_SIZES = [0, 1, 2, 511, 512, 4095, 4096, 4097, 65535, 65536, 65537, 131071, 131072, 131073]


@dataclass
class Dataset:
    """A folder of files and what they hold."""
    root: str
    digests: dict = field(default_factory=dict)   # relative name: hexadecimal SHA-256
    sizes: dict = field(default_factory=dict)

    def add(self, name, data):
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        self.digests[name] = hashlib.sha256(data).hexdigest()
        self.sizes[name] = len(data)

    def bytes_of(self, name):
        with open(os.path.join(self.root, name), "rb") as file:
            return file.read()


def make_dataset(root, small_files=200, big_mib=24, strange=True, seed=1):
    """`small_files` files train/NNNN.bin of edge-case sizes, big.bin, text.txt, a tree, odd names."""
    generator = random.Random(seed)
    data = Dataset(root)
    os.makedirs(root, exist_ok=True)
    os.chmod(root, 0o755)
    for i in range(small_files):
        size = SMALL_SIZES[i] if i < len(SMALL_SIZES) else generator.choice(
            [131072, 131072, 4096, 100_000, generator.randrange(200_000)])
        data.add(f"train/{i:04}.bin", generator.randbytes(size))
    data.add("big.bin", generator.randbytes(big_mib << 20))
    data.add("text.txt", b"".join(b"line %d of the text needle-%d\n" % (i, i % 97)
                                  for i in range(20000)))
    for i in range(3):
        for j in range(3):
            data.add(f"tree/d{i}/e{j}/leaf.txt", b"leaf %d %d haystack\n" % (i, j))
    if strange:
        for name in STRANGE_NAMES:
            data.add("strange/" + name, generator.randbytes(3000) + name.encode())
        data.add(LONG_NAME, b"a long name")
    return data
