"""Generated keyspaces for tests: binary keys, several versions, tombstones, leases, compactions, large values;
and what a server holds, as one value that can be compared."""

import random

import grpc
from etcd3 import etcdrpc

CALL_TIMEOUT_S = 60


def connected(member):
    channel = member.channel()
    grpc.channel_ready_future(channel).result(CALL_TIMEOUT_S)
    return channel


def _key(rng, binary):
    if not binary:
        return b"key/%03d" % rng.randrange(120)
    return bytes(rng.choice((0x00, 0x01, 0x7f, 0x80, 0xff)) for _ in range(rng.randrange(1, 4)))


def fill(member, seed, steps, binary=True, value_max=300, large=0, compact=True, leases=True):
    """Writes to an empty store what follows from the seed. `large` values of 1.5 MB come at the end."""
    rng = random.Random(seed)
    with connected(member) as channel:
        kv, lease = etcdrpc.KVStub(channel), etcdrpc.LeaseStub(channel)
        ids, revision, compacted = [], 1, 0
        for _ in range(steps):
            what = rng.randrange(100)
            key = _key(rng, binary)
            if what < 60:
                used = rng.choice(ids) if ids and rng.random() < 0.3 else 0
                answer = kv.Put(etcdrpc.PutRequest(key=key, value=rng.randbytes(rng.randrange(value_max)), lease=used),
                                timeout=CALL_TIMEOUT_S)
            elif what < 75:
                answer = kv.DeleteRange(etcdrpc.DeleteRangeRequest(key=key, range_end=key + b"\xff"),
                                        timeout=CALL_TIMEOUT_S)
            elif what < 90:
                ops = [etcdrpc.RequestOp(request_put=etcdrpc.PutRequest(key=b"txn%d" % i, value=rng.randbytes(20)))
                       for i in range(rng.randrange(1, 5))]
                ops.append(etcdrpc.RequestOp(request_delete_range=etcdrpc.DeleteRangeRequest(key=b"gone", range_end=b"gonf")))
                answer = kv.Txn(etcdrpc.TxnRequest(success=ops), timeout=CALL_TIMEOUT_S)
            elif what < 95 and leases:
                granted = lease.LeaseGrant(etcdrpc.LeaseGrantRequest(TTL=rng.randrange(3000, 9000),
                                                                     ID=rng.randrange(1, 1 << 62)), timeout=CALL_TIMEOUT_S)
                ids.append(granted.ID)
                continue
            elif compact and revision > compacted + 5 and what >= 98:
                compacted = rng.randrange(compacted + 1, revision + 1)
                kv.Compact(etcdrpc.CompactionRequest(revision=compacted, physical=True), timeout=CALL_TIMEOUT_S)
                continue
            else:
                continue
            revision = answer.header.revision
        for i in range(large):
            kv.Put(etcdrpc.PutRequest(key=b"large%d" % i, value=rng.randbytes(1500000)), timeout=CALL_TIMEOUT_S)


def alarm(member, member_id):
    with connected(member) as channel:
        etcdrpc.MaintenanceStub(channel).Alarm(
            etcdrpc.AlarmRequest(action=etcdrpc.AlarmRequest.ACTIVATE, memberID=member_id, alarm=etcdrpc.NOSPACE),
            timeout=CALL_TIMEOUT_S)


def state(member, history=True):
    """All that a client can see: newest keys, keys at each revision that can be read, leases with their keys,
    alarms, hash of the whole history."""
    with connected(member) as channel:
        kv, lease = etcdrpc.KVStub(channel), etcdrpc.LeaseStub(channel)
        maintenance = etcdrpc.MaintenanceStub(channel)

        def keys(revision):
            answer = kv.Range(etcdrpc.RangeRequest(key=b"\0", range_end=b"\0", revision=revision), timeout=CALL_TIMEOUT_S)
            return [(k.key, k.value, k.create_revision, k.mod_revision, k.version, k.lease) for k in answer.kvs]

        head = kv.Range(etcdrpc.RangeRequest(key=b"x"), timeout=CALL_TIMEOUT_S).header.revision
        answer = maintenance.HashKV(etcdrpc.HashKVRequest(), timeout=CALL_TIMEOUT_S)
        found = {
            "revision": head,
            "hash": answer.hash,
            "compact_revision": answer.compact_revision,
            "keys": keys(0),
            "alarms": sorted((a.memberID, a.alarm) for a in maintenance.Alarm(
                etcdrpc.AlarmRequest(), timeout=CALL_TIMEOUT_S).alarms),
            "leases": sorted(
                (one.ID, answer.grantedTTL, tuple(sorted(answer.keys))) for one in lease.LeaseLeases(
                    etcdrpc.LeaseLeasesRequest(), timeout=CALL_TIMEOUT_S).leases
                for answer in [lease.LeaseTimeToLive(etcdrpc.LeaseTimeToLiveRequest(ID=one.ID, keys=True),
                                                     timeout=CALL_TIMEOUT_S)]),
        }
        if history:
            first = max(answer.compact_revision, 1)
            for revision in random.Random(head).sample(range(first, head + 1), min(10, head + 1 - first)):
                try:
                    found["at %d" % revision] = keys(revision)
                except grpc.RpcError as error:
                    found["at %d" % revision] = error.details()
        return found


def differences(a, b):
    """Names of what is not equal, with a little of both."""
    return ["%s: %.200r / %.200r" % (name, a.get(name), b.get(name))
            for name in sorted(set(a) | set(b)) if a.get(name) != b.get(name)]
