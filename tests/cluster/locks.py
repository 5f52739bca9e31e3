#!/usr/bin/python3
"""The Lock service on three members through faults (faults.md I9): leaders are killed and paused, holders
vanish without a word. The lock moves on each time, and what is guarded by the fencing token (the create
revision of the lock's key) never sees an older holder after a newer one.

Every holder writes its token under "guard" in a transaction that demands that its key is still the one that
it got: so each write that succeeds was made by who held the lock at that revision.
"""

import os
import random
import re
import signal
import sys
import threading
import time
import urllib.request

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _locks  # noqa: E402
import _servers  # noqa: E402
import _watch  # noqa: E402

CLIENTS = 6
TTL_S = 3
NAME = b"job"
PROGRESS_S = 60


class Session:
    """A lease that is renewed until it is dropped."""

    def __init__(self, worker):
        self.worker = worker
        self.id = worker.any(lambda c: c.leases.LeaseGrant(pb.LeaseGrantRequest(TTL=TTL_S), timeout=1.5)).ID
        self.dropped = threading.Event()
        threading.Thread(target=self._renew, daemon=True).start()

    def _renew(self):
        while not self.dropped.wait(TTL_S / 5) and not self.worker.stop.is_set():
            self.worker.any(lambda c: list(c.leases.LeaseKeepAlive(iter([pb.LeaseKeepAliveRequest(ID=self.id)]),
                                                                   timeout=1)))


class Worker(threading.Thread):
    """Locks, writes to the guard, and unlocks; or vanishes with the lock."""

    def __init__(self, number, cluster, seed):
        super().__init__(daemon=True)
        self.rng = random.Random("%d/%d" % (seed, number))
        self.clients = [_locks.Client(member) for member in cluster.members]
        self.stop = threading.Event()
        self.held = self.lost = self.vanished = 0
        self.errors = set()
        self.progress = threading.Condition()

    def any(self, call):
        """From whichever member answers."""
        while True:
            for client in self.rng.sample(self.clients, len(self.clients)):
                try:
                    return call(client)
                except grpc.RpcError:
                    if self.stop.is_set():
                        raise

    def lock(self, session):
        """The key; None: the lease has ended. Another call with the same lease keeps the place in line."""
        while not self.stop.is_set():
            got = self.rng.choice(self.clients).call("Lock", timeout=self.rng.choice((1, 3)), name=NAME,
                                                     lease=session.id)
            if isinstance(got, dict):
                return got["key"]
            self.errors.add(got)
            if got[1] in ("mutex: session is expired", "etcdserver: requested lease not found"):
                return None
        return None

    def guard(self, key):
        """Writes the token if the key is still there; whether it was."""
        kvs = self.any(lambda c: c.kv.Range(pb.RangeRequest(key=key), timeout=1.5)).kvs
        if not kvs:
            return False
        token = kvs[0].create_revision
        compare = pb.Compare(key=key, target=pb.Compare.CREATE, create_revision=token)
        put = pb.RequestOp(request_put=pb.PutRequest(key=b"guard", value=b"%d" % token))
        for _ in range(3):
            if not self.any(lambda c: c.kv.Txn(pb.TxnRequest(compare=[compare], success=[put]), timeout=1.5)).succeeded:
                return False
        return True

    def round(self):
        session = Session(self)
        key = self.lock(session)
        if key is not None and self.guard(key):
            with self.progress:
                self.held += 1
                self.progress.notify_all()
        elif key is not None:
            self.lost += 1
        if self.rng.random() < 0.12:
            self.vanished += 1
        elif key is not None:
            self.any(lambda c: c.call("Unlock", timeout=1.5, key=key))
        session.dropped.set()

    def run(self):
        try:
            while not self.stop.is_set():
                self.round()
        except grpc.RpcError:
            pass  # asked to stop while nobody answers


def wait_for_holders(workers, count):
    """Until so many more have held the lock, all together."""
    wanted = sum(w.held for w in workers) + count
    end = time.monotonic() + PROGRESS_S
    while sum(w.held for w in workers) < wanted:
        if time.monotonic() > end:
            return False
        with workers[0].progress:
            workers[0].progress.wait(0.2)
    return True


def kill_leader(cluster, workers):
    leader = cluster.leader()
    leader.kill()
    moved = wait_for_holders(workers, 3)
    leader.start()
    _servers.wait_ready(leader)
    return moved


def pause_leader(cluster, workers):
    leader = cluster.leader()
    leader.process.send_signal(signal.SIGSTOP)
    moved = wait_for_holders(workers, 3)
    leader.process.send_signal(signal.SIGCONT)
    return moved


def stop_member(cluster, workers):
    member = workers[0].rng.choice(cluster.members)
    ended = member.stop() == 0
    moved = wait_for_holders(workers, 3)
    member.start()
    _servers.wait_ready(member)
    return ended and moved


def check_guard(score, cluster):
    """All that was ever written to the guard, in the order of revisions."""
    stream = _watch.Stream(cluster.members[0])
    stream.created(b"guard", start_revision=1)
    client = _locks.Client(cluster.members[0])
    last = client.put(b"guard", b"end")
    stream.wait(lambda got: any(e.kv.mod_revision == last for a in got for e in a.events))
    tokens = [int(e.kv.value) for a in stream.snapshot() for e in a.events if e.kv.value != b"end"]
    score.check(tokens == sorted(tokens), "no older holder after a newer one", tokens)
    score.check(len(set(tokens)) > 10, "many have held the lock", len(set(tokens)))
    print("%d writes by %d holders" % (len(tokens), len(set(tokens))), flush=True)
    stream.close()


