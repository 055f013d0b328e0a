"""Runs test files at the same time, since they mostly wait for deadlines: side_by_side.py FILE..."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    running = [(name, subprocess.Popen([sys.executable, os.path.join(HERE, name), "-v"], text=True,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
               for name in sys.argv[1:]]
    failed = []
    for name, process in running:
        output, _ = process.communicate()
        print(f"==== {name}\n{output}", flush=True)
        if process.returncode:
            failed.append(name)
    print("failed:", *failed or ["none"])
    sys.exit(bool(failed))


main()
