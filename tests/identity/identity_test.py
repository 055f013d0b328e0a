"""Every way of signing in, end to end: a reference identity server gives real JWTs, a real Blob server
(Azurite with OAuth over TLS) looks at them, and a program reads bytes through the shim.

    python3 tests/identity/identity_test.py [unittest arguments]
"""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "harness")]
import pki  # noqa: E402
from connect_proxy import ConnectProxy  # noqa: E402
from identity_server import IdentityServer  # noqa: E402
from penstock_harness import Azurite, Job, Mount, build_dir  # noqa: E402

COVERED = "/data/identity"


def pattern(name):
    return (name * 200).encode()


class Fixture(unittest.TestCase):
    """One CA, one Azurite and one identity server in TLS; a fresh job for each test."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="pst-identity-", dir="/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.ca = pki.Authority(cls.folder)
        cls.tls = cls.ca.issue("server", "IP:127.0.0.1,DNS:localhost")
        cls.azurite = Azurite(tls=(*cls.tls, cls.ca.certificate))
        cls.addClassCleanup(cls.azurite.stop)
        cls.azurite.create_container("set")
        for number in range(6):
            cls.azurite.put_blob("set", f"f{number}", pattern(f"f{number}"))

    def setUp(self):
        self.entra = self.serve(tls=self.tls)

    def serve(self, tls=None):
        server = IdentityServer(self.folder, tls)
        self.addCleanup(server.close)
        return server

    def mount(self, mode, path=COVERED, auth_keys=None, **keys):
        keys.setdefault("ca_file", self.ca.certificate)
        keys.setdefault("deadline", "20s")
        return Mount(path, f"az://{self.azurite.account}/set", dict(keys, endpoint=self.azurite.endpoint),
                     mode, dict(auth_keys or {}))

    def job(self, mode, environment, mounts=None, auth_keys=None, start=True, **keys):
        job = Job(mounts or [self.mount(mode, auth_keys=auth_keys, **keys)],
                  credentials=self.environment(environment), sidecar_keys={"log_level": "debug"},
                  wait="5s")
        self.addCleanup(job.close)
        return job.start() if start else job

    def environment(self, variables):
        """Nothing of this machine: no proxy, no IMDS but the one that a test names."""
        clean = {name: "" for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy",
                                       "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
                                       "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
        return dict(clean, **variables)

    def principal(self, **others):
        return dict({"AZURE_AUTHORITY_HOST": self.entra.url, "AZURE_TENANT_ID": self.entra.tenant,
                     "AZURE_CLIENT_ID": self.entra.client}, **others)

    def reads(self, job, name="f0", path=COVERED):
        result = job.run(["cat", f"{path}/{name}"], timeout=60)
        self.assertEqual((result.returncode, result.stdout), (0, pattern(name)),
                         result.stderr.decode() + job.read_log())

    def fails(self, job, message, name="f0"):
        result = job.run(["cat", f"{COVERED}/{name}"], timeout=90)
        self.assertEqual(result.returncode, 1, job.read_log())
        self.assertIn(message, result.stderr.decode())

    def doctor(self, job):
        result = job.execute([job.tool("penstock"), "doctor", "-c", job.config],
                             env=job.credentials, timeout=120)
        return result.stdout.decode()


class ModesTest(Fixture):
    def test_imds(self):
        imds = self.serve()
        job = self.job("msi", {"AZURE_POD_IDENTITY_AUTHORITY_HOST": imds.url})
        self.reads(job)
        self.assertEqual(imds.count(), 1)
        self.assertIn("managed identity (IMDS)", self.doctor(job))

    def test_imds_user_assigned(self):
        imds = self.serve()
        imds.identities = {"client_id": "cid", "object_id": "oid",
                           "resource_id": "/subscriptions/s/userAssignedIdentities/n"}
        for key, value in imds.identities.items():
            job = self.job("msi", {"AZURE_POD_IDENTITY_AUTHORITY_HOST": imds.url},
                           auth_keys={key: value})
            self.reads(job)
            job.close()
        job = self.job("msi", {"AZURE_POD_IDENTITY_AUTHORITY_HOST": imds.url},
                       auth_keys={"client_id": "nobody"}, start=False)
        job.start(wait=False)
        self.fails(job, "Permission denied")
        self.assertIn("Identity not found", job.read_log())

    def test_app_service(self):
        service = self.serve()
        job = self.job("msi", {"IDENTITY_ENDPOINT": service.url + "/appservice/token",
                               "IDENTITY_HEADER": service.header})
        self.reads(job)

    def test_azure_ml(self):
        service = self.serve()
        job = self.job("msi", {"MSI_ENDPOINT": service.url + "/ml/token",
                               "MSI_SECRET": service.header})
        self.reads(job)

    @unittest.skipUnless(os.geteuid() == 0, "a mount namespace needs root")
    def test_azure_arc(self):
        job = ArcJob([self.mount("msi")], wait="5s")
        self.addCleanup(job.close)
        arc = self.serve()
        # The agent's folder exists in the sidecar's own view of the file system only.
        arc.arc_host_path = lambda name: f"/proc/{job.sidecar_pid()}/root{name}"
        job.credentials = self.environment({
            "IDENTITY_ENDPOINT": arc.url + "/arc/metadata/identity/oauth2/token",
            "IMDS_ENDPOINT": arc.url})
        job.start()
        self.reads(job)
        self.assertEqual(arc.count(), 2)  # the challenge and its answer

    def test_service_principal_with_secret(self):
        job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=self.entra.secret))
        self.reads(job)

    def test_service_principal_with_secret_in_a_file(self):
        path = os.path.join(self.folder, "secret")
        with open(path, "w") as file:
            file.write(self.entra.secret + "\n")
        job = self.job("spn", {}, auth_keys={
            "client_id": self.entra.client, "tenant_id": self.entra.tenant,
            "authority_host": self.entra.url, "client_secret_file": path})
        self.reads(job)

    def test_service_principal_with_certificate(self):
        certificate, key = self.ca.issue("application", "DNS:application")
        path = os.path.join(self.folder, "application.pem")
        with open(path, "w") as file:
            for part in (key, certificate):
                with open(part) as source:
                    file.write(source.read())
        self.entra.register(certificate)
        job = self.job("spn", self.principal(AZURE_CLIENT_CERTIFICATE_PATH=path))
        self.reads(job)
        bundle = os.path.join(self.folder, "application.pfx")
        pki.openssl("pkcs12", "-export", "-inkey", key, "-in", certificate, "-passout",
                    "pass:the password", "-out", bundle)
        job = self.job("spn", self.principal(AZURE_CLIENT_CERTIFICATE_PATH=bundle,
                                             AZURE_CLIENT_CERTIFICATE_PASSWORD="the password"))
        self.reads(job)

    def workload(self, **claims):
        key = pki.make_key(os.path.join(self.folder, "cluster.key"))
        self.entra.trust_cluster(key)
        path = os.path.join(self.folder, "service-account-token")
        with open(path, "w") as file:
            file.write(self.entra.service_account_token(key, **claims))
        return key, path

    def test_workload_identity(self):
        _, path = self.workload()
        job = self.job("workload", self.principal(AZURE_FEDERATED_TOKEN_FILE=path))
        self.reads(job)

    def test_auto_takes_the_workload_identity(self):
        _, path = self.workload()
        job = self.job("auto", self.principal(AZURE_FEDERATED_TOKEN_FILE=path))
        self.reads(job)
        self.assertIn("workload identity, client_id " + self.entra.client, self.doctor(job))

    def test_the_federated_token_is_read_again(self):
        key, path = self.workload(lifetime=-10)
        job = self.job("workload", self.principal(AZURE_FEDERATED_TOKEN_FILE=path), start=False)
        job.start(wait=False)
        self.fails(job, "Permission denied")
        self.assertIn("not within its valid time range", job.read_log())
        with open(path, "w") as file:
            file.write(self.entra.service_account_token(key))
        job.wait_ready()
        self.reads(job)

    def az(self, script):
        folder = tempfile.mkdtemp(dir=self.folder)
        path = os.path.join(folder, "az")
        with open(path, "w") as file:
            file.write("#!/bin/bash\n" + script)
        os.chmod(path, 0o755)
        return {"PATH": folder + ":" + os.environ["PATH"]}

    def az_answer(self):
        return json.dumps({"accessToken": self.entra.make_token("a person"),
                           "expiresOn": "2099-01-01 00:00:00.000000",
                           "expires_on": int(time.time()) + 3600, "tokenType": "Bearer"})

    def test_azure_cli(self):
        seen = os.path.join(self.folder, "az-arguments")
        job = self.job("cli", dict(self.az(f"echo \"$@\" > {seen}; echo '{self.az_answer()}'"),
                                   AZURE_CLIENT_SECRET="not for az"))
        self.reads(job)
        with open(seen) as file:
            self.assertEqual(file.read().strip(),
                             "account get-access-token --resource https://storage.azure.com/ -o json")

    def test_azure_cli_where_nobody_is_signed_in(self):
        job = self.job("cli", self.az("echo \"ERROR: Please run 'az login' to setup account.\" >&2; "
                                      "exit 1"), start=False)
        job.start(wait=False)
        self.fails(job, "Permission denied")
        self.assertIn("Please run 'az login'", self.doctor(job))

    def test_auto_goes_on_to_the_cli(self):
        # An address that is somebody else's service: as IMDS on another cloud.
        other = self.serve()
        other.fail(404, times=9)
        job = self.job("auto", dict(self.az(f"echo '{self.az_answer()}'"),
                                    AZURE_POD_IDENTITY_AUTHORITY_HOST=other.url))
        self.reads(job)
        self.assertIn("Azure CLI", self.doctor(job))

    def test_sas(self):
        from sas import account_sas
        job = self.job("sas", {"AZURE_STORAGE_SAS_TOKEN": account_sas(self.azurite.account,
                                                                      self.azurite.key)})
        self.reads(job)


class ArcJob(Job):
    """A job whose sidecar sees an Azure Arc agent's folder."""

    def sidecar_command(self):
        script = "mount -t tmpfs none /var/opt && mkdir -p /var/opt/azcmagent/tokens && exec \"$@\""
        return ["unshare", "-m", "sh", "-c", script, "sh"] + super().sidecar_command()


