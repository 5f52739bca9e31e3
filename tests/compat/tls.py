#!/usr/bin/python3
"""TLS with clients that nobody here wrote: etcdctl, curl, grpc; and kvctl; three members that talk
TLS to each other. Certificates are made by openssl's command line."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile

import grpc
from etcd3 import etcdrpc

import _servers


class Certs:
    """A CA and what it signed, in a folder: name.crt, name.key."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def ca(self, name):
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", "/CN=" + name, "-keyout", self.path(name + ".key"), "-out", self.path(name + ".crt"))

    def sign(self, name, ca="ca", san="IP:127.0.0.1,DNS:localhost", rsa=False, subject=None):
        key = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        self.run("req", "-newkey", *key, "-nodes", "-subj", subject or "/O=kvd/CN=" + name,
                 "-keyout", self.path(name + ".key"), "-out", self.path(name + ".csr"))
        with open(self.path(name + ".ext"), "w", encoding="ascii") as out:
            out.write("extendedKeyUsage=serverAuth,clientAuth\n" + ("subjectAltName=%s\n" % san if san else ""))
        self.run("x509", "-req", "-in", self.path(name + ".csr"), "-CA", self.path(ca + ".crt"),
                 "-CAkey", self.path(ca + ".key"), "-CAcreateserial", "-days", "2", "-extfile", self.path(name + ".ext"),
                 "-out", self.path(name + ".crt"))

    def flags(self, name, prefix="--"):
        return [prefix + "cert=" + self.path(name + ".crt"), prefix + "key=" + self.path(name + ".key")]

    @staticmethod
    def run(*words):
        subprocess.run(["openssl", *words], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)


class TlsMember(_servers.Member):
    """https on both ports."""

    def __init__(self, binary, name, folder, ports, initial, certs, extra):
        super().__init__("kvd", binary, name, folder, ports[0], ports[1], initial, extra)
        self.args = [re.sub("^http://", "https://", word) for word in self.args]
        self.certs = certs

    def channel(self):
        read = lambda name: open(self.certs.path(name), "rb").read()  # noqa: E731
        return grpc.secure_channel(self.endpoint, grpc.ssl_channel_credentials(
            read("ca.crt"), read("client.key"), read("client.crt")))


def start(args, certs, size, extra):
    folder = tempfile.mkdtemp(prefix="kvd-test-", dir=certs.folder)
    ports = _servers.free_ports(2 * size)
    initial = ",".join("m%d=https://127.0.0.1:%d" % (i + 1, ports[2 * i + 1]) for i in range(size))
    members = [TlsMember(os.path.join(args.build, "kvd"), "m%d" % (i + 1), folder, ports[2 * i:2 * i + 2], initial,
                         certs, extra) for i in range(size)]
    for member in members:
        member.start()
    for member in members:
        _servers.wait_ready(member)
    return members


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False,
                          env=dict(os.environ, ETCDCTL_API="3"))
    return done.returncode, done.stdout, done.stderr


def server_flags(certs, name, peer=None):
    flags = ["--cert-file=" + certs.path(name + ".crt"), "--key-file=" + certs.path(name + ".key"),
             "--trusted-ca-file=" + certs.path("ca.crt"), "--client-cert-auth"]
    peer = peer or name
    return flags + ["--peer-cert-file=" + certs.path(peer + ".crt"), "--peer-key-file=" + certs.path(peer + ".key"),
                    "--peer-trusted-ca-file=" + certs.path("ca.crt"), "--peer-client-cert-auth"]


def three_members(score, args, certs):
    members = start(args, certs, 3, server_flags(certs, "server"))
    endpoints = ",".join("https://" + m.endpoint for m in members)
    kvctl = os.path.join(args.build, "kvctl")
    good = ["--cacert=" + certs.path("ca.crt"), *certs.flags("client")]
    for tool in ("etcdctl", kvctl):
        code, out, err = run(tool, "--endpoints", endpoints, *good, "put", "k", tool)
        score.check((code, out) == (0, "OK\n"), tool + " put", err)
        code, out, err = run(tool, "--endpoints", endpoints, *good, "get", "k")
        score.check((code, out) == (0, "k\n%s\n" % tool), tool + " get", err)
        code, out, err = run(tool, "--endpoints", members[0].endpoint, *good, "get", "k")
        score.check((code, out) == (0, "k\n%s\n" % tool), tool + " without a scheme", err)
        code, out, err = run(tool, "--endpoints", endpoints, *good, "endpoint", "health")
        score.check(code == 0 and (out + err).count("is healthy") == 3, tool + " endpoint health", out + err)
    for what, words in (("no certificate", ["--cacert=" + certs.path("ca.crt")]),
                        ("a certificate of others", ["--cacert=" + certs.path("ca.crt"), *certs.flags("other")]),
                        ("a CA of others", ["--cacert=" + certs.path("other-ca.crt"), *certs.flags("client")])):
        for tool in ("etcdctl", kvctl):
            code, out, err = run(tool, "--endpoints", "https://" + members[0].endpoint, "--command-timeout=2s", *words,
                                 "get", "k")
            score.check(code == 1 and out == "", "%s with %s" % (tool, what), out)
            if tool == kvctl:
                score.check("TLS: " in err or "certificate" in err, "kvctl says why", err)
    code, out, err = run(kvctl, "--endpoints", "http://" + members[0].endpoint, "--command-timeout=2s", "get", "k")
    score.check(code == 1, "plain text is not served", out + err)

    http(score, certs, members[0])
    many_calls(score, members)
    for member in members:
        score.check(member.stop() == 0, "an orderly stop", member.log_tail())
    log = open(members[0].log_path, encoding="utf-8").read()
    score.check("rejected connection on client endpoint" in log, "refused handshakes are in the log", log[-2000:])


