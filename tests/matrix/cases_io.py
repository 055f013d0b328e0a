"""Servers, media, benchmarks and other heavy users of files."""

import data_common  # noqa: F401
import data_media  # noqa: F401
from case import Differs, case

NGINX = r"""
mkdir -p n logs; port=$((20000 + $$ % 20000))
printf 'user root; daemon off; worker_processes 2; pid n/pid; error_log n/error info; events {} %s http { access_log off; client_body_temp_path n/b; proxy_temp_path n/p; fastcgi_temp_path n/f; uwsgi_temp_path n/u; scgi_temp_path n/s; %s server { listen unix:%s/n/sock; root %s; autoindex on; etag on; location /gz { gzip on; gzip_min_length 1; gzip_types text/plain; alias %s/text; } } }' \
  'thread_pool default threads=4;' 'SETTINGS' "$W" "$D" "$D" > n.conf
nginx -p $W -c $W/n.conf -e n/error & nginx=$!
for i in $(seq 100); do [ -S n/sock ] && break; sleep 0.05; done
get() { curl -sS --unix-socket n/sock "$@"; }
for f in bytes_/big bytes_/b0 bytes_/b65537 bytes_/sparse text/pairs; do get http://x/$f | md5sum; done
get -r 1000-2999 http://x/bytes_/big | md5sum; get -r -7 http://x/bytes_/big | md5sum; get -r 0-3,100-200 http://x/text/words | tail -c 90 | head -c 60
get -I http://x/tree/private | grep -vE 'Date|Server|ETag'; get -o /dev/null -w '%{http_code}\n' http://x/none; get http://x/tree/ | grep -c href; get --compressed http://x/gz/table.tsv | md5sum
get -o /dev/null -w '%{http_code}\n' -H "If-Modified-Since: $(get -I http://x/text/pairs | sed -n 's/^Last-Modified: //p' | tr -d '\r')" http://x/text/pairs
for i in 1 2 3 4 5 6 7 8; do get http://x/bytes_/big | md5sum & done | sort | uniq -c
kill -QUIT $nginx; wait $nginx; echo $?
"""
for name, settings in {"sendfile": "sendfile on;", "plain": "sendfile off;", "threads": "sendfile on; aio threads; directio off;", "aio": "sendfile off; aio threads; output_buffers 2 64k;",
                       "direct": "sendfile on; aio threads; directio 512; directio_alignment 4k;", "open_file_cache": "sendfile on; tcp_nopush on; open_file_cache max=100; open_file_cache_errors on;"}.items():
    case(f"nginx_{name}", NGINX.replace("SETTINGS", settings), data="text bytes_ tree", needs="nginx curl", full=True, stderr=False, ignore=(r"^(n|logs|n\.conf)(/.*)?$",), deadline_s=90, az=name == "sendfile", clean=((r"\[\d+\].*\n", ""), (r"--[0-9a-f]{16,}-*|00000000\d+", "B"), (r"Last-Modified.*\n", "")))

for engine in ("psync", "sync", "pvsync", "pvsync2", "mmap", "libaio", "posixaio", "io_uring", "vsync", "splice"):
    extra = "--iodepth=8" if engine in ("libaio", "posixaio", "io_uring") else ""
    case(f"fio_{engine}", f"fio --name=v --filename=$D/fio/verified --ioengine={engine} --rw=randread --bs=4k-128k --size=8m --io_size=24m --readonly --verify=crc32c --verify_only=0 --do_verify=1 --numjobs=2 {extra} --minimal > log; echo $?; "
         f"fio --name=s --filename=$D/fio/verified --ioengine={engine} --rw=read --bs=64k --size=8m --readonly {extra} --minimal | cut -d';' -f5,6; fio --name=w --filename=$D/fio/verified --ioengine={engine} --rw=write --bs=4k --size=1m --overwrite=1 --fallocate=none > log 2>&1; echo $?",
         data="fio", needs="fio", full=True, stderr=False, ignore=("^log$", "state$"), deadline_s=120)
