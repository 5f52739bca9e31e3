#!/usr/bin/python3
"""Long ranges: the same store in Debian's etcd and in kvd, every kind of Range answered alike, and RangeStream
(etcd 3.7, which Debian does not have) put together against Range, with both and with clients of tiny windows.
"""

import os
import random
import subprocess

import grpc
from etcd3 import etcdrpc as pb

import _servers

KEYS = 3000
REFUSALS = [
    ("empty key", pb.RangeRequest(), grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: key is not provided"),
    ("no such order", pb.RangeRequest(key=b"a", sort_order=9), grpc.StatusCode.INVALID_ARGUMENT,
     "etcdserver: invalid sort option"),
    ("descending", pb.RangeRequest(key=b"a", sort_order="DESCEND"), grpc.StatusCode.UNIMPLEMENTED,
     "RangeStream does not support custom sort orders"),
    ("by value", pb.RangeRequest(key=b"a", sort_order="ASCEND", sort_target="VALUE"),
     grpc.StatusCode.UNIMPLEMENTED, "RangeStream does not support custom sort orders"),
    ("sort before filter", pb.RangeRequest(key=b"a", sort_order="DESCEND", min_mod_revision=1),
     grpc.StatusCode.UNIMPLEMENTED, "RangeStream does not support custom sort orders"),
    ("filter", pb.RangeRequest(key=b"a", max_create_revision=5), grpc.StatusCode.UNIMPLEMENTED,
     "RangeStream does not support revision filters"),
    ("future", pb.RangeRequest(key=b"a", revision=10**9), grpc.StatusCode.OUT_OF_RANGE,
     "etcdserver: mvcc: required revision is a future revision"),
    ("compacted", pb.RangeRequest(key=b"a", revision=1), grpc.StatusCode.OUT_OF_RANGE,
     "etcdserver: mvcc: required revision has been compacted"),
]


def body(message):
    """The RangeResponse bytes of a RangeStreamResponse, which python3-etcd3 does not know."""
    assert message[0] == 0x0a
    length, shift, at = 0, 0, 1
    while True:
        length |= (message[at] & 127) << shift
        shift += 7
        at += 1
        if message[at - 1] < 128:
            break
    assert at + length == len(message), "something is behind range_response"
    return message[at:]


def open_stream(channel, request, timeout=60):
    call = channel.unary_stream("/etcdserverpb.KV/RangeStream",
                                request_serializer=pb.RangeRequest.SerializeToString,
                                response_deserializer=body)
    return call(request, timeout=timeout)


def merged(parts):
    return pb.RangeResponse.FromString(b"".join(parts))


def view(answer):
    """All that two servers have to agree on."""
    return ([kv.SerializeToString() for kv in answer.kvs], answer.more, answer.count, answer.header.revision)


SORT_KEYS = {0: "key", 1: "version", 2: "create_revision", 3: "mod_revision", 4: "value"}


def sorted_view(request, answer):
    """The same of what was sorted: etcd's order among equals is anybody's guess, and so is which of them a limit
    lets through."""
    order = [getattr(kv, SORT_KEYS[request.sort_target]) for kv in answer.kvs]
    kvs = None if answer.more else sorted(kv.SerializeToString() for kv in answer.kvs)
    return (order, kvs, answer.more, answer.count, answer.header.revision)


def slow_channel(member):
    """Its server may send but a few bytes at a time."""
    return grpc.insecure_channel(member.endpoint, options=[
        ("grpc.max_receive_message_length", -1), ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 1), ("grpc.http2.max_frame_size", 16384)])


def fill(rng, stubs):
    """The same writes to all: values of all sizes, overwritten and deleted keys."""
    for _ in range(60):
        txn = pb.TxnRequest()
        for n in rng.sample(range(KEYS), 100):
            put = txn.success.add().request_put
            put.key = b"k/%05d" % n
            put.value = rng.randbytes(rng.choice([0, 5, 100, 300, 2000]))
        for stub in stubs:
            stub.Txn(txn)
        if rng.random() < 0.3:
            n = rng.randrange(KEYS)
            for stub in stubs:
                stub.DeleteRange(pb.DeleteRangeRequest(key=b"k/%05d" % n, range_end=b"k/%05d" % (n + 7)))


def random_range(rng, revision):
    request = pb.RangeRequest(key=rng.choice([b"k/", b"k/01", b"\x00", b"k/%05d" % rng.randrange(KEYS)]),
                              range_end=rng.choice([b"k0", b"\x00", b"k/02", b"k/%05d" % rng.randrange(KEYS)]))
    if rng.random() < 0.4:
        request.limit = rng.randint(1, KEYS)
    if rng.random() < 0.4:
        request.revision = rng.randint(revision - 20, revision)
    request.serializable = rng.random() < 0.3
    request.keys_only = rng.random() < 0.1
    request.count_only = rng.random() < 0.05
    return request


def sorted_range(rng, revision):
    request = random_range(rng, revision)
    request.sort_order = rng.randint(0, 2)
    request.sort_target = rng.randint(0, 4)
    if rng.random() < 0.3:
        request.min_mod_revision = rng.randint(1, revision)
    if rng.random() < 0.3:
        request.max_create_revision = rng.randint(1, revision)
    return request


