"""TensorFlow: tf.data over records, lines, fixed records, pictures; tf.io.gfile; SavedModel, checkpoints, Keras."""

import os

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", TF_ENABLE_ONEDNN_OPTS="0")
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from report import W, attempt, path, show  # noqa: E402

tf.config.threading.set_inter_op_parallelism_threads(2)
name = lambda *n: path("flows", *n)
records = sorted(tf.io.gfile.glob(name("*.tfrecord")))
show("glob", records)
show("TFRecord", [r.numpy() for r in tf.data.TFRecordDataset(records)])
show("buffered", sum(len(r.numpy()) for r in tf.data.TFRecordDataset(records, buffer_size=1 << 20, num_parallel_reads=3)))
show("unbuffered", sum(len(r.numpy()) for r in tf.data.TFRecordDataset(records[0], buffer_size=0)))
show("gzip", [r.numpy() for r in tf.data.TFRecordDataset(name("z.tfrecord.gz"), compression_type="GZIP")])
features = {"id": tf.io.FixedLenFeature([], tf.int64), "data": tf.io.FixedLenFeature([], tf.string)}
parsed = tf.data.TFRecordDataset(records).map(lambda r: tf.io.parse_single_example(r, features), num_parallel_calls=2).prefetch(4)
show("parsed", [(int(p["id"]), p["data"].numpy()) for p in parsed])
listed = tf.data.Dataset.list_files(name("*.tfrecord"), shuffle=False)
show("interleaved", [r.numpy() for r in listed.interleave(tf.data.TFRecordDataset, cycle_length=3, block_length=7, num_parallel_calls=2,
                                                          deterministic=True)])
show("text", [line.numpy() for line in tf.data.TextLineDataset(name("lines.txt"))][-3:])
show("fixed", [r.numpy() for r in tf.data.FixedLengthRecordDataset(name("fixed.bin"), 512)])
show("fixed in part", [r.numpy() for r in tf.data.FixedLengthRecordDataset(name("fixed.bin"), 500, header_bytes=200, footer_bytes=1000)])
show("csv", [float(y) for _, y in tf.data.experimental.CsvDataset(name("a.csv"), [tf.float32, tf.float32], header=True)][-5:])
pictures = tf.data.Dataset.list_files(name("pictures/*/*"), shuffle=False)
show("pictures", [tf.io.decode_image(tf.io.read_file(f)).numpy() for f in pictures])
folder = tf.keras.utils.image_dataset_from_directory(name("pictures"), batch_size=4, image_size=(24, 32), shuffle=False, verbose=0)
show("image_dataset_from_directory", [(x.numpy(), y.numpy()) for x, y in folder])
cached = tf.data.TFRecordDataset(records).cache(os.path.join(W, "cache"))
show("cached", [sum(len(r.numpy()) for r in cached) for _ in range(2)])
show("loaded", [int(i) for i in tf.data.Dataset.load(name("saved_data"))])

gfile = tf.io.gfile
show("listdir", sorted(gfile.listdir(path("flows"))))
show("walk", sorted((top, sorted(folders), sorted(files)) for top, folders, files in gfile.walk(name("saved"))))
show("stat", (gfile.stat(name("fixed.bin")).length, gfile.isdir(name("saved")), gfile.exists(name("none"))))
with gfile.GFile(name("fixed.bin"), "rb") as file:
    file.seek(777)
    show("GFile", (file.read(100), file.tell(), file.size()))
gfile.copy(name("fixed.bin"), os.path.join(W, "copied"))
attempt("copy there", gfile.copy, os.path.join(W, "copied"), name("new"))
attempt("makedirs there", gfile.makedirs, name("new/deep"))
attempt("remove there", gfile.remove, name("fixed.bin"))
attempt("not there", lambda: list(tf.data.TFRecordDataset(name("none"))))

x = tf.constant(np.arange(8, dtype="f4").reshape(2, 4))
model = tf.saved_model.load(name("saved"))
show("SavedModel", model(x).numpy())
show("asset", tf.io.read_file(model.asset.asset_path).numpy())
show("checkpoint", tf.train.load_variable(tf.train.latest_checkpoint(name("checkpoint")), "weight/.ATTRIBUTES/VARIABLE_VALUE"))
show("keras", tf.keras.models.load_model(name("model.keras"))(x).numpy())
weights = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3)])
weights.load_weights(name("model.weights.h5"))
show("weights", weights(x).numpy())
attempt("save there", lambda: weights.save(name("new.keras")))