def http(score, certs, member):
    """The gateway, health and metrics by curl, over HTTP/1.1 and HTTP/2."""
    base = ["curl", "-s", "--cacert", certs.path("ca.crt"), "--cert", certs.path("client.crt"), "--key",
            certs.path("client.key")]
    for version in ("--http1.1", "--http2"):
        code, out, err = run(*base, version, "-w", " %{http_version}", "https://%s/health" % member.endpoint)
        score.check(code == 0 and out == '{"health":"true","reason":""} ' + {"--http1.1": "1.1", "--http2": "2"}[version],
                    "/health " + version, out + err)
        code, out, err = run(*base, version, "-d", '{"key":"aw=="}', "https://%s/v3/kv/range" % member.endpoint)
        score.check(code == 0 and '"count":"1"' in out, "the gateway " + version, out + err)
        code, out, err = run(*base, version, "https://%s/metrics" % member.endpoint)
        score.check(code == 0 and "etcd_server_has_leader 1" in out, "/metrics " + version, err)
    code, _, _ = run("curl", "-s", "--cacert", certs.path("ca.crt"), "https://%s/health" % member.endpoint)
    score.check(code != 0, "no page without a certificate")


def many_calls(score, members):
    """Big values, a watch and many calls at a time on one connection."""
    with members[0].channel() as channel:
        kv, watch = etcdrpc.KVStub(channel), etcdrpc.WatchStub(channel)
        big = os.urandom(1 << 20)
        for i in range(8):
            kv.Put(etcdrpc.PutRequest(key=b"big%d" % i, value=big), timeout=30)
        answer = kv.Range(etcdrpc.RangeRequest(key=b"big", range_end=b"bih", limit=3), timeout=30)
        score.check([v.value == big for v in answer.kvs] == [True] * 3, "big values come back")
        create = etcdrpc.WatchRequest(create_request=etcdrpc.WatchCreateRequest(
            key=b"big0", start_revision=answer.header.revision - 7))
        events = watch.Watch(iter([create]))
        next(events)
        event = next(events).events[0]
        score.check(event.kv.value == big, "a watch sees it")
        calls = [kv.Put.future(etcdrpc.PutRequest(key=b"m%d" % i, value=b"v" * i)) for i in range(500)]
        score.check(all(call.result(timeout=30).header.revision > 0 for call in calls), "500 calls at a time")
        events.cancel()


def certificate_replaced(score, args, certs):
    """New files are shown without a restart."""
    certs.sign("rolling")
    member = start(args, certs, 1, server_flags(certs, "rolling", "server"))[0]

    def shown():
        out = subprocess.run(["openssl", "s_client", "-connect", member.endpoint, "-cert", certs.path("client.crt"),
                              "-key", certs.path("client.key")], input="", capture_output=True, text=True, timeout=30,
                             check=False).stdout
        pem = out[out.index("-----BEGIN"):out.index("-----END") + 25]
        return subprocess.run(["openssl", "x509", "-noout", "-serial"], input=pem, capture_output=True, text=True,
                              timeout=30, check=True).stdout

    before = shown()
    certs.sign("rolling")
    while shown() == before:
        if not member.running():
            break
    score.check(member.running(), "a new certificate is shown without a restart")
    score.check(member.stop() == 0, "an orderly stop", member.log_tail())
    score.check("TLS files were read again" in open(member.log_path, encoding="utf-8").read(), "and the log says so")


