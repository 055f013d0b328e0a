"""findutils, grep, sed, awk and other readers of text and trees."""

import data_common  # noqa: F401
from case import case


def tree(name, script, **keys):
    case(name, script, data="tree", **keys)


def text(name, script, **keys):
    case(name, script, data="text", az=True, **keys)


tree("find_all", "find $D/tree -printf '%p %y %s %m %T@ %d %f %h %u\\n'", sort=True)
tree("find_tests", "cd $D/tree; find . -size +100c; find . -size -2c -name '0*'; find . -empty; find . -executable -type f; find . -perm 600; find . -newer private; "
     "find . -maxdepth 1 -type d; find . -mindepth 3 -name 'f[0-2]*'; find . -regex '.*e1/f.*'; find . -path '*d2*' -prune -o -type f -name 'f1*' -print; find . -samefile private; find . -links 1 -name hello; "
     "find . -newermt @1600002000 ! -newermt @1600003000; find . -mmin +10 -name private; find . -not -readable; find . -writable; find . -nouser; find . -iname 'F0.TXT' -quit", sort=True)
tree("find_exec", "cd $D/tree; find d0 -name 'f*.txt' -exec md5sum {} +; find d1 -name 'f1*' -exec wc -l {} \\;; find d2 -name 'f2*' -execdir cat {} \\;; find . -maxdepth 1 -type d -execdir pwd \\;; "
     "find d3 -type f -ok true {} \\; < /dev/null", sort=True, stderr=False)
tree("find_delete", "find $D/tree/d0 -name '*.txt' -delete; find $D/tree/odd -name '.hidden' -exec rm -f {} \\;; echo $?", sort=True)
tree("find_print0", "find $D/tree/odd -print0 | sort -z | xargs -0 -n 3 ls -d; find $D/tree/odd -print0 | xargs -0 cat | sort; find $D/tree -type f -print0 | sort -z | xargs -0 -P 3 -n 40 md5sum | sort")
tree("find_ls", "find $D/tree/d1 -ls | sed 's/^ *[0-9]* *//' ; find $D/tree/d1 -fls out; cut -c20- out | wc -l; find $D/tree -fprintf names '%P\\n'; sort names -o names", sort=True,
     ignore=("^out$",), clean=(("(?m)^( *\\d+ d\\S+) +\\d+", r"\1"),))
tree("find_symlinks", "ln -s $D/tree l; find l; find -L l -name 'f0*'; find l/ -name 'f1*'; find -H l -maxdepth 1; find . -lname '*tree'; find -L . -samefile $D/tree/private", sort=True)
tree("find_depth_xdev", "find $D/tree -depth -type d; find $D/tree -xdev -type f | wc -l; find $D/tree -mount -name private; find $D/none $D/tree/private; echo $?", sort=True)
tree("find_files0", "printf '%s\\0' $D/tree/d0 $D/tree/private > l; find -files0-from l -maxdepth 1 -type f", sort=True)
tree("xargs_a", "cd $D/tree; ls many > $W/l; xargs -a $W/l -I{} test -f many/{} && echo all; xargs -a source_me echo; xargs < private -n 1; cd many; xargs cat < $W/l | md5sum; "
     "ls | xargs -P 4 -n 50 cat | wc -c; xargs -a $D/tree/none")
tree("locate", "updatedb -l 0 -o $W/db -U $D/tree; locate -d $W/db needle; locate -d $W/db -b '\\private'; locate -d $W/db f1.txt | sort", needs="updatedb locate", ignore=("^db$",))
tree("grep_recursive", "grep -r needle-12 $D/tree | sort; grep -rl 'leaf 3' $D/tree/d3 | sort; grep -rc hello $D/tree/bin; cd $D/tree; grep -R --include='f1*' -h leaf . | sort | uniq -c; "
     "grep -rZl in odd | sort -z | tr '\\0' '@'; grep -L leaf d0/e0/* private; grep -s x none; grep x d0; grep -d skip x d0; echo $?", sort=True)
text("grep_kinds", "cd $D/text; grep -c alpha words; grep -n -m 3 -A1 -B1 épsilon table.tsv; grep -ob abc long_line | tail -1; grep -P '^\\d+\\tkappa\\t9' table.tsv | md5sum; grep -a caf latin1 | head -2; grep -vc . empty; "
     "grep -F -f pairs words; grep -w -i ETA words | wc -l; grep -z x one_byte; grep alpha - < words | wc -l; grep -q alpha < words && tail -n 1 words; grep --mmap x words; zgrep -c alpha words; egrep 'a|b' pairs; fgrep -x 'tie jacket' pairs", stderr=False)
tree("ripgrep", "cd $D/tree; rg --sort path needle-2; rg -c leaf d0 --sort path; rg --files --sort path odd; rg --mmap -c leaf d1/e1/f1.txt; rg --no-mmap hello bin; rg -uuu -l in . | sort; cat private | rg owner; rg x < private", needs="rg")
tree("fd_find", "fdfind . $D/tree | sort; fdfind -H -t f hidden $D/tree; fdfind -x wc -c {} \\; 'f1' $D/tree/d1 | sort", needs="fdfind")
tree("tree_command", "tree -a --noreport $D/tree/d0; tree -J $D/tree/d1; tree -L 2 -d $D/tree; tree -s --du $D/tree/bin", needs="tree", clean=((r" +\d+\]", " N]"),))
text("sed", "cd $D/text; sed -n '100,105p;19999p' table.tsv; sed 's/alpha/ALPHA/g' words > $W/out; sed -s -n '$p' words pairs no_newline; sed '1!G;h;$!d' pairs; sed -e '/tie/r words' pairs | wc -l; sed -n '1w '$W/w pairs; sed -f $W/none x; "
     "sed -i s/a/b/ words; echo $?; sed -u 2q < table.tsv; sed --follow-symlinks -n 1p words", clean=((r"sed[A-Za-z0-9]{6}", "sedT"),))
