"""PyTorch: load plain and mapped, TorchScript, from_file, DataLoader with its kinds of workers, ImageFolder, safetensors."""

import os
import sys

import numpy as np
import torch
import torch.utils.data
from PIL import Image

from report import W, attempt, path, show

torch.set_num_threads(2)
name = lambda *n: path("tensors", *n)


def loads():
    for options in ({}, {"mmap": True}, {"weights_only": True}, {"mmap": True, "weights_only": True}):
        show(f"load {options}", torch.load(name("state.pt"), **options))
    show("old format", torch.load(name("old.pt")))
    attempt("old format, mapped", torch.load, name("old.pt"), mmap=True)
    with open(name("state.pt"), "rb") as file:
        show("of a file", torch.load(file))
    changed = torch.load(name("state.pt"), mmap=True)["layer3.weight"]
    changed[0] = 5
    show("changed", changed)
    for shared in (False, True):
        attempt(f"from_file {shared}", lambda: torch.from_file(name("raw.bin"), shared=shared, size=60000))
    show("UntypedStorage", bytes(torch.UntypedStorage.from_file(name("raw.bin"), False, 1000)))
    show("script", torch.jit.load(name("script.pt"))(torch.ones(2, 5)).detach())
    show("exported", torch.export.load(name("exported.pt2")).module()(torch.ones(1, 5)).detach())
    torch.save(torch.load(name("state.pt")), os.path.join(W, "again.pt"))
    attempt("save there", torch.save, {}, name("new.pt"))
    attempt("not there", torch.load, name("none.pt"))
    attempt("not one", torch.load, path("models", "labels.json"))
    import safetensors.torch
    show("safetensors", safetensors.torch.load_file(path("models", "a.safetensors")))
    with safetensors.safe_open(path("models", "a.safetensors"), "pt") as file:
        show("safe_open", {key: file.get_tensor(key) for key in sorted(file.keys())})


class Pictures(torch.utils.data.Dataset):
    def __init__(self):
        root = path("media", "folder")
        self.items = sorted((os.path.join(root, kind, file), kind) for kind in os.listdir(root)
                            for file in os.listdir(os.path.join(root, kind)))
        self.raw = np.memmap(name("raw.bin"), "f4", "r")
        self.file = open(name("raw.bin"), "rb")      # its descriptor and offset are shared by forked workers

    def __len__(self):
        return len(self.items)

    def __getitem__(self, at):
        picture = torch.from_numpy(np.asarray(Image.open(self.items[at][0]).convert("RGB")).copy())
        part = np.frombuffer(os.pread(self.file.fileno(), 400, at * 400), "f4")
        return picture, torch.from_numpy(self.raw[at * 100:at * 100 + 100] - part), at

    def __getstate__(self):
        return {"items": self.items}

    def __setstate__(self, state):
        self.__init__()


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        with open(path("models", "corpus.txt"), encoding="utf-8") as file:
            for number, line in enumerate(file):
                if number % worker.num_workers == worker.id:
                    yield line


def workers():
    data = Pictures()
    for options in ({"num_workers": 0}, {"num_workers": 3, "multiprocessing_context": "fork"},
                    {"num_workers": 2, "multiprocessing_context": "spawn"}, {"num_workers": 2, "multiprocessing_context": "forkserver"},
                    {"num_workers": 2, "persistent_workers": True, "prefetch_factor": 4}):
        loader = torch.utils.data.DataLoader(data, batch_size=8, **options)
        for epoch in range(2):
            show(f"{options} {epoch}", [list(batch) for batch in loader])
    shuffled = torch.utils.data.DataLoader(data, batch_size=5, shuffle=True, num_workers=2, generator=torch.Generator().manual_seed(3))
    show("shuffled", [batch[2] for batch in shuffled])
    show("streamed", [line for batch in torch.utils.data.DataLoader(Stream(), batch_size=100, num_workers=2) for line in batch])


def vision():
    import torchvision
    data = torchvision.datasets.ImageFolder(path("media", "folder"), transform=torchvision.transforms.PILToTensor())
    show("ImageFolder", (data.classes, len(data)))
    show("pictures", [data[i][0] for i in range(len(data))])
    for file in ("a.jpg", "a.png"):
        show(f"decode {file}", torchvision.io.decode_image(path("media", file)))
    show("read_file", torchvision.io.read_file(path("media", "a.jpg")))


if __name__ == "__main__":
    for part in sys.argv[1:]:
        globals()[part]()
