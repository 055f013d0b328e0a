"""Spark in local mode: Parquet, JSON, CSV, ORC, text, binary files and partitions from file://; Hadoop's file system; what is written elsewhere."""

import os
import sys

from pyspark.sql import SparkSession, functions as F

from report import W, attempt, path, show

os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
T = "file://" + path("tables")
spark = (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
         .config("spark.sql.parquet.compression.codec", "zstd")      # snappy's library takes a machine with musl for a musl machine
        .config("spark.sql.shuffle.partitions", "3")
         .config("spark.driver.memory", "1g").config("spark.local.dir", os.path.join(W, "local"))
         .config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
         .config("spark.sql.warehouse.dir", os.path.join(W, "warehouse")).getOrCreate())
spark.sparkContext.setLogLevel("OFF")


def rows(frame):
    return sorted(str(row.asDict()) for row in frame.collect())


def totals(frame):
    return rows(frame.groupBy("kind").agg(F.count("*"), F.sum("id"), F.min("value")))


for kind, source in (("parquet", "zstd.parquet"), ("parquet", "many"), ("parquet", "parted"),
                     ("json", "a.jsonl"), ("orc", "a.orc")):
    show(f"{kind} {source}", totals(spark.read.format(kind).load(f"{T}/{source}")))
show("csv", totals(spark.read.csv(f"{T}/a.csv", header=True, inferSchema=True)))
show("csv gz", totals(spark.read.csv(f"{T}/a.csv.gz", header=True)))
show("csv folder", spark.read.csv(f"{T}/csvs", header=True).count())
show("text", rows(spark.read.text(f"{T}/text"))[::999])
show("whole text", sorted((n, len(t)) for n, t in spark.sparkContext.wholeTextFiles(f"{T}/text").collect()))
show("textFile", spark.sparkContext.textFile(f"{T}/text/part-*.txt", 7).count())
show("binary", sorted((n, len(b)) for n, b in spark.sparkContext.binaryFiles(f"{T}/text").collect()))
show("binaryFile", rows(spark.read.format("binaryFile").option("pathGlobFilter", "*.txt").load(f"{T}/text").select("path", "length")))
show("glob", spark.read.parquet(f"{T}/many/*.parquet").count())
show("without scheme", spark.read.parquet(path("tables", "zstd.parquet")).count())
show("pruned", rows(spark.read.parquet(f"{T}/parted").where("kind = 'b' and id < 200")))
show("sql", rows(spark.sql(f"select count(*) from parquet.`{T}/zstd.parquet` where id % 2 = 0")))
show("python function", rows(spark.read.parquet(f"{T}/many").select(F.udf(lambda i: str(i % 7))("id").alias("x")).groupBy("x").count()))
folder = path("tables", "text")      # workers know nothing of this folder's modules
show("python reads", spark.sparkContext.parallelize(range(4), 2).map(
    lambda i: len(open(f"{folder}/part-{i}.txt", encoding="utf-8").read())).collect())
spark.read.parquet(f"{T}/zstd.parquet").where("id < 3000").write.partitionBy("kind").parquet("file://" + os.path.join(W, "out"))
show("written", totals(spark.read.parquet("file://" + os.path.join(W, "out"))))
spark.read.json(f"{T}/a.jsonl").coalesce(1).write.csv("file://" + os.path.join(W, "csv"))
show("written csv", spark.read.csv("file://" + os.path.join(W, "csv")).count())
attempt("not there", lambda: spark.read.parquet(f"{T}/none").count())


def refused():
    try:
        spark.range(3).write.parquet(f"{T}/new")
    except Exception as error:      # Py4JJavaError and its like
        return "Mkdirs failed" in str(error) or "Read-only" in str(error) or type(error).__name__
    return "written"


show("write there", refused())
files = spark._jvm.org.apache.hadoop.fs.FileSystem.getLocal(spark._jsc.hadoopConfiguration())
show("hadoop", sorted((s.getPath().toString(), s.getLen(), s.isDirectory()) for s in files.listStatus(spark._jvm.org.apache.hadoop.fs.Path(T))))
spark.stop()
