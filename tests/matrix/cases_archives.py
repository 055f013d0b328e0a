"""Archivers and compressors, reading what lies on the mount, writing elsewhere."""

import data_archives  # noqa: F401
import data_common  # noqa: F401
from case import case


def archive(name, script, az=True, **keys):
    case(name, "cd $D/archives; " + script, data="archives", az=az, **keys)


case("tar_create", "tar -C $D -cf - --sort=name tree text | tee t.tar | tar -xf - && tar -tvf t.tar", data="tree text", times=True, ignore=(r"^t\.tar$",))
case("tar_create_bytes", "tar -C $D --sort=name -cf t.tar tree text bytes_; tar -C $D -czf - text/words | tar -tzvf -; tar --format=posix --pax-option=delete=ctime,delete=atime --sort=name -C $D -cf p.tar tree/odd",
     data="tree text bytes_")
case("tar_compare", "tar -C $D -cf t.tar tree && tar -C $D -df t.tar; echo $?; tar -C $D/tree -cf u.tar -T $D/tree/source_me; tar -cf v.tar -C $D/tree --no-recursion --null -T <(cd $D/tree; find odd -print0 | sort -z); tar -tf v.tar; "
     "tar -C $D -rf v.tar tree/private; tar -C $D -uf v.tar tree/private; tar -cf w.tar -C $D --exclude='d*' --newer-mtime=@1600000000 --sort=name tree --totals=USR1", data="tree", ignore=("tar$",))
case("tar_incremental", "tar -C $D -cf a.tar --sort=name -g snar tree; tar -C $D -cf b.tar --sort=name -g snar tree; tar -tf b.tar | head -3; tar -tf a.tar | wc -l", data="tree", ignore=("tar$", "snar"))
case("tar_extract_refused", "cd $D/tree; tar -xf $D/tree/none; tar -cf new.tar private; tar -C $D/tree -cf - private | tar -C $D/tree -xf -; echo $?", data="tree", stderr=False)
archive("tar_extract", "for t in t.tar t.tar.gz t.tar.xz t.tar.zst; do mkdir $W/$t.d; tar -C $W/$t.d -xf $t; done; tar -tvf t.tar.gz | md5sum; tar -xOf t.tar in/text/pairs; tar -xf - -C $W < i.tar; tar -C $W -xzf - in/tree/private < t.tar.gz; tar -tf cut.gz; echo $?", times=True, stderr=False,
        ignore=(r"(^|/)in(/tree)?$", r"\.d$"))
archive("tar_seek", "tar -xf t.tar -C $W --occurrence=1 in/tree/private; tar -f t.tar -t --seek | tail -1; tar -n -xf t.tar -C $W in/text/pairs; tar -xf t.tar -C $W --to-command='md5sum; true' in/text; tar -i -tf t.tar | wc -l; tar -f t.tar --delete in/text/pairs; echo $?", stderr=False)
archive("bsdtar", "bsdtar -tf t.tar.xz; bsdtar -xOf t.zip in/text/pairs; bsdtar -cf $W/o.tar --format ustar -C $D/archives t.gz; bsdtar -tf t.cpio | wc -l; bsdtar -tf - < t.tar | tail -1; bsdcat t.bz2 | md5sum", needs="bsdtar")
archive("gzip", "gzip -dc t.gz | md5sum; gzip -l t.gz two.gz; gzip -t cut.gz; echo $?; zcat two.gz | tail -1; gzip -c t.tar | gzip -d | cmp - t.tar; gzip -d < t.gz | wc; gzip -lv < t.gz; gzip t.tar; echo $?; zdiff t.gz t.gz; zmore t.gz | wc -l; gunzip -k t.gz; echo $?; gzip -9 < t.tar | tail -c 4 | od -x",
        stderr=False, clean=((r"\w{3} \d+ \d\d:\d\d", "T"),))
archive("gzip_name_time", "gzip -c t.tar | head -c 20 | od -c; gzip -N -c < t.tar | head -c 12 | od -c; (exec < t.tar; env gzip -c | head -c 10 | od -c; sh -c 'gzip -N | head -c 10' | od -c)", stderr=False)
archive("bzip2_xz", "bzip2 -dc t.bz2 | md5sum; bzcat < t.bz2 | wc; bzip2 -tv t.bz2; bzip2recover t.bz2; echo $?; xz -dc t.xz | md5sum; xz -l t.xz; xz -T2 -c t.tar | xz -dc | cmp - t.tar; xzgrep -c alpha t.xz; xz -t t.xz && echo fine; lzma -c t.cpio | md5sum; xz -dc --single-stream < t.xz | md5sum", needs="xz bzip2", stderr=False)
archive("zstd_lz4", "zstd -dc t.zst | md5sum; zstd -lq t.zst | tail -1; zstd -q -T2 t.tar -o $W/o.zst; zstd -dq $W/o.zst -o $W/o; cmp $W/o t.tar; zstd -q --train t.tar t.cpio t.zip -o $W/dict -B2000; zstdgrep -c alpha t.zst; zstd -t t.zst; zstd -q --stream-size=1 < t.cpio | wc -c; lz4 -dc t.lz4 | md5sum; lz4 -q t.tar $W/o.lz4; lz4 -t t.lz4; zstd -b1 -i0 t.lz4 >/dev/null; echo $?", needs="zstd lz4", stderr=False, ignore=("dict",))
archive("pigz_brotli", "pigz -p 2 -nc t.tar | gzip -dc | cmp - t.tar; pigz -dc t.gz | md5sum; pigz -l t.gz | tail -1; unpigz -t t.gz; pigz -cn < t.cpio | md5sum; brotli -c t.cpio | brotli -dc | cmp - t.cpio; brotli -t $W/x; echo $?", needs="pigz brotli", stderr=False)
archive("zip_unzip", "unzip -Z t.zip | tail -3; unzip -q t.zip -d $W; unzip -p t.zip in/text/pairs; unzip -tq t.zip; unzip -l stored.zip; zipinfo -1 t.zip | wc -l; zip -qrX - t.cpio | md5sum; zip -qX $W/n.zip t.gz t.bz2; unzip -v $W/n.zip | awk '{print $1,$3,$7,$8}' | tail -4; zip -T t.zip; zip t.zip t.gz; echo $?; funzip < stored.zip | md5sum; zipgrep -c alpha stored.zip",
        needs="zip unzip", times=True, stderr=False, ignore=(r"\.zip$", "^in(/[^/.]*)*$"))
