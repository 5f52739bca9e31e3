#!/usr/bin/python3
"""Watchers of every kind under faults (faults.md I5 and section 4): random spans, filters, prev_kv, progress,
fragments and starts; clients that disconnect, cancel, stop reading; members that are killed or stand still, the
leader above all; compactions. What each client was sent is written down and held against the promises by
build/watchcheck, the checker that the simulator uses too. The history it compares with comes from reads at each
revision, not from a watch.

Covers R4 and R10: clients go on at members that lag behind, or that install a checkpoint, and are told nothing
below their start.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import zlib

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402
from _watch import Stream  # noqa: E402

WRITERS = 3
CLIENTS = 5
WATCHERS = 3
BEHIND_MAX = 400  # revisions that writers may be ahead of the historian
NO_PUT, NO_DELETE, PREV_KV, PROGRESS, FRAGMENT = 1, 2, 4, 8, 16
SPANS = [(b"k01", b""), (b"k02", b""), (b"k", b"l"), (b"k05", b"k12"), (b"k1", b"\x00"), (b"\x00", b"\x00"),
         (b"big/", b"big0"), (b"w", b"x")]
ALL = pb.RangeRequest(key=b"\x00", range_end=b"\x00", serializable=True)


def number_of(value):
    return len(value) << 32 | zlib.crc32(value)


def hexed(key):
    return key.hex() or "-"


class Historian(threading.Thread):
    """Reads the whole keyspace at every revision, one after the other, and knows what changed."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.stubs = [pb.KVStub(m.channel()) for m in cluster.members]
        self.done = 1
        self.goal = None
        self.lines = []
        self.compacted = -1
        self.change = threading.Condition()

    def read(self, revision):
        request = pb.RangeRequest()
        request.CopyFrom(ALL)
        request.revision = revision
        while True:
            for stub in list(self.stubs):
                try:
                    answer = stub.Range(request, timeout=0.3)
                except grpc.RpcError:
                    self.stubs.append(self.stubs.pop(0))  # down, or it is not there yet
                    continue
                return {kv.key: (kv.mod_revision, kv.create_revision, kv.version, number_of(kv.value))
                        for kv in answer.kvs}
            if self.goal is not None and revision > self.goal:
                return None
            with self.change:
                self.change.wait(0.02)

    def run(self):
        was = self.read(1)
        while self.goal is None or self.done < self.goal:
            revision = self.done + 1
            state = self.read(revision)
            if state is None:
                return
            for key in sorted(state.keys() | was.keys()):
                old, new = was.get(key, (0, 0, 0, 0)), state.get(key)
                if new is None:
                    self.add(revision, key, "delete", 0, 0, 0, old)
                elif new[0] == revision:
                    self.add(revision, key, "put", new[1], new[2], new[3], old)
            was = state
            with self.change:
                self.done = revision
                self.change.notify_all()

    def add(self, revision, key, kind, create, version, value, old):
        self.lines.append("history %d %s %s %d %d %d %d %d" % (
            revision, hexed(key), kind, create, version, value, old[0], old[3]))

    def wait_for(self, revision, stop):
        with self.change:
            self.change.wait_for(lambda: self.done >= revision or stop.is_set(), 60)


