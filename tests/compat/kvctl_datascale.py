#!/usr/bin/python3
"""kvctl check datascale beside etcdctl's, on etcd and on kvd, and over TLS: the same words, numbers apart, and the same
exit codes; the keys are gone afterwards."""

import os
import re
import tempfile

import _servers
from tls import Certs, TlsMember, run, server_flags


def masked(text):
    """The progress bar of etcdctl goes to stdout too; how much memory it is nobody can foretell."""
    lines = [re.sub(r"revision \d+", "revision N", line) for line in re.split(r"[\r\n]+", text)
             if re.match(r"(Start|Compact|Defrag|PASS|FAIL)", line.strip())]
    return [re.sub(r"-?\d+\.\d\d MB", "N MB", line.strip()) for line in lines]


def alike(score, tools, member):
    for words in (("--load=s",), ("--load=small", "--prefix=/other/", "--auto-compact", "--auto-defrag"),
                  ("--load=none",)):
        seen = []
        for tool in tools:
            code, out, err = run(tool, "--endpoints", member.endpoint, "check", "datascale", *words)
            seen.append((code, masked(out)))
            left = run(tool, "--endpoints", member.endpoint, "get", "--prefix", "/", "--keys-only")[:2]
            score.check(left == (0, ""), "nothing is left of %s %s" % (tool, words), str(left) + err)
        score.check(seen[0] == seen[1], "%s on %s" % (words, member.kind), "%s\n%s" % tuple(seen))
        if words == ("--load=s",):
            score.check(seen[1] == (0, ["Start data scale check for work load [10000 key-value pairs, 1024 bytes per "
                                        "key-value, 50 concurrent clients].",
                                        "PASS: Approximate system memory used : N MB."]), "it passes", str(seen[1]))
    run(tools[1], "--endpoints", member.endpoint, "put", "/etcdctl-check-datascale/mine", "v")
    codes = []
    for tool in tools:
        code, _, err = run(tool, "--endpoints", member.endpoint, "check", "datascale")
        codes.append(code)
        score.check("has keys" in err, "%s leaves keys of others alone" % tool, err)
    score.check(codes == [3, 3], "exit code for keys of others", str(codes))


def without_metrics(score, args, kvctl):
    http, = _servers.free_ports(1)
    member = _servers.start_kvd(args.build, 1, ["--listen-client-http-urls=http://127.0.0.1:%d" % http]).members[0]
    code, out, err = run(kvctl, "--endpoints", member.endpoint, "check", "datascale")
    score.check(code == 1 and out == "FAIL: Could not read process_resident_memory_bytes before the put operations.\n"
                and "404" in err and member.endpoint in err, "a server without /metrics: why", out + err)
    member.stop()
    code, _, err = run(kvctl, "--endpoints", member.endpoint, "check", "datascale")
    score.check(code == 1 and member.endpoint in err, "a dead server: why", err)


def encrypted(score, args, kvctl):
    with tempfile.TemporaryDirectory(prefix="kvd-test-") as folder:
        certs = Certs(folder)
        certs.ca("ca")
        certs.sign("server")
        certs.sign("client", san="")
        client, peer = _servers.free_ports(2)
        member = TlsMember(os.path.join(args.build, "kvd"), "m1", folder, (client, peer),
                           "m1=https://127.0.0.1:%d" % peer, certs, server_flags(certs, "server"))
        member.start()
        _servers.wait_ready(member)
        for endpoint in ("https://" + member.endpoint, member.endpoint):
            code, out, err = run(kvctl, "--endpoints", endpoint, "--cacert", certs.path("ca.crt"), *certs.flags("client"),
                                 "check", "datascale")
            score.check(code == 0 and "PASS: Approximate" in out, "over TLS, " + endpoint, out + err)
        member.stop()


def main():
    args = _servers.arguments()
    score = _servers.Score()
    kvctl = os.path.join(args.build, "kvctl")
    for cluster in (_servers.start_etcd(1), _servers.start_kvd(args.build, 1)):
        alike(score, ("etcdctl", kvctl), cluster.members[0])
    without_metrics(score, args, kvctl)
    encrypted(score, args, kvctl)
    score.finish()


if __name__ == "__main__":
    main()
