"""coreutils: everything of it that reads."""

import data_common  # noqa: F401
from case import Differs, case

# How many folders lie in a folder is not known without listing it, so its link count is always 2; columns follow.
LINKS = ((r"(?m)^(d\S+) +\d+ ", r"\1 "), (" +", " "))


def text(name, script, **keys):
    case(name, script, data="text", az=True, **keys)


def binary(name, script, **keys):
    case(name, script, data="bytes_", az=True, **keys)


def tree(name, script, **keys):
    case(name, script, data="tree", **keys)


text("cat_to_stdout", "cat $D/text/table.tsv $D/text/empty $D/text/no_newline")
text("cat_number", "cat -nA $D/text/crlf $D/text/no_newline")
text("cat_missing", "cat $D/text/none $D/text $D/text/words/x")
text("cat_stdin", "cat - < $D/text/words > out; cat $D/text/pairs - < $D/text/empty")
text("cat_itself_refused", "cat < $D/text/words 1<> out >> out")
text("tac", "tac $D/text/table.tsv | md5sum; tac -s ' ' $D/text/pairs; tac < $D/text/no_newline")
text("head_tail", "cd $D/text; head -c 1000 table.tsv; head -n -19990 table.tsv; tail -c 77 table.tsv; tail -n +19999 table.tsv; "
     "tail -n 3 words pairs; head -q -n 1 words pairs; tail -c +400000 table.tsv | md5sum")
text("tail_follow", "timeout 0.5 tail -n 2 -f $D/text/words; echo $?; timeout 0.5 tail -F -n 1 $D/text/pairs; echo $?",
     clean=((r"tail: .*inotify.*\n", ""),))
text("tail_stdin", "tail -n 2 < $D/text/table.tsv; (head -n 1 >/dev/null; tail -n 1) < $D/text/table.tsv")
text("head_leaves_offset", "(head -n 2; echo rest; head -c 20) < $D/text/table.tsv")
text("split_lines", "split -l 3000 -d --additional-suffix=.t $D/text/table.tsv part-")
text("split_chunks", "split -n 7 $D/text/table.tsv; split -n l/5 $D/text/table.tsv l-; split -n r/3 $D/text/words r-")
text("split_filter", "split -b 100K --filter='gzip -n > $FILE.gz' $D/text/table.tsv", needs="gzip")
text("csplit", "csplit -s $D/text/pairs /socks/ /tie/ && csplit -s -f n $D/text/sorted_a 100 200")
text("sort_unique", "sort -u -k2,2 $D/text/table.tsv > out")
text("sort_numeric", "sort -k3,3n -k1,1r $D/text/table.tsv | md5sum; sort -g -k4 $D/text/table.tsv | tail -1")
text("sort_parallel", "sort --parallel=4 -S 100K -T . -R --random-source=$D/text/long_line $D/text/table.tsv | md5sum")
text("sort_merge", "sort -m $D/text/sorted_a $D/text/sorted_b > out; sort -c $D/text/words; echo $?")
text("sort_files0", "sort --files0-from=$D/text/list0 > out")
text("sort_in_place_refused", "sort -o $D/text/words $D/text/words")
text("uniq", "sort $D/text/words | uniq -c; uniq -d $D/text/words; uniq $D/text/words out; uniq -c < $D/text/crlf")
text("wc_files0", "wc --files0-from=$D/text/list0; cd $D/text; wc -L long_line; wc -m latin1 words; wc < table.tsv")
text("cut", "cut -f2,4 $D/text/table.tsv | md5sum; cut -c 3-9 $D/text/pairs; cut -d ' ' --complement -f1 $D/text/pairs")
text("paste", "paste $D/text/pairs $D/text/words | head -5; paste -sd, $D/text/pairs; paste - - < $D/text/sorted_a | tail -2")
text("join", "join $D/text/sorted_a $D/text/sorted_b > out; join -a1 -v2 $D/text/sorted_a $D/text/sorted_b | md5sum")
text("comm", "comm --total $D/text/sorted_a $D/text/sorted_b | md5sum; comm -12 <(cut -c1-5 $D/text/sorted_a) <(cut -c1-5 $D/text/sorted_b) | wc")
text("tsort", "tsort $D/text/pairs; tsort < $D/text/pairs")
text("fold_fmt_pr", "fold -w 33 $D/text/long_line | md5sum; fmt -w 40 $D/text/words; pr -l 30 -h x --date-format=d $D/text/pairs; expand $D/text/table.tsv "
     "| unexpand -a | md5sum; nl -ba $D/text/pairs")
