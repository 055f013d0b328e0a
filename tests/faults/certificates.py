"""A certificate authority of our own, and the TLS contexts of servers that it vouches for (or would, had they
not expired). By the openssl program."""

import os
import ssl
import subprocess


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    def __init__(self, folder, name="authority"):
        self._folder = folder
        self.certificate = os.path.join(folder, f"{name}.pem")
        self._key = os.path.join(folder, f"{name}.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", f"/CN=penstock {name}", "-keyout", self._key, "-out", self.certificate)

    def context(self, name, alternative_names, days=2):
        """Of a server; negative `days` have passed already."""
        stem = os.path.join(self._folder, name)
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                 "-keyout", f"{stem}.key", "-out", f"{stem}.csr")
        with open(f"{stem}.ext", "w") as file:
            file.write(f"subjectAltName={alternative_names}\n")
        _openssl("x509", "-req", "-in", f"{stem}.csr", "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
                 "-days", str(days), "-extfile", f"{stem}.ext", "-out", f"{stem}.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{stem}.pem", f"{stem}.key")
        return context
