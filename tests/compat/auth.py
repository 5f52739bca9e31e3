#!/usr/bin/python3
"""Authentication beside Debian's etcd: generated users, roles, permissions and requests, with good,
bad and no tokens; answers compared, errors (code and text) included. Then what only kvd has to prove:
no method but the open ones answers somebody who has not logged in, the JSON gateway takes the token,
watches that lose their right end, passwords are nowhere.

Where 3.4 lets pass what 3.6 checks (etcd-api.md section 10 and 17), the request is not compared:
LeaseGrant, LeaseRevoke, KeepAlive, Compact, Alarm, Status, MemberList, nested transactions, prev_kv in
transactions, leases of puts in them, and permissions on empty intervals.
"""

import base64
import json
import os
import random
import re
import sys
import urllib.request

import grpc
from etcd3 import etcdrpc as pb

import _servers

KEYS = [b"a", b"a\x00", b"b", b"bb", b"c", b"d", b"e"]
USERS = ["root", "ann", "bob", "carl", "none"]
ROLES = ["root", "r1", "r2", "r3"]
OPEN_METHODS = {"etcdserverpb.Auth/Authenticate", "grpc.health.v1.Health/Check",
                "grpc.health.v1.Health/Watch"}


class Side:
    """One server and the tokens it has given."""

    def __init__(self, member):
        self.member = member
        self.channel = member.channel()
        self.kv, self.auth = pb.KVStub(self.channel), pb.AuthStub(self.channel)
        self.watch = pb.WatchStub(self.channel)
        self.tokens = {}

    def call(self, stub, request, who):
        """What an answer says without ids, or code and text."""
        token = {"nobody": None, "bad": "abcdefghijklmnop.7", "worse": "x"}.get(who) or self.tokens.get(who)
        metadata = [("token", token)] if token is not None else []
        try:
            answer = stub(request, timeout=20, metadata=metadata, wait_for_ready=True)
        except grpc.RpcError as error:
            return str(error.code()), error.details()
        for field in ("cluster_id", "member_id", "raft_term"):
            answer.header.ClearField(field)
        return str(answer)

    def log_in(self, user, password):
        try:
            answer = self.auth.Authenticate(pb.AuthenticateRequest(name=user, password=password), timeout=20)
        except grpc.RpcError as error:
            return str(error.code()), error.details()
        if not re.fullmatch(r"[a-zA-Z]{16}\.\d+", answer.token):
            return "odd token", answer.token
        self.tokens[user] = answer.token
        return "logged in"

    def watch_once(self, key, range_end, who):
        """The first answer to a create request, by its reason."""
        token = self.tokens.get(who)
        done = []

        def requests():
            yield pb.WatchRequest(create_request=pb.WatchCreateRequest(key=key, range_end=range_end))
            while not done:
                yield from ()
                break

        stream = self.watch.Watch(requests(), timeout=20, metadata=[("token", token)] if token else [])
        answer = next(stream)
        done.append(True)
        stream.cancel()
        return answer.created, answer.canceled, answer.watch_id, answer.cancel_reason


