"""A proxy for https: CONNECT only, with or without a password. `targets` is where it was asked to go."""

import base64
import select
import socket
import threading


class ConnectProxy:
    def __init__(self, user="", password=""):
        self.expected = ""
        if user:
            self.expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.targets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        who = f"{user}:{password}@" if user else ""
        self.url = f"http://{who}127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                data = connection.recv(4096)
                if not data:
                    return
                head += data
            lines = head.decode().split("\r\n")
            method, target, _ = lines[0].split(" ")
            given = [line.split(": ", 1)[1] for line in lines
                     if line.lower().startswith("proxy-authorization: ")]
            if self.expected and given != [self.expected]:
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                                   b"Proxy-Authenticate: Basic realm=\"proxy\"\r\n"
                                   b"Content-Length: 0\r\n\r\n")
                return
            self.targets.append(target)
            if method != "CONNECT":
                connection.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
                return
            host, port = target.rsplit(":", 1)
            with socket.create_connection((host, int(port)), timeout=30) as server:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._pump(connection, server)

    @staticmethod
    def _pump(one, other):
        pairs = {one: other, other: one}
        while True:
            for ready in select.select(list(pairs), [], [], 60)[0]:
                try:
                    data = ready.recv(65536)
                    if not data:
                        return
                    pairs[ready].sendall(data)
                except OSError:
                    return
