"""Where the time goes: perf's samples of one case through Penstock, by symbol."""

import os
import tempfile

from .targets import check_output

SAMPLES_HZ = 4000


def run(workplace, options):
    """Prints a share per symbol; cpu-clock, since virtual machines often have no counters."""
    lines = []
    for case in options.case or ["pread4k", "files", "stat", "list"]:
        with tempfile.TemporaryDirectory() as folder:
            data = os.path.join(folder, "perf.data")
            check_output(["perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_HZ), "-o", data,
                          *workplace.penstock.target.command(case, "--seconds", 3)])
            report = check_output(["perf", "report", "-i", data, "--stdio", "--sort", "dso,symbol",
                                   "--percent-limit", "0.7"])
        shares = [line.strip() for line in report.splitlines()
                  if line.strip() and not line.startswith("#")]
        lines.append({"case": case, "shares": shares})
        if not options.json:
            print(f"== {case}", *shares, sep="\n   ")
    return lines