class TokensTest(Fixture):
    def test_one_token_for_all_mounts_of_an_identity(self):
        mounts = [self.mount("spn"), self.mount("spn", path="/data/second")]
        job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=self.entra.secret), mounts)
        processes = [subprocess.Popen(job.run_command(["cat", f"{path}/f{number}"]),
                                      env=job.environment(), stdout=subprocess.DEVNULL)
                     for path in (COVERED, "/data/second") for number in range(3)]
        self.assertEqual([process.wait(60) for process in processes], [0] * 6)
        self.assertEqual(self.entra.count(), 1)
        # Counted once, whichever mount shows it.
        shown = [mount["requests"].get("token", {}) for mount in job.stat()["mounts"].values()]
        self.assertEqual(sum(kind.get("2xx", 0) for kind in shown), 1, shown)

    def test_a_refused_token_is_replaced_once(self):
        self.entra.real_lifetime = 4  # but it says an hour
        job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=self.entra.secret))
        self.reads(job, "f0")
        self.entra.real_lifetime = None
        token = json.loads(pki.decode(self.entra.tokens[0].split(".")[1]))
        while time.time() <= token["exp"] + 1:
            time.sleep(0.1)
        self.reads(job, "f1")
        self.assertEqual(self.entra.count(), 2)

    def test_a_token_that_is_never_accepted_ends_in_eacces(self):
        self.entra.real_lifetime = -1
        job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=self.entra.secret), start=False)
        job.start(wait=False)
        for number in range(4):
            self.fails(job, "Permission denied", f"f{number}")
        self.assertLessEqual(self.entra.count(), 2)
        self.assertIn("AuthenticationFailed", job.read_log())

    def test_a_token_before_its_end_is_replaced_unasked(self):
        self.entra.lifetime = 8
        job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=self.entra.secret))
        self.reads(job, "f0")
        self.entra.fail(503)  # the first replacement fails: nobody notices
        deadline = time.monotonic() + 20
        while len(self.entra.tokens) < 3:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
            self.reads(job, "f1")
        self.reads(job, "f2")

    def test_throttling_and_failures_are_waited_out(self):
        imds = self.serve()
        imds.fail(404)
        imds.fail(429, headers={"Retry-After": "1"})
        imds.fail(500)
        job = self.job("msi", {"AZURE_POD_IDENTITY_AUTHORITY_HOST": imds.url})
        self.reads(job)
        self.assertEqual(imds.count(), 4)

    def test_garbage_is_never_sent_on(self):
        self.entra.answer(b"<html>")
        self.entra.answer(b'{"access_token":"a\\r\\nb","expires_in":60}')
        self.entra.answer(b'{"access_token":"' + b"a" * 100_000 + b'","expires_in":60}')
        job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=self.entra.secret))
        self.reads(job)
        self.assertEqual(self.entra.count(), 4)

    def test_a_server_that_hangs_ends_in_eio_at_the_deadline(self):
        self.entra.hang(times=20)
        job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=self.entra.secret), start=False,
                       deadline="3s")
        job.start(wait=False)
        begin = time.monotonic()
        self.fails(job, "Input/output error")
        self.assertLess(time.monotonic() - begin, 20)
        self.assertLessEqual(self.entra.count(), 2)

    def test_a_server_that_comes_back(self):
        self.entra.fail(503, times=2)
        job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=self.entra.secret))
        self.reads(job)

    def test_a_certificate_that_nobody_trusts(self):
        job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=self.entra.secret), start=False,
                       ca_file="/etc/ssl/certs/ca-certificates.crt", deadline="3s")
        job.start(wait=False)
        self.fails(job, "Input/output error")
        self.assertIn("certificate is not trusted", self.doctor(job))
        self.assertEqual(self.entra.count(), 0)

    def test_the_bundle_of_the_environment(self):
        mount = self.mount("spn")
        del mount.keys["ca_file"]
        job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=self.entra.secret,
                                             SSL_CERT_FILE=self.ca.certificate), [mount])
        self.reads(job)


