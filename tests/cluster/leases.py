#!/usr/bin/python3
"""Leases on three members through faults (faults.md I8, R12): a lease lives at least its TTL after the last
acknowledged renewal by the client's own clock, whatever happens to leaders; it ends at last; a leader that was
paused ends nothing that its successor has renewed; many leases that end at once delay nobody.
"""

import os
import signal
import sys
import threading
import time

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402

ENDS_WITHIN_S = 15  # after the TTL: an election, its extra time, and a slow machine


class Clients:
    """Stubs for all members; calls go to whoever answers."""

    def __init__(self, cluster):
        self.members = cluster.members
        self.channels = [m.channel() for m in cluster.members]
        self.kv = [pb.KVStub(c) for c in self.channels]
        self.lease = [pb.LeaseStub(c) for c in self.channels]
        self.maintenance = [pb.MaintenanceStub(c) for c in self.channels]

    def any(self, stubs, method, message, skip=(), timeout=60):
        end = time.monotonic() + timeout
        while True:
            for i, stub in enumerate(stubs):
                if i in skip or not self.members[i].running():
                    continue
                try:
                    return getattr(stub, method)(message, timeout=4)
                except grpc.RpcError as error:
                    if time.monotonic() > end:
                        raise error

    def leader(self, skip=()):
        """Its place; waits until those that are asked agree."""
        while True:
            seen = set()
            ids = {}
            for i, stub in enumerate(self.maintenance):
                if i in skip or not self.members[i].running():
                    continue
                try:
                    status = stub.Status(pb.StatusRequest(), timeout=4)
                except grpc.RpcError:
                    break
                seen.add(status.leader)
                ids[status.header.member_id] = i
            else:
                if len(seen) == 1 and next(iter(seen)) in ids:
                    return ids[seen.pop()]

    def renew(self, lease_id, skip=()):
        """(when it was asked, TTL)"""
        asked = time.monotonic()
        for i, stub in enumerate(self.lease):
            if i in skip or not self.members[i].running():
                continue
            try:
                for answer in stub.LeaseKeepAlive(iter([pb.LeaseKeepAliveRequest(ID=lease_id)]), timeout=4):
                    return asked, answer.TTL
            except grpc.RpcError:
                pass
            asked = time.monotonic()
        return None, None

    def has(self, key, skip=()):
        return self.any(self.kv, "Range", pb.RangeRequest(key=key), skip).count == 1

    def when_gone(self, key, timeout, skip=()):
        """When the key was asked for and found gone for the first time; None: it stays."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if not self.has(key, skip):
                return time.monotonic()
        return None


def check_end(score, clients, key, acked, ttl, what, skip=()):
    gone = clients.when_gone(key, ttl + ENDS_WITHIN_S, skip)
    if score.check(gone is not None, what + ": ends at last"):
        score.check(gone - acked >= ttl, what + ": not early", "%.3f s after a renewal for %d s" % (gone - acked, ttl))


def leader_killed(score, args):
    cluster = _servers.start_kvd(args.build, 3)
    clients = Clients(cluster)
    for ttl in (2, 4):
        lease = clients.any(clients.lease, "LeaseGrant", pb.LeaseGrantRequest(TTL=ttl)).ID
        key = b"k%d" % ttl
        clients.any(clients.kv, "Put", pb.PutRequest(key=key, lease=lease))
        leader = clients.leader()
        acked, renewed = clients.renew(lease, skip={leader})  # through a follower
        score.check(renewed == ttl, "renewal through a follower", str(renewed))
        cluster.members[leader].kill()
        check_end(score, clients, key, acked, ttl, "leader killed, TTL %d" % ttl)
        score.check(clients.renew(lease)[1] == 0, "renewal of a lease that has ended answers 0")
        cluster.members[leader].start()
        _servers.wait_ready(cluster.members[leader])

    # Kept alive over several changes of leader, it never ends; then it does.
    lease = clients.any(clients.lease, "LeaseGrant", pb.LeaseGrantRequest(TTL=3)).ID
    clients.any(clients.kv, "Put", pb.PutRequest(key=b"kept", lease=lease))
    for _ in range(3):
        leader = clients.leader()
        cluster.members[leader].kill()
        acked, renewed = None, None
        while acked is None:
            acked, renewed = clients.renew(lease)
        score.check(renewed == 3, "renewed by the next leader", str(renewed))
        cluster.members[leader].start()
        _servers.wait_ready(cluster.members[leader])
        moment, renewed = clients.renew(lease)
        if moment is not None:
            acked = moment
        score.check(clients.has(b"kept"), "a lease that is renewed stays")
    check_end(score, clients, b"kept", acked, 3, "after three leaders")

    # All of them at once: the log brings it back, with its whole TTL.
    lease = clients.any(clients.lease, "LeaseGrant", pb.LeaseGrantRequest(TTL=3)).ID
    clients.any(clients.kv, "Put", pb.PutRequest(key=b"restart", lease=lease))
    for member in cluster.members:
        member.kill()
    began = time.monotonic()
    for member in cluster.members:
        member.start()
    for member in cluster.members:
        _servers.wait_ready(member)
    check_end(score, clients, b"restart", began, 3, "restart of all")
    cluster.close()


def leader_paused(score, args):
    """The successor renews; the old leader wakes up with every lease overdue by its clock."""
    cluster = _servers.start_kvd(args.build, 3)
    clients = Clients(cluster)
    ttl = 3
    lease = clients.any(clients.lease, "LeaseGrant", pb.LeaseGrantRequest(TTL=ttl)).ID
    others = [clients.any(clients.lease, "LeaseGrant", pb.LeaseGrantRequest(TTL=600)).ID for _ in range(20)]
    clients.any(clients.kv, "Put", pb.PutRequest(key=b"held", lease=lease))
    old = clients.leader()
    acked, _ = clients.renew(lease, skip={old})
    cluster.members[old].process.send_signal(signal.SIGSTOP)
    paused = time.monotonic()
    # On its connection a renewal waits; whatever is said when it wakes must be true.
    stale = clients.lease[old].LeaseKeepAlive(iter([pb.LeaseKeepAliveRequest(ID=lease)]), timeout=60)
    while time.monotonic() - paused < 2 * ttl:
        moment, renewed = clients.renew(lease, skip={old})
        if moment is not None:
            score.check(renewed == ttl, "the successor renews", str(renewed))
            acked = moment
    new = clients.leader(skip={old})
    score.check(new != old, "there is a successor")
    cluster.members[old].process.send_signal(signal.SIGCONT)
    try:
        answers = [a.TTL for a in stale]
        score.check(answers == [ttl], "the renewal that waited is the successor's", str(answers))
    except grpc.RpcError as error:
        score.check(error.code() == grpc.StatusCode.UNAVAILABLE, "or it is refused", str(error))
    for _ in range(30):  # through the one that woke up, too
        moment, renewed = clients.renew(lease)
        if moment is not None:
            score.check(renewed == ttl, "the lease is there after the old leader woke up", str(renewed))
            acked = moment
    score.check(clients.has(b"held"), "and its key")
    for i in range(3):
        alive = {s.ID for s in clients.lease[i].LeaseLeases(pb.LeaseLeasesRequest(), timeout=10).leases}
        score.check(alive == {lease, *others}, "member %d has all leases" % i, str(alive))
    check_end(score, clients, b"held", acked, ttl, "after the pause")
    cluster.close()


def renew_all(stub, ids):
    return [a.TTL for a in stub.LeaseKeepAlive((pb.LeaseKeepAliveRequest(ID=i) for i in ids), timeout=60)]


def many_at_once(score, args, size):
    """Puts one after the other while all leases end in one second."""
    cluster = _servers.start_kvd(args.build, size)
    clients = Clients(cluster)
    leader = clients.leader()
    count, ttl = args.leases, 10
    stub, kv = clients.lease[leader], clients.kv[leader]

    def timed_put():
        began = time.monotonic()
        kv.Put(pb.PutRequest(key=b"put", value=b"x" * 100), timeout=20)
        return time.monotonic() - began

    usual = sorted(timed_put() for _ in range(500))
    ids = list(range(1, count + 1))
    for part in range(0, count, 1000):
        calls = [stub.LeaseGrant.future(pb.LeaseGrantRequest(ID=i, TTL=ttl), timeout=60) for i in ids[part:part + 1000]]
        for call in calls:
            call.result()
    for part in range(0, count, 100):
        puts = [pb.RequestOp(request_put=pb.PutRequest(key=b"m/%d" % i, lease=i)) for i in ids[part:part + 100]]
        kv.Txn(pb.TxnRequest(success=puts), timeout=20)
    began = time.monotonic()
    ttls = renew_all(stub, ids)  # so that they end as close together as that took
    took = time.monotonic() - began
    score.check(ttls == [ttl] * count, "all leases are renewed on one stream", str(len(ttls)))
    left = count
    slow = []
    end = time.monotonic() + ttl + 60
    while left and time.monotonic() < end:
        slow.append(timed_put())
        if len(slow) % 50 == 0:
            left = kv.Range(pb.RangeRequest(key=b"m/", range_end=b"m0", count_only=True), timeout=20).count
    score.check(left == 0, "all have ended", "%d left" % left)
    slow.sort()
    usual = sorted([*usual, *(timed_put() for _ in range(500))])  # before and after: other programs run here too
    middle = usual[len(usual) // 2]
    late = slow[int(len(slow) * 0.99)]
    print("%d members, %d leases ending within %.1f s: put usually %.1f ms (max %.1f); while they end p50 %.1f, p99 %.1f, "
          "p99.9 %.1f, max %.1f ms" % (size, count, took, middle * 1e3, usual[-1] * 1e3, slow[len(slow) // 2] * 1e3,
                                       late * 1e3, slow[int(len(slow) * 0.999)] * 1e3, slow[-1] * 1e3), flush=True)
    # How long is a figure to read, not a verdict: the machine may be busy. That they went on is one.
    score.check(len(slow) > 0, "puts go on while leases end", "p99 %.4f s" % late)
    cluster.close()


def without_leader(score, args):
    """Two of three are gone: what wants a leader says so, what is local is answered."""
    cluster = _servers.start_kvd(args.build, 3)
    clients = Clients(cluster)
    lease = clients.any(clients.lease, "LeaseGrant", pb.LeaseGrantRequest(TTL=600)).ID
    clients.any(clients.kv, "Put", pb.PutRequest(key=b"k", lease=lease))
    open_end = threading.Event()

    def requests():
        yield pb.LeaseKeepAliveRequest(ID=lease)
        open_end.wait(60)

    stream = clients.lease[0].LeaseKeepAlive(requests(), timeout=60, metadata=[("hasleader", "true")])
    score.check(next(stream).TTL == 600, "a stream that wants a leader is open")
    _servers.wait_ready(cluster.members[0])
    cluster.members[1].kill()
    cluster.members[2].kill()
    try:
        next(stream)
        score.check(False, "the stream must end")
    except grpc.RpcError as error:
        score.check((error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader"),
                    "a stream that wants a leader ends without one", str(error))
    open_end.set()
    score.check([s.ID for s in clients.lease[0].LeaseLeases(pb.LeaseLeasesRequest(), timeout=5).leases] == [lease],
                "the list is local")
    try:
        renewed = list(clients.lease[0].LeaseKeepAlive(iter([pb.LeaseKeepAliveRequest(ID=lease)]), timeout=30))
        score.check(False, "a renewal needs a leader", str(renewed))
    except grpc.RpcError as error:
        score.check(error.details() == "etcdserver: no leader", "a renewal without a leader", str(error))
    cluster.close()


def main():
    args = _servers.arguments(leases=10000)
    score = _servers.Score()
    leader_killed(score, args)
    leader_paused(score, args)
    without_leader(score, args)
    many_at_once(score, args, 1)
    many_at_once(score, args, 3)
    score.finish()


if __name__ == "__main__":
    main()