def faults(score, cluster, seed):
    workers = [Worker(n, cluster, seed) for n in range(CLIENTS)]
    for worker in workers:
        worker.start()
    score.check(wait_for_holders(workers, 5), "the lock goes round")
    for fault in (kill_leader, pause_leader, stop_member, kill_leader, pause_leader, kill_leader):
        score.check(fault(cluster, workers), "the lock moves on after %s" % fault.__name__,
                    [(w.held, w.lost, w.vanished, w.errors) for w in workers])
    for worker in workers:
        worker.stop.set()
    for worker in workers:
        worker.join(60)
    print("held %d, vanished with it %d, lost before writing %d" % (
        sum(w.held for w in workers), sum(w.vanished for w in workers), sum(w.lost for w in workers)), flush=True)
    for error in sorted(set.union(*(w.errors for w in workers)), key=str):
        print("  seen:", error, flush=True)
    check_guard(score, cluster)


def cancelled_on_its_way(score, cluster):
    """A call that ends while its key is being made: without a quorum it hangs there. The key goes as soon as it
    has come."""
    leader = cluster.leader()
    others = [m for m in cluster.members if m is not leader]
    client = _locks.Client(leader)
    lease = client.grant(0x51, 600)
    line = _locks.Line(client, b"way/")
    for member in others:
        member.kill()
    call = client.start("Lock", name=b"way", lease=lease)
    score.check(not call.ended.wait(0.3), "nothing is decided without a quorum")
    call.cancel()
    # The member has seen the end of the call once it answers what came later on the connection.
    client.kv.Range(pb.RangeRequest(key=b"way", serializable=True))
    for member in others:
        member.start()
    for member in others:
        _servers.wait_ready(member)
    score.check(line.wait_gone(b"way/51"), "the key of a call that was cancelled on its way")
    line.close()


def metric(member, name):
    with urllib.request.urlopen("http://%s/metrics" % member.endpoint, timeout=PROGRESS_S) as answer:
        (value,) = re.findall(r"^%s (\S+)$" % name, answer.read().decode(), re.M)
    return float(value)


def fill_log(cluster, follower, client):
    """Until the others have dropped from their logs what has been applied up to now."""
    others = [m for m in cluster.members if m is not follower]
    applied = metric(others[0], "etcd_server_proposals_applied_total")
    while any(metric(m, "kvd_raft_log_first_index") <= applied for m in others):
        client.put(b"filler", b"x" * 65536)


def left_behind(score, args):
    """Who waits on a member that gets the state of another one, history in between gone, goes on waiting there."""
    cluster = _servers.start_kvd(args.build, 3, ("--checkpoint-log-bytes", str(1 << 20)))
    leader = cluster.leader()
    follower = next(m for m in cluster.members if m is not leader)
    there, here = _locks.Client(follower), _locks.Client(leader)
    holder, first, second, gone = (here.grant(0x60 + n, 600) for n in range(4))
    here.call("Lock", name=b"behind", lease=holder)
    led = _locks.LeaderKey(**here.call("Campaign", name=b"lead", lease=holder, value=b"one")["leader"])
    line = _locks.Line(there, b"behind/")
    calls = {}
    for n, lease in enumerate((gone, first, second)):
        calls[lease] = there.start("Lock", name=b"behind", lease=lease)
        line.wait(n + 2)
    line.close()
    line = _locks.Line(there, b"lead/")
    candidate = there.start("Campaign", name=b"lead", lease=first, value=b"two")
    line.wait(2)
    line.close()
    observer = there.observe(b"lead")
    observer.wait(1)
    follower.process.send_signal(signal.SIGSTOP)
    fill_log(cluster, follower, here)  # what its socket holds it will still see
    here.revoke(gone)
    here.call("Unlock", key=b"behind/%x" % holder)
    here.call("Resign", leader=led)
    here.kv.Compact(pb.CompactionRequest(revision=here.put(b"filler", b"")))
    fill_log(cluster, follower, here)
    follower.process.send_signal(signal.SIGCONT)
    got = calls[first].result(PROGRESS_S)
    score.check("key" in got, "the first in line gets the lock", got)
    score.check(calls[gone].result() == ("UNKNOWN", "mutex: session is expired"), "one whose lease has ended is told so",
                calls[gone].result())
    score.check("leader" in candidate.result(), "a candidate is elected", candidate.result())
    score.check(observer.wait(2)[-1]["kv"]["value"] == b"two", "an observer sees who leads now", observer.got)
    score.check(not calls[second].ended.is_set(), "the second goes on waiting")
    here.call("Unlock", key=b"behind/%x" % first)
    score.check("key" in calls[second].result(), "and gets it from the first", calls[second].result())
    with open(follower.log_path, "rb") as file:
        log = file.read()
    score.check(b"went over to a checkpoint of another member" in log, "the member got a checkpoint")


def main():
    args = _servers.arguments()
    cluster = _servers.start_kvd(args.build, 3)
    score = _servers.Score()
    cancelled_on_its_way(score, cluster)
    left_behind(score, args)
    faults(score, cluster, args.seed)
    if score.failed:
        cluster.keep()
    score.finish()


if __name__ == "__main__":
    main()