def strangers_among_peers(score, args, certs):
    """A member whose certificate is for another host is not let in, but for the flag that says so."""
    folder = tempfile.mkdtemp(prefix="kvd-test-", dir=certs.folder)
    certs.sign("elsewhere", san="DNS:elsewhere.example,IP:10.1.2.3")
    for skip in (False, True):
        ports = _servers.free_ports(4)
        initial = ",".join("m%d=https://127.0.0.1:%d" % (i + 1, ports[2 * i + 1]) for i in range(2))
        members = []
        for i in range(2):
            flags = server_flags(certs, "server")
            if i == 1:  # what it shows to whom it connects
                flags += ["--peer-client-cert-file=" + certs.path("elsewhere.crt"),
                          "--peer-client-key-file=" + certs.path("elsewhere.key")]
            if skip:
                flags.append("--peer-skip-client-san-verification")
            members.append(TlsMember(os.path.join(args.build, "kvd"), "m%d" % (i + 1), os.path.join(folder, str(skip)),
                                     ports[2 * i:2 * i + 2], initial, certs, flags))
        os.mkdir(os.path.join(folder, str(skip)))
        for member in members:
            member.start()
        if skip:
            for member in members:
                _servers.wait_ready(member)
            score.check(True, "with --peer-skip-client-san-verification the two form a cluster")
        else:
            while "its certificate is for another host" not in members[0].log_tail(50):
                if not members[0].running():
                    break
            score.check(members[0].running(), "a certificate for another host is refused", members[0].log_tail())
        for member in members:
            member.kill()


def auto_tls(score, args, certs):
    """Certificates that the member makes itself."""
    folder = tempfile.mkdtemp(prefix="kvd-test-", dir=certs.folder)
    client, peer = _servers.free_ports(2)
    member = TlsMember(os.path.join(args.build, "kvd"), "m1", folder, (client, peer),
                       "m1=https://127.0.0.1:%d" % peer, certs, ["--auto-tls", "--peer-auto-tls"])
    kvctl = os.path.join(args.build, "kvctl")
    fixture = os.path.join(folder, "m1", "fixtures", "client", "cert.pem")
    first = None
    for _ in range(2):
        member.start()
        while run(kvctl, "--endpoints", "https://" + member.endpoint, "--insecure-skip-tls-verify", "put", "a", "1")[0]:
            if not member.running():
                break
        for tool in ("etcdctl", kvctl):
            code, out, err = run(tool, "--endpoints", "https://" + member.endpoint, "--insecure-transport=false",
                                 "--insecure-skip-tls-verify", "get", "a")
            score.check((code, out) == (0, "a\n1\n"), tool + " skips verification", err)
        code, out, err = run(kvctl, "--endpoints", "https://" + member.endpoint, "--cacert", fixture, "get", "a")
        score.check((code, out) == (0, "a\n1\n"), "the made certificate is its own CA", err)
        code, _, err = run(kvctl, "--endpoints", "https://" + member.endpoint, "--command-timeout=2s", "get", "a")
        score.check(code == 1 and "certificate" in err, "who verifies refuses it", err)
        score.check(member.stop() == 0, "an orderly stop", member.log_tail())
        with open(fixture, "rb") as pem:
            score.check(first in (None, pem.read()), "a restart shows the same one")
        with open(fixture, "rb") as pem:
            first = pem.read()
    key = os.path.join(folder, "m1", "fixtures", "client", "key.pem")
    score.check(os.stat(key).st_mode & 0o777 == 0o600, "its key is private")


def slow_and_broken_handshakes(score, args, certs):
    """Connections that begin a handshake and say nothing more harm nobody and end; so does garbage."""
    member = start(args, certs, 1, server_flags(certs, "server"))[0]
    silent = [socket.create_connection(("127.0.0.1", member.client_port)) for _ in range(200)]
    for i, sock in enumerate(silent):
        sock.sendall(b"\x16\x03\x01\x02\x00" if i % 2 else b"")
    garbage = socket.create_connection(("127.0.0.1", member.client_port))
    garbage.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    garbage.settimeout(30)
    score.check(b"HTTP" not in garbage.recv(1000), "plain HTTP gets no answer in plain text")
    garbage.close()
    with member.channel() as channel:
        score.check(etcdrpc.KVStub(channel).Put(etcdrpc.PutRequest(key=b"a", value=b"b"), timeout=20)
                    .header.revision > 0, "others are served meanwhile")
    for sock in silent:
        sock.settimeout(30)
        score.check(sock.recv(1000)[:1] in (b"", b"\x15"), "a silent one is closed")
        sock.close()
    member.process.send_signal(signal.SIGTERM)
    score.check(member.process.wait(20) == 0, "an orderly stop", member.log_tail())


def main():
    args = _servers.arguments()
    score = _servers.Score()
    with tempfile.TemporaryDirectory(prefix="kvd-test-") as folder:
        certs = Certs(folder)
        certs.ca("ca")
        certs.ca("other-ca")
        certs.sign("server", rsa=True)
        certs.sign("client", san="")
        certs.sign("other", ca="other-ca")
        three_members(score, args, certs)
        certificate_replaced(score, args, certs)
        strangers_among_peers(score, args, certs)
        auto_tls(score, args, certs)
        slow_and_broken_handshakes(score, args, certs)
    score.finish()


if __name__ == "__main__":
    main()
