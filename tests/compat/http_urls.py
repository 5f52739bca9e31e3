#!/usr/bin/python3
"""--listen-client-http-urls: HTTP has an address of its own, and the client URLs are gRPC only; in plain text and with
TLS, asked by curl and gRPC clients."""

import os
import tempfile

import grpc
from etcd3 import etcdrpc

import _servers
from tls import Certs, TlsMember, run, server_flags


def curl(curls, url, *words):
    code, out, err = run("curl", "-s", *curls, *words, "-w", "\n%{http_code}", url)
    body, _, status = out.rpartition("\n")
    return (int(status), body) if code == 0 else (0, err)


def http_is_apart(score, what, member, base, http, curls):
    kv = etcdrpc.KVStub(member.channel())
    kv.Put(etcdrpc.PutRequest(key=b"k", value=b"v"), timeout=20)
    score.check(kv.Range(etcdrpc.RangeRequest(key=b"k"), timeout=20).kvs[0].value == b"v", what + ": gRPC as ever")
    score.check(curl(curls, http + "/health") == (200, '{"health":"true","reason":""}'), what + ": /health")
    score.check('"etcdserver"' in curl(curls, http + "/version")[1], what + ": /version")
    score.check("\netcd_server_has_leader 1\n" in curl(curls, http + "/metrics")[1], what + ": /metrics")
    score.check("/readyz" in curl(curls, http + "/")[1], what + ": /")
    status, body = curl(curls, http + "/v3/kv/range", "-d", '{"key":"aw=="}')
    score.check(status == 200 and '"value":"dg=="' in body, what + ": the gateway", body)
    for path, words in (("/health", ()), ("/", ()), ("/v3/kv/range", ("-d", '{"key":"aw=="}'))):
        answer = curl(curls, base + path, *words)
        score.check(answer == (404, "this port serves gRPC only; HTTP is at %s\n" % http),
                    "%s: %s is not at the client URL" % (what, path), str(answer))


def refuses_grpc(score, what, channel):
    try:
        etcdrpc.KVStub(channel).Range(etcdrpc.RangeRequest(key=b"k"), timeout=20)
        score.check(False, what + ": no gRPC at the HTTP address")
    except grpc.RpcError as error:
        score.check(error.code() == grpc.StatusCode.UNIMPLEMENTED and "HTTP only" in error.details(),
                    what + ": no gRPC at the HTTP address", str(error))


def plain(score, args):
    http, = _servers.free_ports(1)
    member = _servers.start_kvd(args.build, 1, ["--listen-client-http-urls=http://127.0.0.1:%d" % http]).members[0]
    http_is_apart(score, "plain", member, "http://" + member.endpoint, "http://127.0.0.1:%d" % http, [])
    with grpc.insecure_channel("127.0.0.1:%d" % http) as channel:
        refuses_grpc(score, "plain", channel)
    score.check(member.stop() == 0, "plain: an orderly stop", member.log_tail())


def encrypted(score, args, certs):
    client, peer, http = _servers.free_ports(3)
    member = TlsMember(os.path.join(args.build, "kvd"), "m1", certs.folder, (client, peer),
                       "m1=https://127.0.0.1:%d" % peer, certs,
                       [*server_flags(certs, "server"), "--listen-client-http-urls=https://127.0.0.1:%d" % http])
    member.start()
    _servers.wait_ready(member)
    base = "https://127.0.0.1:%d" % http
    curls = ["--cacert", certs.path("ca.crt"), "--cert", certs.path("client.crt"), "--key", certs.path("client.key")]
    for version in ("--http1.1", "--http2"):
        http_is_apart(score, "TLS " + version, member, "https://" + member.endpoint, base, [version, *curls])
    score.check(curl(curls[:2], base + "/health")[0] == 0, "TLS: no page without a certificate")
    member.endpoint = "127.0.0.1:%d" % http
    with member.channel() as channel:
        refuses_grpc(score, "TLS", channel)
    score.check(member.stop() == 0, "TLS: an orderly stop", member.log_tail())


def main():
    args = _servers.arguments()
    score = _servers.Score()
    plain(score, args)
    with tempfile.TemporaryDirectory(prefix="kvd-test-") as folder:
        certs = Certs(folder)
        certs.ca("ca")
        certs.sign("server")
        certs.sign("client", san="")
        encrypted(score, args, certs)
    score.finish()


if __name__ == "__main__":
    main()
