#!/usr/bin/python3
"""What befalls the machine under a member (faults.md section 3): too little CPU (P3), no more memory (P4), a power cut (D1)
and a wall clock that jumps (T1). Clients write through all members the whole time; afterwards what was acknowledged is
there and all members hold the same (I2, I4, I6), and leases have kept to time that only goes forward (I8)."""

import ctypes
import fcntl
import os
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import threading
import time

from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402
import kills  # noqa: E402

CLIENTS = 4
WAIT_S = 60
# Of every 100 ms, as a quota of cgroups does it.
RUN_S, STAND_S = 0.015, 0.085
SPARE_MEMORY = 24 << 20
BIG_VALUE = 64 << 10
POWER_CUTS = 3
DISK_BYTES = 400 << 20
LEASE_S = 3
LEASE_LATE_S = 15  # an election and a slow machine
HOUR_S = 3600
FAKETIME = ("/usr/lib/%s-linux-gnu/faketime/libfaketimeMT.so.1" % os.uname().machine,)
FS_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2  # linux/fs.h
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18


class Load:
    def __init__(self, cluster, rng, padding=0):
        self.cluster = cluster
        self.clients = [kills.Client(i, cluster, rng.random(), padding) for i in range(CLIENTS)]
        for client in self.clients:
            client.start()

    def goes_on(self, score, what, count=20):
        ok = all([client.wait_for_writes(count, WAIT_S) for client in self.clients])
        return score.check(ok, what, ", ".join(str(c.last_error) for c in self.clients))

    def end(self, score, what):
        for client in self.clients:
            client.stop.set()
        for client in self.clients:
            client.join(30)
        judge(self.cluster, self.clients, score, what)


def judge(cluster, clients, score, what):
    for member in cluster.members:
        _servers.wait_ready(member)
    states = [kills.all_kvs(m) for m in cluster.members]
    for client in clients:
        client.check(states[0][1])
        score.check(not client.problems, "%s: client %d sees every acknowledged write" % (what, client.number),
                    "\n".join(client.problems[:10]))
    revision = min(state[0] for state in states)
    hashes = [kills.hash_at(m, revision) for m in cluster.members]
    score.check(len(set(hashes)) == 1, what + ": HashKV is equal on all members", str(hashes))


def term_of(cluster):
    with cluster.leader().channel() as channel:
        return pb.MaintenanceStub(channel).Status(pb.StatusRequest(), timeout=10).raftTerm


def no_flapping(cluster, before, score, what):
    """Another test beside this one may have stopped the machine for a moment, once."""
    now = term_of(cluster)
    score.check(now <= before + 1, what + ": the leader stays", "term %d, then %d" % (before, now))


class Throttle(threading.Thread):
    """Members that get little of the CPU."""

    def __init__(self, members):
        super().__init__(daemon=True)
        self.members = members
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(RUN_S):
            for member in self.members:
                member.process.send_signal(signal.SIGSTOP)
            self.over.wait(STAND_S)
            for member in self.members:
                member.process.send_signal(signal.SIGCONT)

    def end(self):
        self.over.set()
        self.join()


def p3_slow_cpu(args, rng, score):
    cluster = _servers.start_kvd(args.build, 3)
    load = Load(cluster, rng)
    load.goes_on(score, "P3: writes before")
    leader = cluster.leader()
    followers = [m for m in cluster.members if m is not leader]
    with followers[0].channel() as channel:
        lessor = pb.LeaseStub(channel)
        lease = lessor.LeaseGrant(pb.LeaseGrantRequest(TTL=LEASE_S), timeout=10).ID
        over = threading.Event()
        renewals = (pb.LeaseKeepAliveRequest(ID=lease) for _ in iter(lambda: over.wait(LEASE_S / 6), True))
        answers = []
        renewer = threading.Thread(target=lambda: answers.extend(a.TTL for a in lessor.LeaseKeepAlive(renewals)), daemon=True)
        renewer.start()
        term = term_of(cluster)
        for slow, who in (([leader], "the leader"), ([followers[1]], "a follower")):
            throttle = Throttle(slow)
            throttle.start()
            load.goes_on(score, "P3: writes go on while %s has an eighth of the CPU" % who)
            throttle.end()
        no_flapping(cluster, term, score, "P3: slow is not dead")
        throttle = Throttle(cluster.members)
        throttle.start()
        load.goes_on(score, "P3: writes go on while all have")
        throttle.end()
        over.set()
        renewer.join(WAIT_S)
        score.check(answers and all(ttl > 0 for ttl in answers), "P3: a lease that is renewed lives", str(answers))
    load.end(score, "P3")
    cluster.close()


def p4_no_memory(args, rng, score):
    """It may refuse or end with a clear word; it does neither answer wrongly nor keep half of anything."""
    cluster = _servers.start_kvd(args.build, 3)
    load = Load(cluster, rng, BIG_VALUE)
    load.goes_on(score, "P4: writes before", 5)
    for who in ("the leader", "a follower"):
        leader = cluster.leader()
        member = leader if who == "the leader" else [m for m in cluster.members if m is not leader][0]
        with open("/proc/%d/statm" % member.process.pid) as statm:
            now = int(statm.read().split()[0]) * resource.getpagesize()
        resource.prlimit(member.process.pid, resource.RLIMIT_AS, (now + SPARE_MEMORY, resource.RLIM_INFINITY))
        end = time.monotonic() + WAIT_S
        while member.running() and time.monotonic() < end:
            load.goes_on(score, "P4: writes go on")
        if not score.check(not member.running(), "P4: %s runs out of memory" % who):
            continue
        score.check(member.process.wait() == -signal.SIGABRT and "out of memory" in member.log_tail(5),
                    "P4: it ends and says why", "%s\n%s" % (member.process.returncode, member.log_tail(5)))
        load.goes_on(score, "P4: writes go on without %s" % who, 5)
        member.start()
        _servers.wait_ready(member)
    load.end(score, "P4")
    cluster.close()


