#!/usr/bin/python3
"""Authentication on three members: switched on and off and roles changed under traffic, with the
leader killed again and again. What was allowed is decided once, when a command is applied: all
members end with the same keyspace and the same auth revision (faults.md R14, L5). Then: a token is
good on every member at once, and on none that was restarted; a revoked watch ends on every member.
"""

import os
import random
import sys
import threading
import time

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../compat"))
import _servers  # noqa: E402

PASSWORDS = {"root": "pw-root", "ann": "pw-ann"}


def expect(condition, what):
    if not condition:
        sys.exit("FAIL " + what)


class Client:
    """Calls as one user; logs in again when a member wants it, as etcd's clients do."""

    REFUSALS = ("invalid auth token", "user name is empty", "revision of auth store is old")

    def __init__(self, members, user):
        self.channels = [member.channel() for member in members]
        self.user, self.token, self.at = user, None, 0

    def close(self):
        for channel in self.channels:
            channel.close()

    def stub(self, kind):
        return kind(self.channels[self.at])

    def log_in(self):
        self.token = None
        try:
            answer = self.stub(pb.AuthStub).Authenticate(
                pb.AuthenticateRequest(name=self.user, password=PASSWORDS[self.user]), timeout=5)
            self.token = answer.token
        except grpc.RpcError as error:
            if "authentication is not enabled" not in (error.details() or ""):
                self.at = (self.at + 1) % len(self.channels)

    def once(self, kind, method, request):
        metadata = [("token", self.token)] if self.token else []
        return getattr(self.stub(kind), method)(request, timeout=5, metadata=metadata)

    def call(self, kind, method, request):
        """The answer, or the text of the error that is the last word."""
        for _ in range(200):
            try:
                return self.once(kind, method, request)
            except grpc.RpcError as error:
                text = error.details() or ""
                if any(text.endswith(refusal) for refusal in self.REFUSALS):
                    self.log_in()
                elif error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    self.at = (self.at + 1) % len(self.channels)
                    time.sleep(0.02)
                else:
                    return text
        sys.exit("FAIL %s %s found no member that serves" % (self.user, method))


def set_up(root):
    for method, request in (
            ("UserAdd", pb.AuthUserAddRequest(name="root", password=PASSWORDS["root"])),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root")),
            ("UserAdd", pb.AuthUserAddRequest(name="ann", password=PASSWORDS["ann"])),
            ("RoleAdd", pb.AuthRoleAddRequest(name="r")),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="ann", role="r")),
            ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(
                name="r", perm={"permType": 2, "key": b"a", "range_end": b"b"})),
            ("AuthEnable", pb.AuthEnableRequest())):
        answer = root.call(pb.AuthStub, method, request)
        expect(not isinstance(answer, str), "%s: %s" % (method, answer))


class Traffic:
    """Threads that write what is allowed now and then."""

    def __init__(self, cluster, seed):
        self.stop = threading.Event()
        self.counts = {"done": 0, "denied": 0}
        self.threads = [threading.Thread(target=self.write, args=(cluster, "ann", seed + n)) for n in range(4)]
        for thread in self.threads:
            thread.start()

    def write(self, cluster, user, seed):
        rng = random.Random(seed)
        client = Client(cluster.members, user)
        client.at = seed % len(cluster.members)
        while not self.stop.is_set():
            key = b"a%d" % rng.randint(0, 20)
            if rng.random() < 0.7:
                answer = client.call(pb.KVStub, "Put", pb.PutRequest(key=key, value=b"%d" % rng.randint(0, 1 << 30)))
            else:
                answer = client.call(pb.KVStub, "DeleteRange", pb.DeleteRangeRequest(key=key, range_end=b"b"))
            denied = answer == "etcdserver: permission denied"
            expect(denied or not isinstance(answer, str), "a write ended with %s" % answer)
            self.counts["denied" if denied else "done"] += 1
        client.close()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def change_something(root, rng):
    """Back and forth; each is fine if it had been done before."""
    permission = {"permType": 2, "key": b"a", "range_end": b"b"}
    method, request = rng.choice([
        ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="r", perm=permission)),
        ("RoleRevokePermission", pb.AuthRoleRevokePermissionRequest(role="r", key=b"a", range_end=b"b")),
        ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="ann", role="r")),
        ("UserRevokeRole", pb.AuthUserRevokeRoleRequest(name="ann", role="r")),
        ("UserChangePassword", pb.AuthUserChangePasswordRequest(name="ann", password=PASSWORDS["ann"])),
        ("AuthDisable", pb.AuthDisableRequest()),
        ("AuthEnable", pb.AuthEnableRequest())])
    root.call(pb.AuthStub, method, request)


