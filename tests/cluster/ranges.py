#!/usr/bin/python3
"""Lists of 54 MB: what sixteen at once add to kvd's memory, that slow readers hold up no compaction and still get
the state of their revision, and that those who vanish leave nothing behind.

The clients speak just enough HTTP/2 to open a Range and to throw its bytes away, or to stop taking them.
"""

import hashlib
import os
import random
import socket
import struct
import sys
import threading

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402

KEYS = 54000
VALUE = 960
LISTS = 16
ADDED_MAX_KB = 100 << 10
SLOW = 4
DATA, HEADERS, RST, SETTINGS, WINDOW = 0, 1, 3, 4, 8
ENHANCE_YOUR_CALM = 11
WINDOW_MAX = 2**31 - 1
EVERYTHING = pb.RangeRequest(key=b"\x00", range_end=b"\x00")
NEWEST_FIRST = pb.RangeRequest(key=b"\x00", range_end=b"\x00", sort_order="DESCEND", sort_target="MOD")


class Lister:
    """One Range on a connection of its own."""

    def __init__(self, member, window=WINDOW_MAX, request=EVERYTHING):
        self.sock = socket.create_connection(("127.0.0.1", member.client_port), timeout=120)
        self.digest = hashlib.sha256()
        self.length = self.want = 0
        self.reset = None
        self.ended = False
        self.head, self.buffer = b"", bytearray()
        self.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window))
        self.frame(WINDOW, 0, 0, struct.pack(">I", WINDOW_MAX - 65535))
        self.frame(HEADERS, 4, 1, b"".join(self.literal(*field) for field in (
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/etcdserverpb.KV/Range"),
            (b":authority", b"kvd"), (b"content-type", b"application/grpc"), (b"te", b"trailers"))))
        message = request.SerializeToString()
        self.frame(DATA, 1, 1, struct.pack(">BI", 0, len(message)) + message)

    @staticmethod
    def literal(name, value):
        return bytes([0, len(name)]) + name + bytes([len(value)]) + value

    def frame(self, kind, flags, stream, payload):
        self.sock.sendall(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload)

    def open_window(self):
        self.frame(WINDOW, 0, 1, struct.pack(">I", WINDOW_MAX - 65536))

    def take(self, enough=None):
        """Reads to the end, or until so many bytes of the message have come."""
        while not self.ended and (enough is None or self.length < enough):
            piece = self.sock.recv(1 << 18)
            if not piece:
                break
            self.buffer += piece
            self.parse()
        return self

    def parse(self):
        at = 0
        while len(self.buffer) - at >= 9:
            size = int.from_bytes(self.buffer[at:at + 3], "big")
            if len(self.buffer) - at < 9 + size:
                break
            kind, flags = self.buffer[at + 3], self.buffer[at + 4]
            payload = bytes(self.buffer[at + 9:at + 9 + size])
            at += 9 + size
            if kind == DATA:
                self.note(payload)
            if kind == RST:
                self.reset = struct.unpack(">I", payload)[0]
            self.ended = self.ended or kind == RST or (kind in (DATA, HEADERS) and bool(flags & 1))
        del self.buffer[:at]

    def note(self, payload):
        if self.length < 5:
            self.head += payload[:5 - self.length]
        if self.want == 0 and len(self.head) == 5:
            self.want = 5 + struct.unpack(">I", self.head[1:])[0]
        self.length += len(payload)
        self.digest.update(payload)

    def whole(self):
        return self.ended and self.reset is None and self.length == self.want > 0

    def close(self):
        self.sock.close()


def fill(stub, first, last):
    for start in range(first, last, 100):
        txn = pb.TxnRequest()
        for n in range(start, min(start + 100, last)):
            put = txn.success.add().request_put
            put.key, put.value = b"/registry/pods/%08d" % n, os.urandom(VALUE)
        stub.Txn(txn)


def memory_kb(member, name):
    with open("/proc/%d/status" % member.process.pid) as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name + ":"))


