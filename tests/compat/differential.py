#!/usr/bin/python3
"""The same generated requests to Debian's etcd and to kvd, answers compared field by field.

Ids, terms and timings are left out; everything else, errors (code and text) included, must be equal.
A sequence is a few dozen requests; both servers see all sequences in the same order, so that revisions
stay comparable. --seed N repeats a run.
"""

import difflib
import random

import grpc
from etcd3 import etcdrpc as pb

import _servers

KEYS = [b"a", b"a\x00", b"a\xff", b"aa", b"ab", b"b", b"b/1", b"b/2", b"b/\xff\xff", b"\x00", b"\xff", b"zz"]
BOUNDS = KEYS + [b"\x00", b"c", b"b0", b"\xff\xff", b"A"]
SORT_ATTRIBUTE = {1: "version", 2: "create_revision", 3: "mod_revision"}


class Generator:
    def __init__(self, rng):
        self.rng = rng
        self.revision = 1  # of the servers, as the last answer said

    def key(self):
        return b"" if self.rng.random() < 0.01 else self.rng.choice(KEYS)

    def span(self):
        """key, range_end: a point, a range, from-key, a prefix, or one that matches nothing."""
        kind = self.rng.random()
        if kind < 0.4:
            return self.key(), b""
        if kind < 0.8:
            return self.key(), self.rng.choice(BOUNDS)
        if kind < 0.9:
            return self.key(), b"\x00"
        return b"\x00", b"\x00"

    def any_revision(self):
        kind = self.rng.random()
        if kind < 0.6:
            return 0
        if kind < 0.95:
            return self.rng.randint(max(1, self.revision - 60), self.revision)
        return self.rng.choice([self.revision + 1, self.revision + 1000, -1, 1])

    def put(self):
        put = pb.PutRequest(key=self.key(), value=self.value())
        put.prev_kv = self.rng.random() < 0.3
        if self.rng.random() < 0.1:
            put.ignore_value = True
            if self.rng.random() < 0.8:
                put.value = b""
        if self.rng.random() < 0.05:
            put.ignore_lease = True
        if self.rng.random() < 0.1:
            put.lease = self.lease_id()
        return put

    def lease_id(self):
        return self.rng.choice([1, 2, -5, 2**62])

    def value(self):
        return self.rng.choice([b"", b"1", b"2", b"v" * 300, bytes([self.rng.randrange(256)])])

    def range(self):
        key, end = self.span()
        request = pb.RangeRequest(key=key, range_end=end)
        rng = self.rng
        if rng.random() < 0.4:
            request.limit = rng.choice([1, 2, 3, 5, 100, -1])
        request.revision = self.any_revision()
        if rng.random() < 0.4:
            request.sort_order = rng.randint(0, 2)
            request.sort_target = rng.randint(0, 4)
        request.serializable = rng.random() < 0.2
        request.keys_only = rng.random() < 0.2
        request.count_only = rng.random() < 0.15
        for field in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
            if rng.random() < 0.08:
                setattr(request, field, rng.randint(max(1, self.revision - 30), self.revision + 2))
        return request

    def delete(self):
        key, end = self.span()
        if self.rng.random() < 0.7:
            end = b""
        return pb.DeleteRangeRequest(key=key, range_end=end, prev_kv=self.rng.random() < 0.4)

    def compare(self):
        rng = self.rng
        compare = pb.Compare(result=rng.randint(0, 3), target=rng.randint(0, 4), key=self.key())
        numbers = [0, 1, 2, 3, self.revision, max(0, self.revision - rng.randint(0, 20)), -1]
        target = compare.target if rng.random() < 0.95 else rng.randint(0, 4)
        if target == 3:
            compare.value = self.value()
        else:
            name = {0: "version", 1: "create_revision", 2: "mod_revision", 4: "lease"}[target]
            setattr(compare, name, rng.choice(numbers) if name != "lease" else self.lease_id())
        if rng.random() < 0.25:
            compare.range_end = rng.choice(BOUNDS)
        return compare

    def operation(self, depth):
        kind = self.rng.random()
        if kind < 0.4:
            return pb.RequestOp(request_put=self.put())
        if kind < 0.65:
            return pb.RequestOp(request_range=self.range())
        if kind < 0.85 or depth == 0:
            return pb.RequestOp(request_delete_range=self.delete())
        if kind < 0.99:
            return pb.RequestOp(request_txn=self.txn(depth - 1))
        return pb.RequestOp()

    def txn(self, depth=2):
        rng = self.rng
        txn = pb.TxnRequest(
            compare=[self.compare() for _ in range(rng.choice([0, 1, 1, 1, 2, 3]))],
            success=[self.operation(depth) for _ in range(rng.choice([0, 1, 1, 2, 3, 5]))],
            failure=[self.operation(depth) for _ in range(rng.choice([0, 0, 1, 2]))])
        if has_delete(txn):
            take_old_values_off(txn)
        return txn

    def big_txn(self):
        """Around the limit of 128 operations."""
        count = self.rng.choice([127, 128, 129])
        ops = [pb.RequestOp(request_put=pb.PutRequest(key=b"big%03d" % i)) for i in range(count)]
        return pb.TxnRequest(success=ops)

    def compaction(self):
        # physical: while etcd still removes records, its HashKV of a revision without live keys changes.
        return pb.CompactionRequest(
            revision=self.rng.choice([0, self.revision + 1, self.revision, self.revision - 5, self.revision - 40, -1]),
            physical=True)

    def hash_kv(self):
        return pb.HashKVRequest(revision=self.rng.choice([0, 0, self.revision - 3, self.revision, self.revision + 5]))

    def request(self):
        """(service, method, message)"""
        kind = self.rng.random()
        if kind < 0.30:
            return "KV", "Put", self.put()
        if kind < 0.60:
            return "KV", "Range", self.range()
        if kind < 0.70:
            return "KV", "DeleteRange", self.delete()
        if kind < 0.93:
            return "KV", "Txn", self.txn()
        if kind < 0.935:
            return "KV", "Txn", self.big_txn()
        if kind < 0.95:
            return "KV", "Compact", self.compaction()
        if kind < 0.965:
            return "Lease", "LeaseGrant", pb.LeaseGrantRequest(ID=self.lease_id(), TTL=10**6)
        if kind < 0.975:
            return "Lease", "LeaseRevoke", pb.LeaseRevokeRequest(ID=self.lease_id())
        return "Maintenance", "HashKV", self.hash_kv()


