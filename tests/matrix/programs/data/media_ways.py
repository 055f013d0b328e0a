"""Pillow, OpenCV, imageio, soundfile, librosa's loader, pydicom."""

import glob
import os

import cv2
import imageio.v3
import numpy as np
import pydicom
import soundfile
from PIL import Image, ImageSequence

from report import D, attempt, path, show

M = path("media")
name = lambda *n: os.path.join(M, *n)

for file in ("a.jpg", "progressive.jpg", "a.png", "a.tif", "tiled.tif", "a.bmp", "a.gif", "a.webp", "a.ppm", "gray.png"):
    lazy = Image.open(name(file))
    show(f"Pillow {file}", (lazy.format, lazy.size, lazy.mode))
    show("pixels", np.asarray(lazy.convert("RGB")))
    with open(name(file), "rb") as opened:
        show("of a file", np.asarray(Image.open(opened)))
    show("crop", np.asarray(Image.open(name(file)).crop((10, 10, 50, 40))))
    if not file.endswith(".gif"):
        show(f"OpenCV {file}", cv2.imread(name(file), cv2.IMREAD_UNCHANGED))
    show(f"imageio {file}", imageio.v3.imread(name(file)))
draft = Image.open(name("a.jpg"))
draft.draft("RGB", (80, 60))
show("draft", np.asarray(draft))
for file in ("several.tif", "several.gif"):
    show(file, [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(Image.open(name(file)))])
images = [Image.open(picture) for picture in sorted(glob.glob(name("folder", "*", "*")))]
show("all open at once", [np.asarray(image.convert("RGB")) for image in images])
show("uncompressed, mapped", np.asarray(Image.open(name("a.bmp"))))
attempt("verify", lambda: Image.open(name("a.png")).verify())
attempt("not a picture", Image.open, name("a.wav"))
attempt("save there", lambda: Image.new("RGB", (5, 5)).save(name("new.png")))
attempt("imwrite there", cv2.imwrite, name("new.png"), np.zeros((5, 5), "u1"))
show("imread nothing", cv2.imread(name("none.png")))
video = cv2.VideoCapture(name("a.avi"))
frames = []
while (got := video.read())[0]:
    frames.append(got[1])
show("video", frames)
show("volume", imageio.v3.imread(name("volume.tiff")))
for file in ("a.wav", "a.flac", "a.ogg"):
    show(f"soundfile {file}", soundfile.read(name(file))[0])
    with soundfile.SoundFile(name(file)) as sound:
        sound.seek(5000)
        show("part", sound.read(100))
    show("blocks", sum(len(b) for b in soundfile.blocks(name(file), 1000)))
    with open(name(file), "rb") as opened:
        show("of a file", soundfile.read(opened)[0])
data = pydicom.dcmread(name("a.dcm"))
show("dicom", (str(data.PatientName), data.pixel_array.shape))
show("pixels", data.pixel_array)
show("deferred", pydicom.dcmread(name("a.dcm"), defer_size=1000).pixel_array)
import librosa  # noqa: E402

show("librosa", librosa.load(name("a.flac"), sr=None)[0])
show("duration", librosa.get_duration(path=name("a.wav")))