text("tr_stdin", "tr a-z A-Z < $D/text/words | md5sum; tr -dc '\\n' < $D/text/table.tsv | wc -c; tr -d '\\r' < $D/text/crlf")
text("shuf", "shuf --random-source=$D/text/long_line $D/text/words | md5sum; shuf -n 3 --random-source=$D/text/table.tsv -i 1-1000; "
     "shuf --random-source=$D/text/long_line < $D/text/pairs")
text("ptx", "ptx $D/text/pairs")
text("tee", "tee a b < $D/text/table.tsv | md5sum; tee -a a < $D/text/pairs > /dev/null; tee $D/text/new < $D/text/pairs")
text("numfmt", "cut -f3 $D/text/table.tsv | numfmt --to=iec | md5sum; numfmt --field=3 --to=si < $D/text/table.tsv | tail -1")
text("od", "od -A x -t x1z -v $D/text/latin1 | md5sum; od -j 1000 -N 50 -c $D/text/table.tsv; od -t d4 < $D/text/words | md5sum")
text("base64", "base64 $D/text/latin1 > b; base64 -d b; base32 < $D/text/pairs; basenc --z85 -w 0 < <(head -c 4000 $D/text/words)")
text("timeout_reading", "timeout 5 cat $D/text/words | md5sum; timeout -s INT 0.2 sh -c 'exec 3< $D/text/words; sleep 60'; echo $?")
text("nice_nohup_env", "nice -n 3 wc $D/text/words; nohup md5sum $D/text/words 2>/dev/null; env -i /bin/cat $D/text/pairs; env -i PATH=$PATH sh -c \"wc "
     "< $D/text/words\"; env -C $D/text cat pairs; env -u LD_PRELOAD cat $D/text/pairs; stdbuf -oL -i0 sort $D/text/pairs; setsid cat $D/text/pairs")
text("stdin_of_background", "cat < $D/text/words | md5sum & wait; { cat | tail -1; } < $D/text/words & wait")

binary("cp_file", "cp $D/bytes_/big . && cp $D/bytes_/b0 $D/bytes_/b1 $D/bytes_/b65537 .")
binary("cp_sparse", "cp --sparse=always $D/bytes_/sparse a; cp --sparse=never $D/bytes_/sparse b; cp --reflink=auto $D/bytes_/sparse c; cp --sparse=auto "
       "$D/bytes_/sparse d; cp --debug $D/bytes_/none e")
binary("cp_reflink_always", "cp --reflink=always $D/bytes_/b4096 out; test -s out; echo $?", stderr=False)
binary("cp_link_refused", "cp -l $D/bytes_/b4096 out", stderr=False)
binary("cp_symbolic", "cp -s $D/bytes_/b4096 out; readlink out; md5sum out; cp -L out copy; cp -P out link")
binary("cp_update", "cp $D/bytes_/b511 x; cp -u $D/bytes_/b512 x; cp -n $D/bytes_/b4095 x; cp --backup=numbered $D/bytes_/b4097 x")
binary("cp_into_refused", "cp $D/bytes_/b1 $D/bytes_/new; cp $D/bytes_/b1 $D/bytes_/b511; cp -r $D/bytes_ $D/bytes_/copy")
binary("cp_from_stdin", "cp /dev/stdin out < $D/bytes_/b65537; cp /dev/fd/3 three 3< $D/bytes_/b4097; cp /proc/self/fd/4 four 4< $D/bytes_/b511")
binary("install", "install -m 640 $D/bytes_/b131073 out && install -D $D/bytes_/big a/b/c && install -C $D/bytes_/b4096 out")
binary("dd_skip", "dd if=$D/bytes_/big of=a bs=4096 skip=100 count=500 status=none; dd if=$D/bytes_/big of=b bs=1000 skip=7 iflag=skip_bytes,count_bytes "
       "count=12345 status=none; dd if=$D/bytes_/b65537 bs=1 skip=65530 status=none | od -c")
binary("dd_flags", "dd if=$D/bytes_/big of=a bs=1M iflag=fullblock status=none; dd if=$D/bytes_/big of=c bs=64K iflag=nonblock,noatime,nofollow,cloexec status=none; "
       "dd if=$D/bytes_/b4097 of=d conv=swab,sync ibs=100 obs=777 status=none")
