"""Shells: redirections, here-documents, globs, and what they start with a covered descriptor."""

import data_common  # noqa: F401
from case import case

REDIRECTIONS = """
cd $D/text
read -r a b < pairs; echo "$a:$b"
while read -r x y; do echo "$y-$x"; done < pairs
exec 3< pairs; read -r l <&3; echo $l; head -n 1 <&3; cat <&3; exec 3<&-
exec 4< words 5< table.tsv; read a <&4; read b <&5; read c <&4; echo $a $b $c; exec 4<&- 5<&-
{ read x; cat | head -n 2; } < sorted_a
( read x; echo "$x"; ( read y; echo "$y" ); read z; echo "$z" ) < sorted_a
cat <<EOF
$(cat pairs)
$(head -n 1 words)
EOF
n=0; while read -r line; do n=$((n+1)); done < words; echo $n
cat < pairs > $W/out 2> $W/err; cat pairs none >> $W/out 2>&1
echo x > new; echo "$?"; echo x >> words; echo "$?"; : > pairs; echo $?
exec < sorted_b; read one; echo $one; sh -c 'read two; echo $two'; read three; echo $three; cat | tail -n 1
"""


def both(name, script, **keys):
    """Under bash and dash."""
    for shell in ("bash", "dash"):
        case(f"{name}_{shell}", "\n" + script, shell=shell, **keys)


both("redirections", REDIRECTIONS, data="text", az=True, clean=((r"(bash|dash): (line )?\d+:", "shell:"),))
both("globs", 'cd $D/tree; echo *; echo d*/e1/f?.txt; echo odd/.*; echo odd/[a-z]*; for f in many/00*; do cat $f; done; echo none*; cd d0; echo ../d[12]/*; echo */*.txt; cd e0 && pwd; ls -d "$D"/tree/d?', data="tree")
both("source", '. $D/tree/source_me; greet you; echo $sourced; cd $D/tree; . ./source_me; greet again; . $D/tree/none; echo not here', data="tree", clean=((r"(bash|dash): (line )?\d+:", "shell:"),))
both("tests", 'cd $D/tree; [ -d d0 ] && echo d; [ -f private ] && echo f; [ -x bin/hello ] && echo x; [ -w private ] || echo ro; [ -s private ] && echo s; [ -e none ] || echo no; [ private -nt d0/e0/f0.txt ] && echo nt; [ -r . ] && echo r; [ -L private ] || echo nolink; [ -p private ] || echo nopipe', data="tree")
both("scripts_from_there", 'cd $D/tree; ./bin/hello 1 2; bin/hello | cat; x=$(./bin/hello sub); echo "$x"; PATH=$PWD/bin; hello by path; command -v hello; (exec hello executed); hello > $W/out; ./private; echo $?; ./d0; echo $?; ./none; echo $?', data="tree",
     clean=((r"(bash|dash): (line )?\d+:", "shell:"),))