class Writer(threading.Thread):
    """Puts, deletes and txns through any member, not far ahead of the historian."""

    def __init__(self, number, cluster, historian, seed):
        super().__init__(daemon=True)
        self.rng = random.Random(seed)
        self.number, self.historian = number, historian
        self.stubs = [pb.KVStub(m.channel()) for m in cluster.members]
        self.acked = 0
        self.stop = threading.Event()
        self.change = threading.Condition()

    def key(self):
        return self.rng.choice([b"k%02d", b"k%02d", b"w%02d"]) % self.rng.randrange(20)

    def request(self, count):
        txn = pb.TxnRequest()
        what = self.rng.random()
        if what < 0.1:
            op = txn.success.add().request_delete_range
            op.key, op.range_end = b"k05", b"k09"
        elif what < 0.3:
            txn.success.add().request_delete_range.key = self.key()
        else:
            for key in {self.key() for _ in range(self.rng.choice([1, 1, 1, 4]))}:
                put = txn.success.add().request_put
                put.key, put.value = key, b"%d-%d" % (self.number, count)
        return txn

    def big_delete(self, stub):
        """One revision whose prev_kvs are more than an answer without fragments holds."""
        for i in range(24):
            stub.Put(pb.PutRequest(key=b"big/%02d" % i, value=os.urandom(100 * 1024)), timeout=5)
        return stub.DeleteRange(pb.DeleteRangeRequest(key=b"big/", range_end=b"big0"), timeout=5)

    def run(self):
        count = 0
        while not self.stop.is_set():
            count += 1
            stub = self.rng.choice(self.stubs)
            try:
                if self.number == 0 and count % 120 == 40:
                    answer = self.big_delete(stub)
                else:
                    answer = stub.Txn(self.request(count), timeout=0.2)
            except grpc.RpcError:
                continue
            with self.change:
                self.acked += 1
                self.change.notify_all()
            self.historian.wait_for(answer.header.revision - BEHIND_MAX, self.stop)

    def wait_for_writes(self, count):
        with self.change:
            wanted = self.acked + count
            return self.change.wait_for(lambda: self.acked >= wanted or self.stop.is_set(), 60)

    def end(self):
        self.stop.set()
        with self.change:
            self.change.notify_all()


class Watcher:
    def __init__(self, name, rng, near):
        self.name = name
        self.span = rng.choice(SPANS)
        self.flags = rng.choice([0, PREV_KV, PREV_KV]) | rng.choice([0, PROGRESS]) | rng.choice([0, FRAGMENT])
        self.flags |= rng.choice([0, 0, 0, NO_PUT, NO_DELETE])
        self.next = max(1, near + rng.randint(-300, 50)) if rng.random() < 0.5 else 0
        self.last = 0  # of a fragment that is not whole
        self.id = None
        self.fact = "watch %s %s %s %d %d" % (name, hexed(self.span[0]), hexed(self.span[1]), self.next, self.flags)

    def create(self, stream):
        self.id = None
        self.last = 0
        stream.create(self.span[0], self.span[1], start_revision=self.next, prev_kv=bool(self.flags & PREV_KV),
                      progress_notify=bool(self.flags & PROGRESS), fragment=bool(self.flags & FRAGMENT),
                      filters=[f for f, flag in ((0, NO_PUT), (1, NO_DELETE)) if self.flags & flag])


