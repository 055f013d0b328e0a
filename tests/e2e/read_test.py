"""The main job: unmodified programs see under the covered path what the source holds.

Each command runs on the source folder and through the shim; output, errors and status are the same."""

import os
import subprocess
import unittest

import e2e_base
from e2e_base import COVERED, JobTest

# $D is the data set, $S an empty scratch folder. Paths in the output are compared after $D became @.
COMMANDS = {
    "ls": 'ls "$D"; ls "$D/train" "$D/tree/d1"',
    "ls_l_sizes": 'ls -l "$D/train" | awk \'{print $5, $9}\'',
    "ls_a": 'ls -a "$D/strange"',
    "ls_R": 'ls -R "$D/tree"',
    "ls_missing": 'ls "$D/none"',
    "ls_type_marks": 'ls -F "$D" "$D/tree"',
    "cat_all_sha256sum": 'cat "$D"/train/*.bin | sha256sum',
    "md5sum_200_files": 'md5sum "$D"/train/*.bin',
    "sha256sum_big": 'sha256sum "$D/big.bin"',
    "sha256sum_check": 'cd "$D/tree" && sha256sum d*/e*/* > "$S/sums" && sha256sum -c "$S/sums"',
    "cksum_stdin": 'cksum < "$D/big.bin"',
    "cat_missing": 'cat "$D/none" "$D/train/none/x"',
    "cat_directory": 'cat "$D/tree"',
    "cat_below_a_file": 'cat "$D/text.txt/x"',
    "cp_file": 'cp "$D/big.bin" "$S/x" && sha256sum < "$S/x"',
    "cp_tree": 'cp -r "$D/tree" "$S/t" && cd "$S/t" && find . -type f | sort | xargs sha256sum',
    "cp_many": 'cp "$D"/train/*.bin "$S" && cd "$S" && sha256sum *',
    "install": 'install -m 600 "$D/text.txt" "$S/i" && stat -c "%a %s" "$S/i"',
    "mv_out_is_refused_or_copied": 'cat "$D/text.txt" > "$S/a" && mv "$S/a" "$S/b" && wc -c < "$S/b"',
    "grep_r": 'grep -r haystack "$D/tree" | sort',
    "grep_count": 'grep -c needle-5 "$D/text.txt"',
    "grep_binary": 'grep -c . "$D/train/0013.bin"; true',
    "tar": 'tar cf - -C "$D" tree | tar xf - -C "$S" && cd "$S" && find tree -type f | sort | xargs cat',
    "tar_absolute": 'tar --sort=name -cPf - "$D/train" | tar xOPf - | sha256sum',
    "find_files": 'find "$D" -type f | sort',
    "find_directories": 'find "$D/tree" -type d | sort',
    "find_by_size": 'find "$D/train" -size +100k | sort',
    "find_exec": 'find "$D/tree" -name leaf.txt -exec cat {} + | sort',
    "find_from_inside": 'cd "$D/tree" && find . -name "*.txt" | sort',
    "head_bytes": 'head -c 100000 "$D/big.bin" | sha256sum',
    "head_lines": 'head -n 5 "$D/text.txt"',
    "tail_lines": 'tail -n 5 "$D/text.txt"',
    "tail_bytes": 'tail -c 70000 "$D/big.bin" | sha256sum',
    "tac": 'tac "$D/text.txt" | head -n 3',
    "dd_skip": 'dd if="$D/big.bin" bs=4096 skip=1234 count=3 status=none | sha256sum',
    "dd_odd_blocks": 'dd if="$D/big.bin" bs=999983 skip=3 count=7 status=none | sha256sum',
    "dd_skip_bytes": 'dd if="$D/big.bin" bs=1M skip=5000001 count=2 iflag=skip_bytes status=none | sha256sum',
    "wc": 'wc -lwc "$D/text.txt"',
    "sort_uniq": 'sort "$D/text.txt" | uniq | wc -l',
    "awk": 'awk \'{n += $2} END {print n}\' "$D/text.txt"',
    "sed": 'sed -n 100,103p "$D/text.txt"',
    "od": 'od -A d -t x1 -j 65530 -N 20 "$D/big.bin"',
    "cmp_equal": 'cmp "$D/big.bin" "$D/big.bin" && echo same',
    "cmp_differs": 'cmp "$D/train/0011.bin" "$D/train/0012.bin"',
    "diff_r": 'cp -r "$D/tree" "$S/t" && diff -r "$D/tree" "$S/t" && echo same',
    "stat_size_type": 'stat -c "%s %F" "$D/text.txt" "$D/big.bin" "$D/train/0000.bin" "$D/tree"',
    "test_operators": 'for t in e f d s r w x L; do for p in text.txt tree train/0000.bin none; do '
                      '[ $t = w ] || [ $t = x ] || { [ -$t "$D/$p" ]; echo $t $p $?; }; done; done',
    "du_apparent": 'du -b "$D/train/0013.bin"',
    "gzip_round": 'gzip -c "$D/text.txt" | gzip -d | sha256sum',
    "base64": 'base64 "$D/train/0013.bin" | sha256sum',
    "split": 'split -b 1000003 "$D/big.bin" "$S/p" && cat "$S"/p* | sha256sum',
    "paste": 'paste "$D/tree/d0/e0/leaf.txt" "$D/tree/d1/e1/leaf.txt"',
    "xargs": 'printf "%s\\0" "$D"/train/000*.bin | xargs -0 -n 1 -P 4 cksum | sort',
    "redirect_read": 'read -r a < "$D/text.txt"; echo "$a"',
    "redirect_loop": 'n=0; while read -r a; do n=$((n + 1)); done < <(head -n 500 "$D/text.txt"); echo $n',
    "while_read_file": 'n=0; while read -r a b c; do n=$((n + b)); [ $n -gt 5000 ] && break; '
                       'done < "$D/text.txt"; echo $n "$a $b"',
    "shared_offset": '{ read -r a; cat; } < "$D/text.txt" | sha256sum',
    "shared_offset_head": '{ dd bs=10 count=1 status=none; echo; dd bs=10 count=1 status=none; } < "$D/text.txt"',
    "exec_fd": 'exec 7< "$D/text.txt"; read -r -u 7 a; read -r -u 7 b; echo "$a/$b"; exec 7<&-; '
               'cat <&7 2> /dev/null || echo closed',
    "subshell_inherits": 'exec 5< "$D/text.txt"; (read -r -u 5 x; echo "$x"); read -r -u 5 y; echo "$y"',
    "bash_mapfile": 'mapfile -t lines < "$D/text.txt"; echo ${#lines[@]} "${lines[777]}"',
    "bash_source": '. "$D/tree/../tree/d0/e0/none" 2>/dev/null || echo none',
    "dash": 'dash -c \'while read -r a b c; do echo "$b"; [ "$b" = 3 ] && break; done\' < "$D/text.txt"',
    "cd_pwd": 'cd "$D/tree/d1" && pwd && ls && cat e0/leaf.txt ../d2/e1/leaf.txt && cd .. && pwd',
    "cd_missing": 'cd "$D/none" 2> /dev/null || echo none',
    "relative_after_cd": 'cd "$D" && sha256sum train/0005.bin ./train//0006.bin tree/../train/0007.bin',
    "dot_dot_through_missing": 'cat "$D/none/../text.txt" > /dev/null',
    "symlink_from_outside": 'ln -s "$D" "$S/link" && cat "$S/link/tree/d0/e0/leaf.txt" && ls "$S/link/tree"',
    "symlink_to_file": 'ln -s "$D/text.txt" "$S/l" && head -n 1 "$S/l"',
    "readlink_f": 'readlink -f "$D/tree/../text.txt"',
    "realpath": 'realpath "$D/tree/./d0/../d1"',
    "bash_glob": 'for f in "$D"/tree/d*/e[01]; do echo "$f"; done',
    "dev_fd": 'cat /dev/fd/3 3< "$D/tree/d0/e0/leaf.txt"',
    "proc_self_fd": 'exec 3< "$D/text.txt"; head -n 1 /proc/self/fd/3',
    "process_substitution": 'diff <(sort "$D/text.txt") <(sort "$D/text.txt") && echo same',
    "env_cleared": 'env -i PATH="$PATH" D="$D" bash -c \'head -n 1 "$D/text.txt"\'',
    "nested_shells": 'bash -c "sh -c \'head -n 2 $D/text.txt\'"',
    "perl": 'perl -ne \'$n += length; END { print "$n\\n" }\' "$D/text.txt"',
    "empty_file": 'cat "$D/train/0000.bin" | wc -c; head -c 1 "$D/train/0000.bin" | wc -c',
    "timeout": 'timeout 60 sha256sum "$D/big.bin"',
    "long_pipe": 'cat "$D/big.bin" | tee "$S/t" | sha256sum; sha256sum < "$S/t"',
}


