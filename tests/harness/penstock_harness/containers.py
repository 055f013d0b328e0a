"""Programs in containers: pst_container (tests/harness/container.c) from Python."""

import os
import subprocess
from dataclasses import dataclass, field

# Where a container finds the build, whatever folder it was built in.
BUILD_INSIDE = "/tmp/pst-build"
# The host's id of a container's id 0 (pst_container's default).
OUTER_BASE = 100000


def container_support(program):
    """Why containers cannot be made here, or None."""
    if os.geteuid() != 0:
        return "separate namespaces with different uids need root"
    result = subprocess.run([program, "--", "true"], capture_output=True, text=True)
    return None if result.returncode == 0 else result.stderr.strip()


@dataclass
class Container:
    """How to run things in a container: its user, what it sees, whose network it joins."""
    program: str                                  # path of pst_container
    uid: int = 1000
    binds: list = field(default_factory=list)     # (source, target, read_only)
    netns_of: int = 0                             # pid, 0: a network of its own

    def command(self, argv):
        command = [self.program, "--uid", str(self.uid)]
        for source, target, read_only in self.binds:
            command += ["--bind", f"{source}:{target}" + (":ro" if read_only else "")]
        if self.netns_of:
            command += ["--netns-of", str(self.netns_of)]
        return command + ["--"] + list(argv)


def descendants(pid):
    """Pids below `pid`, seen from here, children before grandchildren."""
    found, queue = [], [pid]
    while queue:
        current = queue.pop(0)
        try:
            for task in os.listdir(f"/proc/{current}/task"):
                with open(f"/proc/{current}/task/{task}/children") as file:
                    queue_more = [int(word) for word in file.read().split()]
                found += queue_more
                queue += queue_more
        except OSError:
            continue
    return found
