"""Languages: each one's ways to files, its programs and modules lying on the mount."""

import data_common  # noqa: F401
import data_languages  # noqa: F401
from case import case

READS = "text bytes_ tree "


def language(name, script, data, **keys):
    case(name, script, data=READS + data, **keys)


language("perl_files", "perl $D/perl/files.pl $D $W", "perl", needs="perl")
language("perl_modules", "perl -I$D/perl/lib -MCovered::Thing=thing -e 'print thing(), \"\\n\"'; PERL5LIB=$D/perl/lib perl -e 'require Covered::Thing; print $INC{\"Covered/Thing.pm\"}, \"\\n\"; print <Covered::Thing::DATA>'; perl -T $D/perl/taint.pl; $D/perl/taint.pl; perl -c $D/perl/files.pl; "
         "perl -ne 'print if /tie/' $D/text/pairs; perl -pi -e 's/a/b/' $D/text/pairs; perl -0777 -ne 'print length' < $D/text/words; perl -MList::Util=sum -lane '$s += $F[2]; END {print $s}' $D/text/table.tsv; perl - < $D/perl/value.pl; perl -x $D/text/pairs; echo $?", "perl", needs="perl")
language("perl_mmap_threads", "perl -MPerlIO::via -e 'open F, \"<:mmap\", \"$ENV{D}/text/table.tsv\" or die; $n += length while <F>; print \"$n\\n\"; open G, \"<:crlf\", \"$ENV{D}/text/crlf\"; print <G>; open H, \"<:gzip\", \"x\" or print \"no\\n\"'", "perl", needs="perl", stderr=False)
language("node_files", "node $D/node/files.js $D $W", "node", needs="node", deadline_s=60, full=False)
language("node_modules", "node -e \"console.log(require('$D/node/node_modules/pack'))\"; NODE_PATH=$D/node/node_modules node -p \"require('pack')\"; cd $D/node; node -p \"require('pack')\"; node --input-type=module -e \"import x from 'pack'; console.log(x)\"; node --check files.js; node < module/part.js; node --preserve-symlinks esm.mjs; node none.js; echo $?", "node", needs="node", stderr=False)
language("java_jar", "java -jar $D/java/files.jar $D $W", "java", needs="java", full=True, deadline_s=120)
language("java_class_path", "java -cp $D/java/classes Files_ $D $W; java -cp $D/java/files.jar:$D/java/classes -Xshare:off -XX:TieredStopAtLevel=1 Files_ $D $W | md5sum", "java", needs="java", full=True, deadline_s=180)
language("java_source", "java $D/java/Files_.java $D $W 2>&1 | tail -3; cd $D/java; jar tf files.jar | sort; unzip -p files.jar note.txt; javap -cp files.jar Files_ | tail -4; javac -d $W -cp files.jar Files_.java; java @/dev/null -version 2>/dev/null; echo $?", "java", needs="java javac unzip", full=True, deadline_s=180, ignore=(r"\.class$",), stderr=False)
language("rust_files", "$D/rust/files $D $W; cp $D/rust/files f; ./f $D $W | md5sum", "rust", full=True)
language("rust_compile", "rustc -O --edition 2021 $D/rust/files.rs -o mine -C debuginfo=0; ./mine $D $W | md5sum; rustc --print file-names $D/rust/files.rs; rustc --crate-type rlib --emit metadata -o m $D/text/pairs; echo $?", "rust", needs="rustc", full=True, deadline_s=180)
for kind in ("static", "cgo"):
    language(f"go_{kind}", f"cp $D/go/{kind} f; ./f $D $W; $D/go/{kind} $D $W | md5sum; cd $D/go; ./{kind} $D $W | tail -1", "go", full=True)
language("go_compile", "cd $D/go; export GOCACHE=$HOME/go-cache GO111MODULE=off GOFLAGS= GOTOOLCHAIN=local CGO_ENABLED=0; go build -o $W/mine files.go && $W/mine $D $W | md5sum; go vet files.go; gofmt -l .; go run files.go $D $W | tail -1", "go", needs="go gofmt", full=True, deadline_s=300, ignore=("mine",))
language("ruby", "ruby $D/scripts/a.rb $D; ruby -I $D/scripts -e 'require \"b\"; puts B'; ruby -ne 'puts $_ if /tie/' $D/text/pairs; ruby < $D/scripts/b.rb; erb -v 2>/dev/null; echo $?", "scripts", needs="ruby", full=True, stderr=False)
language("lua", "lua $D/scripts/a.lua $D; lua < $D/scripts/m.lua; lua -e 'print(#io.open(\"'$D'/bytes_/big\"):read(\"a\"))'", "scripts", needs="lua", stderr=False)
language("php", "php $D/scripts/a.php $D; php -l $D/scripts/a.php; php < $D/scripts/b.php; php -r 'var_dump(is_dir(\"'$D'\"), fileinode(\"'$D'/none\"));'", "scripts", needs="php", full=True, stderr=False)
language("tcl", "tclsh $D/scripts/a.tcl $D; tclsh < $D/scripts/b.tcl", "scripts", needs="tclsh", full=True, stderr=False)
language("scripts_by_interpreter_line", "cd $D/scripts; ./a.awk ../text/pairs; ./a.sed ../text/pairs; ./env.sh 1 2; $D/scripts/env.sh x; cd $W; python3 $D/scripts/a.py; PATH=$D/scripts:$PATH a.awk $D/text/pairs; xargs $D/scripts/a.sed < <(echo $D/text/pairs)", "scripts")
language("jq_m4_xml", "cd $D/scripts; jq -f a.jq list.json; jq -L . -n 'input' list.json; jq --slurpfile x list.json -n '$x'; jq -R . ../text/pairs | head -1; jq . < list.json; m4 a.m4; xmllint --noent a.xml; xmllint --xpath '//b/@i' a.xml; xmllint --stream part.xml; xmllint - < part.xml; yq . list.json 2>/dev/null; jq . none; echo $?", "scripts", needs="jq", stderr=False)
language("manual", "cd $D/scripts; man -l flat.1 | cat; man -P cat -l ./flat.1; man -l none; echo $?; nroff -man page.1 | tail -3; groff -T ascii -man page.1 | md5sum; soelim page.1; gcc -x c -E -P - < m.lua; gettext x; sort -R --random-source=page.1 more.1", "scripts", needs="nroff groff", stderr=False)
language("python_there", "$D/scripts/a.py; python3 $D/scripts/a.py; python3 < $D/scripts/helper.py; cd $D/scripts; python3 -c 'import helper; print(helper.value)'; python3 -m helper; python3 -X importtime -c pass 2>/dev/null; PYTHONPATH=$D/scripts python3 -I -c 'import helper' 2>&1 | tail -1", "scripts", stderr=False)