class Generator:
    def __init__(self, rng):
        self.rng = rng
        self.ends = {}  # (role, key) -> range end of the permission on it

    def span(self):
        kind = self.rng.random()
        if kind < 0.5:
            return self.rng.choice(KEYS), b""
        if kind < 0.9:
            # An inverted range names no key; whether etcd lets it pass depends on the shape of its tree.
            return tuple(sorted((self.rng.choice(KEYS), self.rng.choice(KEYS))))
        return self.rng.choice(KEYS), b"\x00"

    def user(self):
        return self.rng.choice(USERS + ["nix", ""] if self.rng.random() < 0.2 else USERS)

    def role(self):
        return self.rng.choice(ROLES + ["nix", ""] if self.rng.random() < 0.2 else ROLES)

    def auth_change(self):
        """(method, request) for AuthStub; root's password stays what it is."""
        kind = self.rng.choice("add add del pw grant grant grant revoke roleadd roleadd roledel "
                               "permit permit permit permit permit forbid".split())
        user, role = self.user(), self.role()
        if kind == "add":
            request = pb.AuthUserAddRequest(name=user, password="pw-" + user)
            if user == "none":
                request = pb.AuthUserAddRequest.FromString(
                    request.SerializeToString() + b"\x1a\x02\x08\x01")  # options: no_password
            return "UserAdd", request
        if kind == "del":
            return "UserDelete", pb.AuthUserDeleteRequest(name=user)
        if kind == "pw":
            return "UserChangePassword", pb.AuthUserChangePasswordRequest(name=user, password="pw-" + user)
        if kind == "grant":
            return "UserGrantRole", pb.AuthUserGrantRoleRequest(user=user, role=role)
        if kind == "revoke":
            return "UserRevokeRole", pb.AuthUserRevokeRoleRequest(name=user, role=role)
        if kind == "roleadd":
            return "RoleAdd", pb.AuthRoleAddRequest(name=role)
        if kind == "roledel":
            return "RoleDelete", pb.AuthRoleDeleteRequest(role=role)
        key, range_end = self.span()
        if range_end not in (b"", b"\x00") and range_end <= key:
            range_end = b""  # 3.4 takes an empty interval
        # With two intervals from one key etcd finds only the first: it keeps the second's old rights
        # beside new ones. kvd replaces them.
        range_end = self.ends.setdefault((role, key), range_end)
        if kind == "forbid":
            return "RoleRevokePermission", pb.AuthRoleRevokePermissionRequest(role=role, key=key, range_end=range_end)
        request = pb.AuthRoleGrantPermissionRequest(name=role)  # one without any ends 3.4's process
        request.perm.permType = self.rng.randint(0, 2)
        request.perm.key, request.perm.range_end = key, range_end
        return "RoleGrantPermission", request

    def auth_read(self):
        kind = self.rng.randint(0, 3)
        if kind == 0:
            # "" is the name of somebody without a token, whom etcd lets look at that user
            return "UserGet", pb.AuthUserGetRequest(name=self.user() or "nix")
        if kind == 1:
            return "RoleGet", pb.AuthRoleGetRequest(role=self.rng.choice(["r1", "r2", "r3", "nix"]))
        return ("UserList", pb.AuthUserListRequest()) if kind == 2 else ("RoleList", pb.AuthRoleListRequest())

    def range_(self):
        key, range_end = self.span()
        return pb.RangeRequest(key=key, range_end=range_end, serializable=self.rng.random() < 0.3)

    def put(self, plain=False):
        return pb.PutRequest(key=self.rng.choice(KEYS), value=b"v", prev_kv=not plain and self.rng.random() < 0.3)

    def delete(self, plain=False):
        key, range_end = self.span()
        return pb.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=not plain and self.rng.random() < 0.3)

    def txn(self):
        txn = pb.TxnRequest()
        for _ in range(self.rng.randint(0, 2)):
            key, range_end = self.span()
            txn.compare.add(key=key, range_end=range_end, target=pb.Compare.VERSION, version=0)
        for branch in (txn.success, txn.failure):
            put = False
            for _ in range(self.rng.randint(0, 2)):
                kind = self.rng.randint(0, 2)
                if kind == 0:
                    branch.add().request_range.CopyFrom(self.range_())
                elif kind == 1 and not put:
                    branch.add().request_put.CopyFrom(self.put(plain=True))
                    put = True
        if not (txn.compare or txn.success or txn.failure):
            txn.success.add().request_range.CopyFrom(self.range_())
        return txn

    def kv(self):
        kind = self.rng.randint(0, 3)
        return [("Range", self.range_), ("Put", self.put), ("DeleteRange", self.delete),
                ("Txn", self.txn)][kind][0], [self.range_, self.put, self.delete, self.txn][kind]()


class Comparison:
    def __init__(self, theirs, ours):
        self.theirs, self.ours = theirs, ours
        self.compared = self.failed = 0

    def same(self, what, theirs, ours):
        self.compared += 1
        if theirs != ours:
            self.failed += 1
            print("FAIL %s\n  etcd %r\n  kvd  %r" % (what, theirs, ours))

    def call(self, service, method, request, who):
        theirs, ours = (side.call(getattr(getattr(side, service), method), request, who)
                        for side in (self.theirs, self.ours))
        self.same("%s %s as %s" % (method, str(request).replace("\n", " "), who), theirs, ours)
        return theirs

    def log_in(self, user, password):
        self.same("login %s %s" % (user, password), self.theirs.log_in(user, password),
                  self.ours.log_in(user, password))


