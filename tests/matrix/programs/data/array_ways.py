"""numpy, scipy, joblib, h5py, netCDF4, zarr, dask arrays."""

import os
import subprocess
import sys

import h5py
import joblib
import netCDF4
import numpy as np
import scipy.io
import scipy.sparse
import zarr

from report import D, attempt, path, show

A = path("arrays")
name = lambda *n: os.path.join(A, *n)


def with_numpy():
    for file in ("big.npy", "fortran.npy"):
        for mode in (None, "r", "c"):
            loaded = np.load(name(file), mmap_mode=mode)
            show(f"{file} {mode}", loaded[:])
            show("parts", loaded[::7, 3])
            if mode == "c":
                loaded[5] = 1
                show("changed", loaded)
        attempt(f"{file} r+", np.load, name(file), mmap_mode="r+")
    show("objects", np.load(name("objects.npy"), allow_pickle=True).tolist())
    for file in ("plain.npz", "packed.npz"):
        with np.load(name(file)) as packed:
            show(file, {key: packed[key] for key in packed})
        show("mapped", np.load(name(file), mmap_mode="r")["a"])
    show("fromfile", np.fromfile(name("raw.bin"), "f4"))
    show("fromfile in part", np.fromfile(name("raw.bin"), "f4", count=1000, offset=4096))
    with open(name("raw.bin"), "rb") as file:
        file.seek(400)
        show("from a file", np.fromfile(file, "f4", 77))
        show("then", file.read(10))
        show("then more", np.fromfile(file, "u1", 5))
        show("tell", file.tell())
    for mode in ("r", "c"):
        show(f"memmap {mode}", np.memmap(name("raw.bin"), "f4", mode, shape=(2000, 300)))
        show("offset", np.memmap(name("raw.bin"), "f4", mode, offset=12345 * 4, shape=(100,)))
    attempt("memmap r+", np.memmap, name("raw.bin"), "f4", "r+")
    show("loadtxt", np.loadtxt(name("table.txt")))
    show("genfromtxt", np.genfromtxt(name("table.txt")))
    show("open_memmap", np.lib.format.open_memmap(name("big.npy"), mode="r")[1999])


def with_scipy():
    show("loadmat", scipy.io.loadmat(name("a.mat"))["x"])
    show("whosmat", scipy.io.whosmat(name("a.mat")))
    show("sparse", scipy.sparse.load_npz(name("sparse.npz")).toarray())
    show("mmread", scipy.io.mmread(name("matrix.mtx")).toarray())
    show("wavfile", scipy.io.wavfile.read(name("sound.wav"))[1])
    show("wavfile mapped", scipy.io.wavfile.read(name("sound.wav"), mmap=True)[1])
    for mapped in (True, False):
        with scipy.io.netcdf_file(name("three.nc"), "r", mmap=mapped) as file:
            show(f"netcdf_file {mapped}", file.variables["v"][:].copy())
    for mode in (None, "r", "c"):
        show(f"joblib {mode}", joblib.load(name("model.joblib"), mmap_mode=mode))
    show("joblib packed", joblib.load(name("packed.joblib")))
    mapped = joblib.load(name("model.joblib"), mmap_mode="r")["weights"]
    show("joblib workers", joblib.Parallel(n_jobs=2)(joblib.delayed(np.sum)(mapped[i::4]) for i in range(4)))
    show("joblib threads", joblib.Parallel(n_jobs=3, prefer="threads")(joblib.delayed(joblib.load)(name("model.joblib")) for _ in range(3)))


def with_containers():
    for options in ({}, {"driver": "sec2"}, {"driver": "stdio"}, {"driver": "core", "backing_store": False}, {"locking": True},
                    {"locking": False}, {"locking": "best-effort"}, {"rdcc_nbytes": 1 << 20}, {"page_buf_size": 0}):
        with h5py.File(name("a.h5"), "r", **options) as file:
            show(f"h5py {options}", [file["plain"][:], file["chunks"][150:250, 50:150], file["group/inner"][::3],
                                     file["group"].attrs["note"], file["strings"].asstr()[:].tolist(), file["external"][:]])
    with h5py.File(open(name("a.h5"), "rb"), "r") as file:
        show("h5py of a file", file["chunks"][:])
    attempt("h5py swmr", lambda: h5py.File(name("other.h5"), "r", swmr=True)["grow"][:])
    for mode in ("r+", "a", "w", "x"):
        attempt(f"h5py {mode}", h5py.File, name("a.h5"), mode)
    with h5py.File(name("a.h5"), "r") as one, h5py.File(name("a.h5"), "r") as other:
        show("twice", one["plain"][3] == other["plain"][3])
        show("another process", subprocess.run([sys.executable, "-c", f"import h5py\nprint(h5py.File({name('a.h5')!r}, 'r')['plain'][0, 0])"],
                                               capture_output=True).stdout)
    with netCDF4.Dataset(name("a.nc")) as file:
        show("netCDF4", (file.title, file.variables["v"].shape))
        show("values", np.asarray(file.variables["v"][10:20]))
    show("netCDF4 classic", np.asarray(netCDF4.Dataset(name("three.nc")).variables["v"][:]))
    show("zarr", zarr.open_group(name("a.zarr"), mode="r")["x"][:])
    show("zarr part", zarr.open_group(name("a.zarr"), mode="r")["x"][100:600, 5])
    show("zarr 2", zarr.open_array(name("two.zarr"), mode="r")[:])
    show("zarr zip", zarr.open_array(zarr.storage.ZipStore(name("a.zarr.zip"), mode="r"), mode="r")[:])
    attempt("zarr to write", lambda: zarr.open_group(name("a.zarr"), mode="r+")["x"].__setitem__(0, 1))


def with_dask():
    import dask.array
    show("dask", dask.array.from_zarr(name("a.zarr"), component="x").sum().compute(scheduler="threads"))
    show("dask of a map", dask.array.from_array(np.load(name("big.npy"), mmap_mode="r"), chunks=500).mean(0).compute(scheduler="processes"))


if __name__ == "__main__":      # workers that are spawned import this file
    for part in sys.argv[1:]:
        globals()["with_" + part]()
