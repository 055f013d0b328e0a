"""The Python data stack, ML frameworks and Spark, in environments that environments.py makes from PyPI."""

import os
import subprocess

import data_python
import environments
from case import case as any_case, fixture

PROGRAMS = os.path.join(data_python.PROGRAMS, "data")
DATA, TORCH, FLOW = (environments.python_of(name) for name in ("data", "torch", "tensorflow"))


def made_by(kind, python):
    """A fixture that make_data.py fills, with the libraries whose files they are."""
    def build(folder):
        environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", HF_HUB_OFFLINE="1")
        result = subprocess.run([python, os.path.join(PROGRAMS, "make_data.py"), kind, folder], env=environment, capture_output=True)
        if result.returncode != 0:
            raise RuntimeError(f"make_data.py {kind}:\n{result.stderr.decode()[-3000:]}")
    build.__name__, build.needs = kind, (python,)
    return fixture(build)


for kind in ("arrays", "large", "tables", "media", "models"):
    made_by(kind, DATA)
made_by("tensors", TORCH)
made_by("flows", FLOW)


def case(name, python, program, data, **keys):
    keys.setdefault("az", True)
    keys.setdefault("deadline_s", 240)
    # Program and interpreter are the machine's own, which a container of the harness does not show.
    any_case(name, f"{python} {PROGRAMS}/{program}", needs=(python,), data=data, full=True, containers=False, status=0,
             stderr=False, clean=((r"/\.tmp\w+", "/.tmp"),), env={"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}, **keys)


for part in ("numpy", "scipy", "containers", "dask"):
    case(f"data_array_{part}", DATA, f"array_ways.py {part}", "arrays")
case("data_large", DATA, "large_ways.py", "large")
for part in ("pandas", "pyarrow", "fsspec", "dask"):
    case(f"data_{part}", DATA, f"table_ways.py {part}", "tables", az=part != "fsspec")
case("data_duckdb", DATA, "engine_ways.py duckdb", "tables")
case("data_polars", DATA, "engine_ways.py polars", "tables")
case("data_media", DATA, "media_ways.py", "media")
for part in ("safetensors", "transformers", "webdataset", "lmdb"):
    case(f"data_{part}", DATA, f"model_ways.py {part}", "models")
# Its cache's names are made of the files' times.
case("data_datasets", DATA, "model_ways.py datasets", "models", ignore=("^hf/",))
for part in ("loads", "workers", "vision"):
    case(f"torch_{part}", TORCH, f"torch_ways.py {part}", "tensors media models")
case("tensorflow", FLOW, "tensorflow_ways.py", "flows", ignore=("^copied$",))
case("spark", DATA, "spark_ways.py", "tables", ignore=("^local", "^out", "^csv"))
