"""Side by side: every case on every target, alternating rounds, ratios against the bars."""

import statistics

# Ratio of median latencies: the better of ext4's page cache and tmpfs over ours.
BARS = {
    "pread4k": 2.0,
    "files": 2.3,
    "files-fresh": 1.25,
    "seq1m": 1.05,
    "stat": 12.0,
    "list": 25.0,
    "stdio-fread": 1.0,
    "stdio-getline": 1.0,
    "stdio-files": 1.0,
}
# One name for several cases.
GROUPS = {"stdio": ["stdio-fread", "stdio-getline", "stdio-files"]}
BAR_FRESH_HUGETLB = 2.3

# The same copies from a mapped memfd, by libc's memcpy and nothing else.
LIMITS = {
    "pread4k": "memcpy-pread4k",
    "files": "memcpy-files",
    "files-fresh": "memcpy-files-fresh",
    "seq1m": "memcpy-seq1m",
}


def measure(workplace, cases, rounds, seconds, seed, say):
    """{case: {target: [result of each round]}}; the targets take turns within each round."""
    targets = [workplace.ext4, workplace.tmpfs]
    if workplace.penstock is not None:
        targets.append(workplace.penstock.target)
    results = {case: {} for case in cases}
    for index in range(rounds):
        for case in cases:
            for target in targets:
                found = target.run(case, "--seed", seed, "--seconds", seconds)
                results[case].setdefault(target.name, []).append(found)
            if case in LIMITS:
                found = workplace.ext4.run(LIMITS[case], "--seed", seed, "--seconds", seconds)
                results[case].setdefault("memcpy", []).append(found)
        say(f"round {index + 1} of {rounds}")
    return results


def median_us(rounds, key="p50_ns"):
    return statistics.median(one[key] for one in rounds) / 1000


def row(case, by_target, bar):
    """One line of the table as a dictionary; ratios only where Penstock was measured."""
    line = {"case": case, "bar": bar}
    for name, rounds in by_target.items():
        line[f"{name}_us"] = median_us(rounds)
        line[f"{name}_p99_us"] = median_us(rounds, "p99_ns")
    if "penstock" not in by_target:
        return line
    ours = line["penstock_us"]
    best = min(line["ext4_us"], line["tmpfs_us"])
    line["ratio"] = best / ours
    each = [min(e["p50_ns"], t["p50_ns"]) / p["p50_ns"]
            for e, t, p in zip(by_target["ext4"], by_target["tmpfs"], by_target["penstock"])]
    line["ratio_least"], line["ratio_most"] = min(each), max(each)
    if "memcpy_us" in line:
        line["over_limit"] = ours / line["memcpy_us"]
    if bar is not None:
        line["pass"] = line["ratio"] >= bar
    return line


def verdict(line):
    if line.get("bar") is None or "ratio" not in line:
        return "-"
    if line["pass"]:
        return "PASS"
    return f"short by {line['bar'] / line['ratio'] - 1:.0%}"


def show(lines):
    def number(line, key, form):
        return format(line[key], form) if line.get(key) is not None else "-"

    out = ["| case | ext4 µs | tmpfs µs | penstock µs (p99) | memcpy µs | ratio (rounds) | bar | "
           "| ours / memcpy |",
           "|---|---|---|---|---|---|---|---|---|"]
    for line in lines:
        spread = ""
        if "ratio" in line:
            spread = f" ({line['ratio_least']:.2f}-{line['ratio_most']:.2f})"
        p99 = f" ({line['penstock_p99_us']:.3f})" if "penstock_p99_us" in line else ""
        out.append(" | ".join([
            f"| {line['case']}", number(line, "ext4_us", ".3f"), number(line, "tmpfs_us", ".3f"),
            number(line, "penstock_us", ".3f") + p99, number(line, "memcpy_us", ".3f"),
            number(line, "ratio", ".2f") + spread, number(line, "bar", ""), verdict(line),
            number(line, "over_limit", ".2f") + " |"]))
    return "\n".join(out)
