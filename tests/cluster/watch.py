#!/usr/bin/python3
"""Watchers under kill -9, leader changes, disconnects and compactions (faults.md I5): each follower of the whole
keyspace resumes on another member after what it saw last, or after the last progress it was told, and must
see every revision once, in order and whole. What was acknowledged to writers must be among it.
"""

import os
import random
import sys
import threading

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402
from _watch import Stream, event_view  # noqa: E402

FOLLOWERS = 4
WRITERS = 4


class Writer(threading.Thread):
    """Puts, deletes and txns of several changes, through any member; keeps what was acknowledged."""

    def __init__(self, number, cluster, seed):
        super().__init__(daemon=True)
        self.rng = random.Random(seed)
        self.number = number
        self.stubs = [pb.KVStub(m.channel()) for m in cluster.members]
        self.acked = {}  # revision -> keys put
        self.stop = threading.Event()
        self.change = threading.Condition()

    def key(self):
        return b"k%02d" % self.rng.randrange(20)

    def run(self):
        count = 0
        while not self.stop.is_set():
            count += 1
            value = b"%d-%d" % (self.number, count)
            txn = pb.TxnRequest()
            for key in {self.key() for _ in range(self.rng.choice([1, 1, 1, 3]))}:
                put = txn.success.add().request_put
                put.key, put.value = key, value
            if self.rng.random() < 0.2:
                txn.success.add().request_delete_range.key = b"k99"
            try:
                answer = self.rng.choice(self.stubs).Txn(txn, timeout=2)
            except grpc.RpcError:
                continue
            with self.change:
                self.acked[answer.header.revision] = value
                self.change.notify_all()

    def wait_for_writes(self, count):
        with self.change:
            wanted = len(self.acked) + count
            return self.change.wait_for(lambda: len(self.acked) >= wanted, 60)


class Follower(threading.Thread):
    """Watches everything, and drops the connection now and then."""

    def __init__(self, cluster, seed):
        super().__init__(daemon=True)
        self.rng = random.Random(seed)
        self.cluster = cluster
        self.next = 2      # first revision not seen; an empty store is at 1
        self.events = {}   # revision -> events
        self.skipped = []  # (first, last) that compaction took from us
        self.problems = []
        self.streams = self.progress = 0
        self.goal = None   # the revision to stop at
        self.change = threading.Condition()

    def run(self):
        while self.goal is None or self.next <= self.goal:
            self.follow(self.rng.randint(1, 400))

    def follow(self, answers):
        """One stream until that many answers, or until it ends."""
        self.streams += 1
        stream = Stream(self.rng.choice(self.cluster.members), metadata=[("hasleader", "true")])
        stream.create(b"\x00", b"\x00", start_revision=self.next, prev_kv=True)
        done = 0
        while done < answers:
            stream.wait(lambda got: len(got) > done, timeout=2)
            got = stream.snapshot()
            if len(got) == done:  # ended, or nothing to say: ask how far it is
                if stream.ended is not None or self.goal is not None and self.next > self.goal:
                    break
                done_before = done
                stream.ask_progress()
                if not stream.wait(lambda got: len(got) > done_before, timeout=2):
                    break
                continue
            for answer in got[done:]:
                self.take(answer)
            done = len(got)
            if self.rng.random() < 0.2:
                stream.ask_progress()
        stream.close()

    def take(self, answer):
        if answer.canceled:
            if answer.compact_revision <= self.next:
                self.problems.append("canceled with %d, at %d" % (answer.compact_revision, self.next))
                return
            self.skipped.append((self.next, answer.compact_revision - 1))
            self.next = answer.compact_revision
            return
        if answer.created:
            return
        if not answer.events:
            self.progress += 1
            if answer.header.revision >= self.next:
                self.problems.append("progress %d, but %d was never sent" % (answer.header.revision, self.next))
            return
        for revision in sorted({e.kv.mod_revision for e in answer.events}):
            # Revisions are dense, so whoever watches all keys sees each.
            if revision != self.next:
                self.problems.append("revision %d came, %d was next" % (revision, self.next))
            self.events[revision] = [event_view(e) for e in answer.events if e.kv.mod_revision == revision]
            self.next = revision + 1
        order = [e.kv.mod_revision for e in answer.events]
        if order != sorted(order):
            self.problems.append("events out of order: %r" % order)


def whole(history, revision, events):
    """prev_kv may be missing where it was compacted when the event was read; nothing else may differ."""
    want = history.setdefault(revision, events)
    return len(want) == len(events) and all(
        a[:2] == b[:2] and (a[2] == b[2] or a[2] is None or b[2] is None) for a, b in zip(want, events))


def check(followers, writers, score):
    history = {}
    for follower in followers:
        score.check(not follower.problems, "a follower's stream", "\n".join(follower.problems[:10]))
        wrong = [r for r, events in follower.events.items() if not whole(history, r, events)]
        score.check(not wrong, "followers agree on every revision", str(wrong[:10]))
    for writer in writers:
        lost = [r for r, value in writer.acked.items()
                if any(r in f.events and not any(e[1][1] == value for e in f.events[r]) for f in followers)]
        score.check(not lost, "what was acknowledged is in the events", str(lost[:10]))
    score.check(max(len(f.events) for f in followers) > 100, "there was something to see")
    print("streams %s, events of %s revisions, compacted away %s times, %d progress answers" % (
        [f.streams for f in followers], [len(f.events) for f in followers],
        [len(f.skipped) for f in followers], sum(f.progress for f in followers)), flush=True)


def main():
    args = _servers.arguments(rounds=12)
    score = _servers.Score()
    rng = random.Random(args.seed)
    cluster = _servers.start_kvd(args.build, 3)
    writers = [Writer(i, cluster, rng.random()) for i in range(WRITERS)]
    followers = [Follower(cluster, rng.random()) for _ in range(FOLLOWERS)]
    for thread in writers + followers:
        thread.start()
    for _ in range(args.rounds):
        score.check(writers[0].wait_for_writes(rng.randint(20, 120)), "writes go on")
        if rng.random() < 0.5:
            revision = max(max(w.acked) for w in writers) - rng.randint(0, 200)
            if revision > 0:
                try:
                    rng.choice(writers[0].stubs).Compact(pb.CompactionRequest(revision=revision), timeout=5)
                except grpc.RpcError:
                    pass  # compacted already, or its member is changing leaders
        victim = rng.choice(cluster.members)
        victim.kill()
        score.check(writers[1].wait_for_writes(rng.randint(5, 40)), "writes go on with a member down")
        victim.start()
        _servers.wait_ready(victim)
    for writer in writers:
        writer.stop.set()
        writer.join()
    goal = writers[0].stubs[0].Put(pb.PutRequest(key=b"end", value=b"end"), wait_for_ready=True, timeout=20).header.revision
    for follower in followers:
        follower.goal = goal
    for follower in followers:
        follower.join(60)
        score.check(not follower.is_alive(), "every follower gets to the end")
    check(followers, writers, score)
    if score.failed:
        cluster.keep()
    score.finish()


if __name__ == "__main__":
    main()
