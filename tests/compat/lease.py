#!/usr/bin/python3
"""Leases beside Debian's etcd: generated sequences of grants, puts, txns, deletes and revokes, answered field
by field; then etcdctl's lease commands and python3-etcd3's lease calls.

What may differ: ids that the server picks, and a second of the remaining time.
"""

import os
import random
import re
import subprocess
import time

import etcd3
import grpc
from etcd3 import etcdrpc as pb

import _servers
import differential

KEYS = [b"a", b"b", b"c", b"d/1", b"d/2", b"d/\xff", b"\x00", b"zz"]
IDS = [1, 2, 3, 4, 5, 6, 2**62, -1, -7, 2**63 - 1, -2**63]


class Generator:
    def __init__(self, rng):
        self.rng = rng

    def put(self):
        put = pb.PutRequest(key=self.rng.choice(KEYS), value=bytes([self.rng.randrange(256)]))
        kind = self.rng.random()
        if kind < 0.7:
            put.lease = self.rng.choice(IDS)
        elif kind < 0.8:
            put.ignore_lease = True
            put.lease = self.rng.choice([0, 0, 0, 1])
        put.prev_kv = self.rng.random() < 0.3
        if self.rng.random() < 0.1:
            put.value = b""
            put.ignore_value = True
        return put

    def delete(self):
        key = self.rng.choice(KEYS)
        return pb.DeleteRangeRequest(key=key, range_end=self.rng.choice([b"", b"", b"e", b"\x00"]), prev_kv=True)

    def operation(self):
        kind = self.rng.random()
        if kind < 0.6:
            return pb.RequestOp(request_put=self.put())
        if kind < 0.8:
            return pb.RequestOp(request_range=pb.RangeRequest(key=b"\x00", range_end=b"\x00"))
        return pb.RequestOp(request_delete_range=self.delete())

    def txn(self):
        rng = self.rng
        compare = pb.Compare(result=rng.randint(0, 3), target=pb.Compare.LEASE, key=rng.choice(KEYS),
                             lease=rng.choice([0] + IDS))
        if rng.random() < 0.2:
            compare.range_end = b"e"
        txn = pb.TxnRequest(compare=[compare], success=[self.operation() for _ in range(rng.randint(0, 3))],
                            failure=[self.operation() for _ in range(rng.randint(0, 2))])
        if differential.has_delete(txn):
            differential.take_old_values_off(txn)
        return txn

    def grant(self):
        return pb.LeaseGrantRequest(ID=self.rng.choice(IDS),
                                    TTL=self.rng.choice([500, 1000, 86400, 9000000000, 9000000001, 2**63 - 1]))

    def request(self):
        """(service, method, message)"""
        kind = self.rng.random()
        if kind < 0.35:
            return "KV", "Put", self.put()
        if kind < 0.45:
            return "KV", "Txn", self.txn()
        if kind < 0.50:
            return "KV", "DeleteRange", self.delete()
        if kind < 0.55:
            return "KV", "Range", pb.RangeRequest(key=b"\x00", range_end=b"\x00")
        if kind < 0.70:
            return "Lease", "LeaseGrant", self.grant()
        if kind < 0.80:
            return "Lease", "LeaseRevoke", pb.LeaseRevokeRequest(ID=self.rng.choice(IDS + [0]))
        if kind < 0.90:
            return "Lease", "LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=self.rng.choice(IDS + [0]),
                                                                         keys=self.rng.random() < 0.8)
        if kind < 0.95:
            return "Lease", "LeaseKeepAlive", pb.LeaseKeepAliveRequest(ID=self.rng.choice(IDS + [0]))
        return "Lease", "LeaseLeases", pb.LeaseLeasesRequest()


class Server(differential.Server):
    def call(self, service, method, message):
        if method != "LeaseKeepAlive":
            return super().call(service, method, message)
        try:
            answers = list(self.stubs["Lease"].LeaseKeepAlive(iter([message]), timeout=20))
        except grpc.RpcError as error:
            return "error", error.code().name, error.details()
        return ("ok", answers[0]) if len(answers) == 1 else ("error", "%d answers" % len(answers), "")


