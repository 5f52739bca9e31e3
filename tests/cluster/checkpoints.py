#!/usr/bin/python3
"""Checkpoints on real processes: the log stays bounded under overwriting and compaction; kill -9 at
random moments, while checkpoints are written too, loses nothing; a follower that is stopped (SIGSTOP,
and kill -9) until the leader's log has left it behind gets a checkpoint and goes on, and a watch that
is open on it the whole time misses nothing and sees nothing twice (faults.md I2, I4, I6, N9, R4).
"""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402
import kills  # noqa: E402

CLIENTS = 4
VALUE_BYTES = 32 << 10
CHECKPOINT_BYTES = 1 << 20
# Segments of 8 MiB: of the log, the next one made ahead, spares; and small checkpoints.
DISK_MAX = 220 << 20
WAIT_S = 60


def metric(member, name):
    """Sum over the labels; None: the member does not answer."""
    try:
        with urllib.request.urlopen("http://%s/metrics" % member.endpoint, timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    return sum(float(v) for v in re.findall(r"^%s(?:\{[^}]*\})? (\S+)$" % name, text, re.M))


def wait_for(condition, what, score):
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if condition():
            return score.check(True, what)
        time.sleep(0.05)  # polls what no event tells of
    return score.check(False, what)


def size_of(folder):
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(where, name)).st_blocks * 512
            except FileNotFoundError:
                pass  # removed or renamed since
    return total