class ProxyTest(Fixture):
    def test_token_and_data_go_through_the_proxy(self):
        with ConnectProxy("someone", "proxy-password-1234") as proxy:
            job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=self.entra.secret,
                                                 HTTPS_PROXY=proxy.url))
            self.reads(job)
            self.assertEqual({self.entra.url[8:], f"127.0.0.1:{self.azurite.port}"},
                             set(proxy.targets))
            self.assertNotIn("proxy-password-1234", job.read_log())
            with open(f"/proc/{job.sidecar_pid()}/environ", "rb") as file:
                self.assertNotIn(b"proxy-password-1234", file.read())

    def test_no_proxy_and_imds(self):
        imds = self.serve()
        with ConnectProxy() as proxy:
            job = self.job("msi", {"AZURE_POD_IDENTITY_AUTHORITY_HOST": imds.url,
                                   "HTTPS_PROXY": proxy.url, "http_proxy": proxy.url,
                                   "NO_PROXY": "127.0.0.1"})
            self.reads(job)
            self.assertEqual(proxy.targets, [])

    def test_imds_goes_around_the_proxy_always(self):
        imds = self.serve()
        with ConnectProxy() as proxy:
            job = self.job("msi", {"AZURE_POD_IDENTITY_AUTHORITY_HOST": imds.url,
                                   "HTTPS_PROXY": proxy.url, "http_proxy": proxy.url})
            self.reads(job)
            self.assertEqual({f"127.0.0.1:{self.azurite.port}"}, set(proxy.targets))

    def test_a_proxy_that_refuses(self):
        with ConnectProxy("someone", "right") as proxy:
            wrong = proxy.url.replace("right", "wrong-password-77")
            job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=self.entra.secret,
                                                 HTTPS_PROXY=wrong), start=False, deadline="3s")
            job.start(wait=False)
            self.fails(job, "Input/output error")
            text = self.doctor(job) + job.read_log()
            self.assertIn("the proxy refused to connect", text)
            self.assertNotIn("wrong-password-77", text)