class Client(threading.Thread):
    """A stream with a few watchers, again and again, on any member."""

    def __init__(self, number, cluster, historian, writer, seed):
        super().__init__(daemon=True)
        self.rng = random.Random(seed)
        self.number, self.cluster, self.historian, self.writer = number, cluster, historian, writer
        self.slow = number == 0
        self.facts = []
        self.watchers = []
        self.retired = []
        self.named = self.streams = self.fragments = self.compacted = self.progress = 0
        self.goal = None

    def run(self):
        while not self.finished():
            self.streams += 1
            self.follow(self.rng.randint(5, 150))

    def finished(self):
        return self.goal is not None and all(w.next > self.goal for w in self.watchers)

    def new_watcher(self):
        self.named += 1
        watcher = Watcher("%d.%d" % (self.number, self.named), self.rng, self.historian.done)
        self.watchers.append(watcher)
        self.facts.append(watcher.fact)
        return watcher

    def retire(self, watcher):
        self.watchers.remove(watcher)
        self.facts += ["lost " + watcher.name, "end " + watcher.name]

    def connect(self):
        stream = Stream(self.rng.choice(self.cluster.members), metadata=[("hasleader", "true")])
        while self.goal is None and len(self.watchers) < WATCHERS:
            self.new_watcher()
        if self.goal is not None:  # what is still to come will not come any more
            for watcher in [w for w in self.watchers if w.next > self.goal + 1]:
                self.retire(watcher)
        self.creating = list(self.watchers)
        for watcher in self.watchers:
            self.facts.append("resume %s %d" % (watcher.name, watcher.next))
            watcher.create(stream)
        return stream

    def follow(self, answers):
        stream = self.connect()
        done = 0
        while done < answers and not self.finished():
            if not stream.wait(lambda got: len(got) > done, timeout=0.5):
                if stream.ended is not None:
                    break
                stream.ask_progress()
                if not stream.wait(lambda got: len(got) > done, timeout=2):
                    break
            for answer in stream.snapshot()[done:]:
                done += 1
                self.take(stream, answer)
            if self.rng.random() < 0.2:
                stream.ask_progress()
            if self.slow and self.rng.random() < 0.2 and self.goal is None:
                stream.stop_reading()
                self.writer.wait_for_writes(50)
                stream.go_on_reading()
        stream.close()
        for watcher in self.watchers:
            self.facts.append("lost " + watcher.name)

    def take(self, stream, answer):
        if answer.created:
            watcher = self.creating.pop(0)
            watcher.id = answer.watch_id
            self.facts.append("created %s %d" % (watcher.name, answer.header.revision))
            watcher.next = watcher.next or answer.header.revision + 1
            return
        concerned = [w for w in self.watchers if w.id is not None and answer.watch_id in (w.id, -1)]
        if answer.canceled:
            if answer.compact_revision != 0 and concerned:
                self.end_compacted(stream, concerned[0], answer.compact_revision)
            return
        for watcher in concerned:
            if answer.events:
                self.take_events(watcher, answer)
            else:
                self.progress += 1
                self.facts.append("progress %s %d" % (watcher.name, answer.header.revision))
                watcher.next = max(watcher.next, answer.header.revision + 1)
        if concerned and answer.events and self.goal is None and self.rng.random() < 0.01:
            self.cancel(stream, concerned[0])

    def cancel(self, stream, watcher):
        """Whatever still comes for its id is nobody's."""
        stream.cancel(watcher.id)
        self.retire(watcher)
        watcher = self.new_watcher()
        self.facts.append("resume %s %d" % (watcher.name, watcher.next))
        self.creating.append(watcher)
        watcher.create(stream)

    def end_compacted(self, stream, watcher, revision):
        self.compacted += 1
        self.facts += ["compacted %s %d" % (watcher.name, revision), "lost " + watcher.name,
                       "resume %s %d" % (watcher.name, revision)]
        watcher.next = revision
        self.creating.append(watcher)
        watcher.create(stream)

    def take_events(self, watcher, answer):
        self.fragments += answer.fragment
        self.facts.append("events %s %d %d %d" % (watcher.name, answer.header.revision, answer.fragment,
                                                  len(answer.events)))
        for event in answer.events:
            kv = event.kv
            self.facts.append("event %d %s %s %d %d %d %d %d" % (
                kv.mod_revision, hexed(kv.key), "delete" if event.type == 1 else "put", kv.create_revision,
                kv.version, number_of(kv.value), event.prev_kv.mod_revision, number_of(event.prev_kv.value)))
            watcher.last = kv.mod_revision
        if not answer.fragment:
            watcher.next = max(watcher.next, watcher.last + 1)