class ReadTest(JobTest):
    def both(self, script):
        """(stdout, stderr, status) on the source and through the shim."""
        results = []
        for number, folder in enumerate((self.data.root, COVERED)):
            scratch = os.path.join(self.job.scratch, f"{self.id().rsplit('.', 1)[-1]}-{number}")
            os.mkdir(scratch)
            os.chmod(scratch, 0o777)
            argv = ["env", f"D={folder}", f"S={scratch}", "LC_ALL=C", "bash", "-c", script]
            if number:
                result = self.job.run(argv, timeout=120)
            else:
                result = subprocess.run(argv, env=self.job.environment(), capture_output=True,
                                        stdin=subprocess.DEVNULL, timeout=120)
            results.append([self.neutral(result.stdout, folder, scratch),
                            self.neutral(result.stderr, folder, scratch), result.returncode])
        return results

    @staticmethod
    def neutral(output, folder, scratch):
        text = output.replace(folder.encode(), b"@").replace(scratch.encode(), b"$S")
        return text.decode(errors="surrogateescape")


def _add(name, script):
    def test(self):
        expected, got = self.both(script)
        self.assertEqual(got, expected, "through the shim (first) against the source (second)")
    setattr(ReadTest, "test_" + name, test)


for _name, _script in COMMANDS.items():
    _add(_name, _script)


