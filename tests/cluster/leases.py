#!/usr/bin/python3
"""Leases on three members through faults (faults.md I8, R12): a lease lives at least its TTL after the last
acknowledged renewal by the client's own clock, whatever happens to leaders; it ends at last; what is left of it
survives a change of leader and a restart of all; a leader that was paused ends, renews and checkpoints nothing;
many leases that end, or run below half of their time, at once delay nobody.
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


def i8_a_lease_lives_its_ttl_whoever_leads(score, args):
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


def left(clients, lease, skip=()):
    return clients.any(clients.lease, "LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=lease), skip).TTL


def when_left(clients, lease, seconds):
    """Waits until no more than that is left."""
    while left(clients, lease) > seconds:
        pass


def log_index(clients, member):
    return clients.maintenance[member].Status(pb.StatusRequest(), timeout=10).raftIndex


def what_is_left_survives_leaders_and_restarts(score, args):
    """Checkpoints of a lease of 16 s say 7, 5, 3 and 1 s; a new leader adds an election timeout, 1 s."""
    cluster = _servers.start_kvd(args.build, 3)
    clients = Clients(cluster)
    began = time.monotonic()
    idle, late, kept = (clients.any(clients.lease, "LeaseGrant", pb.LeaseGrantRequest(TTL=16)).ID for _ in range(3))
    clients.any(clients.kv, "Put", pb.PutRequest(key=b"idle", lease=idle))
    clients.any(clients.kv, "Put", pb.PutRequest(key=b"late", lease=late))

    leader = clients.leader()
    before = log_index(clients, leader)
    renewals = renew_all(clients.lease[leader], [kept] * 1000)
    score.check(renewals == [16] * 1000 and log_index(clients, leader) == before, "keep-alives write nothing",
                "%d to %d" % (before, log_index(clients, leader)))
    when_left(clients, idle, 8)
    _, renewed = clients.renew(kept)
    score.check(renewed == 16, "renewed at half of its time", str(renewed))
    when_left(clients, late, 5)  # its first checkpoint is a second old
    leader = clients.leader()
    before = log_index(clients, leader)
    late_acked, renewed = clients.renew(late)
    score.check(renewed == 16 and log_index(clients, leader) > before, "a renewal takes the checkpoint back first",
                "TTL %s, log at %d, before at %d" % (renewed, log_index(clients, leader), before))

    cluster.members[leader].kill()
    others = {n: left(clients, lease, {leader}) for n, lease in (("late", late), ("kept", kept))}
    score.check(15 <= others["late"] <= 17, "leader killed: whole TTL after a renewal that took a checkpoint back",
                str(others))
    score.check(15 <= others["kept"] <= 17, "leader killed: whole TTL after a renewal in time", str(others))
    score.check(0 <= left(clients, idle, {leader}) <= 8, "leader killed: what is left is not the whole TTL",
                str(left(clients, idle, {leader})))
    for member in cluster.members:
        member.kill()
    for member in cluster.members:
        member.start()
    for member in cluster.members:
        _servers.wait_ready(member)
    score.check(0 <= left(clients, idle) <= 8, "all restarted: what is left is not the whole TTL", str(left(clients, idle)))
    check_end(score, clients, b"idle", began, 16, "after leader and restart")
    check_end(score, clients, b"late", late_acked, 16, "renewed late, after leader and restart")
    cluster.close()


def r12_a_paused_leader_ends_renews_and_checkpoints_nothing(score, args):
    """The successor renews; the old leader wakes up with leases overdue, or below half of their time, by its clock."""
    cluster = _servers.start_kvd(args.build, 3)
    clients = Clients(cluster)
    ttl = 3
    lease = clients.any(clients.lease, "LeaseGrant", pb.LeaseGrantRequest(TTL=ttl)).ID
    half = clients.any(clients.lease, "LeaseGrant", pb.LeaseGrantRequest(TTL=8)).ID
    others = [clients.any(clients.lease, "LeaseGrant", pb.LeaseGrantRequest(TTL=600)).ID for _ in range(20)]
    clients.any(clients.kv, "Put", pb.PutRequest(key=b"held", lease=lease))
    old = clients.leader()
    acked, _ = clients.renew(lease, skip={old})
    cluster.members[old].process.send_signal(signal.SIGSTOP)
    paused = time.monotonic()
    # On its connection a renewal waits; whatever is said when it wakes must be true.
    stale = clients.lease[old].LeaseKeepAlive(iter([pb.LeaseKeepAliveRequest(ID=lease)]), timeout=60)
    while time.monotonic() - paused < 2 * ttl:
        for each in (half, lease):
            moment, renewed = clients.renew(each, skip={old})
            if moment is not None and each == lease:
                score.check(renewed == ttl, "R12: the successor renews", str(renewed))
                acked = moment
            elif moment is not None:
                score.check(renewed == 8, "R12: both leases", str(renewed))
    new = clients.leader(skip={old})
    score.check(new != old, "R12: there is a successor")
    cluster.members[old].process.send_signal(signal.SIGCONT)
    try:
        answers = [a.TTL for a in stale]
        score.check(answers == [ttl], "R12: the renewal that waited is the successor's", str(answers))
    except grpc.RpcError as error:
        score.check(error.code() == grpc.StatusCode.UNAVAILABLE, "R12: or it is refused", str(error))
    for _ in range(30):  # through the one that woke up, too
        moment, renewed = clients.renew(lease)
        if moment is not None:
            score.check(renewed == ttl, "R12: the lease is there after the old leader woke up", str(renewed))
            acked = moment
    score.check(clients.has(b"held"), "R12: and its key")
    for i in range(3):
        alive = {s.ID for s in clients.lease[i].LeaseLeases(pb.LeaseLeasesRequest(), timeout=10).leases}
        score.check(alive == {lease, half, *others}, "R12: member %d has all leases" % i, str(alive))
    check_end(score, clients, b"held", acked, ttl, "R12: after the pause")
    # Through the log of the one that woke up, so behind whatever it proposed.
    clients.kv[old].Put(pb.PutRequest(key=b"behind"), timeout=20)
    _, renewed = clients.renew(half)
    score.check(renewed == 8, "R12: the lease that was below half of its time", str(renewed))
    cluster.members[new].kill()
    third = clients.leader(skip={new})
    score.check(left(clients, half, {new}) >= 7, "R12: no checkpoint of the old leader counts for the one after next",
                "%d s of 8 left, leader %d" % (left(clients, half, {new}), third))
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
    there = count
    half, slow = [], []
    end = time.monotonic() + ttl + 60
    while there and time.monotonic() < end:
        (slow if time.monotonic() - began >= ttl - 1 else half).append(timed_put())
        if (len(slow) + len(half)) % 50 == 0:
            there = kv.Range(pb.RangeRequest(key=b"m/", range_end=b"m0", count_only=True), timeout=20).count
    score.check(there == 0, "all have ended", "%d left" % there)
    usual += [timed_put() for _ in range(500)]  # before and after: other programs run here too
    print("%d members, %d leases renewed within %.1f s. A put takes:" % (size, count, took))
    for what, times in (("usually", usual), ("while they pass half of their time", half), ("while they end", slow)):
        times.sort()
        print("  %-36s p50 %5.1f  p99 %5.1f  p99.9 %5.1f  max %5.1f ms of %d" %
              (what, *(1e3 * times[int(len(times) * part)] for part in (0.5, 0.99, 0.999)), 1e3 * times[-1], len(times)),
              flush=True)
    # How long is a figure to read, not a verdict: the machine may be busy. That they went on is one.
    score.check(len(slow) > 0 and len(half) > 0, "puts go on while leases end")
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
    i8_a_lease_lives_its_ttl_whoever_leads(score, args)
    what_is_left_survives_leaders_and_restarts(score, args)
    r12_a_paused_leader_ends_renews_and_checkpoints_nothing(score, args)
    without_leader(score, args)
    many_at_once(score, args, 1)
    many_at_once(score, args, 3)
    score.finish()


if __name__ == "__main__":
    main()
