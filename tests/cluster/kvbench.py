#!/usr/bin/python3
"""Every workload of kvbench runs against a real member for a fraction of a second: its checks hold, its
JSON can be read; and what goes wrong outside ends in a clear error and the exit code that says so."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from xml.etree import ElementTree

from etcd3 import etcdrpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402
import tls  # noqa: E402

SHORT = ["--seconds", "0.3", "--warmup", "0.1"]

# (workload and options, figures that it must have found)
WORKLOADS = [
    ("put --keys 1000", ["server_cpu_us"]),
    ("get --keys 1000", []),
    ("get-serializable --keys 1000 --key-size 32", []),
    ("txn --keys 1000", []),
    ("mixed --keys 1000", []),
    ("range --keys 3000 --limit 100", []),
    ("range --keys 3000 --count-only", []),
    ("range --keys 3000 --limit 100 --keys-only", []),
    ("k8s-list --keys 3000 --limit 100", ["lists_s"]),
    ("k8s-write --keys 500", []),
    ("lease", ["revoke_s"]),
    ("keepalive --streams 20", []),
    ("lease-expiry --leases 200 --ttl 5", ["expiry_s", "put_loaded_p99_us", "put_quiet_p99_us"]),
    ("watch-fanout --watchers 200", ["puts_s"]),
    ("watch-fanout --watchers 50 --ahead 16 --streams 50", ["puts_s"]),
    ("watch-fanout --watchers 50 --rate 50", ["puts_s"]),
    ("watch-idle --watchers 2000", ["watcher_rss_bytes"]),
    ("big-list --keys 3000", ["mb_s", "list_mb"]),
    ("big-list --keys 3000 --slow 50", ["mb_s"]),
    ("big-list --keys 3000 --clients 4 --put", ["put_quiet_p99_us", "put_loaded_p99_us"]),
    ("size --keys 2000 --requests 2000", ["full_rss_mib", "rest_rss_mib", "db_mib", "data_dir_mib", "rest_amplification"]),
    ("soak --keys 1000", ["first_p99_us", "last_p99_us", "last_rss_mib", "slowest_req_s"]),
]


def start(args, words, endpoint, extra=()):
    command = [os.path.join(args.build, "kvbench"), *words, "--endpoints", endpoint, "--json", *extra]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(args, words, endpoint, extra=()):
    """(exit code, its lines of JSON, what it said)"""
    process = start(args, words, endpoint, extra)
    out, said = process.communicate(timeout=120)
    return process.returncode, [json.loads(line) for line in out.splitlines()], said


class OthersWrite(threading.Thread):
    """Somebody else keeps the disk busy: size waits until the members are at rest, not the machine."""

    def __enter__(self):
        self.stop = threading.Event()
        self.start()

    def __exit__(self, *_):
        self.stop.set()
        self.join()

    def run(self):
        with tempfile.TemporaryFile() as file:
            while not self.stop.wait(0.1):
                os.pwrite(file.fileno(), bytes(2 << 20), 0)
                os.fsync(file.fileno())


def workloads(score, args, member):
    pid = ["--pids", str(member.process.pid)]
    for words, figures in WORKLOADS:
        with OthersWrite() if words.startswith("size") else contextlib.nullcontext():
            code, lines, said = run(args, words.split(), member.endpoint, SHORT + pid)
        if not score.check(code == 0 and len(lines) == 1, words, "exit code %s\n%s" % (code, said)):
            continue
        found = lines[0]
        wanted = ["p50_us", "p99_us", "p999_us", "max_us", "server_rss_mib", *figures]
        if words.startswith("size"):
            score.check(found["requests"] == 2000 and 0.5 < found["db_mib"] < found["data_dir_mib"] < 200, words, found)
        score.check(found["requests"] > 0 and found["errors"] == 0 and not found["partial"] and
                    found["op"] == words.split()[0] and found["req_s"] > 0 and all(name in found for name in wanted),
                    words, found)


def comparing(score, args, member):
    other = ["--vs", member.endpoint, "--vs-pid", str(member.process.pid), "--pids", str(member.process.pid),
             "--rounds", "2"]
    code, lines, said = run(args, ["put", "--keys", "100"], member.endpoint, SHORT + other)
    if score.check(code == 0 and len(lines) == 5, "two rounds of two sides and what they come to", said):
        score.check([(line["side"], line["round"]) for line in lines[:4]] ==
                    [("ours", 1), ("peer", 1), ("ours", 2), ("peer", 2)], "they alternate", lines)
        low, high = lines[4]["compared"]["server_cpu_us"]["better"][1:]
        score.check(0 < low <= high, "the ratio has a spread", lines[4])


def wrong_answers(score, args, member):
    code, lines, said = run(args, ["get", "--keys", "5000", "--key-size", "40", "--no-fill"], member.endpoint, SHORT)
    score.check(code == 1 and lines[0]["errors"] > 0 and "has not found its key" in said,
                "gets of keys that are not there are errors", "%s %s" % (code, said))


def bad_surroundings(score, args, member):
    port = _servers.free_ports(1)[0]
    code, lines, said = run(args, ["put"], "127.0.0.1:%d" % port, SHORT)
    score.check(code == 1 and not lines and "cannot connect to 127.0.0.1:%d" % port in said, "nobody listens",
                "%s %s" % (code, said))
    code, lines, said = run(args, ["put", "--clients", "0"], member.endpoint)
    score.check(code == 2 and "--clients 0" in said, "an absurd number", "%s %s" % (code, said))


def tls_and_users(score, args):
    with tempfile.TemporaryDirectory(prefix="kvd-test-") as folder:
        certs = tls.Certs(folder)
        certs.ca("ca")
        certs.sign("server")
        certs.sign("client")
        member = tls.start(args, certs, 1, tls.server_flags(certs, "server"))[0]
        good = ["--cacert", certs.path("ca.crt"), "--cert", certs.path("client.crt"), "--key", certs.path("client.key")]
        kvctl = [os.path.join(args.build, "kvctl"), "--endpoints", "https://" + member.endpoint, *good]

        def works(what, extra):
            for words in ("put --keys 100", "watch-fanout --watchers 20", "keepalive --streams 5", "watch-idle --watchers 20",
                          "big-list --keys 500 --clients 2 --put", "lease-expiry --leases 20 --ttl 5"):
                code, lines, said = run(args, words.split(), member.endpoint, SHORT + good + extra)
                score.check(code == 0 and lines[0]["errors"] == 0, "%s: %s" % (what, words), "%s %s" % (code, said))

        works("TLS", [])
        code, lines, said = run(args, ["put"], "https://" + member.endpoint, SHORT)
        score.check(code == 1 and not lines and "certificate" in said, "a certificate of nobody we know", said)
        code, lines, said = run(args, ["put", "--keys", "100"], "https://" + member.endpoint, SHORT + good[2:] +
                                ["--insecure-skip-tls-verify"])
        score.check(code == 0, "unless that is all the same", said)
        code, lines, said = run(args, ["put", *good[:4]], member.endpoint, SHORT)
        score.check(code == 2 and "go together" in said, "half of a pair", said)
        for words in (["user", "add", "root:secret"], ["user", "grant-role", "root", "root"], ["auth", "enable"]):
            done = subprocess.run([*kvctl, *words], capture_output=True, text=True, check=False, timeout=60)
            score.check(done.returncode == 0, " ".join(words), done.stdout + done.stderr)
        works("TLS and a user", ["--user", "root:secret"])
        for user, what in (("root:wrong", "authentication failed, invalid user ID or password"), ("nobody:secret", "authentication failed")):
            code, lines, said = run(args, ["put"], member.endpoint, SHORT + good + ["--user", user])
            score.check(code == 1 and not lines and "logging in: etcdserver: " + what in said, "wrong credentials", said)
        code, lines, said = run(args, ["put"], member.endpoint, SHORT + good)
        score.check(code == 1 and not lines and "permission denied" in said, "the name in the certificate is nobody", said)
        member.stop()


def failover(score, args):
    cluster = _servers.start_kvd(args.build, 3)
    pids = ",".join(str(m.process.pid) for m in cluster.members)
    for words, what in ((["--pids", pids.rsplit(",", 1)[0]], "in the order of --endpoints"),
                        (["--pids", pids, "--vs", cluster.endpoints], "no --vs")):
        code, lines, said = run(args, ["failover"], cluster.endpoints, words)
        score.check(code == 2 and what in said, what, said)
    code, lines, said = run(args, ["failover"], cluster.endpoints, ["--pids", pids])
    dead = [m for m in cluster.members if m.process.poll() is not None]
    score.check(code == 0 and len(dead) == 1 and 0 < lines[0]["failover_ms"] <= lines[0]["failover_all_ms"] < 20000,
                "the leader is killed, and the others write again", "%s %s %s" % (code, lines, said))
    code, lines, said = run(args, ["failover"], cluster.endpoints, ["--pids", pids])
    score.check(code in (1, 2) and not lines and ("connect" in said or "no process" in said), "not with one down", said)
    cluster.close()


def picture(score, args, member):
    with tempfile.TemporaryDirectory(prefix="kvd-test-") as folder:
        path = os.path.join(folder, "put.svg")
        code, _, said = run(args, ["put", "--keys", "100"], member.endpoint, [*SHORT, "--plot", path, "--vs", member.endpoint,
                                                                          "--rounds", "1"])
        root = ElementTree.parse(path).getroot()
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        score.check(code == 0 and sum(text.startswith(("ours: ", "peer: ")) for text in texts) == 2, "a picture of both", said)
        code, lines, said = run(args, ["put", "--keys", "100"], member.endpoint, [*SHORT, "--plot", folder])
        score.check(code == 1 and len(lines) == 1 and "--plot %s: Is a directory" % folder in said, "no picture", said)


def so_many_requests(score, args, member):
    code, lines, said = run(args, ["put", "--keys", "10", "--requests", "100", "--clients", "7"], member.endpoint)
    score.check(code == 0 and lines[0]["requests"] == 100 and lines[0]["seconds"] < 5, "100 requests and no more", said)


def dying(score, args, cluster, words):
    """The server is killed while it is measured: a result that says it is partial, and exit code 3."""
    member = cluster.members[0]
    with member.channel() as channel:
        kv = etcdrpc.KVStub(channel)

        def revision():
            return kv.Range(etcdrpc.RangeRequest(key=b"x"), timeout=60, wait_for_ready=True).header.revision

        before = revision()
        process = start(args, words, member.endpoint, ["--seconds", "600", "--warmup", "0"])
        while revision() < before + 2000 and process.poll() is None:
            pass  # each look is a request that the member answers: no busy wait
    member.kill()
    out, said = process.communicate(timeout=60)
    lines = [json.loads(line) for line in out.splitlines()]
    score.check(process.returncode == 3 and len(lines) == 1 and lines[0]["partial"] and lines[0]["requests"] > 0 and
                "partial" in said, "the server dies under " + words[0], "%s %s" % (process.returncode, said))
    member.start()
    _servers.wait_ready(member)


def main():
    args = _servers.arguments()
    score = _servers.Score()
    cluster = _servers.start_kvd(args.build)
    member = cluster.members[0]
    workloads(score, args, member)
    comparing(score, args, member)
    wrong_answers(score, args, member)
    bad_surroundings(score, args, member)
    so_many_requests(score, args, member)
    picture(score, args, member)
    failover(score, args)
    tls_and_users(score, args)
    dying(score, args, cluster, ["put", "--keys", "10"])
    dying(score, args, cluster, ["watch-fanout", "--watchers", "10"])
    score.finish()


if __name__ == "__main__":
    main()
