#!/usr/bin/python3
"""Watch clients that behave badly: each gets a clear answer or the end of its own stream, memory stays bounded, and
others go on. How well they go on is judged by counts (writes done while a client sent so much), not by a clock.
"""

import json
import os
import socket
import sys
import threading
import urllib.request

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _h2  # noqa: E402
import _servers  # noqa: E402
from _watch import MESSAGES, Stream  # noqa: E402

WATCH = b"/etcdserverpb.Watch/Watch"
MIB = 1 << 20


def create_request(key, end=b"", **fields):
    request = MESSAGES["WatchRequest"]()
    request.create_request.key, request.create_request.range_end = key, end
    for name, value in fields.items():
        setattr(request.create_request, name, value)
    return _h2.message(request.SerializeToString())


def progress_request():
    request = MESSAGES["WatchRequest"]()
    request.progress_request.SetInParent()
    return _h2.message(request.SerializeToString())


def memory(member):
    with open("/proc/%d/statm" % member.process.pid, encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def metric(member, name):
    with urllib.request.urlopen("http://%s/metrics" % member.endpoint) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name + " "):
                return int(line.split()[1])
    return None


class Other(threading.Thread):
    """A well-behaved client: writes to its key, watches it, and expects to see what it wrote."""

    def __init__(self, member):
        super().__init__(daemon=True)
        self.kv = pb.KVStub(member.channel())
        self.stream = Stream(member)
        self.stream.created(b"other")
        self.revisions = []
        self.failed = ""
        self.stop = threading.Event()
        self.change = threading.Condition()

    def run(self):
        while not self.stop.is_set():
            try:
                revision = self.kv.Put(pb.PutRequest(key=b"other", value=b"v"), timeout=30).header.revision
            except grpc.RpcError as error:
                self.failed = str(error)
                return
            with self.change:
                self.revisions.append(revision)
                self.change.notify_all()

    def wait_for(self, more):
        with self.change:
            wanted = len(self.revisions) + more
            return self.change.wait_for(lambda: len(self.revisions) >= wanted or self.failed, 60) and not self.failed

    def end(self, score, what):
        self.stop.set()
        self.join()
        seen = self.stream.wait(lambda got: sum(len(a.events) for a in got) >= len(self.revisions))
        got = [e.kv.mod_revision for a in self.stream.snapshot() for e in a.events]
        score.check(not self.failed and seen and got == self.revisions, "others write and watch on: " + what,
                    self.failed or "%d of %d events" % (len(got), len(self.revisions)))
        self.stream.close()
        return len(self.revisions)


def with_other(member, score, what, attack):
    """Runs the attack beside a well-behaved client; returns what the attack did and how many writes went on."""
    other = Other(member)
    other.start()
    result = attack()
    writes = len(other.revisions)
    score.check(other.wait_for(5), "writes go on after: " + what, other.failed)
    other.end(score, what)
    return result, writes