class SecretsTest(Fixture):
    """No secret is in a log, a report, the statistics, doctor's words or /proc."""

    def everything_said(self, job):
        pid = job.sidecar_pid()
        said = [job.execute([job.tool("penstock"), *arguments]).stdout for arguments in (
            ("stat", "-c", job.config, "--json"), ("stat", "-c", job.config),
            ("status", "-c", job.config))]
        for name in ("cmdline", "environ", "comm"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                said.append(file.read())
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/comm", "rb") as file:
                said.append(file.read())
        said.append(self.doctor(job).encode())
        os.kill(pid, signal.SIGSEGV)
        job._sidecar.wait(30)
        for parent, _, names in os.walk(job.base):
            for name in names:
                path = os.path.join(parent, name)
                if not stat.S_ISREG(os.lstat(path).st_mode) or os.path.getsize(path) > 1 << 22:
                    continue
                with open(path, "rb") as file:
                    said.append(file.read())
        return b"\n".join(said)

    def check(self, job, secrets):
        said = self.everything_said(job)
        self.assertIn(b"SIGSEGV", said)  # the report is among it
        for secret in secrets:
            self.assertGreater(len(secret), 8)
            self.assertNotIn(secret.encode(), said)

    def test_service_principal(self):
        job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=self.entra.secret,
                                             AZURE_STORAGE_KEY=self.azurite.key))
        self.reads(job)
        self.check(job, [self.entra.secret, self.azurite.key, *self.entra.tokens])

    def test_a_server_that_says_the_secret(self):
        secret = self.entra.secret + "-wrong"
        job = self.job("spn", self.principal(AZURE_CLIENT_SECRET=secret), start=False)
        job.start(wait=False)
        self.fails(job, "Permission denied")
        self.assertIn("AADSTS7000215", job.read_log())
        self.check(job, [secret])

    def test_app_service(self):
        service = self.serve()
        job = self.job("msi", {"IDENTITY_ENDPOINT": service.url + "/appservice/token",
                               "IDENTITY_HEADER": service.header})
        self.reads(job)
        self.check(job, [service.header, *service.tokens])

    def test_workload(self):
        key = pki.make_key(os.path.join(self.folder, "cluster.key"))
        self.entra.trust_cluster(key)
        path = os.path.join(self.folder, "service-account-token")
        token = self.entra.service_account_token(key)
        with open(path, "w") as file:
            file.write(token)
        job = self.job("workload", self.principal(AZURE_FEDERATED_TOKEN_FILE=path))
        self.reads(job)
        self.check(job, [token, *self.entra.tokens])

    def test_keys_and_sas(self):
        from sas import account_sas
        sas = account_sas(self.azurite.account, self.azurite.key)
        for mode, name, value in (("key", "AZURE_STORAGE_KEY", self.azurite.key),
                                  ("sas", "AZURE_STORAGE_SAS_TOKEN", sas)):
            job = self.job(mode, {name: value})
            self.reads(job)
            self.check(job, [value, re.search("sig=([^&]+)", value + "sig=none-at-all&").group(1)])


if __name__ == "__main__":
    unittest.main()
