#!/usr/bin/python3
"""Debian's etcdctl against real etcd and against kvd: the same commands, the same output and exit code.

Ids and timings are replaced by words before comparing. Then the session of the README on three members.
"""

import os
import re
import subprocess

import _servers

# Command lines (and standard input) in order; each sees what the ones before it wrote.
COMMANDS = [
    (["put", "a", "1"], None),
    (["put", "a", "2", "--prev-kv"], None),
    (["put", "empty", ""], None),
    (["put", "from-stdin"], "some value\n"),
    (["put", "-w", "json", "j", "v"], None),
    (["put", "-w", "fields", "f", "v"], None),
    (["put", "", "v"], None),
    (["put", "a", "--ignore-value", "--prev-kv"], None),
    (["put", "absent", "--ignore-value"], None),
    (["put", "a", "x", "--lease", "123"], None),
    (["get", "a"], None),
    (["get", "absent"], None),
    (["get", "a", "-w", "json"], None),
    (["get", "a", "-w", "fields"], None),
    (["get", "a", "-w", "protobuf"], None),
    (["get", "a", "--hex"], None),
    (["get", "a", "--print-value-only"], None),
    (["get", "--prefix", ""], None),
    (["get", "--prefix", "", "--keys-only"], None),
    (["get", "--prefix", "", "--count-only", "-w", "fields"], None),
    (["get", "--prefix", "", "--limit", "2", "-w", "json"], None),
    (["get", "--prefix", "", "--order", "DESCEND", "--sort-by", "KEY"], None),
    (["get", "--prefix", "", "--order", "ASCEND", "--sort-by", "MODIFY"], None),
    (["get", "--from-key", "f"], None),
    (["get", "a", "c"], None),
    (["get", "a", "--rev", "2"], None),
    (["get", "a", "--rev", "9999"], None),
    (["get", "a", "--consistency", "s"], None),
    (["txn"], 'mod("a") > "0"\n\nput a 3\nget a\n\nput b no\n\n'),
    (["txn"], 'val("a") = "no"\n\nput a 4\n\nget a\ndel j\n\n'),
    (["txn"], 'ver("absent") = "0"\n\nput created yes\n\n\n'),
    (["txn", "-w", "json"], 'create("a") != "0"\n\nget a\n\n\n'),
    (["txn"], "\n\n\n"),
    (["txn"], 'mod("a") > "0"\n\nput a 1\nput a 2\n\n\n'),
    (["del", "f"], None),
    (["del", "f"], None),
    (["del", "a", "--prev-kv"], None),
    (["put", "p/1", "x"], None),
    (["put", "p/2", "y"], None),
    (["del", "--prefix", "p/", "--prev-kv"], None),
    (["del", "--prefix", "", "-w", "json"], None),
    (["compaction", "5"], None),
    (["compaction", "5"], None),
    (["compaction", "99999"], None),
    (["compaction", "7", "--physical"], None),
    (["get", "a", "--rev", "3"], None),
    (["endpoint", "health"], None),
    (["endpoint", "hashkv"], None),
    (["endpoint", "hashkv", "-w", "json"], None),
    (["member", "list"], None),
    (["member", "list", "-w", "json"], None),
    (["member", "list", "-w", "table"], None),
    (["alarm", "list"], None),
    (["defrag"], None),
    (["lease", "timetolive", "1234"], None),
    (["lease", "revoke", "1234"], None),
]


def etcdctl(endpoints, arguments, stdin=None):
    env = dict(os.environ, ETCDCTL_API="3", ETCDCTL_ENDPOINTS=endpoints)
    done = subprocess.run(["etcdctl", *arguments], input=stdin, capture_output=True, timeout=60, check=False,
                          env=env, text=True, errors="backslashreplace")
    return done.returncode, done.stdout, done.stderr


def normal(text, member):
    text = text.replace(str(member.client_port), "CLIENTPORT").replace(str(member.peer_port), "PEERPORT")
    text = re.sub(r'("(?:cluster_id|member_id|ID|raft_term)":)\d+', r"\1N", text)
    text = re.sub(r'("(?:ClusterID|MemberID|RaftTerm)" :) \d+', r"\1 N", text)
    text = re.sub(r"took = \S+", "took = T", text)
    text = re.sub(r"\b[0-9a-f]{15,16}\b", "ID", text)
    text = re.sub(r"\+-+\+", "+-+", text)
    text = re.sub(r"-{6,}", "-----", text)
    text = re.sub(r" +", " ", text)  # padding follows the length of ids
    # One line of etcdctl's own logger with a time stamp.
    return re.sub(r'^\{"level":"warn".*\n', "", text, flags=re.M)


def protobuf_without_ids(code, out, err):
    """The header's ids differ; its length may too."""
    return code, len(out) > 0, err


def compare(score, etcd, kvd):
    for arguments, stdin in COMMANDS:
        wanted, got = (etcdctl(c.endpoints, arguments, stdin) for c in (etcd, kvd))
        if "protobuf" in arguments:
            wanted, got = protobuf_without_ids(*wanted), protobuf_without_ids(*got)
        else:
            wanted, got = (
                (r[0], normal(r[1], c.members[0]), normal(r[2], c.members[0]))
                for r, c in ((wanted, etcd), (got, kvd)))
        score.check(wanted == got, "etcdctl %s" % " ".join(arguments), "etcd: %s\nkvd:  %s" % (wanted, got))


def cluster_session(score, args):
    cluster = _servers.start_kvd(args.build, 3)
    everyone = cluster.endpoints
    score.check(etcdctl(everyone, ["put", "a", "1"])[:2] == (0, "OK\n"), "put on three members")
    code, out, err = etcdctl(everyone, ["endpoint", "status", "-w", "fields"])
    score.check(code == 0 and out.count('"Leader"') == 3, "endpoint status of three members", out + err)
    urls = ",".join("http://" + m.endpoint for m in cluster.members)
    code, out, err = etcdctl(urls, ["endpoint", "hashkv"])
    score.check(code == 0 and len(out.splitlines()) == 3, "endpoints written as URLs", out + err)
    code, out, err = etcdctl(everyone, ["endpoint", "health"])
    score.check(code == 0 and (out + err).count("is healthy") == 3, "endpoint health of three members", out + err)

    leaders = re.findall(r'"MemberID" : (\d+)|"Leader" : (\d+)', etcdctl(everyone, ["endpoint", "status", "-w", "fields"])[1])
    ids = [m for m, _ in leaders if m]
    lead = [leader for _, leader in leaders if leader][0]
    victim = cluster.members[ids.index(lead)]
    victim.kill()
    rest = ",".join(m.endpoint for m in cluster.members if m is not victim)
    score.check(etcdctl(rest, ["put", "a", "2"])[:2] == (0, "OK\n"), "put after the leader was killed")
    victim.start()
    _servers.wait_ready(victim)
    score.check(etcdctl(victim.endpoint, ["get", "a"])[:2] == (0, "a\n2\n"), "the dead one caught up")
    hashes = [line.split(", ")[1] for line in etcdctl(everyone, ["endpoint", "hashkv"])[1].splitlines()]
    score.check(len(hashes) == 3 and len(set(hashes)) == 1, "equal HashKV", str(hashes))


def main():
    args = _servers.arguments()
    score = _servers.Score()
    compare(score, _servers.start_etcd(), _servers.start_kvd(args.build))
    cluster_session(score, args)
    score.finish()


if __name__ == "__main__":
    main()
