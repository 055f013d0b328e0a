"""What the end-to-end tests start and stop: Azurite, the sidecar, programs through the shim,
containers. Python's standard library only; everything is stopped by its own pid."""

from .azurite import Azurite
from .containers import Container, container_support
from .data import BLOB_PREFIX, LONG_NAME, STRANGE_NAMES, Dataset, make_dataset
from .dfs_server import DfsServer
from .job import Job, Mount, build_dir, repo_dir
from .list_server import ListServer

__all__ = ["BLOB_PREFIX", "LONG_NAME", "STRANGE_NAMES", "Azurite", "Container", "Dataset", "DfsServer", "Job", "ListServer",
           "Mount", "build_dir", "container_support", "make_dataset", "repo_dir"]