case("fio_verify_state", "fio --name=write --filename=$D/fio/verified --ioengine=psync --rw=read --bs=4k --size=8m --verify=crc32c --verify_fatal=1 --minimal > log; echo $?; head -c 8388608 $D/fio/verified | cmp - $D/fio/verified; for o in --direct=1 --invalidate=1 '--fadvise_hint=random' --prefetch=1; do fio --name=r --filename=$D/fio/verified --ioengine=psync --rw=randread --bs=4k --size=4m --readonly $o --minimal > log; echo $?; done", data="fio", needs="fio", full=True, stderr=False, ignore=("^log$",), deadline_s=120)

case("ffmpeg", "ffmpeg -v error -i $D/media/a.wav -f wav -bitexact - | md5sum; ffmpeg -v error -bitexact -i $D/media/a.avi -f rawvideo - | md5sum; ffmpeg -v error -bitexact -ss 0.5 -i $D/media/a.avi -c copy -y out.avi; ffmpeg -v error -bitexact -f concat -safe 0 -i $D/media/list -f framemd5 - | tail -3; ffprobe -v error -show_format -show_streams $D/media/a.avi | grep -v filename | md5sum; ffmpeg -v error -y -bitexact -pattern_type glob -i \"$D/media/f*.png\" -f framemd5 - | md5sum; "
     "ffmpeg -v error -i - -f framemd5 - < $D/media/a.avi | tail -1; ffmpeg -v error -i $D/media/none -f null -; echo $?; ffmpeg -v error -y -i $D/media/a.wav $D/media/new.wav; echo $?", data="media", needs="ffmpeg ffprobe", full=True, stderr=False, deadline_s=90)
case("sox", "sox $D/media/a.wav -r 8000 -R -D out.wav; soxi $D/media/a.wav; sox $D/media/a.wav -n stat 2>&1 | md5sum; sox -t wav - -t raw - < $D/media/a.wav | md5sum", data="media", needs="sox soxi", full=True, stderr=False)
case("ghostscript_pdf", "gs -q -dBATCH -dNOPAUSE -sDEVICE=pgmraw -r20 -sOutputFile=out.pgm $D/media/page.ps; gs -q -dBATCH -dNOPAUSE -sDEVICE=txtwrite -sOutputFile=- $D/media/page.ps; ps2pdf $D/media/page.ps p.pdf; cat p.pdf | pdftotext - - | head -2; gs -q -dSAFER -dBATCH -dNOPAUSE --permit-file-read=$D -sDEVICE=nullpage $D/media/page.ps < /dev/null; echo $?", data="media", needs="gs ps2pdf pdftotext", full=True, stderr=False, ignore=("pdf$",))
case("images", "pngtopnm $D/media/f1.png 2>/dev/null | md5sum; file $D/media/f1.png; rsvg-convert -w 20 $D/media/a.svg | md5sum; gdk-pixbuf-thumbnailer $D/media/f1.png t.png; xmllint --noout $D/media/a.svg; pngfix $D/media/f1.png", data="media", needs="rsvg-convert", full=True, stderr=False)
case("imagemagick", "convert $D/media/f1.png -resize 8x8 txt:- | md5sum; identify $D/media/f1.png; convert $D/media/f*.png -append out.ppm; compare -metric AE $D/media/f1.png $D/media/f1.png null:; convert - -rotate 90 rgb:- < $D/media/f1.png | md5sum", data="media", needs="identify compare", full=True, stderr=False)