def random_people(c, gen, rng, rounds):
    """Off: changes by anybody; on: everything by everybody."""
    for _ in range(40):
        c.call("auth", *gen.auth_change(), "nobody")
    c.call("auth", "AuthEnable", pb.AuthEnableRequest(), "nobody")
    c.call("auth", "Authenticate", pb.AuthenticateRequest(name="root", password="x"), "nobody")
    for change in (("UserAdd", pb.AuthUserAddRequest(name="root", password="pw-root")),
                   ("AuthEnable", pb.AuthEnableRequest()),
                   ("RoleAdd", pb.AuthRoleAddRequest(name="root")),
                   ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root")),
                   ("AuthEnable", pb.AuthEnableRequest()), ("AuthEnable", pb.AuthEnableRequest())):
        c.call("auth", *change, "nobody")
    for user in USERS:
        c.log_in(user, "pw-" + user)
    c.log_in("ann", "wrong")
    c.log_in("nix", "pw-nix")
    c.log_in("", "")
    c.call("auth", "AuthEnable", pb.AuthEnableRequest(), "root")
    for _ in range(rounds):
        who = rng.choice(["nobody", "bad", "worse", "root", "ann", "bob", "carl"])
        kind = rng.random()
        if kind < 0.60:
            c.call("kv", *gen.kv(), who)
        elif kind < 0.68:
            c.call("auth", *gen.auth_read(), who)
        elif kind < 0.85:
            c.call("auth", *gen.auth_change(), "root" if rng.random() < 0.7 else who)
        elif kind < 0.92:
            user = rng.choice(USERS)
            c.log_in(user, "pw-" + user if rng.random() < 0.8 else "wrong")
        else:
            key, range_end = gen.span()
            if range_end in (b"", b"\x00") or key < range_end:
                user = rng.choice(["ann", "bob", "carl", "root"])
                if range_end != b"\x00":  # 3.4 takes it for a key: CVE-2026-73499
                    c.same("watch %r %r as %s" % (key, range_end, user),
                           c.theirs.watch_once(key, range_end, user), c.ours.watch_once(key, range_end, user))
    c.log_in("root", "pw-root")
    c.call("auth", "AuthDisable", pb.AuthDisableRequest(), "nobody")
    c.call("auth", "AuthDisable", pb.AuthDisableRequest(), "root")
    c.call("auth", "AuthDisable", pb.AuthDisableRequest(), "nobody")  # 3.4 minds old tokens even now
    c.call("kv", *gen.kv(), "nobody")
    for name in USERS + ["nix"]:
        c.call("auth", "UserDelete", pb.AuthUserDeleteRequest(name=name), "nobody")
    for name in ROLES + ["nix"]:
        c.call("auth", "RoleDelete", pb.AuthRoleDeleteRequest(role=name), "nobody")


# ---- kvd alone ----


