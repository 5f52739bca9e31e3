#!/usr/bin/python3
"""Bad input to a real member: each gives the error etcd gives or a clearer one, loses nothing that was
acknowledged and leaves other clients unharmed."""

import glob
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402


def put(member, key, value, timeout=10):
    with member.channel() as channel:
        return pb.KVStub(channel).Put(pb.PutRequest(key=key, value=value), timeout=timeout)


def get(member, key):
    with member.channel() as channel:
        kvs = pb.KVStub(channel).Range(pb.RangeRequest(key=key), timeout=10, wait_for_ready=True).kvs
    return kvs[0].value if kvs else None


def raw_call(member, path, body, timeout=10):
    """Any bytes to any method; ("OK", bytes) or (code, text)."""
    with member.channel() as channel:
        call = channel.unary_unary(path, request_serializer=None, response_deserializer=None)
        try:
            return "OK", call(body, timeout=timeout)
        except grpc.RpcError as error:
            return error.code().name, error.details()


def nested_txn(depth):
    """A TxnRequest inside a RequestOp inside a TxnRequest ..., encoded from the inside out."""
    def field(number, body):
        length, head = len(body), b""
        while length >= 0x80:
            head += bytes([length & 0x7F | 0x80])
            length >>= 7
        return bytes([number << 3 | 2]) + head + bytes([length]) + body
    body = b""
    for _ in range(depth):
        body = field(2, field(4, body))
    return body


def requests(score, cluster):
    member = cluster.members[0]
    put(member, b"stays", b"here")
    code, text = raw_call(member, "/etcdserverpb.KV/Put", b"\xff\xff\xff")
    score.check(code == "INTERNAL", "bytes that are no protobuf", "%s %s" % (code, text))
    code, text = raw_call(member, "/etcdserverpb.KV/Txn", nested_txn(10000))
    score.check(code in ("INTERNAL", "INVALID_ARGUMENT"), "a txn nested 10,000 deep", "%s %s" % (code, text))
    bomb = b"\x0a\x00" * 700000
    code, text = raw_call(member, "/etcdserverpb.KV/Txn", bomb)
    score.check(code in ("INVALID_ARGUMENT", "INTERNAL"), "700,000 empty compares", "%s %s" % (code, text))
    code, text = raw_call(member, "/etcdserverpb.KV/Put", b"x" * (2 * 1024 * 1024 + 1))
    score.check((code, text) == ("RESOURCE_EXHAUSTED",
                                 "grpc: received message larger than max (2097153 vs. 2097152)"),
                "a message of 2 MiB + 1", "%s %s" % (code, text))
    code, text = raw_call(member, "/etcdserverpb.KV/Fly", b"")
    score.check((code, text) == ("UNIMPLEMENTED", "unknown method Fly for service etcdserverpb.KV"),
                "an unknown method", "%s %s" % (code, text))
    code, text = raw_call(member, "/no.Such/Thing", b"")
    score.check((code, text) == ("UNIMPLEMENTED", "unknown service no.Such"), "an unknown service",
                "%s %s" % (code, text))
    with member.channel() as channel:
        try:
            pb.KVStub(channel).Put(pb.PutRequest(key=b"k", value=b"v" * 1572864), timeout=10)
            score.check(False, "a value of 1.5 MiB must be refused")
        except grpc.RpcError as error:
            score.check(error.details() == "etcdserver: request is too large", "a value of 1.5 MiB", error.details())
        answer = pb.KVStub(channel).Put(pb.PutRequest(key=b"big", value=b"v" * 1572800), timeout=10)
        score.check(answer.header.revision > 0, "a value just below it is taken")
    with socket.create_connection(("127.0.0.1", member.client_port)) as sock:
        sock.sendall(b"\x00\x01\x02garbage\r\n\r\n")
        sock.settimeout(15)
        score.check(sock.recv(4096)[:12] in (b"", b"HTTP/1.1 400"), "bytes that are no HTTP at all")
    score.check(get(member, b"stays") == b"here", "and nothing was lost")


def start_failure(args, extra, folder=None, **popen):
    """Starts kvd and waits for its end: (exit code, all it said)."""
    made = folder or tempfile.mkdtemp(prefix="kvd-test-")
    command = [os.path.join(args.build, "kvd"), "--data-dir", os.path.join(made, "d"), *extra]
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=False, text=True, **popen)
        return done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        return None, "it runs"
    finally:
        if folder is None:
            shutil.rmtree(made)


