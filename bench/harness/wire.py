"""The cases of bench/transport: ours, parallel curl and a bare libcurl program take turns on one nginx."""

import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

OBJECT_BYTES = 64 << 20
OBJECTS = 4
RANGE_BYTES = 4 << 20
SMALL_BYTES = 128 << 10
SMALL_OBJECTS = 512
CONCURRENCY = 16
BAR_RATE = 0.9
BAR_CPU = 1.2

NGINX = """
daemon off;
master_process off;
error_log {folder}/error.log;
pid {folder}/nginx.pid;
events {{ worker_connections 512; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  ssl_certificate {folder}/server.pem;
  ssl_certificate_key {folder}/server.key;
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl;
    listen 127.0.0.1:{tls2} ssl http2;
    root {folder}/data;
  }}
}}
"""


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Nginx:
    """One worker that serves a folder of objects on tmpfs; a context manager."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="pst-nginx-", dir="/dev/shm")
        os.chmod(self.folder, 0o755)
        self.objects = {"large": [], "small": []}
        self._write("large", OBJECTS, OBJECT_BYTES)
        self._write("small", SMALL_OBJECTS, SMALL_BYTES)
        self._certificate()
        self.plain, self.tls, self.tls2 = free_ports(3)
        config = os.path.join(self.folder, "nginx.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(NGINX.format(folder=self.folder, plain=self.plain, tls=self.tls,
                                    tls2=self.tls2))
        self._process = subprocess.Popen(["nginx", "-c", config], stdin=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.tls)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("nginx does not answer")

    def _write(self, kind, count, size):
        folder = os.path.join(self.folder, "data", "account", "container", kind)
        os.makedirs(folder)
        for number in range(count):
            name = f"{kind}/{number:04d}"
            with open(os.path.join(folder, f"{number:04d}"), "wb") as file:
                file.write(os.urandom(size))
            self.objects[kind].append((name, size))

    def _certificate(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
             "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
             f"{self.folder}/server.key", "-out", f"{self.folder}/server.pem"],
            check=True, stderr=subprocess.DEVNULL)

    @property
    def ca(self):
        return os.path.join(self.folder, "server.pem")

    def url(self, how):
        port = {"plain": self.plain, "tls": self.tls, "http2": self.tls2}[how]
        return f"{'http' if how == 'plain' else 'https'}://127.0.0.1:{port}/account/container"

    def ranges(self, kind):
        return [(name, at, min(at + RANGE_BYTES, size) - 1)
                for name, size in self.objects[kind] for at in range(0, size, RANGE_BYTES)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


def run(command, env=None):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    done = subprocess.run(command, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120, check=False)
    seconds = time.monotonic() - begin
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stderr.decode()[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, done.stdout


class Clients:
    """Each gives (bytes a second, processor seconds for a GB)."""

    def __init__(self, server, bin_folder, kind, how, rounds_inside):
        self.server, self.bin, self.kind, self.how = server, bin_folder, kind, how
        self.inside = rounds_inside
        self.bytes = sum(size for _, size in server.objects[kind]) * rounds_inside
        self.env = {"WIRE_CA": server.ca, "WIRE_HTTP": "2" if how == "http2" else "1.1"}

    def _file(self, lines):
        path = os.path.join(self.server.folder, f"{self.kind}-{self.how}-list")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return path

    def _own(self, command, env=None):
        found = json.loads(run(command, {**self.env, **(env or {})})[2])
        return found["bytes"] / found["seconds"], found["cpu_seconds"] / (found["bytes"] / 1e9)

    def ours(self):
        objects = self._file([f"{size} {name}" for name, size in self.server.objects[self.kind]])
        return self._own([str(self.bin / "transport_bench"), self.server.url(self.how), objects,
                          str(RANGE_BYTES), str(2 * CONCURRENCY), str(self.inside)])

    def _bare(self, env):
        base = self.server.url(self.how)
        requests = self._file([f"{base}/{name}\tRange: bytes={first}-{last}"
                               for name, first, last in self.server.ranges(self.kind)])
        return self._own([str(self.bin / "wire_bare"), requests, str(CONCURRENCY),
                          str(self.inside)], env)

    def bare(self):
        return self._bare({})

    def bare_copying(self):
        return self._bare({"WIRE_COPY": "1"})

    def curl(self):
        base = self.server.url(self.how)
        lines = []
        for _ in range(self.inside):
            for name, first, last in self.server.ranges(self.kind):
                lines += [f'url = "{base}/{name}"', 'output = "/dev/null"',
                          f'range = "{first}-{last}"', "next"]
        settings = [f'cacert = "{self.server.ca}"', "silent",
                    "http2" if self.how == "http2" else "http1.1"]
        whole = []
        for i in range(0, len(lines), 4):
            whole += settings + lines[i:i + 3] + (["next"] if i + 4 < len(lines) else [])
        seconds, cpu, _ = run(["curl", "--parallel", "--parallel-immediate", "--parallel-max",
                               str(CONCURRENCY), "--config", self._file(whole)])
        return self.bytes / seconds, cpu / (self.bytes / 1e9)


def measure(bin_folder, rounds, say):
    results = []
    with Nginx() as server:
        for kind, inside in (("large", 8), ("small", 16)):
            for how in ("plain", "tls", "http2"):
                results.append(case(Clients(server, bin_folder, kind, how, inside), rounds))
                say(json.dumps(results[-1]))
    return results


def case(clients, rounds):
    names = ("curl", "ours", "bare", "bare_copying")
    seen = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            seen[name].append(getattr(clients, name)())
    rate = {name: statistics.median(rate for rate, _ in each) for name, each in seen.items()}
    cpu = {name: statistics.median(cpu for _, cpu in each) for name, each in seen.items()}
    rate_ratio, cpu_ratio = rate["ours"] / rate["curl"], cpu["ours"] / cpu["curl"]
    judged = clients.how != "http2"
    return {"case": f"{clients.kind}, {clients.how}",
            "gb_per_s": {name: round(value / 1e9, 3) for name, value in rate.items()},
            "cpu_s_per_gb": {name: round(value, 3) for name, value in cpu.items()},
            "rate_ratio": round(rate_ratio, 3), "cpu_ratio": round(cpu_ratio, 3),
            "bar": f">= {BAR_RATE}, <= {BAR_CPU}" if judged else "-",
            "pass": rate_ratio >= BAR_RATE and cpu_ratio <= BAR_CPU if judged else None}


def show(results):
    lines = ["| case | ours GB/s | curl GB/s | bare GB/s | ratio | ours CPU s/GB | curl | bare | "
             "bare that copies | ratio | bars | |", "|" + "---|" * 12]
    for result in results:
        rate, cpu = result["gb_per_s"], result["cpu_s_per_gb"]
        mark = {True: "PASS", False: "FAIL", None: "-"}[result["pass"]]
        lines.append(
            f"| {result['case']} | {rate['ours']} | {rate['curl']} | {rate['bare']} | "
            f"{result['rate_ratio']} | {cpu['ours']} | {cpu['curl']} | {cpu['bare']} | "
            f"{cpu['bare_copying']} | {result['cpu_ratio']} | {result['bar']} | {mark} |")
    return "\n".join(lines)
