#!/usr/bin/python3
"""kill -9 at random moments under load, on 3 and on 5 members: afterwards every acknowledged write is
there (faults.md I2), revisions never went back (I4), and all members hold the same data (I6).

Clients write unique values to their own keys through all members, one request at a time, and keep what
was acknowledged with its revision. A failed write is unknown: it may be there or not.
"""

import os
import random
import sys
import threading
import time

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402

CLIENTS = 8
KEYS_PER_CLIENT = 5


class Client(threading.Thread):
    """Writes to its own keys only, so that the last acknowledged value of a key is known."""

    def __init__(self, number, cluster, seed, padding=0):
        super().__init__(daemon=True)
        self.number = number
        self.padding = b"." * padding  # of each value, so that few writes make much log
        self.patient = False  # waits for its member: gRPC connects only while somebody waits
        self.rng = random.Random(seed)
        self.channels = [m.channel() for m in cluster.members]
        self.stubs = [pb.KVStub(c) for c in self.channels]
        self.acked = {}  # key -> (revision, value)
        self.unknown = {}  # key -> values whose fate is not known since the last acknowledged one
        self.acknowledged = self.failed = 0
        self.last_revision = 0
        self.problems = []
        self.last_error = None
        self.stop = threading.Event()
        self.progress = threading.Condition()

    def run(self):
        count = 0
        while not self.stop.is_set():
            count += 1
            key = b"c%d/%d" % (self.number, self.rng.randrange(KEYS_PER_CLIENT))
            value = b"%d" % count + self.padding
            stub = self.rng.choice(self.stubs)
            try:
                answer = stub.Put(pb.PutRequest(key=key, value=value), timeout=2, wait_for_ready=self.patient)
            except grpc.RpcError as error:
                self.last_error = "%s %s" % (error.code(), error.details())
                self.unknown.setdefault(key, []).append(value)
                self.failed += 1
                continue
            revision = answer.header.revision
            if revision <= self.last_revision:
                self.problems.append("revision went back: %d after %d" % (revision, self.last_revision))
            self.last_revision = revision
            self.acked[key] = (revision, value)
            self.unknown[key] = []
            with self.progress:
                self.acknowledged += 1
                self.progress.notify_all()

    def wait_for_writes(self, count, timeout):
        """Until that many more writes than now are acknowledged."""
        with self.progress:
            wanted = self.acknowledged + count
            return self.progress.wait_for(lambda: self.acknowledged >= wanted, timeout)

    def check(self, kvs):
        for key, (revision, value) in self.acked.items():
            kv = kvs.get(key)
            if kv is None:
                self.problems.append("%r: acknowledged value %r is gone" % (key, value[:20]))
            elif kv.mod_revision < revision:
                self.problems.append("%r: acknowledged at %d, found an older write of %d" % (key, revision, kv.mod_revision))
            elif kv.mod_revision == revision and kv.value != value:
                self.problems.append("%r: another value at the acknowledged revision %d" % (key, revision))
            elif kv.mod_revision > revision and kv.value not in self.unknown.get(key, []):
                self.problems.append("%r: a value that nobody wrote: %r" % (key, kv.value[:20]))


def all_kvs(member):
    with member.channel() as channel:
        answer = pb.KVStub(channel).Range(pb.RangeRequest(key=b"\x00", range_end=b"\x00"), timeout=30, wait_for_ready=True)
    return answer.header.revision, {kv.key: kv for kv in answer.kvs}


def hash_at(member, revision):
    with member.channel() as channel:
        answer = pb.MaintenanceStub(channel).HashKV(pb.HashKVRequest(revision=revision), timeout=30, wait_for_ready=True)
    return answer.hash


def run(args, size, rounds, score):
    rng = random.Random(args.seed + size)
    cluster = _servers.start_kvd(args.build, size)
    clients = [Client(i, cluster, rng.random()) for i in range(CLIENTS)]
    for client in clients:
        client.start()
    longest = 0.0
    for _ in range(rounds):
        # A minority, or now and then all of them at the same moment.
        everybody = rng.random() < 0.15
        victims = cluster.members if everybody else rng.sample(cluster.members, rng.randint(1, (size - 1) // 2))
        for client in rng.sample(clients, rng.randint(1, 3)):
            score.check(client.wait_for_writes(rng.randint(1, 60), 30), "writes go on")
        for member in victims:
            member.kill()
        began = time.monotonic()
        if not everybody:
            ok = clients[0].wait_for_writes(1, 30)
            longest = max(longest, time.monotonic() - began)
            score.check(ok, "%d of %d members: writes go on after kill -9 of %s"
                        % (size - len(victims), size, [m.name for m in victims]))
        for member in victims:
            member.start()
        for member in victims:
            _servers.wait_ready(member)
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join(30)

    states = [all_kvs(m) for m in cluster.members]
    for client in clients:
        client.check(states[0][1])
        score.check(not client.problems, "client %d sees every acknowledged write" % client.number,
                    "\n".join(client.problems[:10]))
    revision = min(state[0] for state in states)
    hashes = [hash_at(m, revision) for m in cluster.members]
    score.check(len(set(hashes)) == 1, "HashKV is equal on all %d members" % size, str(hashes))
    acknowledged = sum(c.acknowledged for c in clients)
    score.check(acknowledged >= 20 * rounds, "the load was worth the name", "only %d writes" % acknowledged)
    for member in cluster.members:
        code = member.stop()
        score.check(code == 0, "%s stops in good order" % member.name, "exit code %s\n%s" % (code, member.log_tail()))
    print("%d members: %d writes acknowledged, %d failed or unknown, longest wait of client 0 after a kill %.2f s"
          % (size, acknowledged, sum(c.failed for c in clients), longest), flush=True)
    if score.failed:
        cluster.keep()
    cluster.close()


def main():
    args = _servers.arguments(rounds=12)
    score = _servers.Score()
    run(args, 3, args.rounds, score)
    run(args, 5, args.rounds, score)
    score.finish()


if __name__ == "__main__":
    main()