archive("7z", "7z l -slt t.zip | grep -c Path; 7z x -bd -y -o$W t.tar.gz | tail -3; 7z e -so t.zip in/text/pairs; 7z t t.bz2 | grep Everything; 7z a -bd -mmt=2 $W/o.7z t.cpio | tail -1; 7z l $W/o.7z | tail -1 | awk '{print $3}'; 7z h t.gz | grep CRC", needs="7z", ignore=("7z$",))
archive("cpio", "cpio -it --quiet < t.cpio | md5sum; (cd $W; cpio -idm --quiet < $D/archives/t.cpio); (cd $D/archives; ls *.gz | cpio -o -H ustar --quiet | tar -tf -); cpio -it --quiet -F t.cpio | wc -l; (find . -name '*z' | sort | cpio -pdm --quiet $W/p)", needs="cpio", times=True, az=False, ignore=("^p?$", r"^(text|tree)(/[a-z0-9]*)?$", "^tree/d./e.$"))
archive("ar", "ar t t.a; ar p t.a pairs; (cd $W; ar x $D/archives/t.a); ar tv t.a; nm -s t.a; ar q t.a t.gz; echo $?; ar rcsD $W/n.a t.gz t.bz2; ranlib -D $W/n.a", needs="ar", stderr=False)
case("rsync_from", "rsync -a $D/tree . ; rsync -an --itemize-changes $D/tree .; rsync -ac --stats $D/tree . | grep 'files transferred'; rsync -rt --size-only --exclude='d*' $D/tree/ e/; rsync -aW --inplace $D/tree/private x; rsync --list-only $D/tree/d0/ | awk '{print $1,$3,$4,$5}'", data="tree", times=True, needs="rsync", ignore=("^x$", "^e$"))
case("rsync_delta", "cp $D/bytes_/big mine; printf changed | dd of=mine bs=1 seek=4000000 conv=notrunc status=none; rsync --no-whole-file -t --stats $D/bytes_/big mine | grep -E 'Literal|Matched'; rsync --checksum -z --sparse $D/bytes_/sparse s; rsync -a --files-from=<(echo b4096) $D/bytes_ f; rsync --append $D/bytes_/b65537 g; rsync -a --link-dest=$D/bytes_ $D/bytes_/b1 l/; "
     "rsync mine $D/bytes_/mine; echo $?", data="bytes_", needs="rsync", stderr=False)
case("openssl", "cd $D/bytes_; openssl dgst -sha256 b0 b1 big; openssl dgst -md5 -hmac k < big; openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff -iv 0 -in big -out $W/c; openssl enc -d -aes-128-ctr -K 00112233445566778899aabbccddeeff -iv 0 -in $W/c | cmp - big; openssl base64 -in b4096 | md5sum; openssl zlib -in b1; openssl rand -rand b4096 -hex 1 >/dev/null; echo $?; openssl dgst -sha1 none",
     data="bytes_", az=True, needs="openssl", stderr=False)
case("checksummers", "cd $D/bytes_; b3sum b0 b1 big; b3sum --no-mmap big; b3sum < big; xxhsum b0 big; xxhsum -H2 < big; crc32 big; rhash -M big; 7z h -scrcSHA256 big | grep SHA256", data="bytes_", az=True, needs="b3sum xxhsum", stderr=False)
case("gpg", "export GNUPGHOME=$HOME/gpg; mkdir -p -m 700 $GNUPGHOME; cd $D/bytes_; gpg --batch --print-md SHA256 big b1; gpg --batch --print-md MD5 < b4097; gpg --batch -q --passphrase x -c -o $W/c --pinentry-mode loopback b65537; gpg --batch -q --passphrase x --pinentry-mode loopback -d $W/c | cmp - b65537; gpg --enarmor < b512 | wc -l; gpgconf --kill all", data="bytes_", needs="gpg", stderr=False,
     ignore=("^c$",))