def in_threads(listers):
    threads = [threading.Thread(target=lister.take) for lister in listers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def sixteen_at_once(member, score):
    before = memory_kb(member, "VmRSS")
    listers = [Lister(member) for _ in range(LISTS)]
    in_threads(listers)
    added = memory_kb(member, "VmHWM") - before
    print("%d lists of %.1f MB at once add %.1f MB" % (LISTS, listers[0].want / 1e6, added / 1024))
    score.check(all(lister.whole() for lister in listers), "every list came whole")
    score.check(len({lister.digest.digest() for lister in listers}) == 1, "they are all the same")
    score.check(listers[0].want > 53_000_000, "they are long", str(listers[0].want))
    score.check(added <= ADDED_MAX_KB, "they add little", "%d kB" % added)
    for lister in listers:
        lister.close()
    return listers[0].digest.digest()


def revision(stub):
    return stub.Range(pb.RangeRequest(key=b"x"), timeout=60).header.revision


def compact_all(stub):
    """Answered once the removal is through."""
    stub.Compact(pb.CompactionRequest(revision=revision(stub), physical=True), timeout=60)


def slow_readers(member, stub, score, digest):
    """Stopped in the middle, through three compactions that take a third of what they have yet to read. One of
    them has it sorted, and so copies all of it."""
    sorted_digest = Lister(member, request=NEWEST_FIRST).take().digest.digest()
    readers = [Lister(member, window=65536).take(60000) for _ in range(SLOW)]
    readers.append(Lister(member, window=65536, request=NEWEST_FIRST).take(60000))
    before = memory_kb(member, "VmRSS")
    for third in range(3):
        fill(stub, third * KEYS // 9, (third + 1) * KEYS // 9)
        compact_all(stub)
    added = memory_kb(member, "VmRSS") - before
    print("%d slow readers through three compactions: %+.1f MB" % (SLOW, added / 1024))
    score.check(not any(reader.ended for reader in readers), "they are still reading")
    for reader in readers:
        reader.open_window()
    in_threads(readers)
    score.check(all(reader.whole() for reader in readers), "they got everything",
                str([(reader.length, reader.want, reader.reset) for reader in readers]))
    score.check([reader.digest.digest() for reader in readers] == [digest] * SLOW + [sorted_digest],
                "of the revision they began at")
    for reader in readers:
        reader.close()


def sorting_without_end(member, stub, score):
    """Sorted lists, one after the other from eight clients: each pins the store, and compaction gets through."""
    stop = threading.Event()
    lists = []
    newest = pb.RangeRequest(limit=1)
    newest.MergeFrom(NEWEST_FIRST)

    def sort_on():
        while not stop.is_set():
            lister = Lister(member, request=newest).take()
            lists.append(lister.whole())
            lister.close()

    threads = [threading.Thread(target=sort_on) for _ in range(8)]
    for thread in threads:
        thread.start()
    passed_by = 0
    for _ in range(5):
        fill(stub, 0, KEYS // 20)
        begun = len(lists)
        compact_all(stub)
        passed_by = max(passed_by, len(lists) - begun)
    stop.set()
    for thread in threads:
        thread.join()
    print("at most %d sorted lists were answered while a compaction waited" % passed_by)
    score.check(lists and all(lists), "lists beside compactions came whole", str(len(lists)))
    score.check(passed_by <= 4 * len(threads), "those that come later wait for it", str(passed_by))


def too_many_slow_readers(member, stub, score):
    """All that six of them have yet to read is overwritten: more than the 256 MiB that may be set aside (ranges.c)."""
    readers = [Lister(member, window=65536).take(60000) for _ in range(6)]
    fill(stub, 0, KEYS)
    compact_all(stub)
    print("kvd has %.1f MB with six of them" % (memory_kb(member, "VmRSS") / 1024))
    for reader in readers:
        reader.open_window()
    in_threads(readers)
    cut = [reader for reader in readers if reader.reset is not None]
    score.check(len(cut) == 2 and all(reader.reset == ENHANCE_YOUR_CALM for reader in cut),
                "as many are cut as must be", str([reader.reset for reader in readers]))
    score.check(sum(reader.whole() for reader in readers) == len(readers) - len(cut), "the others get everything")
    for reader in readers:
        reader.close()


def readers_that_vanish(member, stub, score, rng):
    for _ in range(40):
        window = rng.choice([1, 1000, 65536, WINDOW_MAX])
        Lister(member, window).take(rng.choice([1, window])).close()
    fill(stub, 0, KEYS // 10)
    compact_all(stub)
    lister = Lister(member).take()
    score.check(lister.whole(), "who comes after them is served")
    lister.close()


def refused(stub, score, txn, words):
    try:
        stub.Txn(txn, timeout=60)
        score.check(False, words, "was answered")
    except grpc.RpcError as error:
        score.check(error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and words in error.details(), words, str(error))


def txns_that_ask_for_too_much(stub, score):
    """More than 2 GiB, as etcd's gRPC refuses it; more keys than may be looked at, in a txn that writes: it is
    carried out all the same."""
    refused(stub, score, pb.TxnRequest(success=[pb.RequestOp(request_range=EVERYTHING)] * 42), "larger than max")
    keys = pb.RangeRequest(key=b"\x00", range_end=b"\x00", keys_only=True)
    put = pb.RequestOp(request_put=pb.PutRequest(key=b"written", value=b"1"))
    refused(stub, score, pb.TxnRequest(success=[pb.RequestOp(request_range=keys)] * 100 + [put]), "too many keys")
    score.check(stub.Range(pb.RangeRequest(key=b"written"), timeout=60).count == 1, "the txn was carried out")


def main():
    args = _servers.arguments()
    rng = random.Random(args.seed)
    cluster = _servers.start_kvd(args.build)
    member = cluster.members[0]
    stub = pb.KVStub(member.channel())
    score = _servers.Score()
    fill(stub, 0, KEYS)
    digest = sixteen_at_once(member, score)
    slow_readers(member, stub, score, digest)
    readers_that_vanish(member, stub, score, rng)
    sorting_without_end(member, stub, score)
    too_many_slow_readers(member, stub, score)
    txns_that_ask_for_too_much(stub, score)
    left = [Lister(member, 65536, request).take(60000) for request in (EVERYTHING, NEWEST_FIRST)]
    score.check(member.stop() == 0 and not any(lister.ended for lister in left), "an orderly stop beside readers")
    score.finish()


if __name__ == "__main__":
    main()
