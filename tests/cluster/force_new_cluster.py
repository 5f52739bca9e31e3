#!/usr/bin/python3
"""--force-new-cluster: a cluster of three of which two are gone for good goes on with what one member has stored, as
with Debian's etcd: same member and cluster id, one member, every key; it grows again, and the flag is left out later.
Those that were removed and come back stop by themselves.

One thing differs. etcd drops what the member has stored and had not heard to be committed: mostly the last write, though
it was acknowledged. kvd keeps all that is stored."""

import os
import subprocess
import sys
import time

import grpc
from etcd3 import etcdrpc as pb

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "compat"))
import _servers  # noqa: E402

PATIENCE_S = 60  # for what must happen; no judgement of speed
KEYS = 120


def call(member, stub, method, request, timeout=20):
    with member.channel() as channel:
        return getattr(getattr(pb, stub + "Stub")(channel), method)(request, timeout=timeout, wait_for_ready=True)


def state(member):
    answer = call(member, "KV", "Range", pb.RangeRequest(key=b"k", range_end=b"l"))
    members = call(member, "Cluster", "MemberList", pb.MemberListRequest()).members
    return {
        "ids": (answer.header.cluster_id, answer.header.member_id),
        "revision": answer.header.revision,
        "kvs": [(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version) for kv in answer.kvs],
        "members": [(m.ID, m.name) for m in members],
    }


def fill(member):
    """Some keys twice, some deleted, a compaction between."""
    with member.channel() as channel:
        kv = pb.KVStub(channel)
        for i in range(KEYS):
            kv.Put(pb.PutRequest(key=b"k%03d" % (i % 70), value=b"v%d" % i), timeout=20, wait_for_ready=True)
        kv.DeleteRange(pb.DeleteRangeRequest(key=b"k010", range_end=b"k020"), timeout=20)
        kv.Compact(pb.CompactionRequest(revision=60), timeout=20)
        kv.Put(pb.PutRequest(key=b"k999", value=b"last"), timeout=20)
        kv.Put(pb.PutRequest(key=b"z", value=b"what etcd may drop"), timeout=20)


def applied_last(member):
    """It has the last write itself."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if call(member, "KV", "Range", pb.RangeRequest(key=b"z", serializable=True)).kvs:
            return
        time.sleep(0.05)  # between two looks
    sys.exit("%s never gets the last write" % member.name)


def force(score, cluster):
    """What is left is the same on kvd and on etcd, but for the ids."""
    a, b, c = cluster.members
    kind = a.kind
    fill(a)
    applied_last(c)
    before = state(c)
    for member in cluster.members:
        member.kill()
    c.args.append("--force-new-cluster")
    c.start()
    _servers.wait_ready(c)
    after = state(c)
    score.check(after["members"] == [(before["ids"][1], c.name)], "%s: it is the only member" % kind, str(after["members"]))
    for what in ("ids", "kvs") if kind == "etcd" else ("ids", "kvs", "revision"):
        score.check(after[what] == before[what], "%s: %s stay" % (kind, what), "%s\n%s" % (before[what], after[what]))
    call(c, "KV", "Put", pb.PutRequest(key=b"k", value=b"alone"))
    code = c.stop()
    score.check(code == (0 if kind == "kvd" else -15), "%s: it stops in good order" % kind, str(code))
    c.args.remove("--force-new-cluster")
    c.start()
    _servers.wait_ready(c)
    again = state(c)
    score.check(again["members"] == after["members"] and again["revision"] == after["revision"] + 1,
                "%s: without the flag it stays so" % kind, str(again))
    return after


def grow(score, cluster):
    """The others are strangers now; a new member comes and takes part."""
    a, b, c = cluster.members
    a.start()
    code = a.process.wait(PATIENCE_S)
    score.check(code == 0 and "was removed from the cluster" in a.log_tail(50), "a removed member stops by itself",
                "exit code %s\n%s" % (code, a.log_tail()))
    call(c, "Cluster", "MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:%d" % b.peer_port]))
    subprocess.run(["rm", "-rf", os.path.join(b.folder, b.name)], check=True)
    at = b.args.index("--initial-cluster")
    b.args[at + 1] = "m2=http://127.0.0.1:%d,m3=http://127.0.0.1:%d" % (b.peer_port, c.peer_port)
    b.args += ["--initial-cluster-state", "existing"]
    b.start()
    _servers.wait_ready(b)
    score.check(state(b)["kvs"] == state(c)["kvs"], "a new member has everything")


def main():
    args = _servers.arguments()
    score = _servers.Score()
    etcd = _servers.start_etcd(3)
    theirs = force(score, etcd)
    etcd.close()
    kvd = _servers.start_kvd(args.build, 3, ["--log-format", "json", "--checkpoint-log-bytes", "65536"])
    ours = force(score, kvd)
    score.check(ours["kvs"] == theirs["kvs"], "keys are as etcd's", "%s\n%s" % (theirs["kvs"], ours["kvs"]))
    grow(score, kvd)
    kvd.close()
    score.finish()


if __name__ == "__main__":
    main()