case("curl_file", "curl -sS file://$D/bytes_/big | md5sum; curl -sS -r 100-199 file://$D/bytes_/b4097 -o part; curl -sS -I file://$D/text/pairs; curl -sS -T $D/text/words file://$W/up; curl -sS file://$D/none; echo $?; curl -sS -z 2030-01-01 file://$D/text/pairs; curl -sS -K $D/text/none; echo $?; curl -C 50 -sS file://$D/text/pairs", data="text bytes_", needs="curl", stderr=False)
case("socat_nc", "socat -u OPEN:$D/bytes_/big,rdonly - | md5sum; socat -u FILE:$D/text/pairs STDOUT; socat -u UNIX-LISTEN:$W/s OPEN:$W/got,creat & for i in $(seq 50); do [ -S s ] && break; sleep 0.05; done; socat -u $D/bytes_/b131073 UNIX-CONNECT:$W/s; wait; cmp got $D/bytes_/b131073 && echo same; nc -lU $W/t > got2 & for i in $(seq 50); do [ -S t ] && break; sleep 0.05; done; nc -NU $W/t < $D/bytes_/big; wait; cmp got2 $D/bytes_/big && echo same; socat -u EXEC:'cat $D/text/pairs' - ; socat $D/text/new,creat -; echo $?", data="text bytes_", needs="socat nc", stderr=False, ignore=("^[st]$",), clean=((r"socat\[\d+\]", "socat"),))
case("python_servers", "python3 -m http.server --bind 127.0.0.1 -d $D 0 > log 2>&1 & p=$!; for i in $(seq 100); do port=$(sed -n 's/.*port \\([0-9]*\\).*/\\1/p' log); [ -n \"$port\" ] && break; sleep 0.05; done; curl -sS http://127.0.0.1:$port/bytes_/big | md5sum; curl -sS http://127.0.0.1:$port/tree/ | grep -c li; curl -sS -o /dev/null -w '%{http_code}\\n' http://127.0.0.1:$port/none; kill $p", data="text bytes_ tree", needs="python3 curl", ignore=("^log$",), stderr=False, env={"PYTHONUNBUFFERED": "1"})
case("busybox_static", "cd $D/text; b=busybox; $b cat pairs; $b md5sum words ../bytes_/big; $b ls -l ../tree | $b awk '{print $1,$5,$9}'; $b find ../tree -type f | $b sort | $b md5sum; $b tar -cf - -C .. tree/d1 | $b tar -tf - | $b sort | $b head -3; $b cp -a ../tree/d2 $W; $b sort words | $b uniq -c; $b grep -rc needle ../tree/d3 | $b sort; $b sh -c 'cd ../tree/d0; pwd; for f in e*/f1.txt; do wc -l < $f; done'; $b stat -c '%s %a' pairs; $b dd if=../bytes_/big bs=1k skip=9 count=3 2>/dev/null | $b md5sum; $b vi -h >/dev/null 2>&1; $b cmp pairs words; $b diff -r ../tree/d0 ../tree/d1 | $b head -4; $b rm pairs; $b readlink -f ../tree/./d0; $b du -a ../tree/d1 >/dev/null; $b wc -l < words; $b tail -n 1 words; $b sed -n 2p pairs; $b cpio --help >/dev/null 2>&1; $b gzip -c words | $b gunzip | $b md5sum; $b test -x ../tree/bin/hello && echo x; $b od -c pairs | $b head -1; ../tree/bin/hello a; $b touch new; $b xxd pairs | $b tail -1", data="text bytes_ tree", needs="busybox", stderr=False, az=False, times=True)
case("busybox_server", "busybox httpd -f -p 127.0.0.1:$((30000 + $$ % 20000)) -h $D & p=$!; for i in $(seq 40); do busybox wget -qO got http://127.0.0.1:$((30000 + $$ % 20000))/bytes_/b131073 && break; sleep 0.05; done; kill $p; cmp got $D/bytes_/b131073 && echo same", data="bytes_", needs="busybox", stderr=False, full=True)
case("parallel_jobs", "cd $D/tree/many; ls | parallel --will-cite -j 4 -k cat | md5sum; parallel --will-cite -a $D/text/pairs -j 2 -k echo got {}; parallel --will-cite --pipepart -a $D/text/table.tsv --block 50k -k wc -l | awk '{n += $1} END {print n}'; parallel --will-cite -k md5sum ::: $D/bytes_/b4*", data="text bytes_ tree", needs="parallel", stderr=False)
case("script_and_terminals", "script -qec 'cat $D/text/pairs; wc < $D/text/words' /dev/null < /dev/null; script -q -c 'ls $D/tree' out > /dev/null < /dev/null; tr -d '\\r' < out | grep -c private; setterm --version > /dev/null; tput -T dumb cols", data="text tree", needs="script", stderr=False, ignore=("^out$",), clean=((r"\r", ""),))
case("sudo_su", "sudo -n cat $D/text/pairs; echo $?; su root -c \"cat $D/text/pairs\"; echo $?; setpriv --clear-groups cat $D/text/pairs | head -1; chroot --userspec=root / cat $D/text/pairs", data="text", root=True, containers=False, needs="setpriv", stderr=False)
case("another_user", "setpriv --reuid=65534 --regid=65534 --clear-groups cat $D/text/pairs", data="text", root=True, containers=False, needs="setpriv", differs=Differs(
    "a user that sidecar.allow_uids does not name may not join", 1, "Input/output error"))
