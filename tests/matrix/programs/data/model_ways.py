"""safetensors, tokenizers, transformers' configuration and tokenizer, datasets, webdataset, lmdb."""

import json
import os
import pickle
import sys

os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=os.path.join(os.environ["W"], "hf"), HF_DATASETS_DISABLE_PROGRESS_BARS="1")
import numpy as np  # noqa: E402

from report import W, attempt, path, show  # noqa: E402

M = path("models")
name = lambda *n: os.path.join(M, *n)


def with_safetensors():
    import safetensors
    import safetensors.numpy
    show("load_file", safetensors.numpy.load_file(name("a.safetensors")))
    with safetensors.safe_open(name("a.safetensors"), "np") as file:
        show("keys", sorted(file.keys()))
        show("metadata", file.metadata())
        show("one by one", {key: file.get_tensor(key) for key in sorted(file.keys())})
        show("slice", file.get_slice("layer.3.weight")[10:20, 5:])
    with open(name("a.safetensors"), "rb") as file:
        show("load", safetensors.numpy.load(file.read()))
    attempt("not one", safetensors.numpy.load_file, name("labels.json"))
    attempt("not there", safetensors.numpy.load_file, name("none"))
    attempt("write there", safetensors.numpy.save_file, {"a": np.zeros(3)}, name("new.safetensors"))
    show("pickle", pickle.load(open(name("a.pickle"), "rb")))


def with_transformers():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import AutoConfig, AutoTokenizer
    show("config", AutoConfig.from_pretrained(name("bert")).to_dict()["hidden_size"])
    tokenizer = AutoTokenizer.from_pretrained(name("bert"))
    show("tokens", tokenizer(["the quick dog", "fox"], padding=True)["input_ids"])
    show("tokenizers", Tokenizer.from_file(name("bert", "tokenizer.json")).encode("the lazy fox").ids)
    tokenizer.save_pretrained(os.path.join(W, "saved"))
    trained = Tokenizer(models.BPE(unk_token="[UNK]"))
    trained.pre_tokenizer = pre_tokenizers.Whitespace()
    trained.train([name("corpus.txt")], trainers.BpeTrainer(vocab_size=60, show_progress=False, special_tokens=["[UNK]"]))
    show("trained", sorted(trained.get_vocab()))
    attempt("not there", AutoConfig.from_pretrained, name("none"))


def with_datasets():
    import datasets
    data = datasets.load_from_disk(name("arrow"))
    show("load_from_disk", [data[i]["text"] for i in range(0, len(data), 97)])
    show("vectors", np.asarray(data.with_format("numpy")["vector"][:]))
    show("in memory", len(datasets.load_from_disk(name("arrow"), keep_in_memory=True)))
    show("mapped to", data.map(lambda row: {"twice": row["id"] * 2}, cache_file_name=os.path.join(W, "cache.arrow"))["twice"][:10])
    show("shuffled", data.shuffle(seed=3, indices_cache_file_name=os.path.join(W, "order.arrow"))["id"][:10])
    show("by workers", data.map(lambda row: {"n": len(row["text"])}, num_proc=2, cache_file_name=os.path.join(W, "many.arrow"))["n"][-5:])
    show("load parquet", datasets.load_dataset("parquet", data_files=name("rows.parquet"), split="train")["text"][:50])
    show("load text", datasets.load_dataset("text", data_files=name("corpus.txt"), split="train")["text"][-1])
    # To its end: a process that ends while Arrow's threads read ahead for Python is aborted, now and then, anywhere.
    show("streamed", [row["id"] for row in datasets.load_dataset("parquet", data_files=name("rows.parquet"), split="train",
                                                                 streaming=True)])
    attempt("save there", data.save_to_disk, name("new"))


def with_webdataset():
    import webdataset
    shards = [name("shards", f"s-{i:03}.tar") for i in range(4)]
    data = webdataset.WebDataset(shards, shardshuffle=False).decode()
    show("samples", [(s["__key__"], s["txt"], s["npy"], s["cls"]) for s in data])
    braces = webdataset.WebDataset(name("shards", "s-{000..003}.tar"), shardshuffle=False).to_tuple("txt", "cls")
    show("braces", [s for s in braces])
    piped = webdataset.WebDataset(f"pipe:cat {shards[0]}", shardshuffle=False)
    show("piped", [s["txt"] for s in piped])
    local = webdataset.WebDataset("file:" + shards[1], shardshuffle=False)
    show("file:", [s["txt"] for s in local])


def with_lmdb():
    import lmdb
    with lmdb.open(name("base.lmdb"), readonly=True, lock=False) as env, env.begin() as turn:
        show("entries", turn.stat()["entries"])
        show("get", [turn.get(f"{i:06}".encode()) for i in range(0, 5000, 37)])
        show("cursor", [key + value for key, value in turn.cursor()])
    for options in ({"readahead": False}, {"max_readers": 300}, {"map_size": 1 << 24}):
        with lmdb.open(name("base.lmdb"), readonly=True, lock=False, **options) as env, env.begin(buffers=True) as turn:
            show(f"{options}", bytes(turn.get(b"000100")))
    with lmdb.open(name("one_file.lmdb"), subdir=False, readonly=True, lock=False) as env, env.begin() as turn:
        show("one file", [value for _, value in turn.cursor()])
    attempt("with locks", lambda: lmdb.open(name("base.lmdb"), readonly=True).begin().get(b"000001"))
    attempt("to write", lambda: lmdb.open(name("base.lmdb")).begin(write=True))
    if not os.fork():
        with lmdb.open(name("base.lmdb"), readonly=True, lock=False) as env, env.begin() as turn:
            os._exit(0 if turn.get(b"000001") else 1)
    show("child", os.wait()[1])


if __name__ == "__main__":      # workers that are spawned import this file
    for part in sys.argv[1:]:
        globals()["with_" + part]()
