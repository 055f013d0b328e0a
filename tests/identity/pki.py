"""Keys, certificates and signatures for tests, by the openssl program: a second implementation beside
the one that is tested."""

import base64
import hashlib
import json
import os
import subprocess
import tempfile


def openssl(*arguments, data=None):
    result = subprocess.run(["openssl", *arguments], input=data, capture_output=True, timeout=60)
    if result.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {result.stderr.decode()}")
    return result.stdout


def make_key(path):
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path)
    os.chmod(path, 0o600)
    return path


def public_key(certificate_or_key, path):
    """The public key of a certificate or of a private key, as PEM in `path`."""
    with open(certificate_or_key) as file:
        is_certificate = "BEGIN CERTIFICATE" in file.read()
    if is_certificate:
        text = openssl("x509", "-in", certificate_or_key, "-noout", "-pubkey")
    else:
        text = openssl("pkey", "-in", certificate_or_key, "-pubout")
    with open(path, "wb") as file:
        file.write(text)
    return path


class Authority:
    """A CA of our own in a folder: `certificate`; issue() makes certificates that it signed."""

    def __init__(self, folder):
        self.folder = folder
        self.key = make_key(os.path.join(folder, "ca.key"))
        self.certificate = os.path.join(folder, "ca.crt")
        openssl("req", "-x509", "-new", "-key", self.key, "-sha256", "-days", "2", "-subj",
                "/CN=Penstock test CA", "-addext", "basicConstraints=critical,CA:TRUE", "-out",
                self.certificate)

    def issue(self, name, alternative):
        """(certificate, key) for TLS, for a name such as "IP:127.0.0.1,DNS:localhost"."""
        key = make_key(os.path.join(self.folder, name + ".key"))
        request = os.path.join(self.folder, name + ".csr")
        certificate = os.path.join(self.folder, name + ".crt")
        extensions = os.path.join(self.folder, name + ".ext")
        with open(extensions, "w") as file:
            file.write(f"subjectAltName={alternative}\nbasicConstraints=CA:FALSE\n")
        openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                "-CAcreateserial", "-sha256", "-days", "2", "-extfile", extensions, "-out",
                certificate)
        return certificate, key


def thumbprint(certificate):
    """x5t#S256: SHA-256 of the certificate's DER."""
    der = openssl("x509", "-in", certificate, "-outform", "DER")
    return encode(hashlib.sha256(der).digest())


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign_jwt(key, claims, **header):
    """A JWT signed with RS256."""
    head = dict({"alg": "RS256", "typ": "JWT"}, **header)
    text = encode(json.dumps(head).encode()) + "." + encode(json.dumps(claims).encode())
    return text + "." + encode(openssl("dgst", "-sha256", "-sign", key, data=text.encode()))


def read_jwt(token, public):
    """(header, claims) of a JWT whose RS256 or PS256 signature holds; ValueError otherwise."""
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError("no JWT")
    header, claims = (json.loads(decode(part)) for part in parts[:2])
    options = {"RS256": [], "PS256": ["-sigopt", "rsa_padding_mode:pss", "-sigopt",
                                      "rsa_pss_saltlen:32"]}.get(header.get("alg"))
    if options is None:
        raise ValueError(f"alg {header.get('alg')} is not accepted")
    with tempfile.NamedTemporaryFile() as signature:
        signature.write(decode(parts[2]))
        signature.flush()
        try:
            openssl("dgst", "-sha256", "-verify", public, "-signature", signature.name, *options,
                    data=".".join(parts[:2]).encode())
        except RuntimeError as error:
            raise ValueError("the signature does not hold") from error
    return header, claims
