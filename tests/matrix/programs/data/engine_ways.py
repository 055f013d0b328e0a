"""DuckDB and Polars."""

import os
import sys

import duckdb
import polars as pl

from report import W, attempt, path, show

T = path("tables")
name = lambda *n: os.path.join(T, *n)


def with_duckdb():
    base = duckdb.connect(config={"threads": 2})
    rows = lambda query: base.execute(query).fetchall()
    total = "select kind, count(*), sum(id), min(value), max(\"when\") from {} group by kind order by kind"
    for source in ("read_parquet('{}/a.parquet')", "read_parquet('{}/zstd.parquet')", "read_parquet('{}/many/*.parquet')",
                   "read_csv('{}/a.csv')", "read_csv('{}/a.csv.gz')", "read_csv('{}/a.csv', parallel=false)",
                   "read_json('{}/a.jsonl')", "'{}/a.parquet'", "read_parquet('{}/parted/**/*.parquet', hive_partitioning=true)"):
        show(source, rows(total.format(source.format(T))))
    show("glob", rows(f"select file from glob('{T}/**') order by file"))
    show("text", rows(f"select sum(length(content)) from read_text('{T}/text/*.txt')"))
    show("blob", rows(f"select size, content from read_blob('{T}/a.parquet')"))
    show("metadata", rows(f"select row_group_id, num_values from parquet_metadata('{T}/a.parquet')"))
    with duckdb.connect(name("a.duckdb"), read_only=True) as own:
        show("database", own.execute(total.format("t")).fetchall())
        show("by index", own.execute("select * from t where id = 777").fetchall())
    base.execute(f"attach '{T}/a.duckdb' as other (read_only)")
    show("attached", rows(total.format("other.t")))
    attempt("to write", duckdb.connect, name("a.duckdb"))
    attempt("not there", duckdb.connect, name("none.duckdb"), read_only=True)
    base.execute(f"copy (select * from '{T}/a.parquet' where id < 100 order by id) to '{W}/out.csv'")
    attempt("copy there", base.execute, f"copy (select 1) to '{T}/new.csv'")


def with_polars():
    show("read_parquet", pl.read_parquet(name("a.parquet")))
    show("ipc", pl.read_ipc(name("a.feather")))
    show("lz4", pl.read_ipc(name("lz4.feather")))
    show("stream", pl.read_ipc_stream(name("a.stream")))
    show("csv", pl.read_csv(name("a.csv")))
    show("csv gz", pl.read_csv(name("a.csv.gz")))
    show("ndjson", pl.read_ndjson(name("a.jsonl")))
    for engine in ("in-memory", "streaming"):
        collect = lambda frame: frame.sort("id").collect(engine=engine)
        show(f"scan_parquet {engine}", collect(pl.scan_parquet(name("a.parquet")).filter(pl.col("id") > 15000)))
        show("many", collect(pl.scan_parquet(name("many", "*.parquet"))))
        show("folder", collect(pl.scan_parquet(name("parted"), hive_partitioning=True)))
        show("scan_csv", collect(pl.scan_csv(name("a.csv")).select("id", "value")))
        show("scan_ipc", collect(pl.scan_ipc(name("a.feather")).head(1000)))
        show("scan_ndjson", collect(pl.scan_ndjson(name("a.jsonl"))))
    with open(name("a.parquet"), "rb") as file:
        show("of a file", pl.read_parquet(file))
    show("schema", str(pl.read_parquet_schema(name("a.parquet"))))
    pl.scan_csv(name("a.csv")).sink_parquet(os.path.join(W, "out.parquet"))
    attempt("sink there", lambda: pl.scan_csv(name("a.csv")).sink_csv(name("new.csv")))
    attempt("not there", lambda: pl.scan_parquet(name("none.parquet")).collect())


if __name__ == "__main__":      # workers that are spawned import this file
    for part in sys.argv[1:]:
        globals()["with_" + part]()
