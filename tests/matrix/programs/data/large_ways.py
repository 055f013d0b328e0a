"""Parts and wholes of large files, mapped and read: what a mapping has not fetched must never show as zeros."""

import multiprocessing

import duckdb
import h5py
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import safetensors
import safetensors.numpy

from report import path, show

name = lambda file: path("large", file)


def part(number):
    return float(np.abs(mapped[number * 1_000_000:(number + 1) * 1_000_000]).sum(dtype="f8"))


mapped = np.load(name("a.npy"), mmap_mode="r")
if __name__ == "__main__":
    show("points", mapped[np.sort(np.random.default_rng(3).integers(0, len(mapped), 2000))])
    show("a part", mapped[10_000_000:12_000_000])
    with multiprocessing.get_context("fork").Pool(3) as pool:
        show("forked", pool.map(part, range(20)))
    show("all", mapped)
    with safetensors.safe_open(name("a.safetensors"), "np") as file:
        show("some tensors", [file.get_tensor(key) for key in sorted(file.keys())[::3]])
        show("a slice", file.get_slice("t07")[1000:2000])
    show("all tensors", safetensors.numpy.load_file(name("a.safetensors")))
    groups = pq.ParquetFile(name("a.parquet"), memory_map=True)
    show("row groups", [groups.read_row_group(i).column(0).to_numpy() for i in (0, 19, 7)])
    show("table", pq.read_table(name("a.parquet"))["x"].to_numpy())
    feather = pa.feather.read_table(name("a.feather"), memory_map=True)
    show("rows", feather["y"].slice(5_000_000, 1000).to_numpy())
    show("columns", feather["x"].to_numpy())
    for driver in ("sec2", "stdio"):
        with h5py.File(name("a.h5"), "r", driver=driver) as file:
            show(driver, (file["x"][12345], file["x"][::97]))
    show("DuckDB", duckdb.sql(f"select sum(y), min(x) from '{name('a.parquet')}' where y % 3 = 0").fetchall())
    for scan in (pl.scan_parquet(name("a.parquet")), pl.scan_ipc(name("a.feather"))):
        show("Polars", scan.filter(pl.col("y") % 7 == 0).select(pl.col("y").sum(), pl.col("x").max()).collect().rows())