binary("dd_direct", "dd if=$D/bytes_/big of=b bs=4096 count=100 skip=1 iflag=direct status=none; md5sum b")
binary("dd_stdin_seek", "dd bs=1000 skip=3 count=1 status=none < $D/bytes_/big | md5sum; (dd bs=10 count=1 status=none; dd bs=10 count=1 status=none) < $D/bytes_/big | od -x")
binary("dd_if_directory", "dd if=$D/bytes_ of=out status=none; dd if=$D/bytes_/none of=out status=none; dd if=$D/bytes_/b1 of=$D/bytes_/b1 status=none")
binary("md5sum_check", "cd $D/bytes_ && md5sum -c MD5SUMS")
binary("sums", "cd $D/bytes_; for s in md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum cksum sum 'sum -s' 'cksum -a sm3' 'cksum -a crc'; do "
       "$s b0 b1 b65537 b2097169; $s < b4097; done")
binary("cmp_diff", "cd $D/bytes_; cp big $W/big; cmp big $W/big; printf x | dd of=$W/big seek=5000000 bs=1 conv=notrunc status=none; cmp big $W/big; cmp -l big $W/big; "
       "cmp -i 100:100 big $W/big; cmp b4096 b4097; cmp - b1 < b1; diff -q big $W/big; diff b511 b512")
binary("truncate_refused", "truncate -s 0 $D/bytes_/b4096; truncate -r $D/bytes_/b4097 mine; stat -c %s mine; shred -n1 $D/bytes_/b1")
binary("stat_size", "cd $D/bytes_; stat -c '%n %s %F %a %h %B' b0 b1 b4097 big sparse; stat -L -c %s big; stat -c %s - < big")
binary("split_bytes", "split -b 1M $D/bytes_/big; cat x* | cmp - $D/bytes_/big")
binary("sync_fsync", "sync $D/bytes_/b1; echo $?; sync -d $D/bytes_/big; echo $?; sync -f $D/bytes_/b1; echo $?")
binary("fallocate_refused", "fallocate -l 1M $D/bytes_/b1; fallocate -d $D/bytes_/sparse; echo $?", needs="fallocate")

tree("cp_archive", "cp -a $D/tree .", times=True)
tree("cp_recursive", "cp -r $D/tree/d* . && cp -rT $D/tree/odd odd")
tree("cp_preserve", "cp --preserve=mode,timestamps $D/tree/bin/hello . && ./hello you; cp --no-preserve=mode,timestamps $D/tree/private p; cd $D/tree; cp -p --parents d1/e1/f1.txt $W", times=True, ignore=("^p$",))
tree("cp_attributes_only", "cp -R --attributes-only $D/tree/d0 .; cp -rx $D/tree/d1 .; cp -rH $D/tree/d2 .; cp -t . $D/tree/private $D/tree/source_me")
tree("ls_recursive", "ls -alR --time-style=full-iso $D/tree", clean=LINKS)
tree("ls_kinds", "cd $D/tree; ls; ls -F; ls -p; ls -d */; ls -Q odd; ls -b odd; ls -m many; ls -x many; ls -C -w 100 many; ls -r many | head -3; ls -S d0/e0; ls -t many | tail -3; "
     "ls -1sh --block-size=1 many | head -4; ls -A; ls none; ls --color=always; ls -g -o private; ls -n private")
tree("ls_unsorted", "ls -U $D/tree/many; ls -f $D/tree/odd; ls -i $D/tree/many | awk '{print $2}'", sort=True)
tree("dir_vdir", "dir $D/tree; vdir --time-style=+%s $D/tree/d1", clean=LINKS)
tree("stat_all", "cd $D/tree; stat -c '%n %F %s %a %A %U %u %Y %y %b %B %t' * d0/e0/* odd/*; stat --printf '%N\\n' odd/*; stat none; stat -t none", clean=LINKS)
tree("stat_default", "stat $D/tree/private | grep -v -e Device -e Birth -e Access -e Change -e IO.Block; stat -f -c '%t' $D/tree >/dev/null; echo $?")
tree("du_apparent", "cd $D/tree; du --apparent-size -ab d0/e0 odd; du --apparent-size -sb many; du -d 1 --inodes .", sort=True, clean=((r"(?m)^\d+\t([^/\n]*/?[^/\n]*)$", r"N\t\1"),))
tree("du_blocks", "du -a $D/tree/d1; du -h $D/tree/d0/e0/f0.txt; du -c --time --time-style=+%s $D/tree/d2/e0/*; du -L -S $D/tree/d3", sort=True)
tree("df_there", "df $D/tree > /dev/null; echo $?; df --output=target $D/tree/private >/dev/null; echo $?")
tree("readlink_realpath", "cd $D/tree/d0; realpath . .. e0/../e1/f1.txt none; realpath -e none; readlink -f ../odd/../private; readlink -e none; readlink private; readlink -m a/b/../c; "
     "realpath --relative-to=../d1 e0; pwd -P; pwd -L; ln -s $D/tree/d0 $W/link; readlink -f $W/link/e0; realpath $W/link/../d1; cd $W/link; pwd; pwd -P; cat e0/f0.txt")