def compare_ranges(rng, score, etcd, channels, count):
    revision = etcd.Range(pb.RangeRequest(key=b"k/")).header.revision
    for number in range(count):
        request = sorted_range(rng, revision)
        want = etcd.Range(request, timeout=60)
        got = pb.KVStub(channels[number % len(channels)]).Range(request, timeout=60)
        score.check(sorted_view(request, want) == sorted_view(request, got), "Range is etcd's", str(request))
    for number in range(count):
        request = random_range(rng, revision)
        want = etcd.Range(request, timeout=60)
        parts = list(open_stream(channels[number % len(channels)], request))
        whole = merged(parts)
        score.check(view(want) == view(whole), "RangeStream adds up to etcd's Range", str(request))
        heads = [pb.RangeResponse.FromString(part) for part in parts]
        score.check(all(not h.HasField("header") and not h.more and not h.count and h.kvs for h in heads[:-1]) and
                    heads[-1].HasField("header"), "only the last message has more than kvs", str(request))


def refusals(score, channel):
    for name, request, code, text in REFUSALS:
        try:
            list(open_stream(channel, request))
            score.check(False, name, "was answered")
        except grpc.RpcError as error:
            score.check((error.code(), error.details()) == (code, text), name,
                        "%s %s" % (error.code(), error.details()))


def chunks_grow(rng, score, kvd, channel):
    """etcd-api.md 5.2: 300 keys of 20 kB."""
    for n in range(300):
        kvd.Put(pb.PutRequest(key=b"big/%03d" % n, value=rng.randbytes(20000)))
    request = pb.RangeRequest(key=b"big/", range_end=b"big0")
    sizes = [len(pb.RangeResponse.FromString(part).kvs) for part in open_stream(channel, request)]
    score.check(sizes == [10, 20, 40, 40, 40, 40, 40, 40, 30], "chunks of 20 kB keys", str(sizes))
    request.limit = 35
    parts = [pb.RangeResponse.FromString(part) for part in open_stream(channel, request)]
    sizes = [len(part.kvs) for part in parts]
    score.check(sizes == [10, 20, 5] and parts[-1].more and parts[-1].count == 300, "a limit ends them", str(sizes))
    parts = list(open_stream(channel, pb.RangeRequest(key=b"nothing")))
    score.check(len(parts) == 1 and merged(parts).header.revision > 0, "no match is one message")
    parts = list(open_stream(channel, pb.RangeRequest(key=b"big/", range_end=b"big0", count_only=True)))
    score.check(len(parts) == 1 and merged(parts).count == 300, "count_only is one message")


def compaction_overtakes(score, kvd, member):
    """A stream is given up between two of its messages; a Range whose message has begun is not."""
    with slow_channel(member) as channel:
        request = pb.RangeRequest(key=b"big/", range_end=b"big0")
        want = kvd.Range(request)
        whole = pb.KVStub(channel).Range.future(request, timeout=60)
        stream = open_stream(channel, request)
        first = next(stream)
        score.check(len(merged([first]).kvs) == 10, "the first message came")
        for n in range(300):
            kvd.Put(pb.PutRequest(key=b"big/%03d" % n, value=b"new"))
        now = kvd.Range(pb.RangeRequest(key=b"big/")).header.revision
        kvd.Compact(pb.CompactionRequest(revision=now, physical=True))
        try:
            for _ in stream:
                pass
            score.check(False, "a stream that compaction overtook ends", "it was answered to its end")
        except grpc.RpcError as error:
            score.check(error.details() == "etcdserver: mvcc: required revision has been compacted",
                        "a stream that compaction overtook ends", str(error))
        score.check(view(whole.result()) == view(want), "a Range goes on at its revision")


def kvctl_streams(score, build, members):
    """get --stream prints what get prints, from a server that streams, and from one that does not."""
    for member in members:
        for flags in ([], ["-w", "json"], ["-w", "fields"], ["--keys-only"], ["--limit", "30"], ["--order", "DESCEND"],
                      ["--rev", "1"]):
            command = [os.path.join(build, "kvctl"), "--endpoints", member.endpoint, "get", "--prefix", "k/", *flags]
            plain = subprocess.run(command, capture_output=True)
            streamed = subprocess.run(command + ["--stream"], capture_output=True)
            score.check((plain.returncode, plain.stdout, plain.stderr) ==
                        (streamed.returncode, streamed.stdout, streamed.stderr) and plain.stdout + plain.stderr,
                        "kvctl get --stream %s from %s" % (flags, member.kind), streamed.stderr.decode())


def main():
    args = _servers.arguments(count=60)
    rng = random.Random(args.seed)
    etcd, kvd = _servers.start_etcd(), _servers.start_kvd(args.build)
    score = _servers.Score()
    member = kvd.members[0]
    channel, slow = member.channel(), slow_channel(member)
    etcd_kv, kvd_kv = pb.KVStub(etcd.members[0].channel()), pb.KVStub(channel)

    fill(rng, [etcd_kv, kvd_kv])
    compare_ranges(rng, score, etcd_kv, [channel, slow], args.count)
    revision = etcd_kv.Range(pb.RangeRequest(key=b"k/")).header.revision
    for stub in (etcd_kv, kvd_kv):
        stub.Compact(pb.CompactionRequest(revision=revision - 20, physical=True))
    compare_ranges(rng, score, etcd_kv, [channel, slow], args.count)
    kvctl_streams(score, args.build, [member, etcd.members[0]])
    refusals(score, channel)
    chunks_grow(rng, score, kvd_kv, channel)
    compaction_overtakes(score, kvd_kv, member)
    score.finish()


if __name__ == "__main__":
    main()
