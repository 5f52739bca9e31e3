#!/usr/bin/python3
"""Faults of the catalogue (faults.md section 3) on real processes, each named by its id, beside those that other tests have
(docs/faults.md says which). Most are scripts of kvctl lab: its clients write and read through all members, and its checker
holds every answer against the whole history."""

import os
import shutil
import socket
import subprocess
import sys
import time

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402
import kills  # noqa: E402
import lab  # noqa: E402

PROMISES = "wait caught-up all\nexpect writes go on at all\nexpect same data\nexpect lost = 0\nexpect wrong-reads = 0\n"
WAIT_S = 30
FILES = 256


def experiment(score, labs, what, text):
    done = labs.script(text + PROMISES)
    score.check(done.returncode == 0, what, done.stdout + done.stderr)


def n1_leader_cut_off_from_all(score, labs):
    experiment(score, labs, "N1: a leader alone answers nothing that has to be confirmed",
               "up 3\nwait writes\npartition leader|others\nwait leader\nexpect writes go on\n"
               "expect writes stop at old for 1s\nexpect reads stop at old for 1s\nheal\n")


def n2_one_way_cut(score, labs):
    done = labs.run("run", "lesson:one-way-cut")
    score.check(done.returncode == 0, "N2: who does not hear the leader disturbs nobody", done.stdout + done.stderr)


def n3_two_do_not_reach_each_other(score, labs):
    experiment(score, labs, "N3: the leader stays, though one follower reaches the other only",
               "up 3\nwait writes\ncut leader-follower\nwait 3s\nexpect writes go on\nexpect terms = 0\n"
               "expect elections = 0\nheal\n")


def n5_delays_and_late_answers(score, labs):
    experiment(score, labs, "N5: with slow links to and from the leader writes go on",
               "up 3\nwait writes\ndelay leader-1,2,3 200ms\nwait 1s\nexpect writes go on\nheal\n")


def n7_thin_link(score, labs):
    experiment(score, labs, "N7: a follower behind 64 kbit/s holds up nobody, and catches up when there is room",
               "up 3\nwait writes\nload on 4096\nthin leader-follower 8000\nwait 5s\nexpect writes go on\n"
               "expect writes go on at leader\nexpect terms <= 1\nheal\n")


def n8_swizzle(score, labs):
    experiment(score, labs, "N8: links are cut one by one and healed in another order",
               "up 5\nwait writes\ncut 1>2\ncut 2-3\ncut 4>1\ncut 3-5\ncut 5>4\ncut 1-4\nheal 3-5\nheal 1>2\nkill leader\n"
               "heal 5>4\nheal 2-3\nrestart dead\nheal\n")


def p2_paused_leader(score, labs):
    experiment(score, labs, "P2: a leader that was paused tells nothing stale when it wakes",
               "up 3\nwait writes\npause leader\nwait leader\nexpect writes go on\nresume old\n")


def p6_rolling_restart(score, labs):
    turn = "stop %d\nwait leader\nexpect writes go on\nrestart %d\nwait caught-up %d\n"
    experiment(score, labs, "P6: every member is restarted in turn, then all at once",
               "up 3\nwait writes\n" + "".join(turn % (n, n, n) for n in (1, 2, 3)) +
               "stop all\nwait down 1,2,3\nrestart all\nwait leader\n")


def d7_slow_disks(score, labs):
    experiment(score, labs, "D7: slow syncs, of one and then of all, cost time only",
               "up 3\nwait writes\nslow-disk follower 500ms\nexpect writes go on\nslow-disk all 500ms\nexpect writes go on\n"
               "disk-ok all\n")


def put(member, key, value=b"v"):
    with member.channel() as channel:
        return pb.KVStub(channel).Put(pb.PutRequest(key=key, value=value), timeout=10)


def d4_failed_sync(score, args):
    """The leader's next sync fails once. It must not try again: the second one would say yes with the data gone."""
    if shutil.which("strace") is None:
        print("D4 was left out: strace is not installed")
        return
    cluster = _servers.start_kvd(args.build, 3)
    leader = cluster.leader()
    others = [m for m in cluster.members if m is not leader]
    put(leader, b"before")
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", os.path.join(cluster.folder, "trace"), "-p",
                               str(leader.process.pid), "-e", "trace=fdatasync,fsync", "-e",
                               "inject=fdatasync,fsync:error=EIO:when=1"], stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + WAIT_S
        while leader.running() and tracer.poll() is None and time.monotonic() < end:
            try:
                put(leader, b"meanwhile")
            except grpc.RpcError:
                pass  # unknown, or it has ended
        if leader.running() and tracer.poll() is not None:
            print("D4 was left out: strace can not attach here:", tracer.stderr.read().strip())
            return
        score.check(not leader.running() and leader.process.returncode == 1, "D4: a failed sync ends the member",
                    "%s\n%s" % (leader.process.returncode, leader.log_tail()))
    finally:
        tracer.kill()
        tracer.wait()
    score.check("Input/output error" in leader.log_tail(), "D4: it says why", leader.log_tail())
    for member in others:
        _servers.wait_ready(member)
    put(others[0], b"after")
    leader.start()
    _servers.wait_ready(leader)
    score.check(all(kills.all_kvs(m) == kills.all_kvs(leader) for m in others), "D4: all hold the same afterwards")
    cluster.close()


def p5_out_of_descriptors(score, args):
    """Connections take all descriptors that there are: who is connected goes on, so do the members among themselves."""
    cluster = _servers.Cluster("kvd", os.path.join(args.build, "kvd"), 3)
    for member in cluster.members:
        member.args = ["prlimit", "--nofile=%d:%d" % (FILES, FILES), *member.args]
    cluster.start()
    member = cluster.leader()
    with member.channel(own=True) as channel:
        kv = pb.KVStub(channel)
        kv.Put(pb.PutRequest(key=b"k", value=b"0"), timeout=10)
        crowd = [socket.create_connection(("127.0.0.1", member.client_port), 10) for _ in range(2 * FILES)]
        for n in range(1, 300):
            kv.Put(pb.PutRequest(key=b"k", value=b"%d" % n * 20000), timeout=10)
        used = len(os.listdir("/proc/%d/fd" % member.process.pid))
        score.check(used >= FILES // 2, "P5: descriptors were short", "%d of %d" % (used, FILES))
        for sock in crowd:
            sock.close()
    _servers.wait_ready(member)  # by a new connection
    score.check(all(kills.all_kvs(m)[1][b"k"] == kills.all_kvs(member)[1][b"k"] for m in cluster.members),
                "P5: all hold the same afterwards")
    score.check(all(m.stop() == 0 for m in cluster.members), "P5: and all stop in good order", member.log_tail())
    cluster.close()


def main():
    args = _servers.arguments()
    score = _servers.Score()
    labs = lab.Labs(args.build)
    for fault in (n1_leader_cut_off_from_all, n2_one_way_cut, n3_two_do_not_reach_each_other, n5_delays_and_late_answers,
                  n7_thin_link, n8_swizzle, p2_paused_leader, p6_rolling_restart, d7_slow_disks):
        began = time.monotonic()
        fault(score, labs)
        print("%s: %.1f s" % (fault.__name__, time.monotonic() - began), flush=True)
    shutil.rmtree(labs.folder, ignore_errors=True)
    d4_failed_sync(score, args)
    p5_out_of_descriptors(score, args)
    score.finish()


if __name__ == "__main__":
    main()
