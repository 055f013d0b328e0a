"""A name server of our own on a loopback address: answers rightly, with an error, or not at all."""

import os
import socket
import struct
import threading


class DnsServer:
    """`mode`: right, nxdomain, servfail or silence. `names` maps names to IPv4 addresses."""

    _CODES = {"right": 0, "servfail": 2, "nxdomain": 3}

    def __init__(self, names):
        self._names = {name.lower(): address for name, address in names.items()}
        self.mode = "right"
        self.queries = 0
        # An address of its own, since resolv.conf knows no ports: 127.0.0.0/8 is all loopback.
        self.address = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.address, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @staticmethod
    def possible():
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("127.77.0.1", 53))
            return True
        except OSError:
            return False

    def _serve(self):
        while True:
            query, asker = self._socket.recvfrom(512)
            if query == b"end":
                return
            self.queries += 1
            if self.mode != "silence":
                self._socket.sendto(self._answer(query), asker)

    def _answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack(">H", query[at + 1:at + 3])[0]
        question = query[12:at + 5]
        code = self._CODES[self.mode]
        address = self._names.get(".".join(labels).lower())
        if code == 0 and address is None:
            code = 3
        records = b""
        if code == 0 and kind == 1:                        # A; nothing to say to AAAA
            records = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
        flags = 0x8180 | code                              # answer, recursion desired and available
        return query[:2] + struct.pack(">HHHHH", flags, 1, 1 if records else 0, 0, 0) + question + records

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.sendto(b"end", (self.address, 53))
        self._thread.join(5)
        self._socket.close()