both("background_and_traps", "cd $D/text; trap 'cat pairs' USR1; kill -USR1 $$; cat words | md5sum & wait $!; (trap 'head -n 1 pairs' EXIT; exit 3); echo $?; cat pairs | while read a b; do (echo $b) & wait; done; set -- $(cat pairs); echo $# $3", data="text", az=True)
both("inherited_offset", "cd $D/text; { head -c 6 >/dev/null; env cat | head -n 1; } < pairs; exec 6< sorted_a; (read a <&6; echo $a); read b <&6; echo $b; sh -c 'read c <&6; echo $c'; env sh -c 'read d; echo $d' <&6; busybox sh -c 'read e; echo $e' <&6; read f <&6; echo $f; nice dd bs=5 count=1 status=none <&6", data="text", az=True, needs="busybox")
case("bash_mapfile", "cd $D/text; mapfile -t a < table.tsv; echo ${#a[@]} ${a[777]}; readarray -n 3 -s 2 b < pairs; echo \"${b[@]}\"; mapfile -d '' -t l < list0; echo ${l[1]}; x=$(< pairs); echo \"$x\" | wc; read -r -N 10 y < words; echo \"$y\"; read -r -d k z < pairs; echo \"$z\"; mapfile -C 'echo cb' -c 2000 -t q < words | tail -1", data="text", az=True)
case("bash_process_substitution", "cd $D/text; diff <(sort words | uniq) <(sort -u words) && echo same; cat <(cat pairs) <(head -n 1 < words); tee >(wc -l > $W/n) < pairs > /dev/null; sleep 0.2; comm -12 <(cut -c1-5 sorted_a) <(cut -c1-5 sorted_b) | md5sum; while read l; do echo \"$l\"; done < <(cat pairs); paste <(cat pairs) pairs", data="text", az=True)
case("bash_globstar", "shopt -s globstar nullglob dotglob extglob; cd $D/tree; printf '%s\\n' **/f1.txt; echo **/ | wc -w; echo odd/!(*.txt); echo d@(0|3)/e2/*; shopt -s failglob; echo zzz*; echo after", data="tree")
case("bash_tests", "cd $D/tree; [[ private -ef $D/tree/../tree/private ]] && echo ef; [[ -N private ]] || echo N; [[ $(< private) == *owner* ]] && echo match; [[ -O private && -G private ]] && echo own; [[ d0 -ef d1 ]] || echo other; [[ -v W && -R x ]] || echo R; test -t 0 < private || echo notty", data="tree")
case("bash_builtins", "cd $D/tree; pushd d0; pushd ../d1/e1; dirs -v; popd; popd; cd -; echo ~+; CDPATH=$D/tree; cd d2; cd ../d3/e1/../..; pwd; pwd -P; compgen -f $D/tree/d | sort; hash -p $D/tree/bin/hello hi; hi there; type -a hello; enable -f none none; history -r $D/text/pairs; history | wc -l; ulimit -n 64; cat private; exec {fd}< private; cat <&$fd; cd $D/tree; set -C; echo x > private; caller", data="tree text", clean=((r"bash: line \d+:", "bash:"),))
case("bash_coproc", "cd $D/text; coproc { sleep 0.3; cat words; read x; }; n=0; while [ $n -lt 5000 ] && read -r l <&${COPROC[0]}; do n=$((n+1)); done; echo $n; echo >&${COPROC[1]}; wait; coproc { while read l; do echo \"got $l\"; done; }; cat pairs >&${COPROC[1]}; eval \"exec ${COPROC[1]}>&-\"; cat <&${COPROC[0]}", data="text", az=True)
case("bash_dev_fd", "cd $D/text; cat /dev/fd/3 3< pairs; cat /dev/stdin < pairs; wc -l /proc/self/fd/4 4< words; bash -c 'cat /dev/fd/5; cat /dev/fd/5 | wc -c' 5< pairs; exec 7< sorted_a; head -n 1 /dev/fd/7; head -n 1 <&7; stat -Lc '%a %s %Y' /dev/fd/7; test -f /dev/fd/7 && echo file; readlink /proc/$$/fd/7; readlink /proc/self/fd/7; ls -lL /dev/fd/7 | cut -c1-10; cp /dev/fd/7 $W/copy; env cp /dev/stdin $W/copy2 < pairs; echo x > /dev/fd/7", data="text", clean=((r"bash: line \d+:", "bash:"),))
case("bash_script_on_stdin", "bash < $D/tree/bin/hello; sh -s a b < $D/tree/bin/hello; bash $D/tree/bin/hello c; cat $D/tree/bin/hello | bash -s d; bash -c '. /dev/stdin' < $D/tree/source_me; dash < $D/tree/bin/hello; busybox sh < $D/tree/bin/hello", data="tree", needs="busybox")
for shell in ("zsh", "ksh", "tcsh", "fish"):
    script = {"zsh": "cd $D/tree; print -l **/f1.txt(.N) | head -3; x=$(<private); echo $x; while read a; do echo $a; done < source_me; zmodload zsh/mapfile; echo ${#mapfile[private]}; zmodload zsh/stat; zstat +size private; cat < private > $W/o; print -l *(/); source source_me; greet z",
              "ksh": "cd $D/tree; print *; x=$(< private); echo $x; while read a; do echo $a; done < source_me; . ./source_me; greet k; exec 3< private; read -u3 y; echo $y; cat d0/e0/f?.txt | wc -l; [[ -f private ]] && echo f",
              "tcsh": "cd $D/tree; echo *; foreach f (d0/e0/*); wc -c < $f; end; if (-f private) echo f; set x = `cat private`; echo $x; cat < private > $W/o",
              "fish": "cd $D/tree; echo *; for f in d0/e0/*; wc -c < $f; end; test -f private; and echo f; set x (cat private); echo $x; while read -l a; echo $a; end < source_me; cat < private > $W/o; string length < private"}[shell]
    body = script.replace("; ", "\n") if shell == "tcsh" else script
    case(f"{shell}_there", f"cat > s <<'EOF'\n{body}\nEOF\n{shell} s", data="tree", needs=shell, stderr=False)