def operations(txn):
    """All operations of a txn, nested ones included."""
    for op in [*txn.success, *txn.failure]:
        yield op
        if op.HasField("request_txn"):
            yield from operations(op.request_txn)


def has_delete(txn):
    return any(op.HasField("request_delete_range") for op in operations(txn))


def take_old_values_off(txn):
    """etcd 3.4 panics on a put that keeps the old value of a key that the same txn has just deleted."""
    for op in operations(txn):
        if op.HasField("request_put"):
            op.request_put.ignore_value = op.request_put.ignore_lease = False


class Server:
    def __init__(self, cluster):
        self.channel = cluster.members[0].channel()
        self.stubs = {"KV": pb.KVStub(self.channel), "Maintenance": pb.MaintenanceStub(self.channel),
                      "Lease": pb.LeaseStub(self.channel)}

    def call(self, service, method, message):
        """("ok", answer) or ("error", code, text)."""
        try:
            return "ok", getattr(self.stubs[service], method)(message, timeout=20)
        except grpc.RpcError as error:
            return "error", error.code().name, error.details()


def strip_ids(answer):
    """Leaves of the header only what must be equal: the revision, and that a header is there."""
    for field, value in answer.ListFields():
        if field.name == "header":
            value.cluster_id = value.member_id = value.raft_term = 0
        elif field.message_type is not None and field.label == field.LABEL_REPEATED:
            for item in value:
                strip_ids(item)
        elif field.message_type is not None:
            strip_ids(value)
    return answer


def order_ties(request, answer):
    """Keys that compare equal under the asked sort come in no defined order (Go's sort is unstable):
    put ties into key order. With a limit the cut may fall inside a tie: compare only the sort column."""
    name = SORT_ATTRIBUTE.get(request.sort_target, "value" if request.sort_target == 4 else None)
    if name is None or request.count_only:
        return
    kvs = list(answer.kvs)
    if request.keys_only and name == "value":
        name = "key"  # the column is not in the answer
    for kv in kvs:
        if request.limit > 0:
            column = b"" if name == "key" else getattr(kv, name)
            kv.Clear()
            if name != "key":
                setattr(kv, name, column)
    # Order across ties is checked by the column itself, in the order it came.
    columns = [getattr(kv, name) for kv in kvs]
    wanted = sorted(columns, reverse=request.sort_order == pb.RangeRequest.DESCEND)
    if request.sort_order != pb.RangeRequest.NONE and name != "key" and columns != wanted:
        raise AssertionError("not sorted by %s: %s" % (name, columns))
    kvs.sort(key=lambda kv: (getattr(kv, name), kv.key))
    del answer.kvs[:]
    answer.kvs.extend(kvs)


def order_ties_in_txn(request, answer):
    branch = request.success if answer.succeeded else request.failure
    for op, response in zip(branch, answer.responses):
        if op.HasField("request_range"):
            order_ties(op.request_range, response.response_range)
        elif op.HasField("request_txn"):
            order_ties_in_txn(op.request_txn, response.response_txn)


def newer_rule(method, request, got):
    """True where etcd has changed since 3.4 and kvd does what 3.5 and 3.6 do."""
    # HashKV of exactly the compacted revision: refused by 3.4, answered since 3.5.
    return method == "HashKV" and got[0] == "ok" and request.revision == got[1].compact_revision > 0


def difference(wanted, got):
    lines = [str(part) for result in (wanted, got) for part in ["\n".join(str(x) for x in result)]]
    return "\n".join(difflib.unified_diff(lines[0].splitlines(), lines[1].splitlines(), "etcd", "kvd", lineterm="", n=8))


def comparable(method, request, result):
    if result[0] != "ok":
        return result
    answer = strip_ids(result[1])
    answer.DiscardUnknownFields()  # fields newer than this etcd: HashKV's hash_revision [3.6]
    if method == "Range":
        order_ties(request, answer)
    elif method == "Txn":
        order_ties_in_txn(request, answer)
    return "ok", answer


def main():
    args = _servers.arguments(sequences=300, length=40)
    rng = random.Random(args.seed)
    generator = Generator(rng)
    etcd = Server(_servers.start_etcd())
    kvd = Server(_servers.start_kvd(args.build))
    score = _servers.Score()

    for sequence in range(args.sequences):
        steps = [None] * args.length
        for step in range(len(steps)):
            service, method, message = generator.request()
            if step == args.length - 1:
                service, method, message = "Maintenance", "HashKV", pb.HashKVRequest()
            wanted = etcd.call(service, method, message)
            got = kvd.call(service, method, message)
            if wanted[0] == "ok":
                generator.revision = max(generator.revision, wanted[1].header.revision)
            a, b = comparable(method, message, wanted), comparable(method, message, got)
            if a != b and not newer_rule(method, message, got):
                score.check(False, "sequence %d step %d: %s.%s" % (sequence, step, service, method),
                            "request:\n%s%s" % (message, difference(a, b)))
                score.finish()  # what follows would differ because of this
        score.check(True, "sequence")
    score.finish()


if __name__ == "__main__":
    main()
