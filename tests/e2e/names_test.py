"""Names that a protocol or a shell could trip over."""

import json
import unittest

import e2e_base
from e2e_base import COVERED, JobTest
from penstock_harness import LONG_NAME, STRANGE_NAMES


class NamesTest(JobTest):
    dataset = dict(small_files=2, big_mib=1)

    def test_each_is_read_by_its_name(self):
        script = ("import hashlib, json\n"
                  "print(json.dumps({n: hashlib.sha256(open(f'{D}/{n}', 'rb').read()).hexdigest()\n"
                  "                  for n in json.loads(sys.argv[1])}))")
        names = ["strange/" + name for name in STRANGE_NAMES] + [LONG_NAME]
        got = json.loads(self.python(script, json.dumps(names)))
        self.assertEqual(got, {name: self.data.digests[name] for name in names})

    def test_listing_has_exactly_them(self):
        script = "import json; print(json.dumps(sorted(os.listdir(D + '/strange'))))"
        self.assertEqual(json.loads(self.python(script)), sorted(STRANGE_NAMES))

    def test_coreutils(self):
        result = self.check(self.job.run(["sha256sum", "-z"] + [f"{COVERED}/strange/{n}"
                                                               for n in STRANGE_NAMES]))
        lines = [line for line in result.split("\0") if line]
        self.assertEqual(len(lines), len(STRANGE_NAMES))
        for line, name in zip(lines, STRANGE_NAMES):
            self.assertIn(self.data.digests["strange/" + name], line)

    def test_the_encoded_form_is_another_name(self):
        for name in ("strange/with%20space.bin", "strange/per%25cent%2520.bin", "strange/plus plus.bin",
                     "strange/hash", "strange/question"):
            result = self.job.run(["cat", f"{COVERED}/{name}"])
            self.assertEqual(result.returncode, 1, name)
            self.assertIn(b"No such file", result.stderr)

    def test_limits(self):
        script = ("import errno\nfor n in ('x' * 256, 'd/' * 2100):\n"
                  "  try: os.stat(D + '/' + n); print('?')\n"
                  "  except OSError as e: print(errno.errorcode[e.errno])")
        self.assertEqual(self.python(script), "ENAMETOOLONG\nENAMETOOLONG\n")

    def test_names_are_bytes(self):
        result = self.job.run(["bash", "-c", f"cat {COVERED}/strange/$'\\xff\\xfe.bin'"])
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"No such file", result.stderr)


if __name__ == "__main__":
    e2e_base.main()