def comparable(method, result):
    if result[0] != "ok":
        return result
    answer = differential.strip_ids(result[1])
    answer.DiscardUnknownFields()
    if method == "LeaseTimeToLive":
        keys = sorted(answer.keys)
        del answer.keys[:]
        answer.keys.extend(keys)
    elif method == "LeaseLeases":
        leases = sorted(lease.ID for lease in answer.leases)
        del answer.leases[:]
        answer.leases.extend(pb.LeaseStatus(ID=i) for i in leases)
    return "ok", answer


def remaining_close(wanted, got):
    """Time goes on between the two servers' answers: a second more or less is no difference."""
    if wanted[0] != "ok" or got[0] != "ok" or abs(wanted[1].TTL - got[1].TTL) > 2 or got[1].TTL > got[1].grantedTTL + 1:
        return
    if got[1].TTL > 0:
        wanted[1].TTL = got[1].TTL


def generated(args, score, etcd_cluster, kvd_cluster):
    generator = Generator(random.Random(args.seed))
    etcd, kvd = Server(etcd_cluster), Server(kvd_cluster)
    for step in range(args.steps):
        service, method, message = generator.request()
        wanted = comparable(method, etcd.call(service, method, message))
        got = comparable(method, kvd.call(service, method, message))
        if method == "LeaseTimeToLive":
            remaining_close(wanted, got)
        if not score.check(wanted == got, "step %d: %s.%s" % (step, service, method),
                           "request:\n%s%s" % (message, differential.difference(wanted, got))):
            return
    for ttl in (-2**63, -1, 0, 1, 2, 3):
        for server in (etcd, kvd):
            server.ttl = server.call("Lease", "LeaseGrant", pb.LeaseGrantRequest(TTL=ttl, ID=1000 + ttl % 97))
        score.check(etcd.ttl[0] == "ok" and comparable("", etcd.ttl) == comparable("", kvd.ttl),
                    "TTL %d is raised as by etcd" % ttl, "%s %s" % (etcd.ttl, kvd.ttl))
    picked = kvd.call("Lease", "LeaseGrant", pb.LeaseGrantRequest(TTL=60))[1].ID
    score.check(picked > 0, "the server picks a positive id", str(picked))


