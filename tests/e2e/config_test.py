"""Bad configurations: file, line, key and what is allowed, exit 2, and nothing is started."""

import os
import shutil
import subprocess
import tempfile
import unittest

import e2e_base

GOOD = """version = 1
[sidecar]
socket = "{base}/job.sock"
linger = "1s"
cpus = 1
[cache]
dir = "{base}/cache"
memory = "64MiB"
nvme = "64MiB"
[[mount]]
path = "/data/train"
origin = "file://{base}/origin"
mode = "ro"
class = "dataset"
metadata_ttl = "60s"
[mount.auth]
mode = "auto"
"""

# (line that is replaced, its replacement, the line and the key that the message must name)
BAD = [
    ("version = 1", "version = 2", 1, "version"),
    ("version = 1", "version = \"1\"", 1, "version"),
    ("linger = ", "linger = \"soon\"", 4, "linger"),
    ("linger = ", "linger = \"-1s\"", 4, "linger"),
    ("linger = ", "lingers = \"1s\"", 4, "lingers"),
    ("cpus = 1", "cpus = 0", 5, "cpus"),
    ("cpus = 1", "cpus = \"two\"", 5, "cpus"),
    ("cpus = 1", "cpus = 1.5", 5, "cpus"),
    ("socket = ", "socket = \"relative.sock\"", 3, "socket"),
    ("socket = ", "socket = \"/" + "s" * 120 + "\"", 3, "socket"),
    ("dir = ", "dir = \"relative\"", 7, "dir"),
    ("memory = ", "memory = \"many\"", 8, "memory"),
    ("memory = ", "memory = \"8QiB\"", 8, "memory"),
    ("memory = ", "memory = \"0\"", 8, "memory"),
    ("memory = ", "memory = \"99999999999999999999GiB\"", 8, "memory"),
    ("nvme = ", "nvme = -5", 9, "nvme"),
    ("path = ", "path = \"data\"", 11, "path"),
    ("path = ", "path = \"/data/../etc\"", 11, "path"),
    ("origin = ", "origin = \"ftp://host/x\"", 12, "origin"),
    ("origin = ", "origin = \"file://relative\"", 12, "origin"),
    ("origin = ", "origin = \"az://account\"", 12, "origin"),
    ("origin = ", "origin = 7", 12, "origin"),
    ("mode = \"ro\"", "mode = \"readonly\"", 13, "mode"),
    ("class = ", "class = \"fast\"", 14, "class"),
    ("metadata_ttl = ", "metadata_ttl = \"60\"", 15, "metadata_ttl"),
    ("mode = \"auto\"", "mode = \"password\"", 17, "mode"),
    ("[cache]", "[caches]", 6, "caches"),
    ("[sidecar]", "[sidecar", 2, ""),
    ("nvme = ", "nvme = \"64MiB\"\nnvme = \"65MiB\"", 10, ""),
]


class ConfigTest(unittest.TestCase):
    def setUp(self):
        self.base = tempfile.mkdtemp(prefix="pst-config-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.base)
        os.mkdir(self.base + "/origin")
        self.path = self.base + "/job.toml"

    def write(self, text):
        with open(self.path, "w") as file:
            file.write(text)

    def run_tool(self, tool, *arguments, seconds=20):
        return subprocess.run([os.path.join(e2e_base.build_dir(), "bin", tool), *arguments],
                              capture_output=True, text=True, timeout=seconds,
                              env={k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")})

    def assert_refused(self, line, key):
        for tool, arguments in (("penstockd", ("-c", self.path)), ("penstock", ("env", "-c", self.path)),
                                ("penstock", ("run", "-c", self.path, "--", "touch", self.base + "/ran"))):
            result = self.run_tool(tool, *arguments)
            self.assertEqual(result.returncode, 2, (tool, arguments[0], result))
            self.assertRegex(result.stderr, rf"job\.toml:{line}\b")
            self.assertIn(key, result.stderr)
            self.assertNotIn("terminate", result.stderr)
        self.assertFalse(os.path.exists(self.base + "/ran"))
        self.assertFalse(os.path.exists(self.base + "/job.sock"))

    def test_the_good_one_is_good(self):
        self.write(GOOD.format(base=self.base))
        result = self.run_tool("penstock", "env", "-c", self.path)
        self.assertEqual(result.returncode, 0, result)

    def test_what_is_missing(self):
        lines = GOOD.format(base=self.base).splitlines(keepends=True)
        for number, key in ((1, "version"), (11, "path"), (12, "origin")):
            with self.subTest(key=key):
                self.write("".join(lines[:number - 1] + lines[number:]))
                result = self.run_tool("penstockd", "-c", self.path)
                self.assertEqual(result.returncode, 2, result)
                self.assertIn("job.toml", result.stderr)
                self.assertIn(key, result.stderr)
        self.write("".join(lines[:9]))
        result = self.run_tool("penstockd", "-c", self.path)
        self.assertEqual((result.returncode, "mount" in result.stderr), (2, True), result)

    def test_two_mounts_of_one_path(self):
        mount = '[[mount]]\npath = "/data/train/"\norigin = "file:///tmp"\n'
        self.write(GOOD.format(base=self.base) + mount)
        result = self.run_tool("penstockd", "-c", self.path)
        self.assertEqual(result.returncode, 2, result)
        self.assertRegex(result.stderr, r"job\.toml:(18|19)\b")

    def test_no_file_and_no_text(self):
        result = self.run_tool("penstockd", "-c", self.base + "/none.toml")
        self.assertEqual((result.returncode, "none.toml" in result.stderr), (2, True), result)
        with open(self.path, "wb") as file:
            file.write(b"\xff\xfe\x00version")
        result = self.run_tool("penstockd", "-c", self.path)
        self.assertEqual((result.returncode, "job.toml" in result.stderr), (2, True), result)

    def test_several_errors_are_named_at_once(self):
        text = GOOD.format(base=self.base).replace("cpus = 1", "cpus = 0").replace('"64MiB"', '"x"', 1)
        self.write(text)
        result = self.run_tool("penstockd", "-c", self.path)
        self.assertRegex(result.stderr, r"(?s)job\.toml:5\b.*job\.toml:8\b")


def _add(number, old, new, line, key):
    def test(self):
        lines = GOOD.format(base=self.base).splitlines()
        at = [i for i, text in enumerate(lines) if text.startswith(old)][0]
        lines[at] = new
        self.write("\n".join(lines) + "\n")
        self.assert_refused(line, key)
    setattr(ConfigTest, f"test_bad_{number:02}_{key or 'syntax'}", test)


for _number, _case in enumerate(BAD):
    _add(_number, *_case)


if __name__ == "__main__":
    e2e_base.main()