def progress_flood(member, score):
    """100 MB of progress requests on one stream, as fast as they are taken."""
    conn = _h2.Connection(member)
    stream = conn.open(WATCH)
    conn.send(stream, create_request(b"flooded"))
    block = progress_request() * 150000
    before = memory(member)

    def attack():
        sent = 0
        while sent < 100 * MIB:
            conn.send(stream, block)
            sent += len(block)
        return sent

    sent, writes = with_other(member, score, "a flood of progress requests", attack)
    grown = memory(member) - before
    score.check(writes * 4 * MIB >= sent, "a write goes on for every 4 MiB of the flood", "%d writes" % writes)
    score.check(grown < 32 * MIB, "a flood of progress requests: memory is bounded", "%d MiB" % (grown // MIB))
    score.check(conn.data[stream] < sent // 20, "many requests get one answer", str(conn.data[stream]))
    print("progress flood: %d MB, %d writes of another client meanwhile, %d bytes of answers, %+d KiB" % (
        sent // 10**6, writes, conn.data[stream], grown >> 10), flush=True)
    conn.close()


def hundred_thousand_watchers(member, score):
    """On one stream: what they take, who gets an event, and that their end holds up nobody."""
    count = 100000
    conn = _h2.Connection(member)
    stream = conn.open(WATCH, keep=True)
    requests = b"".join(create_request(b"/registry/pods/%08d/" % i, b"/registry/pods/%08d0" % i) for i in range(count))
    before, watchers = memory(member), metric(member, "etcd_debugging_mvcc_watcher_total")

    def attack():
        created = 0
        conn.send(stream, requests)
        while created < count:
            created += len(conn.messages(stream))
            if created < count:
                conn.receive()

    with_other(member, score, "100,000 watchers are created", attack)
    grown = memory(member) - before
    score.check(grown < 28 * MIB, "100,000 watchers of ranges: memory", "%d KiB" % (grown >> 10))
    print("100,000 watchers of ranges: %+d KiB" % (grown >> 10), flush=True)
    with member.channel() as channel:
        pb.KVStub(channel).Put(pb.PutRequest(key=b"/registry/pods/00077777/x", value=b"v"))
    got = []
    while not got:
        conn.receive()
        got = conn.messages(stream)
    answer = MESSAGES["WatchResponse"].FromString(got[0])
    score.check(len(got) == 1 and answer.watch_id == 77777, "only the one gets the event", str(answer.watch_id))

    def leave():
        conn.close()
        while metric(member, "etcd_debugging_mvcc_watcher_total") > watchers + 1:
            pass

    with_other(member, score, "100,000 watchers go away at once", leave)


def streams_by_the_thousand(member, score):
    """Opened, then canceled, half-closed, or left without a word."""
    names = ("etcd_debugging_mvcc_watch_stream_total", "etcd_debugging_mvcc_watcher_total")
    before = [metric(member, n) for n in names]
    conn = _h2.Connection(member)

    def attack():
        opened = []
        for i in range(1500):
            stream = conn.open(WATCH)
            opened.append(stream)
            if i % 3 != 2:
                conn.send(stream, create_request(b"s%d" % i))
        while any(conn.data[s] == 0 for i, s in enumerate(opened) if i % 3 != 2):
            conn.receive()
        for i, stream in enumerate(opened):
            if i % 3 == 0:
                conn.reset(stream)
            else:
                conn.half_close(stream)
        while any(s not in conn.closed for i, s in enumerate(opened) if i % 3 == 2):
            conn.receive()
        return opened

    opened, _ = with_other(member, score, "1500 streams on a connection", attack)
    score.check(all(conn.closed[s] == "end" for i, s in enumerate(opened) if i % 3 == 2),
                "half-closed without a watcher: ended")
    now = [metric(member, n) for n in names]
    score.check([n - b for n, b in zip(now, before)] == [500, 500], "half-closed with a watcher: goes on",
                "%s %s" % (before, now))
    with member.channel() as channel:
        pb.KVStub(channel).Put(pb.PutRequest(key=b"s1", value=b"v"))
    created = conn.data[opened[1]]
    while conn.data[opened[1]] == created:
        conn.receive()
    conn.close()
    while metric(member, names[1]) != before[1]:
        pass


def ids_and_ranges(members, score):
    """What etcd says to odd ids and ranges, we say."""
    creates = [dict(key=b"a", watch_id=-5), dict(key=b"a", watch_id=-5), dict(key=b"a", watch_id=(1 << 63) - 1),
               dict(key=b"a", watch_id=-(1 << 63)), dict(key=b"a", watch_id=-1), dict(key=b"a", watch_id=-1),
               dict(key=b"a"), dict(key=b"", end=b""), dict(key=b"", end=b"\x00"), dict(key=b"\x00", end=b"\x00"),
               dict(key=b"z", end=b"a"), dict(key=b"z", end=b"z"), dict(key=b"\xff" * 4096, end=b"\x00"),
               dict(key=b"a" * MIB, end=b"b"), dict(key=b"a", start_revision=(1 << 63) - 1),
               dict(key=b"a", filters=[0, 1, 0, 1]), dict(key=b"a", progress_notify=True, fragment=True, prev_kv=True)]
    seen = []
    for member in members:
        stream = Stream(member)
        answers = [stream.created(**dict(c)) for c in creates]
        seen.append([(a.watch_id, a.created, a.canceled, a.cancel_reason) for a in answers])
        for watch_id in (-5, (1 << 63) - 1, 12345):
            stream.cancel(watch_id)
        stream.wait(lambda got: sum(a.canceled and not a.created for a in got) >= 2)
        again = stream.created(b"a", watch_id=-5)
        seen[-1].append((again.watch_id, again.canceled))
        seen[-1].append([a.watch_id for a in stream.snapshot() if a.canceled and not a.created])
        stream.close()
    for i, create in enumerate(creates):
        score.check(seen[0][i] == seen[1][i], "create %.80s" % create, "%s\n%s" % (seen[0][i], seen[1][i]))
    score.check(seen[0][-2:] == seen[1][-2:], "canceled ids may be used again", "%s\n%s" % (seen[0][-2:], seen[1][-2:]))


def too_large(member, score):
    """Its stream ends, the connection and its other streams do not."""
    channel = member.channel()
    good, bad = Stream(member, channel=channel), Stream(member, channel=channel)
    good.created(b"good")
    bad.created(b"bad")
    bad.create(b"x" * (3 * MIB))
    ended = bad.wait_end()
    score.check(ended is not None and ended[0] == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in ended[1],
                "a create request of 3 MiB", str(ended))
    pb.KVStub(channel).Put(pb.PutRequest(key=b"good", value=b"v"))
    score.check(good.wait(lambda got: bool(got[-1].events)), "the other stream of the connection lives on")
    channel.close()


def http(member, path, body):
    sock = socket.create_connection(("127.0.0.1", member.client_port))
    sock.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path, len(body)) + body)
    return sock


def answer_head(sock):
    """Status, or None if the connection was closed without one."""
    sock.settimeout(60)
    got = b""
    while b"\r\n\r\n" not in got:
        try:
            more = sock.recv(4096)
        except ConnectionResetError:
            return None
        if not more:
            return None
        got += more
    return int(got.split()[1])


def gateway(member, score):
    """Bodies that are huge or no JSON, and streams that are opened and forgotten."""
    for name, body, want in (("20 MiB", b'{"create_request":{"key":"' + b"A" * (20 * MIB) + b'"}}', {413, 400, None}),
                             ("no JSON", b"create_request", {400}), ("wrong base64", b'{"create_request":{"key":"A"}}', {400}),
                             ("nested 100,000 deep", b'{"a":' * 100000 + b"1" + b"}" * 100000, {400})):
        sock = socket.create_connection(("127.0.0.1", member.client_port))
        try:
            sock.sendall(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused by its head, before the body was sent
        status = answer_head(sock)
        score.check(status in want, "gateway: a body of " + name, str(status))
        sock.close()
    before, watchers = memory(member), metric(member, "etcd_debugging_mvcc_watcher_total")
    body = json.dumps({"create_request": {"key": "Zy8=", "range_end": "ZzA="}}).encode()

    def attack():
        streams = [http(member, b"/v3/watch", body) for _ in range(100)]
        for stream in streams:
            score.check(answer_head(stream) == 200, "gateway: a stream opens")
        with member.channel() as channel:
            value = os.urandom(64 << 10)
            for i in range(100):
                pb.KVStub(channel).Put(pb.PutRequest(key=b"g/%d" % (i % 10), value=value))
        return streams

    streams, _ = with_other(member, score, "100 gateway streams that nobody reads", attack)
    grown = memory(member) - before
    score.check(grown < 80 * MIB, "gateway: 870 MB wait for readers that stopped, memory is bounded",
                "%d MiB" % (grown // MIB))
    print("100 unread gateway streams, 870 MB to be read: %+d MiB" % (grown // MIB), flush=True)
    for stream in streams:
        stream.close()
    while metric(member, "etcd_debugging_mvcc_watcher_total") != watchers:
        pass


def main():
    args = _servers.arguments()
    score = _servers.Score()
    etcd, kvd = _servers.start_etcd(), _servers.start_kvd(args.build)
    ids_and_ranges([etcd.members[0], kvd.members[0]], score)
    etcd.close()
    member = kvd.members[0]
    too_large(member, score)
    streams_by_the_thousand(member, score)
    progress_flood(member, score)
    hundred_thousand_watchers(member, score)
    gateway(member, score)
    score.check(member.running(), "the member lives", member.log_tail())
    if score.failed:
        kvd.keep()
    score.finish()


if __name__ == "__main__":
    main()
