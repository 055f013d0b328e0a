"""pandas, pyarrow, dask frames, fsspec."""

import os
import sys

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.feather
import pyarrow.fs
import pyarrow.json
import pyarrow.orc
import pyarrow.parquet as pq

from report import W, attempt, path, show

T = path("tables")
name = lambda *n: os.path.join(T, *n)


def with_pandas():
    for engine in ("c", "python", "pyarrow"):
        show(f"csv {engine}", pd.read_csv(name("a.csv"), engine=engine))
    show("csv mapped", pd.read_csv(name("a.csv"), memory_map=True))
    show("csv gz", pd.read_csv(name("a.csv.gz")))
    show("csv in chunks", [len(part) for part in pd.read_csv(name("a.csv"), chunksize=3000)])
    with open(name("a.csv"), "rb") as file:
        file.readline()
        show("csv of a file", pd.read_csv(file, header=None, nrows=100))
    for engine in ("pyarrow",):
        show(f"parquet {engine}", pd.read_parquet(name("a.parquet"), engine=engine))
        show("columns", pd.read_parquet(name("a.parquet"), columns=["value"], filters=[("id", "<", 5000)]))
    show("parquet folder", pd.read_parquet(name("parted")).sort_values("id", ignore_index=True))
    show("feather", pd.read_feather(name("a.feather")))
    show("orc", pd.read_orc(name("a.orc")))
    show("json", pd.read_json(name("a.json")))
    show("json lines", pd.read_json(name("a.jsonl"), lines=True))
    show("json in chunks", [len(c) for c in pd.read_json(name("a.jsonl"), lines=True, chunksize=5000)])
    show("hdf", pd.read_hdf(name("a.hdf"), "t"))
    show("hdf where", pd.read_hdf(name("a.hdf"), "t", where="index < 100"))
    show("pickle", pd.read_pickle(name("a.pickle")))
    frame = pd.read_parquet(name("a.parquet"))
    frame.to_parquet(os.path.join(W, "out.parquet"))
    frame.to_csv(os.path.join(W, "out.csv"))
    attempt("write there", frame.to_csv, name("new.csv"))
    attempt("write a parquet there", frame.to_parquet, name("new.parquet"))
    attempt("hdf to write", pd.HDFStore, name("a.hdf"), "a")


def with_pyarrow():
    for mapped in (False, True):
        show(f"parquet {mapped}", pq.read_table(name("a.parquet"), memory_map=mapped))
        file = pq.ParquetFile(name("zstd.parquet"), memory_map=mapped, pre_buffer=not mapped)
        show("groups", [file.read_row_group(i, ["value"]) for i in range(file.num_row_groups)])
        show("batches", sum(len(b) for b in file.iter_batches(777)))
        show("feather", pa.feather.read_table(name("a.feather"), memory_map=mapped))
        show("lz4", pa.feather.read_table(name("lz4.feather"), memory_map=mapped))
    show("metadata", pq.read_metadata(name("a.parquet")).num_rows)
    show("dataset", pa.dataset.dataset(name("parted"), partitioning="hive").to_table().sort_by("id"))
    show("filtered", pa.dataset.dataset(name("parted"), partitioning="hive").to_table(
        filter=pa.dataset.field("kind") == "b", columns=["id"]).sort_by("id"))
    many = pa.dataset.dataset(name("many"))
    show("files", len(many.files))
    show("many", many.to_table(use_threads=True).sort_by("id"))
    show("head", many.head(5).num_rows)
    show("csv dataset", pa.dataset.dataset(name("csvs"), format="csv").to_table().sort_by("id"))
    show("csv", pa.csv.read_csv(name("a.csv")))
    show("csv stream", sum(len(b) for b in pa.csv.open_csv(name("a.csv"))))
    show("json", pa.json.read_json(name("a.jsonl")))
    show("orc", pa.orc.ORCFile(name("a.orc")).read())
    with pa.memory_map(name("a.feather")) as source:
        show("ipc mapped", pa.ipc.open_file(source).read_all())
        show("map", (source.size(), source.seek(100), source.tell()))
    with pa.OSFile(name("a.stream")) as source:
        show("ipc stream", pa.ipc.open_stream(source).read_all())
    with pa.memory_map(name("a.stream")) as source:
        show("ipc stream mapped", pa.ipc.open_stream(source).read_all())
    attempt("map to write", pa.memory_map, name("a.feather"), "r+")
    with pa.OSFile(name("a.parquet")) as source:
        show("read_at", source.read_at(1000, 500))
        show("fileno", os.fstat(source.fileno()).st_size)
    with pa.input_stream(name("a.csv.gz")) as source:
        show("input_stream", source.read(1000))
    for mapped in (False, True):
        local = pa.fs.LocalFileSystem(use_mmap=mapped)
        infos = local.get_file_info(pa.fs.FileSelector(name(""), recursive=True))
        show(f"selector {mapped}", sorted((i.path, str(i.type), i.size if i.is_file else 0) for i in infos))
        with local.open_input_file(name("a.parquet")) as file:
            show("input file", file.read_at(10000, 77))
        with local.open_input_stream(name("a.csv")) as file:
            show("input stream", file.read(12345))
        show("missing", str(local.get_file_info(name("none")).type))
        attempt("output", local.open_output_stream, name("new"))
        attempt("create_dir", local.create_dir, name("new"))
        attempt("delete", local.delete_file, name("a.csv"))
        local.copy_file(name("a.parquet"), os.path.join(W, f"copy{mapped}"))


def with_fsspec():
    local = fsspec.filesystem("file")
    show("find", sorted(local.find(T)))
    show("glob", sorted(local.glob(name("**", "*.parquet"))))
    show("info", {k: v for k, v in local.info(name("a.csv")).items() if k in ("size", "type", "islink", "mode", "mtime")})
    show("du", local.du(T) > 0)
    show("cat", local.cat_ranges([name("a.csv")] * 3, [0, 10, 5000], [10, 200, 9000]))
    local.get(name("many"), os.path.join(W, "many"), recursive=True)
    with fsspec.open(name("a.csv.gz"), compression="gzip") as file:
        show("open", file.read(500))
    with fsspec.open("simplecache::file://" + name("a.json"), simplecache={
            "cache_storage": os.path.join(W, "simple"), "same_names": True}) as file:
        show("simplecache", file.read())


def with_dask():
    import dask.dataframe as dd
    show("parquet", dd.read_parquet(name("many")).value.sum().compute(scheduler="threads"))
    show("csv", dd.read_csv(name("a.csv"), blocksize=200000).groupby("kind").value.mean().compute(scheduler="threads"))
    import dask.bag
    show("bag", dask.bag.read_text(name("text", "*.txt")).count().compute(scheduler="processes", num_workers=2))


if __name__ == "__main__":      # workers that are spawned import this file
    for part in sys.argv[1:]:
        globals()["with_" + part]()