case("namespaces", "unshare -n cat $D/text/pairs; unshare -p -f cat $D/text/words | md5sum; unshare -u sh -c 'head -n 1 < $D/text/pairs'; unshare -i -C wc -l $D/text/words; nsenter --help > /dev/null; echo $?; flock $D/text/words -c 'echo locked'", data="text", root=True, containers=False, needs="unshare flock")
case("flock", r"""
flock $D/text/words -c 'echo locked'; timeout 10 flock -s $D/text/words cat $D/text/pairs
(timeout 10 flock 9; timeout 10 flock -n $D/text/words echo taken || echo held) 9< $D/text/words; timeout 10 flock $D/text/words echo free
exec 9< $D/text/words; timeout 10 flock 9; flock -n $D/text/words echo taken || echo held; exec 9<&-; timeout 10 flock $D/text/words echo free
python3 - $D/text/words <<'E'
import fcntl, os, subprocess, sys
for round in range(3):
    with open(sys.argv[1]) as one:
        fcntl.flock(one, fcntl.LOCK_EX)
        with open(sys.argv[1]) as two:
            try:
                fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("held")
        if round: subprocess.run(["true"])
        if round == 2: one.seek(7); print(subprocess.run(["head", "-c", "3"], stdin=one, capture_output=True).stdout)
    with open(sys.argv[1]) as two:
        fcntl.flock(two, fcntl.LOCK_EX)
print("free")
E
""", data="text", needs="flock", deadline_s=60)
case("prlimit_exec", "cd $D/text; (ulimit -n 12; cat pairs; sort words | uniq | wc -l); (ulimit -v 4000000; md5sum words); (ulimit -s 256; ls -l pairs | cut -c1-10); (ulimit -f 0; cat pairs); prlimit --nofile=24 cat pairs; chrt -b 0 cat pairs; ionice -c 3 cat pairs; taskset 1 md5sum words; setarch -R cat pairs; linux64 cat pairs; exec -a other cat pairs", data="text", needs="prlimit taskset")
case("timestamps", "faketime '2001-01-01' cat $D/text/pairs; faketime -f +1y stat -c %Y $D/tree/private; eatmydata cp -r $D/tree/d0 .; fakeroot sh -c 'cp -a $D/tree/private .; stat -c \"%u %a\" private'", data="text tree", needs="faketime eatmydata fakeroot", full=True, stderr=False)
case("perf_lsof", "sleep 5 < $D/text/pairs & p=$!; sleep 0.3; cat /proc/$p/fd/0 | head -1; kill $p; fuser $D/text/pairs; echo $?; cat /proc/self/mounts | grep -c zzz; timeout 1 inotifywait -q $D/text; mountpoint -q $D/none; echo $?; findmnt -n $D/none; echo $?", data="text", stderr=False)