def all_methods():
    """The table of services, from its source: what is served is what stands there."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../server/services.c")
    with open(path) as source:
        rows = re.findall(r'(UNARY|SERVER_STREAM|BIDI_STREAM)\("([\w.]+)", "(\w+)"', source.read())
    assert len(rows) > 30, rows
    return [(kind, service + "/" + name) for kind, service, name in rows]


def expect(condition, what):
    if not condition:
        sys.exit("FAIL " + what)


def nobody_gets_anything(side):
    """Method: every method of the table, with an empty message and without a token."""
    for kind, name in all_methods():
        same = {"request_serializer": None, "response_deserializer": None}
        if name == "etcdserverpb.Watch/Watch":
            continue  # refuses inside its stream: seen by the comparison
        try:
            if kind == "UNARY":
                side.channel.unary_unary("/" + name, **same)(b"", timeout=10)
            elif kind == "SERVER_STREAM":
                stream = side.channel.unary_stream("/" + name, **same)(b"", timeout=10)
                next(stream)
                stream.cancel()
            else:
                next(side.channel.stream_stream("/" + name, **same)(iter([b""]), timeout=10))
            refused = None
        except grpc.RpcError as error:
            refused = error.details()
        if name in OPEN_METHODS:
            expect(refused != "etcdserver: user name is empty", "%s is not open" % name)
        else:
            # Checks of the request itself come first, as in etcd.
            expect(refused in ("etcdserver: user name is empty", "etcdserver: key is not provided",
                               "etcdserver: permission denied", '"leader" field must be provided'),
                   "%s answered nobody: %s" % (name, refused))


def gateway(side, path, body, token=None):
    request = urllib.request.Request("http://%s%s" % (side.member.endpoint, path),
                                     json.dumps(body).encode(), method="POST")
    if token is not None:
        request.add_header("Authorization", token)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def gateway_takes_the_token(side):
    b64 = base64.b64encode(b"a").decode()
    status, answer = gateway(side, "/v3/auth/authenticate", {"name": "ann", "password": "pw-ann"})
    expect(status == 200, "login by JSON: %r" % answer)
    token = answer["token"]
    for sent in (token, "Bearer " + token):
        status, answer = gateway(side, "/v3/kv/put", {"key": b64, "value": b64}, sent)
        expect(status == 200, "put by JSON: %r" % answer)
    status, answer = gateway(side, "/v3/kv/put", {"key": b64, "value": b64})
    expect((status, answer["message"]) == (400, "etcdserver: user name is empty"), repr(answer))
    status, answer = gateway(side, "/v3/kv/put", {"key": b64, "value": b64}, "nonsense")
    expect((status, answer["message"]) == (401, "etcdserver: invalid auth token"), repr(answer))
    status, answer = gateway(side, "/v3/auth/user/list", {}, token)
    expect((status, answer["message"]) == (403, "etcdserver: permission denied"), repr(answer))
    with urllib.request.urlopen("http://%s/health" % side.member.endpoint, timeout=20) as health:
        expect(json.load(health)["health"] == "true", "/health needs no login")


def revoked_watch_ends(side):
    """And another on the same stream goes on."""
    token = [("token", side.tokens["ann"])]
    root = [("token", side.tokens["root"])]
    requests = [pb.WatchRequest(create_request=pb.WatchCreateRequest(key=key)) for key in (b"a", b"b")]
    waiting = True

    def send():
        yield from requests
        while waiting:
            next(stop)

    def until_stopped():
        while waiting:
            released.wait(0.05)
            yield

    import threading
    released, stop = threading.Event(), until_stopped()
    stream = side.watch.Watch(send(), timeout=60, metadata=token)
    expect(not next(stream).canceled and not next(stream).canceled, "ann may watch a and b")
    side.auth.RoleRevokePermission(pb.AuthRoleRevokePermissionRequest(role="r", key=b"a"), metadata=root, timeout=20)
    answer = next(stream)
    expect(answer.canceled and answer.watch_id == 0 and
           answer.cancel_reason == "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
           "the watch on a ends: %r" % answer)
    side.kv.Put(pb.PutRequest(key=b"a", value=b"secret"), metadata=root, timeout=20)
    side.kv.Put(pb.PutRequest(key=b"b", value=b"seen"), metadata=root, timeout=20)
    answer = next(stream)
    expect([event.kv.key for event in answer.events] == [b"b"], "the watch on b goes on: %r" % answer)
    waiting = False
    released.set()
    stream.cancel()


def passwords_are_nowhere(cluster):
    for member in cluster.members:
        for folder, _, names in os.walk(os.path.join(cluster.folder, member.name)):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    expect(b"pw-ann" not in file.read(), "%s holds a password" % name)
        with open(member.log_path, "rb") as log:
            text = log.read()
        expect(b"pw-ann" not in text, "the log holds a password")


def kvd_alone(cluster, side):
    for method, request in (
            ("UserAdd", pb.AuthUserAddRequest(name="root", password="pw-root")),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root")),
            ("UserAdd", pb.AuthUserAddRequest(name="ann", password="pw-ann")),
            ("RoleAdd", pb.AuthRoleAddRequest(name="r")),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="ann", role="r")),
            ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(
                name="r", perm={"permType": 2, "key": b"a"})),
            ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(
                name="r", perm={"permType": 0, "key": b"b"})),
            ("AuthEnable", pb.AuthEnableRequest())):
        getattr(side.auth, method)(request, timeout=20)
    try:
        side.auth.UserAdd(pb.AuthUserAddRequest(name="long", password="x" * 73), timeout=20)
    except grpc.RpcError as error:
        expect(error.details() == "etcdserver: user name is empty", error.details())
    side.log_in("root", "pw-root")
    side.log_in("ann", "pw-ann")
    root = [("token", side.tokens["root"])]
    try:
        side.auth.UserAdd(pb.AuthUserAddRequest(name="long", password="x" * 73), metadata=root, timeout=20)
        expect(False, "a password of 73 bytes is refused")
    except grpc.RpcError as error:
        expect(error.details() == "bcrypt: password length exceeds 72 bytes", error.details())
    nobody_gets_anything(side)
    gateway_takes_the_token(side)
    revoked_watch_ends(side)
    passwords_are_nowhere(cluster)


def main():
    args = _servers.arguments(rounds=600)
    rng = random.Random(args.seed)
    extra = ("--bcrypt-cost", "4", "--log-level", "debug")
    with_etcd = _servers.Cluster("etcd", "etcd", 1, ("--bcrypt-cost", "4")).start()
    with_kvd = _servers.Cluster("kvd", os.path.join(args.build, "kvd"), 1, extra).start()
    c = Comparison(Side(with_etcd.members[0]), Side(with_kvd.members[0]))
    random_people(c, Generator(rng), rng, args.rounds)
    print("%d compared, %d differ" % (c.compared, c.failed))
    if c.failed:
        return 1
    kvd_alone(with_kvd, c.ours)
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
