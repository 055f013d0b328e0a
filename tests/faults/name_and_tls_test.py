"""Names that do not resolve and servers that are not who they should be: nothing is sent to them."""

import os
import unittest

import certificates
import fault_base
from dns_server import DnsServer
from fault_base import FaultTest, faults
from fault_proxy import FaultProxy
from penstock_harness import Job


class TlsTest(FaultTest):
    """The proxy's TLS front, with an authority of our own that the mount's ca_file names."""

    deadline = 2.0

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = certificates.Authority(cls.folder)
        cls.good = cls.authority.context("good", "IP:127.0.0.1")
        cls.expired = cls.authority.context("expired", "IP:127.0.0.1", days=-1)
        cls.elsewhere = cls.authority.context("elsewhere", "DNS:other.example,IP:127.0.0.2")
        stranger = certificates.Authority(cls.folder, name="stranger")
        cls.unknown = stranger.context("unknown", "IP:127.0.0.1")

    def make_proxy(self):
        return FaultProxy(self.azurite.port, tls=self.good)

    def setUp(self):
        self.mount_keys = {"ca_file": self.authority.certificate}
        super().setUp()

    def distrusted(self, context):
        self.proxy.set_tls(context)
        seen = self.proxy.count()
        names = [name for name in self.names if self.data.sizes[name]]
        self.assert_fails(self.readers.all(names, how="read", threads=len(names), split=True), "EIO")
        # Neither a name nor a signature has left the machine.
        self.assertEqual(self.proxy.count(), seen)
        self.proxy.set_tls(self.good)
        self.assert_recovers()

    def test_an_expired_certificate(self):
        self.distrusted(self.expired)

    def test_another_hosts_certificate(self):
        self.distrusted(self.elsewhere)

    def test_an_unknown_authority(self):
        self.distrusted(self.unknown)

    def test_faults_below_tls(self):
        for where in (faults.WITHIN_HEADERS, faults.WITHIN_BODY):
            self.proxy.add(faults.cut(where), kind="read", once_each=True)
        outcome = self.readers.all(self.names[1::2] + ["large.bin"], how="read", threads=2)
        self.assert_whole(outcome)
        self.assert_recovers()


class ResolvingJob(Job):
    """A sidecar whose /etc/resolv.conf names our own server, in a mount namespace of its own."""

    def sidecar_command(self):
        resolv = os.path.join(self.config_folder, "resolv.conf")
        nsswitch = os.path.join(self.config_folder, "nsswitch.conf")
        with open(resolv, "w") as file:
            file.write(f"nameserver {self.dns_address}\noptions timeout:1 attempts:1\n")
        with open(nsswitch, "w") as file:
            file.write("hosts: dns\n")
        script = (f"mount --bind {resolv} /etc/resolv.conf && mount --bind {nsswitch} /etc/nsswitch.conf && "
                  "exec \"$0\" \"$@\"")
        return ["unshare", "--mount", "sh", "-c", script, *super().sidecar_command()]


@unittest.skipUnless(DnsServer.possible(), "a name server needs port 53")
class DnsTest(FaultTest):
    deadline = 2.0
    host = "blob.penstock.test"
    job_class = ResolvingJob

    def make_proxy(self):
        self.dns = DnsServer({self.host: "127.0.0.1"})
        self.addCleanup(self.dns.close)
        return FaultProxy(self.azurite.port)

    def endpoint(self):
        return self.proxy.endpoint(self.azurite.account, host=self.host)

    def make_job(self):
        job = super().make_job()
        job.dns_address = self.dns.address
        return job

    def unresolved(self, mode):
        # Open connections outlive a name's trouble; only new ones need it.
        self.proxy.refuse()
        self.proxy.accept_again()
        self.dns.mode = mode
        self.job.stop()
        self.job.start(wait=False)
        begin_queries = self.dns.queries
        names = [name for name in self.names if self.data.sizes[name]]
        # The new sidecar asks for the name before it asks for the bytes.
        outcome = self.readers.all(names, how="read", threads=len(names), split=True)
        self.assert_fails(outcome, "EIO", questions=2)
        self.assertGreater(self.dns.queries, begin_queries)
        self.dns.mode = "right"
        self.job.wait_ready()
        self.take_baseline()
        self.assert_recovers()

    def test_a_name_that_is_not_there(self):
        self.unresolved("nxdomain")

    def test_a_name_server_that_fails(self):
        self.unresolved("servfail")

    def test_a_name_server_that_is_silent(self):
        self.unresolved("silence")


if __name__ == "__main__":
    fault_base.main()