class Faults:
    def __init__(self, cluster, historian, writers, rng, score):
        self.cluster, self.historian, self.writers = cluster, historian, writers
        self.rng, self.score = rng, score
        self.count = {}

    def leader(self):
        for member in self.cluster.members:
            with member.channel() as channel:
                try:
                    status = pb.MaintenanceStub(channel).Status(pb.StatusRequest(), timeout=2)
                    if status.header.member_id == status.leader:
                        return member
                except grpc.RpcError:
                    pass
        return self.rng.choice(self.cluster.members)

    def writes(self, low, high, what):
        self.score.check(self.rng.choice(self.writers).wait_for_writes(self.rng.randint(low, high)), what)

    def compact(self):
        """Never beyond what the historian has read."""
        revision = self.historian.done - self.rng.randint(0, 150)
        if revision <= self.historian.compacted:
            return
        try:
            self.rng.choice(self.writers).stubs[0].Compact(pb.CompactionRequest(revision=revision), timeout=5)
        except grpc.RpcError:
            pass  # its member is changing leaders: it may come to pass or not
        self.historian.compacted = max(self.historian.compacted, revision)

    def kill(self, member):
        member.kill()
        self.writes(5, 20, "writes go on with %s killed" % member.name)
        member.start()
        _servers.wait_ready(member)

    def stand_still(self, member):
        """It wakes up behind the others, with clients on it that it has told nothing for a while."""
        os.kill(member.process.pid, signal.SIGSTOP)
        try:
            self.writes(5, 20, "writes go on while %s stands still" % member.name)
        finally:
            os.kill(member.process.pid, signal.SIGCONT)

    def one(self):
        self.writes(10, 80, "writes go on")
        self.compact()
        member = self.leader() if self.rng.random() < 0.6 else self.rng.choice(self.cluster.members)
        fault = self.rng.choice([self.kill, self.stand_still])
        self.count[fault.__name__] = self.count.get(fault.__name__, 0) + 1
        fault(member)


def judge(build, cluster, historian, clients, score):
    path = os.path.join(cluster.folder, "facts")
    with open(path, "w", encoding="ascii") as out:
        out.write("\n".join(historian.lines) + "\ncompacted-to %d\n" % historian.compacted)
        for client in clients:
            out.write("\n".join(client.facts + ["end %s whole" % w.name for w in client.watchers]) + "\n")
    done = subprocess.run([os.path.join(build, "watchcheck"), path], capture_output=True, text=True, check=False)
    print(done.stdout, end="", flush=True)
    score.check(done.returncode == 0, "every promise of watch was kept", done.stdout + done.stderr)
    print("streams %s, slow client 0; progress %d, fragments %d, ended by compaction %d" % (
        [c.streams for c in clients], sum(c.progress for c in clients), sum(c.fragments for c in clients),
        sum(c.compacted for c in clients)), flush=True)
    score.check(sum(c.progress for c in clients) > 0, "there was progress")
    facts = [len(c.facts) for c in clients]  # the slow one may have few
    score.check(historian.done > 300 and min(facts) > 0 and sum(facts) > 1000, "there was something to see",
                "%d %s" % (historian.done, facts))


def main():
    args = _servers.arguments(rounds=10)
    if not os.path.exists(os.path.join(args.build, "watchcheck")):
        sys.exit("the checker is missing: make %s/watchcheck" % args.build)
    score = _servers.Score()
    rng = random.Random(args.seed)
    cluster = _servers.start_kvd(args.build, 3, ["--watch-progress-notify-interval", "100ms",
                                            "--checkpoint-log-bytes", str(1 << 20)])
    historian = Historian(cluster)
    writers = [Writer(i, cluster, historian, rng.random()) for i in range(WRITERS)]
    clients = [Client(i, cluster, historian, writers[0], rng.random()) for i in range(CLIENTS)]
    for thread in [historian, *writers, *clients]:
        thread.start()
    faults = Faults(cluster, historian, writers, rng, score)
    for _ in range(args.rounds):
        faults.one()
    for writer in writers:
        writer.end()
    for writer in writers:
        writer.join(60)
    goal = writers[0].stubs[0].Put(pb.PutRequest(key=b"k01", value=b"end"), wait_for_ready=True,
                                   timeout=20).header.revision
    historian.goal = goal
    for client in clients:
        client.goal = goal
    historian.join(60)
    score.check(historian.done == goal, "the historian gets to the end", "%d of %d" % (historian.done, goal))
    for client in clients:
        client.join(60)
        score.check(not client.is_alive() and client.finished(), "client %d gets to the end" % client.number)
    print("faults: %s" % faults.count, flush=True)
    judge(args.build, cluster, historian, clients, score)
    if score.failed:
        cluster.keep()
    score.finish()


if __name__ == "__main__":
    main()
