"""The matrix itself: an answer that is spoiled in any way must make a case fail, and say how.

    must_bite.py CC
"""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

# How the answer is spoiled; what the runner must say.
LIES = {
    "byte": "bytes differ from offset 999",
    "short": "bytes differ from offset",
    "mode": "mode 644 plain, 744 covered",
    "noise": "stderr line 1: plain '', covered 'noise'",
    "crash": "exit status",
    "litter": "litter: written by the covered run alone",
    "hang": "the covered run did not end within",
    "": None,
}


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        library = os.path.join(folder, "liar.so")
        subprocess.run([sys.argv[1], "-shared", "-fPIC", "-O1", "-o", library, os.path.join(HERE, "liar.c"), "-ldl"], check=True)
        for lie, says in LIES.items():
            result = subprocess.run([sys.executable, os.path.join(HERE, "matrix.py"), "-k", "^coreutils:cp_bite$", "--lie", library],
                                    env=dict(os.environ, MATRIX_LIE=lie), capture_output=True, text=True, timeout=100)
            right = result.returncode == 0 and "1 the same" in result.stdout if says is None else \
                result.returncode == 1 and says in result.stdout
            if not right:
                failed += 1
                print(f"must_bite: {lie or 'no lie'}: wanted {says!r}, got status {result.returncode}:\n{result.stdout}{result.stderr}")
    print(f"must_bite: {len(LIES) - failed} of {len(LIES)} found")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