tree("test_operators", "cd $D/tree; for f in private d0 none bin/hello odd empty; do for t in -e -f -d -r -w -x -s -L -S -p -b -c -g -u -k -O -G -N; do test $t $f && echo $t $f; done; done; "
     "test private -ef ./private && echo same; test private -nt d0/e0/f0.txt && echo newer; test private -ot d0/e0/f0.txt && echo older")
tree("basename_pathchk", "basename $D/tree/private; dirname $D/tree/private; pathchk $D/tree/private $D/tree/none; pathchk $D/tree/private/x; echo $?")
tree("changes_refused", "cd $D/tree; for c in 'rm -f private' 'rm -rf d0' 'rmdir empty' 'mkdir new' 'mkdir -p d0/e0' 'mv private other' 'touch private' 'touch new' 'ln private hard' 'ln -s private soft' "
     "'mkfifo pipe' 'mknod pipe p' 'chmod 600 private' 'chown 0 private' 'chgrp 0 private' 'truncate -s 5 private' 'unlink private' 'link private other' 'mktemp ./XXXXXX' 'chmod -R u+w d0' 'install private new' 'mv private new'; "
     "do $c; echo \"$c: $?\"; done", clean=((r"\./[A-Za-z0-9]{6}", "./T"), (r"‘.*XXXXXX’", "T")), sort=True)
tree("mv_out", "mv $D/tree/private .; ls -l private | cut -c1-10; echo $?", sort=True)
tree("mktemp_elsewhere", "f=$(mktemp -p . t.XXXX); cat $D/tree/private > $f; mv $f out; t=$(mktemp -d -p .); cp -r $D/tree/d0 $t; mv $t dir")
tree("touch_reference", "touch -r $D/tree/private out; touch -d \"$(stat -c %y $D/tree/source_me)\" other; chmod --reference=$D/tree/bin/hello out; date -r $D/tree/private +%s", times=True)
tree("ln_to_covered", "ln -s $D/tree/private l; cat l; ln -s $D/tree dir; cat dir/d1/e1/f1.txt; ls -L dir; stat -Lc %s l; cp -L l copy; test -f l && echo file; ls -l l | cut -d' ' -f 9-; "
     "ln $D/tree/private hard", stderr=False)
tree("chdir_pwd", "cd $D/tree/d0/e1; pwd; /bin/pwd; cd ..; /bin/pwd; cd -; cat f0.txt; cat ../e2/f1.txt; cat ../../odd/.hidden; ls | wc -l; (cd /; cat $OLDPWD/f0.txt)")
tree("diff_recursive", "cp -r $D/tree t; chmod -R u+w t; diff -r $D/tree t; echo x >> t/d1/e1/f1.txt; rm t/private; echo new > t/d2/new; diff -r $D/tree t; diff -ru $D/tree/d1 t/d1 | tail -3; diff -rq t $D/tree",
     clean=((r"(?m)^((---|\+\+\+) \S+).*", r"\1"),))
tree("chroot_into", "mkdir -p root/bin root/lib root/lib64; cp /bin/true root/bin; chroot root /bin/true; echo $?", stderr=False, root=True, containers=False)
tree("chroot_covered", "chroot $D/tree /bin/hello", root=True, containers=False, differs=Differs(
    "chroot needs a folder of the kernel's; the covered one is not", 125, "cannot change root directory"))
tree("unshare_mount", "unshare -m cat $D/tree/private; unshare -m sh -c 'cd $D/tree && ls'", needs="unshare", root=True, containers=False)
tree("run_from_mount", "$D/tree/bin/hello you; PATH=$D/tree/bin:$PATH; hello there; command -v hello; type hello; cd $D/tree; ./bin/hello a b; sh bin/hello c; ./private; exec bin/hello last")
# What must_bite.py spoils; quick to hang.
case("cp_bite", "cp $D/text/words out", data="text", az=True, deadline_s=4)
