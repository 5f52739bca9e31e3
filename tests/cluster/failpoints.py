#!/usr/bin/python3
"""kill -9 at every failpoint of kvd (base/failpoint.h), one after the other, in a cluster of three under load:
wherever a member dies, it starts again, nothing that was acknowledged is lost and in the end all hold the same (I2, I4,
I6). Then a member alone that dies at one write to its disk after the other (faults.md D2), and one whose disk
fails at some write: it stops with a clear word or goes on, and never answers wrongly.

Needs build/failpoints/kvd, which is built for tests alone.
"""

import os
import random
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402
import checkpoints  # noqa: E402
import kills  # noqa: E402

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
CLIENTS = 4
VALUE_BYTES = 32 << 10
OPTIONS = ("--checkpoint-log-bytes", str(1 << 20))
CRASH_S = 40
BLOCK_WRITES = 14
ERRORS = 6

# Reached only by who is behind the others' logs, and by who sends it a checkpoint.
BEHIND = ("receive-write", "receive-sync", "receive-load", "install", "installed")
SENDER = ("checkpoint-send",)


def used():
    """In the code."""
    names = set()
    for folder in ("base", "wal", "snapshot", "mvcc", "raft", "server"):
        for name in os.listdir(os.path.join(ROOT, folder)):
            if name.endswith(".c"):
                with open(os.path.join(ROOT, folder, name)) as file:
                    names.update(re.findall(r'FAILPOINT(?:_ERROR)?\("([a-z-]+)"', file.read()))
    return names


def failpoints(kvd):
    said = subprocess.run([kvd], env={**os.environ, "KVD_FAILPOINTS": "help"}, capture_output=True, text=True, timeout=30)
    return [line.split(":")[0] for line in said.stderr.splitlines()[1:]], said


class Load:
    """Clients that write, and somebody who compacts what they wrote."""

    def __init__(self, cluster, rng, patient=False):
        self.clients = [kills.Client(i, cluster, rng.random(), VALUE_BYTES) for i in range(CLIENTS)]
        self.threads = [*self.clients, checkpoints.Compactor(cluster)]
        for client in self.clients:
            client.patient = patient
        for thread in self.threads:
            thread.start()

    def goes_on(self, count=1):
        return self.clients[0].wait_for_writes(count, checkpoints.WAIT_S)

    def end(self):
        for thread in self.threads:
            thread.stop.set()
        for thread in self.threads:
            thread.join(30)


def await_crash(member, score, what):
    try:
        code = member.process.wait(CRASH_S)
    except subprocess.TimeoutExpired:
        code = "none"
    score.check(code == -signal.SIGKILL, "dies at %s" % what, "exit code %s\n%s" % (code, member.log_tail(5)))


def back(member):
    member.kill()
    member.start()
    _servers.wait_ready(member)


def crash_at(member, point, nth, score):
    member.kill()
    member.start(KVD_FAILPOINTS="%s=crash@%d" % (point, nth))
    await_crash(member, score, "%s, time %d" % (point, nth))
    back(member)


def crash_behind(member, point, cluster, clients, score):
    checkpoints.leave_behind(member, cluster, clients, score, "kill -9")
    member.start(KVD_FAILPOINTS="%s=crash@1" % point)
    await_crash(member, score, point)
    back(member)


def crash_sender(point, cluster, clients, score, rng):
    """Whoever leads when the third one comes back dies; it is started again, and sends."""
    late, *others = rng.sample(cluster.members, 3)
    for member in others:
        member.kill()
        member.start(KVD_FAILPOINTS="%s=crash@1" % point)
        _servers.wait_ready(member)
    checkpoints.leave_behind(late, cluster, clients, score, "kill -9")
    late.start()
    checkpoints.wait_for(lambda: not all(m.running() for m in others), "the sender dies at %s" % point, score)
    for member in others:
        back(member)
    _servers.wait_ready(late)


def finish(cluster, load, score, what):
    clients = load.clients
    load.end()
    checkpoints.quiet_all_equal(cluster, clients, score, what)
    _, kvs = kills.all_kvs(cluster.members[0])
    for client in clients:
        client.check(kvs)
        score.check(not client.problems, "client %d sees every acknowledged write, %s" % (client.number, what),
                    "\n".join(client.problems[:10])[:1000])
    for member in cluster.members:
        code = member.stop()
        score.check(code == 0, "%s stops in good order" % member.name, "exit code %s\n%s" % (code, member.log_tail()))
    if score.failed:
        cluster.keep()
    cluster.close()


def every_failpoint(args, points, score, rng):
    cluster = _servers.start_kvd(args.build, 3, OPTIONS)
    load = Load(cluster, rng)
    score.check(load.goes_on(10), "there are writes")
    for point in rng.sample(points, len(points)):
        member = rng.choice(cluster.members)
        if point in SENDER:
            crash_sender(point, cluster, load.clients, score, rng)
        elif point in BEHIND:
            crash_behind(member, point, cluster, load.clients, score)
        else:
            crash_at(member, point, rng.randint(1, 2), score)
        score.check(load.goes_on(), "writes go on after %s" % point)
    finish(cluster, load, score, "after all failpoints")


def d2_crash_at_block_writes(args, score, rng):
    cluster = _servers.start_kvd(args.build, 1, OPTIONS)
    load = Load(cluster, rng, patient=True)
    for nth in [1, 2, 3, *rng.sample(range(4, 400), BLOCK_WRITES - 3)]:
        crash_at(cluster.members[0], "disk-write", nth, score)
    finish(cluster, load, score, "after a crash at %d writes to the disk" % BLOCK_WRITES)


def errors_of_the_disk(args, score, rng):
    cluster = _servers.start_kvd(args.build, 3, OPTIONS)
    load = Load(cluster, rng)
    for i in range(ERRORS):
        member = rng.choice(cluster.members)
        point = "disk-write" if i % 2 == 0 else "disk-sync"
        member.kill()
        member.start(KVD_FAILPOINTS="%s=error@%d" % (point, rng.randint(3, 60)))
        checkpoints.wait_for(lambda: "failpoint %s: error" % point in member.log_tail(200), "%s fails once" % point, score)
        score.check(load.goes_on(5), "writes go on with the others")
        if not member.running():
            score.check(member.process.returncode == 1, "it says why and stops", member.log_tail(3))
        back(member)
    finish(cluster, load, score, "after errors of the disk")


def main():
    args = _servers.arguments()
    args.build = os.path.join(args.build, "failpoints")
    kvd = os.path.join(args.build, "kvd")
    rng = random.Random(args.seed)
    score = _servers.Score()
    points, said = failpoints(kvd)
    score.check(said.returncode == 2 and len(points) > 20, "a wrong failpoint is refused, and the right ones told",
                said.stderr)
    score.check(set(points) == used(), "the failpoints that are told are those in the code", str(set(points) ^ used()))
    every_failpoint(args, points, score, rng)
    d2_crash_at_block_writes(args, score, rng)
    errors_of_the_disk(args, score, rng)
    score.finish()


if __name__ == "__main__":
    main()