text("awk", "cd $D/text; awk -F'\\t' '{s+=$3; c[$2]++} END {print s; for (k in c) print k, c[k]}' table.tsv | sort; awk 'NR==FNR {a[$1]=1; next} $2 in a' pairs pairs; awk 'BEGIN {while ((getline line < \"pairs\") > 0) n++; print n}'; "
     "awk '{print > ENVIRON[\"W\"] \"/\" $1}' pairs; awk 'END {print NR}' < table.tsv; awk '{print}' none; awk 'BEGIN {RS=\"\"} {print NF}' words", env={"LC_ALL": "C"})
text("gawk_extras", "cd $D/text; gawk '@load \"readfile\"; BEGIN {print length(readfile(\"pairs\"))}'; gawk 'BEGIN {while ((\"cat pairs\" | getline l) > 0) print l}'; gawk -b 'END{print NR, FNR}' words table.tsv; "
     "gawk '@load \"filefuncs\"; BEGIN {print stat(\"words\", s), s[\"size\"], s[\"type\"]}'; gawk 'BEGIN {ARGV[1]=\"pairs\"; ARGC=2} ENDFILE {print FILENAME, FNR}'", needs="gawk")
text("mawk_text", "cd $D/text; mawk '{n+=NF} END {print n}' table.tsv; mawk -W dump 1 < /dev/null | head -1; mawk '{print $2}' < pairs", needs="mawk", stderr=False)
text("ed_patch", "cd $D/text; printf '2d\\nw '$W'/out\\nq\\n' | ed -s pairs; printf '1p\\n$p\\nr words\\n=\\nQ\\n' | ed -s sorted_a; echo 'w' | ed -s pairs; cp pairs $W/mine; printf '2c\\nsocks slippers\\n.\\nw\\nq\\n' | ed -s $W/mine; "
     "diff -u pairs $W/mine > $W/p; cp pairs $W/target; patch $W/target $W/p; patch -o $W/other pairs $W/p; patch --dry-run pairs $W/p; patch pairs $W/p; echo $?", needs="ed patch",
     ignore=("^p$",), clean=((r"pairs\.[A-Za-z0-9]{6}|po[A-Za-z0-9]{6}", "T"),), stderr=False)
text("patch_from_covered", "cp $D/text/pairs mine; printf -- '--- a\\n+++ b\\n@@ -1 +1 @@\\n-x\\n+y\\n' > p; patch -s one < p; cp $D/text/one_byte t; echo done", needs="patch", stderr=False)
text("diff3_sdiff", "cd $D/text; sed s/tie/bow/ pairs > $W/a; sed s/belt/sash/ pairs > $W/b; diff3 -m $W/a pairs $W/b; sdiff -w 60 pairs $W/a; diff -y -W 50 pairs $W/b; diff --label l --label r -u - $W/a < pairs; diff -D X pairs $W/a; cmp pairs $W/a")
text("vim", "cd $D/text; vim -es -u NONE -c '%s/tie/bow/g' -c 'w! '$W'/out' -c 'q!' pairs; vim -es -u NONE -n -c 'normal G' -c 'put =line(\".\")' -c 'w! '$W'/n' -c 'qa!' table.tsv; vim -es -u NONE -R -c 'w' -c 'q!' pairs; echo $?", needs="vim", stderr=False)
text("less_more", "cd $D/text; less pairs | cat; less -N pairs words | tail -1; more pairs | cat; cat pairs | less; less -E < pairs; LESSOPEN= less -f latin1 | md5sum; less none", needs="less more")
text("file_xxd", "cd $D/text; file *; file -i pairs latin1; file - < words; file -b --mime-encoding latin1 crlf; xxd -l 64 table.tsv; xxd -s -20 table.tsv; xxd -p words | md5sum; xxd -r -p <(xxd -p pairs); xxd < one_byte; hexdump -C -n 40 pairs; file $D $D/text none", needs="file xxd hexdump")
text("column_rev_look", "cd $D/text; column -t pairs; rev pairs; look 00010 sorted_a; col < crlf; colrm 3 5 < pairs; ul pairs; line < pairs", needs="column rev", stderr=False)
text("iconv_locale", "cd $D/text; iconv -f latin1 -t utf8 latin1 | md5sum; iconv -f utf8 -t utf16 words -o $W/u; iconv -c -f utf8 -t ascii < words | md5sum; recode x 2>/dev/null; msgfmt --version >/dev/null; echo $?", stderr=False)
text("bc_dc", "cd $D/text; echo '1+1' > $W/e; bc -q $W/e < pairs; cut -f3 table.tsv | paste -sd+ | bc; bc -ql <(echo 'scale=20; 4*a(1)'); bc words | head -1", needs="bc", stderr=False)
text("comm_tools", "cd $D/text; pv -q table.tsv | md5sum; pv -q < table.tsv | md5sum; sponge $W/o < pairs; ts x < pairs; vidir --version >/dev/null 2>&1; combine sorted_a and sorted_b | wc -l; pee 'cat' 'wc -c' < pairs; ifne cat < pairs", needs="pv sponge combine")