def absurd(score, etcd_cluster, kvd_cluster):
    """Numbers at and beyond every edge, ids that exist, ids that do not: as etcd, code and text."""
    etcd, kvd = Server(etcd_cluster), Server(kvd_cluster)
    low, high = -2**63, 2**63 - 1
    put = pb.PutRequest(key=b"k", value=b"v")
    requests = [("Lease", "LeaseGrant", pb.LeaseGrantRequest(ID=i, TTL=ttl))
                for i, ttl in [(71, 9000000000), (71, 9000000000), (71, 9000000001), (71, high), (72, 9000000001),
                               (72, high), (0, 9000000001), (0, high), (low, 500), (low, 500), (-1, 1000), (-1, -1),
                               (high, 500), (high, low), (73, 8999999999)]]
    for i in (0, 71, 72, low, -1, -2, high, high - 1, 404):
        requests.append(("KV", "Put", pb.PutRequest(key=b"k", value=b"v", lease=i)))
        requests.append(("KV", "Txn", pb.TxnRequest(success=[pb.RequestOp(
            request_put=pb.PutRequest(key=b"t", value=b"v", lease=i))])))
        requests.append(("Lease", "LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=i, keys=True)))
        requests.append(("Lease", "LeaseKeepAlive", pb.LeaseKeepAliveRequest(ID=i)))
    for i in (0, 72, low, low, -2, high, 71, 71, -1, 73):
        requests.append(("Lease", "LeaseRevoke", pb.LeaseRevokeRequest(ID=i)))
        requests.append(("KV", "Put", pb.PutRequest(key=b"k", value=b"v", lease=i)))
        requests.append(("KV", "Put", put))
    requests.append(("Lease", "LeaseLeases", pb.LeaseLeasesRequest()))
    for server in (etcd, kvd):
        for i in server.call("Lease", "LeaseLeases", pb.LeaseLeasesRequest())[1].leases:
            server.call("Lease", "LeaseRevoke", pb.LeaseRevokeRequest(ID=i.ID))
        server.base = server.call("KV", "Put", put)[1].header.revision
    for service, method, message in requests:
        wanted, got = (comparable(method, server.call(service, method, message)) for server in (etcd, kvd))
        for server, result in ((etcd, wanted), (kvd, got)):
            if result[0] == "ok" and result[1].header.revision:
                result[1].header.revision -= server.base
        if method == "LeaseTimeToLive":
            remaining_close(wanted, got)
        score.check(wanted == got, "%s.%s" % (service, method),
                    "request:\n%s%s" % (message, differential.difference(wanted, got)))


def pipelined(score, cluster):
    """Many requests on one stream: one answer each, in order; half-close after the last answer."""
    with cluster.members[0].channel() as channel:
        lease = pb.LeaseStub(channel)
        ids = [lease.LeaseGrant(pb.LeaseGrantRequest(TTL=100 + i)).ID for i in range(20)]
        asked = [i for n in range(50) for i in ids + [4242]]
        answers = list(lease.LeaseKeepAlive((pb.LeaseKeepAliveRequest(ID=i) for i in asked), timeout=20))
        score.check([a.ID for a in answers] == asked, "every renewal is answered, in order", "%d" % len(answers))
        score.check([a.TTL for a in answers[:21]] == list(range(100, 120)) + [0], "with the granted TTL, or 0")
        for i in ids:
            lease.LeaseRevoke(pb.LeaseRevokeRequest(ID=i))


def misbehaving(score, cluster):
    """Streams that are cut, end before they begin, or carry no message of ours; others do not notice."""
    raw = {"request_serializer": bytes, "response_deserializer": pb.LeaseKeepAliveResponse.FromString}
    with cluster.members[0].channel() as channel:
        lease = pb.LeaseStub(channel)
        granted = lease.LeaseGrant(pb.LeaseGrantRequest(TTL=100)).ID
        keep_alive = channel.stream_stream("/etcdserverpb.Lease/LeaseKeepAlive", **raw)
        good = pb.LeaseKeepAliveRequest(ID=granted).SerializeToString()
        score.check(list(keep_alive(iter([]), timeout=20)) == [], "a stream without requests ends in order")
        for messages in ([b"\xff"], [good, b"\xff"], [good] * 5 + [b"\x08"]):
            try:
                answers = list(keep_alive(iter(messages), timeout=20))
                score.check(False, "a malformed request must fail", str(answers))
            except grpc.RpcError as error:
                score.check(error.code() == grpc.StatusCode.INTERNAL, "a malformed request is refused", str(error))
        for count in (1, 50, 5000):
            stream = keep_alive(iter([good] * count + [good] * 100), timeout=20)
            for _ in range(count):
                next(stream)
            stream.cancel()
        many = [granted] * 100000
        answers = sum(a.TTL == 100 for a in lease.LeaseKeepAlive((pb.LeaseKeepAliveRequest(ID=i) for i in many), timeout=60))
        score.check(answers == len(many), "a flood of renewals is answered", str(answers))
        lease.LeaseRevoke(pb.LeaseRevokeRequest(ID=granted))
        score.check([a.TTL for a in keep_alive(iter([good]), timeout=20)] == [0], "the server is well")


def etcdctl(member, *words):
    env = dict(os.environ, ETCDCTL_API="3")
    done = subprocess.run(["etcdctl", "--endpoints", member.endpoint, *words], env=env, capture_output=True, text=True,
                          timeout=30, check=False)
    return done.returncode, re.sub(r"remaining\(\d+s\)", "remaining(Ns)", done.stdout), \
        re.sub(r'"ts":[^,]*,|127\.0\.0\.1:\d+|endpoint:[^"]*"|"target":"[^"]*"', "", done.stderr)


def command_line(score, etcd, kvd):
    """The same command lines, with ids that were granted equal."""
    ids = {}
    for name, cluster in (("etcd", etcd), ("kvd", kvd)):
        with cluster.members[0].channel() as channel:
            for i in pb.LeaseStub(channel).LeaseLeases(pb.LeaseLeasesRequest()).leases:
                pb.LeaseStub(channel).LeaseRevoke(pb.LeaseRevokeRequest(ID=i.ID))
            pb.LeaseStub(channel).LeaseGrant(pb.LeaseGrantRequest(ID=0x1234, TTL=500))
        code, out, err = etcdctl(cluster.members[0], "lease", "grant", "300")
        found = re.fullmatch(r"lease ([0-9a-f]+) granted with TTL\(300s\)\n", out)
        score.check(code == 0 and found, "%s: etcdctl lease grant" % name, out + err)
        ids[name] = found.group(1)
    for words in (["lease", "list"], ["put", "cli", "x", "--lease=1234"], ["put", "cli", "x", "--lease=77"],
                  ["lease", "timetolive", "1234"], ["lease", "timetolive", "1234", "--keys"],
                  ["lease", "timetolive", "99"], ["lease", "keep-alive", "--once", "1234"],
                  ["lease", "keep-alive", "--once", "99"], ["lease", "revoke", "99"], ["lease", "revoke", "1234"],
                  ["get", "cli"], ["lease", "list"], ["lease", "revoke", "zz"], ["lease", "grant", "9000000001"]):
        results = []
        for name, cluster in (("etcd", etcd), ("kvd", kvd)):
            code, out, err = etcdctl(cluster.members[0], *words)
            lines = sorted(out.replace(ids[name], "PICKED").splitlines())
            results.append((code, lines, err))
        score.check(results[0] == results[1], "etcdctl " + " ".join(words), "%s\n%s" % tuple(results))


def python_client(score, cluster):
    client = etcd3.client(host="127.0.0.1", port=cluster.members[0].client_port)
    lease = client.lease(60)
    client.put("leased", "1", lease=lease)
    score.check(lease.granted_ttl == 60 and 0 < lease.remaining_ttl <= 60, "python: remaining_ttl", str(lease.remaining_ttl))
    score.check(list(lease.keys) == [b"leased"], "python: keys", str(list(lease.keys)))
    score.check(client.get("leased")[1].lease_id == lease.id, "python: the key names its lease")
    score.check([a.TTL for a in lease.refresh()] == [60], "python: refresh")
    lease.revoke()
    score.check(client.get("leased") == (None, None), "python: revoke takes the key along")
    lock = client.lock("lock", ttl=60)
    score.check(lock.acquire(timeout=10) and lock.is_acquired(), "python: a free lock is taken")
    lock.refresh()
    score.check(lock.release() and not lock.is_acquired(), "python: and released")
    # Two that want one lock can not be tried: its wait does not work with this Debian's tenacity.
    other = etcd3.client(host="127.0.0.1", port=cluster.members[-1].client_port)
    short = client.lock("short", ttl=2)
    score.check(short.acquire(timeout=10), "python: a lock with a short TTL")
    end = time.monotonic() + 20
    while short.is_acquired() and time.monotonic() < end:
        pass
    again = other.lock("short", ttl=60)
    score.check(again.acquire(timeout=10) and again.release(), "python: is free when that is over")


def main():
    args = _servers.arguments(steps=4000)
    score = _servers.Score()
    etcd, kvd = _servers.start_etcd(), _servers.start_kvd(args.build)
    generated(args, score, etcd, kvd)
    absurd(score, etcd, kvd)
    pipelined(score, kvd)
    misbehaving(score, kvd)
    command_line(score, etcd, kvd)
    python_client(score, kvd)
    three = _servers.start_kvd(args.build, 3)
    for _ in three.members:  # the same through each, so through members that follow
        three.members.append(three.members.pop(0))
        pipelined(score, three)
        python_client(score, three)
    score.finish()


if __name__ == "__main__":
    main()