class Compactor(threading.Thread):
    """Keeps some history, so that the store stays small."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.members = cluster.members
        self.hold = threading.Event()
        self.stop = threading.Event()

    def run(self):
        while not self.stop.wait(0.3):
            if self.hold.is_set():
                continue
            for member in self.members:
                try:
                    with member.channel() as channel:
                        now = pb.KVStub(channel).Range(pb.RangeRequest(key=b"x"), timeout=2).header.revision
                        if now > 400:
                            pb.KVStub(channel).Compact(pb.CompactionRequest(revision=now - 200), timeout=2)
                    break
                except grpc.RpcError:
                    pass  # down, or somebody else compacted


class Watcher(threading.Thread):
    """One watch on everything, open from first to last: revisions as they came."""

    def __init__(self, member):
        super().__init__(daemon=True)
        self.channel = member.channel()
        self.revisions = []
        self.problem = None
        self.created = threading.Event()
        self.done = threading.Event()

    def run(self):
        def requests():
            yield pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"\x00", range_end=b"\x00"))
            self.done.wait()

        try:
            for answer in pb.WatchStub(self.channel).Watch(requests()):
                if answer.created:
                    self.first = answer.header.revision + 1
                    self.created.set()
                if answer.canceled:
                    self.problem = "cancelled, compacted at %d" % answer.compact_revision
                    return
                self.revisions += [event.kv.mod_revision for event in answer.events]
        except grpc.RpcError as error:
            if not self.done.is_set():
                self.problem = str(error)

    def check(self, last):
        """Every write is a revision of its own: all of them, in order, once. Those behind last may still come in."""
        if self.problem is not None:
            return self.problem
        seen = [r for r in self.revisions if r <= last]
        expected = list(range(self.first, last + 1))
        return None if seen == expected else "%d revisions from %d to %d, expected %d from %d to %d" % (
            len(seen), seen[0], seen[-1], len(expected), expected[0], expected[-1])


def leave_behind(follower, cluster, clients, score, how):
    """The follower is stopped until the leader has dropped what it would need next."""
    applied = metric(follower, "etcd_server_proposals_applied_total")
    if how == "SIGSTOP":
        follower.process.send_signal(signal.SIGSTOP)
    else:
        follower.kill()
    others = [m for m in cluster.members if m is not follower]
    for client in clients:  # nobody waits for it in vain: there is much to write
        client.all_stubs = client.stubs
        client.stubs = [s for s, m in zip(client.stubs, cluster.members) if m is not follower]

    # What a stopped one finds in its sockets when it goes on, a few megabytes, does not help it.
    margin = 500 if how == "SIGSTOP" else 1

    def left_behind():
        return all((metric(m, "kvd_raft_log_first_index") or 0) > applied + margin for m in others)

    wait_for(left_behind, "the others' logs leave %s behind (%s)" % (follower.name, how), score)
    for client in clients:
        client.stubs = client.all_stubs


def all_equal(cluster, score, what):
    states = [kills.all_kvs(m) for m in cluster.members]
    revision = min(state[0] for state in states)
    hashes = [kills.hash_at(m, revision) for m in cluster.members]
    score.check(len(set(hashes)) == 1, "HashKV is equal on all members " + what, str(hashes))


def quiet_all_equal(cluster, clients, score, what):
    """With nobody writing, everybody at one revision."""
    for member in cluster.members:
        _servers.wait_ready(member)
    all_equal(cluster, score, what)


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def r15_a_checkpoint_comes_during_defragmentations(follower, channel, score):
    """The follower stands still and goes on; channel is connected to it. The first request is in its socket when it
    begins to get the checkpoint. What follows shows that it has everything, and that its watch goes on."""
    maintenance = pb.MaintenanceStub(channel)
    first = maintenance.Defragment.future(pb.DefragmentRequest(), timeout=WAIT_S)
    follower.process.send_signal(signal.SIGCONT)

    def received():
        maintenance.Defragment(pb.DefragmentRequest(), timeout=WAIT_S)
        return (metric(follower, "etcd_network_snapshot_receive_success") or 0) >= 1

    wait_for(received, "%s gets a checkpoint" % follower.name, score)
    maintenance.Defragment(pb.DefragmentRequest(), timeout=WAIT_S)
    score.check(first.exception() is None, "R15: it is asked to defragment before, while and after", str(first.exception()))


def damaged_files(args, score):
    """The newest checkpoint is damaged: the one before it and the log give the same. Both are: the member
    says which file, where and what to do, and does not start. Nothing, something else and half a file too."""
    cluster = _servers.start_kvd(args.build, 1, ("--checkpoint-log-bytes", "65536"))
    member = cluster.members[0]
    snap = os.path.join(cluster.folder, member.name, "snap")
    with member.channel() as channel:
        kv = pb.KVStub(channel)

        def enough():
            for n in range(20):
                kv.Put(pb.PutRequest(key=b"k%d" % n, value=os.urandom(8000)), timeout=10)
            return len([n for n in os.listdir(snap) if n.endswith(".ckpt")]) == 2

        wait_for(enough, "two checkpoints are kept", score)
    before = kills.all_kvs(member)
    member.kill()
    names = sorted(n for n in os.listdir(snap) if n.endswith(".ckpt"))
    kept = {n: open(os.path.join(snap, n), "rb").read() for n in names[-2:]}  # a third was about to be removed
    older, newest = [os.path.join(snap, n) for n in sorted(kept)]

    def put_back():
        """A member that has started may have written others. (All of this is in the log's first segment,
        so nothing of it is dropped.)"""
        member.kill()
        for name in os.listdir(snap):
            os.unlink(os.path.join(snap, name))
        for name, content in kept.items():
            with open(os.path.join(snap, name), "wb") as file:
                file.write(content)

    for what in ("a flipped bit", "cut off", "empty", "something else"):
        put_back()
        size = os.path.getsize(newest)
        if what == "a flipped bit":
            flip(newest, size // 2)
        elif what == "cut off":
            os.truncate(newest, size // 2)
        elif what == "empty":
            os.truncate(newest, 0)
        else:
            with open(newest, "wb") as file:
                file.write(b"not a checkpoint" * 100)
        member.start()
        _servers.wait_ready(member)
        score.check(before == kills.all_kvs(member),
                    "newest checkpoint damaged (%s): the older one and the log give the same" % what)
        score.check("a checkpoint is damaged" in member.log_tail(50) and newest in member.log_tail(50),
                    "it is logged with its name", member.log_tail(50))
        put_back()
        flip(newest, size // 3)
        flip(older, os.path.getsize(older) - 1)
        member.start()
        try:
            code = member.process.wait(30)
        except subprocess.TimeoutExpired:
            code = None
        score.check(code == 1, "both damaged: the member does not start", "exit code %s" % code)
        score.check("no checkpoint is whole" in member.log_tail() and "offset" in member.log_tail(),
                    "it says what and where", member.log_tail())
    put_back()
    member.start()
    _servers.wait_ready(member)
    score.check(before == kills.all_kvs(member), "with the files as they were it goes on")
    cluster.close()


def disk_follows_a_compaction(args, score):
    """Without another write, without a defragmentation."""
    cluster = _servers.start_kvd(args.build, 1, ("--checkpoint-log-bytes", "65536"))
    member = cluster.members[0]
    snap = os.path.join(cluster.folder, member.name, "snap")

    def newest():
        names = sorted(n for n in os.listdir(snap) if n.endswith(".ckpt"))
        return os.path.getsize(os.path.join(snap, names[-1])) if names else 0

    with member.channel() as channel:
        kv = pb.KVStub(channel)

        def large():
            kv.Put(pb.PutRequest(key=b"k", value=os.urandom(50000)), timeout=10)
            return newest() > 2000000

        wait_for(large, "a checkpoint holds history", score)
        now = kv.Range(pb.RangeRequest(key=b"k"), timeout=10).header.revision
        kv.Compact(pb.CompactionRequest(revision=now, physical=True), timeout=10)
    wait_for(lambda: newest() < 200000, "a compaction is followed by a checkpoint without it", score)
    score.check(member.stop() == 0, "it stops in good order", member.log_tail())
    cluster.close()


def main():
    args = _servers.arguments(kills=8)
    rng = random.Random(args.seed)
    score = _servers.Score()
    damaged_files(args, score)
    disk_follows_a_compaction(args, score)
    cluster = _servers.start_kvd(args.build, 3, ("--checkpoint-log-bytes", str(CHECKPOINT_BYTES)))
    clients = [kills.Client(i, cluster, rng.random(), VALUE_BYTES) for i in range(CLIENTS)]
    compactor = Compactor(cluster)
    for thread in [*clients, compactor]:
        thread.start()

    # A follower that stands still while its clients stay connected.
    leader = cluster.leader()
    follower = rng.choice([m for m in cluster.members if m is not leader])
    compactor.hold.set()
    watcher = Watcher(follower)
    watcher.start()
    score.check(watcher.created.wait(WAIT_S), "a watch is open on %s" % follower.name)
    with follower.channel(own=True) as channel:
        pb.MaintenanceStub(channel).Status(pb.StatusRequest(), timeout=WAIT_S)
        leave_behind(follower, cluster, clients, score, "SIGSTOP")
        r15_a_checkpoint_comes_during_defragmentations(follower, channel, score)
    _servers.wait_ready(follower)
    for client in clients:
        score.check(client.wait_for_writes(20, WAIT_S), "writes go on after the catch-up")
    last, _ = kills.all_kvs(follower)
    wait_for(lambda: watcher.problem is not None or (watcher.revisions and watcher.revisions[-1] >= last),
             "the watch goes on", score)
    watcher.done.set()
    problem = watcher.check(last)
    score.check(problem is None, "the watch on %s missed nothing and saw nothing twice" % follower.name, problem)
    compactor.hold.clear()

    # One that was down; it dies once more while it receives.
    leader = cluster.leader()
    follower = rng.choice([m for m in cluster.members if m is not leader])
    leave_behind(follower, cluster, clients, score, "kill -9")
    follower.start()
    wait_for(lambda: not follower.running() or (metric(follower, "etcd_server_proposals_applied_total") is not None),
             "%s answers" % follower.name, score)
    follower.kill()
    follower.start()
    _servers.wait_ready(follower)

    # kill -9 at random, one member or all.
    for _ in range(args.kills):
        victims = cluster.members if rng.random() < 0.2 else [rng.choice(cluster.members)]
        for client in rng.sample(clients, 2):
            score.check(client.wait_for_writes(rng.randint(10, 60), WAIT_S), "writes go on")
        for member in victims:
            member.kill()
        for member in victims:
            member.start()
        for member in victims:
            _servers.wait_ready(member)

    wait_for(lambda: sum(c.acknowledged for c in clients) * VALUE_BYTES > 2 * DISK_MAX // 3,
             "enough is written to show that the disk is bounded", score)
    logs = b"".join(open(m.log_path, "rb").read() for m in cluster.members)
    checkpoints = logs.count(b'"wrote a checkpoint"')
    score.check(checkpoints >= 10, "checkpoints are written", "%d" % checkpoints)
    score.check(logs.count(b'"went over to a checkpoint of another member"') >= 2, "members catch up by checkpoints")
    again = re.findall(rb'"loaded a checkpoint","index":(\d+),[^\n]*\n(?:(?!.*"wrote a checkpoint")[^\n]*\n)*'
                       rb'.*"wrote a checkpoint","index":\1,', logs)
    score.check(not again, "no start writes the checkpoint anew that it has loaded", str(again))
    score.check(b'"level":"error"' not in logs, "no member logs an error",
                b"\n".join(line for line in logs.splitlines() if b'"level":"error"' in line)[:2000].decode())
    for thread in [*clients, compactor]:
        thread.stop.set()
    for thread in [*clients, compactor]:
        thread.join(30)
    quiet_all_equal(cluster, clients, score, "at the end")
    _, kvs = kills.all_kvs(cluster.members[0])
    for client in clients:
        client.check(kvs)
        score.check(not client.problems, "client %d sees every acknowledged write" % client.number,
                    "\n".join(client.problems[:10])[:1000])
    written = sum(c.acknowledged for c in clients) * VALUE_BYTES
    for member in cluster.members:
        folder = os.path.join(cluster.folder, member.name)
        # What is old goes in pieces, not to be in the way of the log.
        wait_for(lambda: size_of(folder) <= DISK_MAX, "%s: the disk it uses is bounded" % member.name, score)
        used = size_of(folder)
    print("%d MiB written in %d writes, %d failed or unknown, %d checkpoints, %d MiB on a disk" % (
        written >> 20, sum(c.acknowledged for c in clients), sum(c.failed for c in clients), checkpoints, used >> 20))
    for member in cluster.members:
        code = member.stop()
        score.check(code == 0, "%s stops in good order" % member.name, "exit code %s\n%s" % (code, member.log_tail()))
    if score.failed:
        cluster.keep()
    cluster.close()
    score.finish()


if __name__ == "__main__":
    main()
