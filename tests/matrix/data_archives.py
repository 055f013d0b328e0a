"""Archives and compressed files of every kind."""

import os
import subprocess

from case import fixture
from data_common import bytes_, text, tree


def run(script, folder):
    subprocess.run(["bash", "-c", script], cwd=folder, check=True, timeout=120, stdout=subprocess.DEVNULL,
                   env=dict(os.environ, LC_ALL="C.UTF-8", TZ="UTC"))


@fixture
def archives(folder):
    source = os.path.join(folder, "in")
    for part in (text, tree):
        os.makedirs(os.path.join(source, part.__name__))
        part(os.path.join(source, part.__name__))
    run("find in -exec touch -h -d @1600000000 {} +; "
        "tar --sort=name -cf t.tar in; tar --sort=name -czf t.tar.gz in; tar --sort=name -cJf t.tar.xz in/text; tar --sort=name --zstd -cf t.tar.zst in/tree; "
        "cp in/text/table.tsv t; gzip -nk t; bzip2 -k t; xz -k t; zstd -qk t; lz4 -qk t; rm -f t; "
        "(cd in; find . -type f | LC_ALL=C sort | cpio -o -H newc --quiet > ../t.cpio); find in -type f | LC_ALL=C sort | zip -qX t.zip -@; zip -q -0 stored.zip in/text/words; "
        "ar rcsD t.a in/text/words in/text/pairs; (cat t.gz; gzip -nc in/text/pairs) > two.gz; head -c 3000 t.gz > cut.gz; "
        "cp in/text/words w; tar -cf i.tar --listed-incremental=snar -C in tree; rm -f w; rm -rf in", folder)


archives.needs = ("gzip", "bzip2", "xz", "zstd", "lz4", "cpio", "zip", "ar")
assert bytes_