def shut_down(folder):
    """What ext4 has not written by now it will never write: neither data nor its journal."""
    handle = os.open(folder, os.O_RDONLY)
    fcntl.ioctl(handle, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    os.close(handle)


def private_mounts():
    """Of this process and its children alone: they go when it goes. None, or why not."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        return os.strerror(ctypes.get_errno())
    return None


def cut_power(cluster, image, folder, rng, score):
    cluster.start()
    load = Load(cluster, rng, 4 << 10)
    for _ in range(POWER_CUTS):
        load.goes_on(score, "D1: writes go on", rng.randint(10, 150))
        shut_down(folder)
        for member in cluster.members:
            member.kill()
        subprocess.run(["umount", folder], check=True)
        subprocess.run(["mount", "-o", "loop", image, folder], check=True)
        for member in cluster.members:
            member.start()
        for member in cluster.members:
            _servers.wait_ready(member)
    load.end(score, "D1")
    for member in cluster.members:
        score.check(member.stop() == 0, "D1: %s stops in good order" % member.name, member.log_tail())


def d1_power_cut(args, rng, score):
    """All members on one disk that loses power: what was not synced is gone, in whatever state the folders are."""
    cluster = _servers.Cluster("kvd", os.path.join(args.build, "kvd"), 3, ("--checkpoint-log-bytes", str(1 << 20)))
    image = os.path.join(cluster.folder, "disk")
    folder = os.path.join(cluster.folder, "mount")
    os.mkdir(folder)
    with open(image, "wb") as file:
        file.truncate(DISK_BYTES)
    why = private_mounts()
    for command in (["mkfs.ext4", "-q", image], ["mount", "-o", "loop", image, folder]):
        if why is None:
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin"})
            why = done.stderr.strip() if done.returncode != 0 else None
    if why is not None:
        print("D1 was left out: no disk of its own can be mounted here:", why)
        cluster.close()
        return
    for member in cluster.members:
        member.args[member.args.index("--data-dir") + 1] = os.path.join(folder, member.name)
    try:
        cut_power(cluster, image, folder, rng, score)
    finally:
        for member in cluster.members:
            member.kill()
        subprocess.run(["umount", folder], check=True)
        cluster.close()


def t1_clock_jumps(args, rng, score):
    library = next((path for path in FAKETIME if os.path.exists(path)), None)
    if library is None:
        print("T1 was left out: libfaketime is not installed")
        return
    cluster = _servers.Cluster("kvd", os.path.join(args.build, "kvd"), 3)

    def jump(member, seconds):
        path = os.path.join(cluster.folder, member.name + ".clock")
        with open(path + ".new", "w") as file:
            file.write("%+d" % seconds)
        os.rename(path + ".new", path)

    for member in cluster.members:
        jump(member, 0)
        member.start(LD_PRELOAD=library, FAKETIME_TIMESTAMP_FILE=os.path.join(cluster.folder, member.name + ".clock"),
                     FAKETIME_NO_CACHE="1", FAKETIME_DONT_FAKE_MONOTONIC="1")
    for member in cluster.members:
        _servers.wait_ready(member)
    load = Load(cluster, rng)
    load.goes_on(score, "T1: writes before")
    term, leader = term_of(cluster), cluster.leader()
    follower = next(m for m in cluster.members if m is not leader)
    for member, hours in ((leader, 1), (follower, -1), (leader, -1), (leader, 0), (follower, 1000)):
        with follower.channel() as channel:
            lessor = pb.LeaseStub(channel)
            asked = time.monotonic()
            lease = lessor.LeaseGrant(pb.LeaseGrantRequest(TTL=LEASE_S), timeout=10).ID
            jump(member, hours * HOUR_S)
            load.goes_on(score, "T1: writes go on after a jump by %+d hours" % hours)
            while lessor.LeaseTimeToLive(pb.LeaseTimeToLiveRequest(ID=lease), timeout=10).TTL >= 0 and \
                    time.monotonic() < asked + LEASE_S + LEASE_LATE_S:
                time.sleep(0.05)  # until it has ended
            lived = time.monotonic() - asked
            score.check(LEASE_S <= lived < LEASE_S + LEASE_LATE_S, "T1: a lease of %d s ends when it should" % LEASE_S,
                        "after %.2f s" % lived)
    no_flapping(cluster, term, score, "T1")
    follower.stop()
    with open(follower.log_path) as log:
        days = re.findall(r'"ts":"(\d{4}-\d\d-\d\d)', log.read())
    score.check(days[-1] > time.strftime("%Y-%m-%d", time.gmtime(time.time() + 20 * 24 * HOUR_S)),
                "T1: the clock did jump", repr(days[-3:]))
    follower.start()
    load.end(score, "T1")
    cluster.close()


def main():
    args = _servers.arguments()
    rng = random.Random(args.seed)
    score = _servers.Score()
    for fault in (p3_slow_cpu, p4_no_memory, t1_clock_jumps, d1_power_cut):
        began = time.monotonic()
        fault(args, rng, score)
        print("%s: %.1f s" % (fault.__name__, time.monotonic() - began), flush=True)
    score.finish()


if __name__ == "__main__":
    main()
