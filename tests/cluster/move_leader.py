#!/usr/bin/python3
"""MoveLeader under load: leadership goes where it was sent, writes wait and none fails."""

import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import grpc  # noqa: E402
from etcd3 import etcdrpc  # noqa: E402

import _servers  # noqa: E402


def status(member):
    with member.channel() as channel:
        return etcdrpc.MaintenanceStub(channel).Status(etcdrpc.StatusRequest(), timeout=10, wait_for_ready=True)


class Writer(threading.Thread):
    """Puts one after the other through one member until it is told to stop."""

    def __init__(self, member):
        super().__init__()
        self.member, self.done, self.failed, self.over = member, 0, [], False

    def run(self):
        with self.member.channel() as channel:
            kv = etcdrpc.KVStub(channel)
            while not self.over:
                try:
                    kv.Put(etcdrpc.PutRequest(key=b"k%d" % (self.done % 50), value=b"v"), timeout=20)
                    self.done += 1
                except grpc.RpcError as error:
                    self.failed.append(str(error))


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False,
                          env=dict(os.environ, ETCDCTL_API="3"))
    return done.returncode, done.stdout, done.stderr


def moved_around(score, args, cluster):
    ids = {m.name: status(m).header.member_id for m in cluster.members}
    leader = status(cluster.members[0]).leader
    tools = [os.path.join(args.build, "kvctl"), "etcdctl"]
    writers = [Writer(m) for m in cluster.members]
    for writer in writers:
        writer.start()
    for turn in range(12):
        target = ids[cluster.members[turn % 3].name]
        code, out, err = run(tools[turn // 3 % 2], "--endpoints", cluster.endpoints, "move-leader", "%x" % target)
        score.check((code, out) == (0, "Leadership transferred from %x to %x\n" % (leader, target)),
                    "turn %d" % turn, out + err)
        leader = target
    for writer in writers:
        writer.over = True
        writer.join()
        score.check(not writer.failed and writer.done > 0, "no write failed", "\n".join(writer.failed[:3]))
    score.check({status(m).leader for m in cluster.members} == {leader}, "all agree on the last leader")
    return ids, leader


def refused(score, args, cluster, ids, leader):
    kvctl = os.path.join(args.build, "kvctl")
    for who, target, text in (("leader", 99, "etcdserver: bad leader transferee"),
                              ("leader", 0, "etcdserver: bad leader transferee"),
                              ("follower", leader, "etcdserver: not leader")):
        member = next(m for m in cluster.members if (ids[m.name] == leader) == (who == "leader"))
        code, _, body = run("curl", "-s", "-o", "/dev/stderr", "-d", '{"targetID":"%d"}' % target,
                            "http://%s/v3/maintenance/transfer-leadership" % member.endpoint)
        score.check(code == 0 and '"code":9' in body and text in body, "%s, target %x" % (who, target), body)
    follower = next(m for m in cluster.members if ids[m.name] != leader)
    code, _, err = run(kvctl, "--endpoints", follower.endpoint, "move-leader", "%x" % leader)
    score.check(code == 128 and "no leader endpoint given at [" in err, "kvctl without the leader", err)
    code, _, err = run(kvctl, "--endpoints", cluster.endpoints, "move-leader", "nonsense")
    score.check(code == 128 and "hexadecimal" in err, "kvctl with a target that is no id", err)

    # A target that does not answer: the leader stays, and says so.
    follower.process.send_signal(signal.SIGSTOP)
    others = [m for m in cluster.members if m is not follower]
    try:
        code, _, err = run(kvctl, "--endpoints", ",".join(m.endpoint for m in others), "--command-timeout", "30s",
                           "move-leader", "%x" % ids[follower.name])
        score.check(code == 1 and "leader transfer took too long" in err, "a paused target", err)
        code, _, err = run(kvctl, "--endpoints", others[0].endpoint, "put", "after", "1")
        score.check(code == 0, "writes go on after it", err)
    finally:
        follower.process.send_signal(signal.SIGCONT)


def main():
    args = _servers.arguments()
    score = _servers.Score()
    cluster = _servers.start_kvd(args.build, 3)
    ids, leader = moved_around(score, args, cluster)
    refused(score, args, cluster, ids, leader)
    cluster.close()
    score.finish()


if __name__ == "__main__":
    main()
