"""Sound, pictures, pages; a file that fio has written with checksums in it."""

import math
import os
import struct
import subprocess
import wave
import zlib

from case import fixture, write


def png(width, height, colour):
    rows = b"".join(b"\0" + bytes(colour[c] * (x + y) % 256 for x in range(width) for c in range(3)) for y in range(height))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@fixture
def media(folder):
    with wave.open(os.path.join(folder, "a.wav"), "wb") as out:
        out.setparams((2, 2, 22050, 0, "NONE", ""))
        out.writeframes(b"".join(struct.pack("<hh", int(9000 * math.sin(i / 9)), int(9000 * math.sin(i / 31))) for i in range(40000)))
    for number in range(1, 6):
        write(folder, f"f{number}.png", png(32, 24, (number * 7, number * 3, number)))
    subprocess.run(["ffmpeg", "-v", "error", "-bitexact", "-i", "f%d.png", "-vf", "loop=3:5:0", "-r", "10", "-c:v", "mjpeg", "-q:v", "3", "a.avi"], cwd=folder, check=True, timeout=60)
    write(folder, "list", "file a.avi\nfile a.avi\n")
    write(folder, "a.svg", "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='30'><rect width='20' height='10' fill='red'/><circle cx='20' cy='20' r='8'/></svg>\n")
    write(folder, "page.ps", "%!PS\n/Times-Roman findfont 24 scalefont setfont 72 700 moveto (a page on the mount) show showpage\n")


media.needs = ("ffmpeg",)


@fixture
def fio(folder):
    subprocess.run(["fio", "--name=v", "--filename=verified", "--ioengine=psync", "--rw=write", "--bs=4k", "--size=8m", "--verify=crc32c", "--do_verify=0", "--randseed=7", "--minimal"],
                   cwd=folder, check=True, timeout=60, stdout=subprocess.DEVNULL)


fio.needs = ("fio",)
