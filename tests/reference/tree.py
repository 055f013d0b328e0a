"""The tree that the reference runs use: sizes around every boundary, odd names, a folder of many files."""

import os
import random

SIZES = [0, 1, 63, 64, 65, 4095, 4096, 4097, 65535, 65536, 65537, 131072, 200_000,
         1_048_576, 1_048_577, 5 * 1_048_576 + 123]
FOLDERS = ["", "d1", "d1/d2/d3", "sp ace %+&#\u00fc"]


def make_tree(base, seed=7):
    source = random.Random(seed)

    def put(name, data):
        path = os.path.join(base, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)

    for number, size in enumerate(SIZES):
        for folder in FOLDERS[:1] if number % 2 else FOLDERS:
            put(os.path.join(folder, f"f{number}_{size}"), source.randbytes(size))
    put("text.txt", "".join(f"line {i} {'x' * (i % 90)}\n" for i in range(5000)).encode())
    for i in range(300):
        put(f"many/n{i:04d}", source.randbytes(i * 7))
    put("sp ace %+&#\u00fc/f\u00fc %41+&#", source.randbytes(777))
