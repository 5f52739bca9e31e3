#!/usr/bin/python3
"""Locks and elections while authentication is on: beside a real etcd who may not is refused with the same code and
text; and of kvd alone, what is taken away ends those who wait and watch."""

import sys

from etcd3 import etcdrpc as pb

import _locks
import _servers

LEASE = 0x77


def set_up(member):
    """ann may read and write what is under l/; wri may write it only; bob may nothing."""
    with member.channel() as channel:
        auth = pb.AuthStub(channel)
        for user in ("root", "ann", "wri", "bob"):
            auth.UserAdd(pb.AuthUserAddRequest(name=user, password=user))
        auth.UserGrantRole(pb.AuthUserGrantRoleRequest(user="root", role="root"))
        for role, kind in (("both", 2), ("write", 1)):
            auth.RoleAdd(pb.AuthRoleAddRequest(name=role))
            auth.RoleGrantPermission(pb.AuthRoleGrantPermissionRequest(
                name=role, perm={"permType": kind, "key": b"l/", "range_end": b"l0"}))
        auth.UserGrantRole(pb.AuthUserGrantRoleRequest(user="ann", role="both"))
        auth.UserGrantRole(pb.AuthUserGrantRoleRequest(user="wri", role="write"))
        auth.AuthEnable(pb.AuthEnableRequest())


def log_in(member, user):
    with member.channel() as channel:
        answer = pb.AuthStub(channel).Authenticate(pb.AuthenticateRequest(name=user, password=user), timeout=20)
    return _locks.Client(member, [("token", answer.token)])


def grant(client, lease):
    client.leases.LeaseGrant(pb.LeaseGrantRequest(ID=lease, TTL=600), metadata=client.metadata, timeout=20)


def story(member):
    """What each of them is answered, in order."""
    seen = []
    root = log_in(member, "root")
    grant(root, LEASE)
    for user in ("", "bob", "wri", "ann"):
        client = log_in(member, user) if user else _locks.Client(member)
        seen.append((user, "Lock", client.call("Lock", timeout=20, name=b"l", lease=LEASE)))
        seen.append((user, "Unlock", client.call("Unlock", timeout=20, key=b"l/77")))
        seen.append((user, "Campaign", client.call("Campaign", timeout=20, name=b"l", lease=LEASE, value=b"v")))
        seen.append((user, "Leader", client.call("Leader", timeout=20, name=b"l")))
        leader = _locks.LeaderKey(name=b"l", key=b"l/77", rev=9999, lease=LEASE)
        seen.append((user, "Proclaim", client.call("Proclaim", timeout=20, leader=leader, value=b"w")))
        seen.append((user, "Resign", client.call("Resign", timeout=20, leader=leader)))
    return seen


def taken_away(member, score):
    """ann's right goes while she observes and another claim of hers waits."""
    root, ann = log_in(member, "root"), log_in(member, "ann")
    grant(root, LEASE + 1)
    observer = ann.observe(b"l")
    observer.wait(1)
    waiting = ann.start("Lock", timeout=60, name=b"l", lease=LEASE + 1)
    key = b"l/%x" % (LEASE + 1)
    while not root.kv.Range(pb.RangeRequest(key=key), metadata=root.metadata, timeout=20).count:
        pass
    pb.AuthStub(root.channel).UserRevokeRole(
        pb.AuthUserRevokeRoleRequest(name="ann", role="both"), metadata=root.metadata)
    score.check(observer.wait_end() == ("PERMISSION_DENIED", "etcdserver: permission denied"),
                "an observer whose right is taken away ends", repr(observer.end))
    root.kv.DeleteRange(pb.DeleteRangeRequest(key=b"l/%x" % LEASE), metadata=root.metadata, timeout=20)
    denied = waiting.result()
    score.check(denied[1] == "etcdserver: permission denied", "a claim whose right is taken away gets nothing", repr(denied))
    for _ in range(2000):
        if not root.kv.Range(pb.RangeRequest(key=key), metadata=root.metadata, timeout=20).count:
            break
    else:
        score.check(False, "and leaves its place", "its key is still there")
    nobody = _locks.Client(member)
    ended = nobody.observe(b"l").wait_end()
    score.check(ended == ("INVALID_ARGUMENT", "etcdserver: user name is empty"), "nobody observes", repr(ended))


def main():
    args = _servers.arguments()
    score = _servers.Score()
    etcd, kvd = _servers.start_etcd(), _servers.start_kvd(args.build, extra=("--bcrypt-cost", "4"))
    for server in (etcd, kvd):
        set_up(server.members[0])
    expected, seen = story(etcd.members[0]), story(kvd.members[0])
    for one, other in zip(expected, seen):
        score.check(one == other, "%s: %s" % one[:2], "etcd %r\nkvd  %r" % (one[2], other[2]))
    taken_away(kvd.members[0], score)
    etcd.close()
    kvd.close()
    score.finish()


if __name__ == "__main__":
    sys.exit(main())
