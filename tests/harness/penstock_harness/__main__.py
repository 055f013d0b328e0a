"""python3 -m penstock_harness azurite FOLDER CONTAINER -- CMD...

Starts Azurite, uploads FOLDER into CONTAINER, runs CMD with the credentials and PENSTOCK_ENDPOINT
in its environment, stops Azurite. For scripts/quickstart and for trying things by hand."""

import os
import subprocess
import sys

from .azurite import Azurite


def main(argv):
    if len(argv) < 5 or argv[0] != "azurite" or argv[3] != "--":
        sys.exit(__doc__)
    folder, container, command = argv[1], argv[2], argv[4:]
    with Azurite() as server:
        count = server.upload_folder(folder, container)
        print(f"uploaded {count} files to container {container} of Azurite at {server.endpoint}",
              file=sys.stderr)
        environment = dict(os.environ, **server.credentials(), PENSTOCK_ENDPOINT=server.endpoint)
        return subprocess.run(command, env=environment).returncode


sys.exit(main(sys.argv[1:]))
