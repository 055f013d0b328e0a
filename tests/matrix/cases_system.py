"""coreutils, findutils and their kind."""

import data_common  # noqa: F401
from case import case

# How many folders lie in a folder is not known without listing it, so its link count is always 2.
LINKS = ((r"(?m)^(d\S+) +\d+ ", r"\1 "),)

case("cat_to_stdout", "cat $D/text/table.tsv $D/text/empty $D/text/no_newline", data="text", az=True)
case("cat_number", "cat -nA $D/text/crlf $D/text/no_newline", data="text", az=True)
case("cat_missing", "cat $D/text/none $D/text $D/text/words/x", data="text", az=True)
case("cp_file", "cp $D/bytes_/big . && cp $D/bytes_/b0 $D/bytes_/b1 $D/bytes_/b65537 .", data="bytes_", az=True)
case("cp_archive", "cp -a $D/tree .", data="tree", times=True)
case("cp_recursive", "cp -r $D/tree/d* . && cp -rT $D/tree/odd odd", data="tree")
case("md5sum_check", "cd $D/bytes_ && md5sum -c MD5SUMS", data="bytes_", az=True)
case("ls_recursive", "ls -laR --time-style=full-iso $D/tree | grep -v ^total", data="tree", clean=LINKS)
case("find_all", "find $D/tree -printf '%p %y %s %m %T@ %d %f\\n'", data="tree", sort=True)
case("find_delete", "find $D/tree/d0 -name '*.txt' -delete", data="tree", sort=True)
case("sort_unique", "sort -u -k2,2 $D/text/table.tsv > out", data="text", az=True)
case("tar_create", "tar -C $D -cf - --sort=name tree text | tee t.tar | tar -xf - && tar -tvf t.tar", data="tree text")
