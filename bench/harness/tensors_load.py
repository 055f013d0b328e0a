"""Loads a safetensors file as programs do (safe_open maps it whole) and reads every tensor once. Run by
bench/safetensors, with and without the library:  tensors_load.py FILE [verify]"""

import hashlib
import json
import sys
import time

from safetensors import safe_open  # imports are not what is measured


def main(path, verify):
    begin = time.monotonic()
    digest, total = hashlib.sha256(), 0
    with safe_open(path, framework="np") as file:
        mapped = time.monotonic()
        for name in file.keys():
            tensor = file.get_tensor(name)   # copies it out of the mapping
            total += tensor.nbytes
            if verify:
                digest.update(tensor)
    end = time.monotonic()
    print(json.dumps({"seconds": end - begin, "map_seconds": mapped - begin, "bytes": total,
                      "sha256": digest.hexdigest() if verify else None}))


main(sys.argv[1], "verify" in sys.argv[2:])