def starting(score, args):
    code, said = start_failure(args, ["--no-such-flag"])
    score.check(code == 2 and "no-such-flag" in said, "an unknown flag", "%s %s" % (code, said))
    code, said = start_failure(args, ["--election-timeout", "abc"])
    score.check(code == 2 and "election-timeout" in said, "a flag that is no number", "%s %s" % (code, said))
    code, said = start_failure(args, ["--cert-file", "/x"])
    score.check(code not in (0, None) and "without a key" in said, "a certificate without its key", "%s %s" % (code, said))
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        url = "http://127.0.0.1:%d" % busy.getsockname()[1]
        code, said = start_failure(args, ["--listen-client-urls", url, "--advertise-client-urls", url,
                                          "--listen-peer-urls", "http://127.0.0.1:0"])
        score.check(code == 1 and str(busy.getsockname()[1]) in said, "a busy port", "%s %s" % (code, said))


def stopped_single(args, extra=()):
    """A single member with some data, stopped."""
    cluster = _servers.start_kvd(args.build, 1, extra)
    member = cluster.members[0]
    for i in range(50):
        put(member, b"k%d" % i, b"v" * 100)
    member.stop()
    return cluster, member


def ends_at_start(member):
    member.start()
    try:
        return member.process.wait(20), member.log_tail(5)
    except subprocess.TimeoutExpired:
        member.kill()
        return None, "it runs"


def data_dirs(score, args):
    cluster, member = stopped_single(args)
    at = member.args.index("--initial-cluster")
    other = list(member.args)
    other[at + 1:at + 1 + 0] = []
    member.args = [a if a != "m1" else "m9" for a in other]
    code, said = ends_at_start(member)
    score.check(code == 1 and "belongs to member" in said, "a data dir of another member", "%s %s" % (code, said))
    member.args = other
    member.start()
    _servers.wait_ready(member)
    score.check(get(member, b"k49") == b"v" * 100, "which is untouched by the refusal")
    second = subprocess.run(member.args, capture_output=True, timeout=20, check=False, text=True)
    score.check(second.returncode == 1, "a second process on the same data dir", second.stderr[-300:])
    member.stop()

    segments = sorted(glob.glob(os.path.join(cluster.folder, "m1", "**", "*"), recursive=True))
    segments = [s for s in segments if os.path.isfile(s) and os.path.getsize(s) > 100000]
    whole = open(segments[0], "rb").read()
    used = whole.rstrip(b"\0")
    with open(segments[0], "r+b") as segment:
        segment.seek(len(used) // 2)
        byte = segment.read(1)
        segment.seek(len(used) // 2)
        segment.write(bytes([byte[0] ^ 4]))
    code, said = ends_at_start(member)
    name = os.path.basename(segments[0])
    score.check(code == 1 and name in said and "offset" in said, "a flipped bit in the middle of the log",
                "%s %s" % (code, said))
    with open(segments[0], "r+b") as segment:
        segment.write(whole)
    member.start()
    _servers.wait_ready(member)
    score.check(get(member, b"k0") == b"v" * 100, "the repaired log starts again with everything")
    cluster.close()

    half = tempfile.mkdtemp(prefix="kvd-test-")
    os.makedirs(os.path.join(half, "d", "wal"), mode=0o700)
    open(os.path.join(half, "d", "identity"), "wb").close()
    code, said = start_failure(args, ["--listen-client-urls", "http://127.0.0.1:0", "--advertise-client-urls",
                                      "http://127.0.0.1:0", "--listen-peer-urls", "http://127.0.0.1:0"], folder=half)
    score.check(code in (1, None) and "internal error" not in said, "a half-written data dir", "%s %s" % (code, said))
    shutil.rmtree(half)


def full_disk(score, args):
    """No more bytes may be written (RLIMIT_FSIZE stands for a full disk): the member stops or refuses; after
    space is back everything acknowledged is there."""
    cluster = _servers.start_kvd(args.build, 1)
    member = cluster.members[0]
    resource.prlimit(member.process.pid, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    acked = 0
    for i in range(5000):
        try:
            put(member, b"f%d" % i, b"v" * 20000, timeout=5)
            acked = i + 1
        except grpc.RpcError:
            break
    score.check(acked < 5000, "a full disk is noticed", "%d writes were acknowledged" % acked)
    if member.running():
        member.process.wait(20)
    score.check(member.process.returncode == 1, "the member stops and says so",
                "exit code %s\n%s" % (member.process.returncode, member.log_tail(5)))
    score.check("disk" in member.log_tail(10) or "space" in member.log_tail(10) or "large" in member.log_tail(10),
                "its log names the disk", member.log_tail(5))
    member.start()
    _servers.wait_ready(member)
    lost = [i for i in range(acked) if get(member, b"f%d" % i) != b"v" * 20000]
    score.check(not lost, "nothing acknowledged is lost (%d writes)" % acked, str(lost[:10]))
    cluster.close()


def main():
    args = _servers.arguments()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    score = _servers.Score()
    requests(score, _servers.start_kvd(args.build))
    starting(score, args)
    data_dirs(score, args)
    full_disk(score, args)
    score.finish()


if __name__ == "__main__":
    main()
