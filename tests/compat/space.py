#!/usr/bin/python3
"""A full space quota beside real etcd: what is refused and with which words, alarm list and disarm of both command
line tools, health. What differs on purpose (kvd's alarm ends by itself) is in tests/cluster/maintenance.py.

The quotas are equal, what fits in them is not: etcd counts file pages, kvd records.
"""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import _servers  # noqa: E402

QUOTA = ["--quota-backend-bytes", str(2 << 20)]
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
VALUE = bytes(100_000)


class Side:
    """One server, alone in its cluster, with a full quota."""

    def __init__(self, cluster):
        self.member = cluster.members[0]
        channel = self.member.channel()
        self.stubs = {"KV": pb.KVStub(channel), "Lease": pb.LeaseStub(channel), "Maintenance": pb.MaintenanceStub(channel)}
        self.id = self.call("Maintenance", "Status", pb.StatusRequest()).header.member_id

    def call(self, service, method, request):
        return getattr(self.stubs[service], method)(request, timeout=20)

    def outcome(self, service, method, request):
        """The answer without its header, or code and text."""
        try:
            answer = self.call(service, method, request)
            answer.ClearField("header")
            return re.sub(r"revision: \d+", "revision: N", str(answer)).replace(str(self.id), "SELF")
        except grpc.RpcError as error:
            return error.code().name, error.details()

    def fill(self):
        while True:
            result = self.outcome("KV", "Put", pb.PutRequest(key=b"k", value=VALUE))
            if isinstance(result, tuple):
                return result

    def health(self, query=""):
        try:
            with OPENER.open("http://%s/health%s" % (self.member.endpoint, query), timeout=20) as answer:
                return answer.status, json.loads(answer.read())["health"]
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())["health"]

    def tool(self, binary, *words):
        done = subprocess.run([binary, "--endpoints", self.member.endpoint, *words], capture_output=True, text=True,
                              env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]}, timeout=30, check=False)
        out = done.stdout.replace(str(self.id), "SELF").replace("%x" % self.id, "SELF")
        return done.returncode, re.sub(r'"header":\{[^}]*\},?', "", out)  # 3.4 answers Alarm without one


def op(**kind):
    return pb.RequestOp(**kind)


PUT = op(request_put=pb.PutRequest(key=b"t", value=VALUE))
BAD_PUT = op(request_put=pb.PutRequest(key=b"", value=VALUE))
DELETE = op(request_delete_range=pb.DeleteRangeRequest(key=b"none"))
RANGE = op(request_range=pb.RangeRequest(key=b"none"))
REQUESTS = [
    ("KV", "Put", pb.PutRequest(key=b"a", value=VALUE)),
    ("KV", "Put", pb.PutRequest(key=b"a")),
    ("KV", "Put", pb.PutRequest(key=b"", value=VALUE)),  # the quota comes before all other checks
    ("KV", "Put", pb.PutRequest(key=b"a", value=bytes(1_900_000))),
    ("KV", "Put", pb.PutRequest(key=b"a", value=VALUE, ignore_value=True)),
    ("KV", "Txn", pb.TxnRequest(success=[PUT])),
    ("KV", "Txn", pb.TxnRequest(failure=[PUT])),
    ("KV", "Txn", pb.TxnRequest(success=[BAD_PUT])),
    ("KV", "Txn", pb.TxnRequest(success=[PUT, PUT])),
    ("KV", "Txn", pb.TxnRequest(success=[op()])),
    ("KV", "Txn", pb.TxnRequest(success=[DELETE, RANGE])),
    ("KV", "Txn", pb.TxnRequest(success=[RANGE])),
    ("KV", "Txn", pb.TxnRequest()),
    ("KV", "DeleteRange", pb.DeleteRangeRequest(key=b"none")),
    ("KV", "DeleteRange", pb.DeleteRangeRequest(key=b"")),
    ("Lease", "LeaseGrant", pb.LeaseGrantRequest(TTL=60)),
    ("Lease", "LeaseRevoke", pb.LeaseRevokeRequest(ID=99)),
    ("Lease", "LeaseRevoke", pb.LeaseRevokeRequest(ID=7)),
    ("KV", "Range", pb.RangeRequest(key=b"none")),
    ("KV", "Compact", pb.CompactionRequest(revision=99999)),
    ("Maintenance", "Alarm", pb.AlarmRequest()),
    ("Maintenance", "Alarm", pb.AlarmRequest(alarm=1)),
    ("Maintenance", "Alarm", pb.AlarmRequest(alarm=2)),
]


def main():
    args = _servers.arguments()
    score = _servers.Score()
    sides = [Side(_servers.start_etcd(1, QUOTA)), Side(_servers.start_kvd(args.build, 1, QUOTA))]
    kvctl = os.path.join(args.build, "kvctl")

    def same(what, ask):
        theirs, ours = (ask(side) for side in sides)
        score.check(ours == theirs, what, "etcd: %s\nkvd:  %s" % (theirs, ours))

    same("a lease from before", lambda s: s.outcome("Lease", "LeaseGrant", pb.LeaseGrantRequest(ID=7, TTL=600)))
    same("health", Side.health)
    same("the refusal", Side.fill)
    for service, method, request in REQUESTS:
        same("%s %s" % (method, str(request)[:100]), lambda s: s.outcome(service, method, request))
    same("health with the alarm", Side.health)
    same("health without it", lambda s: s.health("?exclude=NOSPACE"))

    for binary in ("etcdctl", kvctl):
        for words in (["alarm", "list"], ["alarm", "list", "-w", "json"], ["put", "a", "b"]):
            same("%s %s" % (binary, words), lambda s: s.tool(binary, *words))
    # The column of errors; what stands before it differs.
    same("endpoint status", lambda s: re.search(r"\d+, (memberID.*)", s.tool("etcdctl", "endpoint", "status")[1]).group(1))
    # Of both tools one disarms, since there is one alarm; kvctl's table of answers is etcdctl's.
    same("disarm", lambda s: s.tool("etcdctl", "alarm", "disarm"))
    same("no alarm", lambda s: s.outcome("Maintenance", "Alarm", pb.AlarmRequest()))
    same("back at the next write", lambda s: s.outcome("KV", "Put", pb.PutRequest(key=b"k", value=VALUE)))
    same("with the alarm", lambda s: s.outcome("Maintenance", "Alarm", pb.AlarmRequest()))
    same("disarm by kvctl", lambda s: s.tool(kvctl, "alarm", "disarm"))
    same("disarm of nothing", lambda s: s.tool(kvctl, "alarm", "disarm"))
    score.finish()


if __name__ == "__main__":
    main()