def root_token(channel):
    try:
        answer = pb.AuthStub(channel).Authenticate(
            pb.AuthenticateRequest(name="root", password=PASSWORDS["root"]), timeout=20, wait_for_ready=True)
    except grpc.RpcError:
        return []
    return [("token", answer.token)]


def states(cluster):
    """Of each member: hash at one revision, auth revision, as soon as all have applied the same."""
    out = []
    for member in cluster.members:
        with member.channel() as channel:
            token = root_token(channel)
            # A linearizable read first: then all that was acknowledged is applied here.
            pb.KVStub(channel).Range(pb.RangeRequest(key=b"a"), timeout=20, metadata=token, wait_for_ready=True)
            answer = pb.MaintenanceStub(channel).HashKV(pb.HashKVRequest(revision=0), timeout=20, metadata=token)
            raw = channel.unary_unary("/etcdserverpb.Auth/AuthStatus", request_serializer=None,
                                      response_deserializer=None)(b"", timeout=20, metadata=token)
            # AuthStatusResponse: fields 2 and 3 follow the header, whose length is its second byte.
            out.append((answer.header.revision, answer.hash, raw[2 + raw[1]:]))
    return out


def r14_members_agree_while_auth_changes(cluster, rng, rounds):
    root = Client(cluster.members, "root")
    set_up(root)
    traffic = Traffic(cluster, rng.randint(0, 1 << 30))
    for n in range(rounds):
        for _ in range(12):
            change_something(root, rng)
        victim = cluster.leader(root_token)
        victim.kill()
        for _ in range(6):
            change_something(root, rng)
        victim.start()
    traffic.end()
    print("writes done %(done)d, denied %(denied)d" % traffic.counts, flush=True)
    expect(traffic.counts["done"] > 0 and traffic.counts["denied"] > 0, "traffic saw both verdicts")
    # On, with the right that the rest of the test needs.
    for method, request in (
            ("AuthEnable", pb.AuthEnableRequest()),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="ann", role="r")),
            ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(
                name="r", perm={"permType": 2, "key": b"a", "range_end": b"b"}))):
        answer = root.call(pb.AuthStub, method, request)
        expect(not isinstance(answer, str), "%s: %s" % (method, answer))
    root.close()
    found = states(cluster)
    expect(len(set(found)) == 1, "members differ: %r" % found)


def tokens(cluster):
    """Given by one, good on all, at once; gone where the process is another."""
    with cluster.members[0].channel() as channel:
        for _ in range(20):
            token = root_token(channel)
            for member in cluster.members:
                with member.channel() as other:
                    pb.KVStub(other).Put(pb.PutRequest(key=b"t"), metadata=token, timeout=20, wait_for_ready=True)
    victim = cluster.members[1]
    victim.kill()
    victim.start()
    with victim.channel() as channel:
        error = None
        for _ in range(600):
            try:
                pb.KVStub(channel).Range(pb.RangeRequest(key=b"t"), metadata=token, timeout=20, wait_for_ready=True)
            except grpc.RpcError as refusal:
                error = refusal.details()
                if error == "etcdserver: invalid auth token":
                    break
        expect(error == "etcdserver: invalid auth token", "an old token after a restart: %s" % error)
    with cluster.members[2].channel() as channel:
        pb.KVStub(channel).Range(pb.RangeRequest(key=b"t"), metadata=token, timeout=20)


def revoked_watches(cluster):
    """One watcher on each member; its right is taken away through one of them."""
    streams, stop = [], threading.Event()

    def requests():
        yield pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a"))
        stop.wait()

    for member in cluster.members:
        client = Client([member], "ann")
        client.log_in()
        streams.append(client.stub(pb.WatchStub).Watch(requests(), timeout=120, metadata=[("token", client.token)]))
        expect(not next(streams[-1]).canceled, "ann may watch")
    root = Client(cluster.members, "root")
    root.call(pb.AuthStub, "UserRevokeRole", pb.AuthUserRevokeRoleRequest(name="ann", role="r"))
    for stream in streams:
        answer = next(stream)
        expect(answer.canceled and "permission denied" in answer.cancel_reason, "a watch ends: %r" % answer)
    stop.set()
    for stream in streams:
        stream.cancel()
    root.close()


def main():
    args = _servers.arguments(rounds=4)
    rng = random.Random(args.seed)
    cluster = _servers.Cluster("kvd", os.path.join(args.build, "kvd"), 3, ("--bcrypt-cost", "4")).start()
    try:
        r14_members_agree_while_auth_changes(cluster, rng, args.rounds)
        tokens(cluster)
        revoked_watches(cluster)
    except BaseException:
        cluster.keep()
        raise
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