class NothingIsWrittenTest(JobTest):
    dataset = dict(small_files=3, big_mib=1)

    def test_a_read_only_mount_refuses_changes(self):
        before = sorted(os.listdir(self.data.root))
        for command in ('echo x > "$D/new"', 'echo x >> "$D/text.txt"', 'rm "$D/text.txt"',
                        'mkdir "$D/newdir"', 'rmdir "$D/tree/d0/e0"', 'mv "$D/text.txt" "$D/other"',
                        'ln -s x "$D/link"', 'truncate -s 0 "$D/text.txt"', 'cp /etc/passwd "$D/x"',
                        'chmod 777 "$D/text.txt"', 'touch "$D/text.txt"', 'touch "$D/new"'):
            with self.subTest(command=command):
                result = self.job.run(["env", f"D={COVERED}", "LC_ALL=C", "bash", "-c", command])
                self.assertNotEqual(result.returncode, 0, result)
                self.assertIn(b"Read-only file system", result.stderr)
        self.assertEqual(sorted(os.listdir(self.data.root)), before)
        self.assertEqual(self.job.shell(f"sha256sum < {COVERED}/text.txt").stdout.decode().split()[0],
                         self.data.digests["text.txt"])
        self.assertFalse(os.path.exists(COVERED))


if __name__ == "__main__":
    e2e_base.main()
