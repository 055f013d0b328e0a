"""Makes the files that the programs of this folder read: make_data.py KIND FOLDER."""

import json
import os
import pickle
import sys

import numpy as np

RND = np.random.default_rng(4)


def arrays(folder):
    import h5py
    import joblib
    import netCDF4
    import scipy.io
    import scipy.sparse
    import zarr
    big = RND.normal(size=(2000, 300)).astype("f4")
    np.save("big.npy", big)
    np.save("fortran.npy", np.asfortranarray(big[:100]))
    np.save("objects.npy", np.array([{"a": 1}, "b", None], dtype=object), allow_pickle=True)
    np.savez("plain.npz", a=big[:50], b=np.arange(1000))
    np.savez_compressed("packed.npz", a=big[:50], b=np.arange(1000))
    big.tofile("raw.bin")
    np.savetxt("table.txt", big[:200, :10])
    scipy.io.savemat("a.mat", {"x": big[:20], "s": "text", "c": {"inner": np.arange(5)}}, do_compression=True)
    scipy.sparse.save_npz("sparse.npz", scipy.sparse.random(300, 200, 0.05, "csr", random_state=1))
    scipy.io.mmwrite("matrix.mtx", scipy.sparse.random(50, 40, 0.1, random_state=2))
    scipy.io.wavfile.write("sound.wav", 8000, (big[:8000 // 300 + 1].ravel()[:8000] * 1000).astype("i2"))
    with scipy.io.netcdf_file("three.nc", "w") as file:
        file.createDimension("x", 300)
        file.createVariable("v", "f4", ("x",))[:] = big[0]
    joblib.dump({"weights": big, "names": ["a", "b"]}, "model.joblib")
    joblib.dump({"weights": big[:100]}, "packed.joblib", compress=3)
    with h5py.File("a.h5", "w") as file:
        file["plain"] = big
        file.create_dataset("chunks", data=big, chunks=(100, 100), compression="gzip")
        file["group/inner"] = np.arange(100)
        file["group"].attrs["note"] = "attribute"
        file["strings"] = np.array(["α", "b", "c"], dtype=h5py.string_dtype())
        file["external"] = h5py.ExternalLink("other.h5", "/x")
    with h5py.File("other.h5", "w", libver="latest") as file:
        file["x"] = np.arange(77)
        file.create_dataset("grow", data=np.arange(5000), chunks=(100,), maxshape=(None,))
    with netCDF4.Dataset("a.nc", "w") as file:
        file.createDimension("t", None)
        file.createDimension("x", 300)
        file.createVariable("v", "f4", ("t", "x"), zlib=True)[:] = big[:50]
        file.title = "title"
    group = zarr.open_group("a.zarr", mode="w", zarr_format=3)
    group.create_array("x", shape=big.shape, chunks=(500, 100), dtype="f4")[:] = big
    zarr.save_array("two.zarr", big[:100], zarr_format=2)
    with zarr.storage.ZipStore("a.zarr.zip", mode="w") as store:
        zarr.create_array(store, data=big[:100])


def tables(folder):
    import duckdb
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset
    import pyarrow.feather
    import pyarrow.orc
    import pyarrow.parquet
    n = 20000
    frame = pd.DataFrame({"id": np.arange(n), "kind": RND.choice(["a", "b", "ç"], n), "value": RND.normal(size=n),
                          "when": pd.date_range("2020-01-01", periods=n, freq="min"), "flag": np.arange(n) % 3 == 0})
    table = pa.Table.from_pandas(frame)
    frame.to_csv("a.csv", index=False)
    frame.to_csv("a.csv.gz", index=False)
    frame.to_json("a.jsonl", orient="records", lines=True, date_format="iso")
    frame.head(500).to_json("a.json", date_format="iso")
    frame.to_parquet("a.parquet", row_group_size=3000)
    pa.parquet.write_table(table, "zstd.parquet", compression="zstd", data_page_size=10000)
    pa.feather.write_feather(table, "a.feather", compression="uncompressed")
    pa.feather.write_feather(table, "lz4.feather", compression="lz4")
    pa.orc.write_table(table.drop(["flag"]), "a.orc")
    with pa.OSFile("a.stream", "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    packed = pa.dataset.ParquetFileFormat().make_write_options(compression="zstd")
    pa.dataset.write_dataset(table, "parted", format="parquet", partitioning=["kind"], partitioning_flavor="hive",
                             file_options=packed)
    pa.dataset.write_dataset(table.slice(0, 3000), "many", format="parquet", file_options=packed, max_rows_per_file=100,
                             max_rows_per_group=100)
    pa.dataset.write_dataset(table.slice(0, 3000), "csvs", format="csv", max_rows_per_file=500, max_rows_per_group=500)
    frame[["id", "value"]].to_hdf("a.hdf", key="t", format="table")
    frame.head(1000).to_pickle("a.pickle")
    with duckdb.connect("a.duckdb") as base:
        base.execute("create table t as select * from frame")
        base.execute("create index by_id on t(id)")
    os.mkdir("text")
    for i in range(5):
        with open(f"text/part-{i}.txt", "w", encoding="utf-8") as file:
            file.writelines(f"line {j} of {i} wörd\n" for j in range(2000))


def media(folder):
    import cv2
    import imageio.v3
    import pydicom
    import pydicom.uid
    import soundfile
    from PIL import Image
    small = (RND.random((8, 8, 3)) * 255).astype("u1")
    picture = np.array(Image.fromarray(small).resize((320, 240), Image.BICUBIC))
    for name, keys in (("a.jpg", {"quality": 90}), ("progressive.jpg", {"progressive": True}), ("a.png", {}), ("a.tif", {}),
                       ("tiled.tif", {"compression": "tiff_lzw"}), ("a.bmp", {}), ("a.gif", {}), ("a.webp", {}), ("a.ppm", {})):
        Image.fromarray(picture).save(name, **keys)
    frames = [Image.fromarray(np.roll(picture, i * 20, 1)) for i in range(5)]
    frames[0].save("several.tif", save_all=True, append_images=frames[1:])
    frames[0].save("several.gif", save_all=True, append_images=frames[1:])
    for kind in ("cats", "dogs", "ümläut"):
        os.makedirs(f"folder/{kind}")
        for i in range(12):
            Image.fromarray(np.roll(picture, i * 17, 0)).resize((64, 48)).save(f"folder/{kind}/{i:03}.{'jpg' if i % 2 else 'png'}")
    cv2.imwrite("gray.png", picture[:, :, 0])
    imageio.v3.imwrite("volume.tiff", np.stack([picture[:, :, 0]] * 3), extension=".tiff")
    sound = np.sin(np.arange(16000) / 9.0)[:, None] * [0.5, 0.25]
    for name in ("a.wav", "a.flac", "a.ogg"):
        soundfile.write(name, sound, 16000)
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = pydicom.uid.CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.PatientName, data.Rows, data.Columns = "Test^Person", 240, 320
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation, data.SamplesPerPixel, data.PhotometricInterpretation = 7, 0, 1, "MONOCHROME2"
    data.PixelData = picture[:, :, 0].tobytes()
    data.save_as("a.dcm", enforce_file_format=True)
    writer = cv2.VideoWriter("a.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    for frame in frames:
        writer.write(np.array(frame))
    writer.release()


def models(folder):
    import datasets
    import lmdb
    import safetensors.numpy
    import webdataset
    from tokenizers import Tokenizer, models as kinds, pre_tokenizers, trainers
    from transformers import BertConfig, PreTrainedTokenizerFast
    weights = {f"layer.{i}.weight": RND.normal(size=(64, 128 + i)).astype("f4") for i in range(20)}
    weights["half"] = RND.normal(size=(33, 7)).astype("f2")
    safetensors.numpy.save_file(weights, "a.safetensors", metadata={"format": "np"})
    os.mkdir("bert")
    tokenizer = Tokenizer(kinds.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(["the quick brown fox", "jumps over the lazy dog"] * 10,
                                  trainers.WordLevelTrainer(special_tokens=["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
                            sep_token="[SEP]", mask_token="[MASK]").save_pretrained("bert")
    BertConfig(vocab_size=30, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=37,
               max_position_embeddings=64).save_pretrained("bert")
    with open("corpus.txt", "w", encoding="utf-8") as file:
        file.writelines(f"the quick brown fox number {i} jumps\n" for i in range(3000))
    rows = {"id": list(range(3000)), "text": [f"text {i}" * (i % 7) for i in range(3000)], "vector": RND.normal(size=(3000, 16)).tolist()}
    datasets.Dataset.from_dict(rows).save_to_disk("arrow", num_shards=3)
    datasets.Dataset.from_dict(rows).to_parquet("rows.parquet")
    os.mkdir("shards")
    for shard in range(4):
        with webdataset.TarWriter(f"shards/s-{shard:03}.tar", mtime=0) as sink:
            for i in range(50):
                sink.write({"__key__": f"{shard}-{i:04}", "txt": f"sample {shard} {i}", "npy": RND.normal(size=(5, 4)), "cls": i % 5})
    with lmdb.open("base.lmdb", map_size=1 << 28) as env, env.begin(write=True) as turn:
        for i in range(5000):
            turn.put(f"{i:06}".encode(), RND.bytes(200))
    with lmdb.open("one_file.lmdb", subdir=False, map_size=1 << 26) as env, env.begin(write=True) as turn:
        for i in range(300):
            turn.put(f"{i:06}".encode(), f"value {i}".encode() * 50)
    with open("a.pickle", "wb") as file:
        pickle.dump({"weights": weights}, file, protocol=5)
    with open("labels.json", "w", encoding="utf-8") as file:
        json.dump({f"{i}": i for i in range(1000)}, file)


def large(folder):
    """Files larger than what a mapping fills whole (64 MiB), together larger than the arena of the tests."""
    import h5py
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet
    import safetensors.numpy
    values = RND.standard_normal(20_000_000, dtype="f4")
    np.save("a.npy", values)
    safetensors.numpy.save_file({f"t{i:02}": values[i * 1_000_000:(i + 1) * 1_000_000] for i in range(20)}, "a.safetensors")
    table = pa.table({"x": values[:10_000_000], "y": np.arange(10_000_000)})
    pa.parquet.write_table(table, "a.parquet", row_group_size=500_000, compression="zstd")
    pa.feather.write_feather(table, "a.feather", compression="uncompressed")
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("x", data=values.reshape(20000, 1000), chunks=(100, 1000))


def tensors(folder):
    import torch
    generator = torch.Generator().manual_seed(7)
    state = {f"layer{i}.weight": torch.randn(200, 300, generator=generator) for i in range(15)}
    torch.save(state, "state.pt")
    torch.save(state, "old.pt", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(torch.nn.Linear(5, 3)), "script.pt")
    state["layer0.weight"].numpy().tofile("raw.bin")
    exported = torch.export.export(torch.nn.Linear(5, 3), (torch.ones(1, 5),))
    torch.export.save(exported, "exported.pt2")


def flows(folder):
    import tensorflow as tf
    for shard in range(3):
        with tf.io.TFRecordWriter(f"r-{shard}.tfrecord") as writer:
            for i in range(400):
                feature = {"id": tf.train.Feature(int64_list=tf.train.Int64List(value=[shard * 1000 + i])),
                           "data": tf.train.Feature(bytes_list=tf.train.BytesList(value=[RND.bytes(100 + i % 300)]))}
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    with tf.io.TFRecordWriter("z.tfrecord.gz", "GZIP") as writer:
        for i in range(100):
            writer.write(RND.bytes(1000))
    with open("fixed.bin", "wb") as file:
        file.write(RND.bytes(100 * 512))
    with open("lines.txt", "w", encoding="utf-8") as file:
        file.writelines(f"line {i}\n" for i in range(3000))
    with open("a.csv", "w", encoding="utf-8") as file:
        file.write("x,y\n")
        file.writelines(f"{i},{i * 0.5}\n" for i in range(1000))
    os.makedirs("pictures/one"), os.makedirs("pictures/two")
    for i in range(10):
        picture = (RND.random((24, 32, 3)) * 255).astype("u1")
        tf.io.write_file(f"pictures/{'one' if i % 2 else 'two'}/{i}.png", tf.io.encode_png(picture))
        tf.io.write_file(f"pictures/{'one' if i % 2 else 'two'}/{i}j.jpg", tf.io.encode_jpeg(picture))

    class Model(tf.Module):
        def __init__(self):
            self.weight = tf.Variable(RND.normal(size=(4, 3)).astype("f4"))
            self.asset = tf.saved_model.Asset(os.path.join(folder, "lines.txt"))

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
        def __call__(self, x):
            return x @ self.weight

    tf.saved_model.save(Model(), "saved")
    tf.train.Checkpoint(weight=tf.Variable(RND.normal(size=(40, 30)))).save("checkpoint/ck")
    model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3)])
    model.save("model.keras")
    model.save_weights("model.weights.h5")
    tf.data.Dataset.range(500).save("saved_data")


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    globals()[sys.argv[1]](sys.argv[2])
