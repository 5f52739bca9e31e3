#!/usr/bin/python3
"""Damage and how it heals, on real processes under load (faults.md D6). Bits that flip in the log or in all checkpoints
of a stopped member: it says which file and offset, the others replace it, and it comes back empty under another id.
A checkpoint that is whole and says something else: the members compare, the odd one is put out of service, raises
CORRUPT for itself, gets the others' state and serves again under its own id. No acknowledged write is lost, and in
the end all hold the same (HashKV). Who has nobody to heal it says what to do."""

import glob
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import grpc
from etcd3 import etcdrpc as pb

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "compat"))
sys.path.insert(0, HERE)
import _servers  # noqa: E402
from kills import Client, all_kvs, hash_at  # noqa: E402

PATIENCE_S = 60  # for what must happen; no judgement of speed
CLIENTS = 3
PADDING = 3000
OPTIONS = ["--checkpoint-log-bytes", "65536", "--log-format", "json"]
VICTIM = b"victim"
KVCTL = "kvctl"  # of the build


def eventually(what, predicate, member=None):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            value = predicate()
        except grpc.RpcError:
            value = None
        if value:
            return value
        time.sleep(0.05)  # between two looks
    sys.exit("waited in vain: %s\n%s" % (what, member.log_tail(30) if member is not None else ""))


def call(member, stub, method, request, timeout=10):
    with member.channel() as channel:
        return getattr(getattr(pb, stub + "Stub")(channel), method)(request, timeout=timeout, wait_for_ready=True)


def id_of(member):
    return call(member, "Maintenance", "Status", pb.StatusRequest()).header.member_id


def voters(member):
    """Of members that have said their names: python's stubs do not know of learners."""
    run = subprocess.run([KVCTL, "--endpoints", member.endpoint, "member", "list", "-w", "json"],
                         capture_output=True, timeout=PATIENCE_S)
    table = json.loads(run.stdout or "{}").get("members", [])
    return {m["ID"] for m in table if not m.get("isLearner") and m.get("name")}


def alarms(member):
    answer = call(member, "Maintenance", "Alarm", pb.AlarmRequest(action=0))
    return [(a.memberID, a.alarm) for a in answer.alarms]


def log_of(member):
    with open(member.log_path, "rb") as log:
        return log.read().decode(errors="replace")


def checkpoints(member):
    return sorted(glob.glob(os.path.join(member.folder, member.name, "snap", "*.ckpt")))


def start_cluster(args, size, extra=()):
    return _servers.start_kvd(args.build, size, [*OPTIONS, *extra])


class Load:
    def __init__(self, cluster, seed):
        rng = random.Random(seed)
        self.clients = [Client(i, cluster, rng.random(), PADDING) for i in range(CLIENTS)]
        for client in self.clients:
            client.start()

    def writes(self, score, count, what):
        for client in self.clients:
            score.check(client.wait_for_writes(count, PATIENCE_S), what, str(client.last_error))

    def end(self, score, cluster):
        for client in self.clients:
            client.stop.set()
        for client in self.clients:
            client.join(30)
        states = [all_kvs(m) for m in cluster.members]
        for client in self.clients:
            client.check(states[0][1])
            score.check(not client.problems, "client %d sees every acknowledged write" % client.number,
                        "\n".join(client.problems[:10]))
        revision = max(state[0] for state in states)
        hashes = [hash_at(m, revision) for m in cluster.members]
        score.check(len(set(hashes)) == 1, "HashKV is equal on all members", str(hashes))


# ---- bits that flip on the disk ----

def flip_bit(path, offset, rng):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << rng.randrange(8)]))


def damage_log(member, rng, share):
    """At that share of what stands in the newest segment: behind its end a segment that is used again has records of
    before, which nobody looks at."""
    folder = os.path.join(member.folder, member.name, "wal")
    kvctl = os.path.join(os.path.dirname(member.binary), "kvctl")
    dump = subprocess.run([kvctl, "wal", "dump", folder], capture_output=True, text=True, check=True).stdout
    last = {name: int(offset) for name, offset in re.findall(r"^(\S+)\s+(\d+) .* crc ok$", dump, re.M)}
    name = max(name for name, offset in last.items() if offset >= 8192)  # the very newest may have just begun
    flip_bit(os.path.join(folder, name), 4096 + int((last[name] - 4096) * share), rng)
    return name


def damage_checkpoints(member, rng, share):
    files = checkpoints(member)
    for path in files:
        flip_bit(path, int(os.path.getsize(path) * share), rng)
    return os.path.basename(files[-1])


def heal_after(score, cluster, load, member, rng, damage, share, orderly):
    old = id_of(member)
    eventually("%s has two checkpoints" % member.name, lambda: len(checkpoints(member)) >= 2)
    if orderly:
        member.stop()
    else:
        member.kill()
    name = damage(member, rng, share)
    what = "%s at %.2f of %s" % (damage.__name__, share, name)
    before = len(log_of(member))
    member.start()
    other = next(m for m in cluster.members if m is not member)
    new = eventually("%s is healed (%s)" % (member.name, what), lambda: {id_of(member)} & voters(other) - {old}, member)
    text = log_of(member)[before:]
    score.check(name in text and ("offset" in text or "block" in text), what + ": file and place are named", text)
    score.check(old not in voters(other), what + ": the old id is gone", str(voters(other)))
    aside = glob.glob(os.path.join(member.folder, member.name, "damaged-*"))
    score.check(any(glob.glob(os.path.join(d, "*", name)) for d in aside), what + ": what was damaged is set aside")
    for folder in aside:
        shutil.rmtree(folder)
    load.writes(score, 20, what + ": writes go on")
    member.kill()
    member.start()
    _servers.wait_ready(member)
    score.check({id_of(member)} == new, what + ": it starts again as the new one")


def flipped_bits(args, score, rng):
    cluster = start_cluster(args, 3)
    load = Load(cluster, args.seed)
    load.writes(score, 60, "the load begins")
    for damage, share, orderly in [(damage_log, 0.0, True), (damage_log, rng.uniform(0.05, 0.5), False),
                                   (damage_log, rng.uniform(0.5, 0.9), True),
                                   (damage_checkpoints, rng.uniform(0.01, 0.99), False)]:
        heal_after(score, cluster, load, rng.choice(cluster.members), rng, damage, share, orderly)
    healing_cut_short(score, cluster, load, rng.choice(cluster.members))
    no_quorum_without_it(score, cluster, load, rng)
    load.end(score, cluster)
    cluster.close()


def healing_cut_short(score, cluster, load, member):
    """Ended after the log was set aside and before it was said who comes instead: it goes on where it was. A log that is
    gone without that is elsewhere, most likely."""
    other = next(m for m in cluster.members if m is not member)
    old = id_of(member)
    home = os.path.join(member.folder, member.name)
    member.kill()
    os.rename(os.path.join(home, "wal"), os.path.join(home, "elsewhere"))
    member.start()
    code = member.process.wait(PATIENCE_S)
    score.check(code == 1 and "is --wal-dir right?" in member.log_tail(), "a log that is gone is asked for", member.log_tail())
    os.mkdir(os.path.join(home, "damaged-1"))
    os.rename(os.path.join(home, "elsewhere"), os.path.join(home, "damaged-1", "wal"))
    member.start()
    eventually("healing goes on", lambda: {id_of(member)} & voters(other) - {old})
    load.writes(score, 20, "writes go on")


def no_quorum_without_it(score, cluster, load, rng):
    """Another one is down too: nothing may be decided without what the damaged one had. When that comes back it heals."""
    damaged, down, last = rng.sample(cluster.members, 3)
    old = id_of(damaged)
    damaged.kill()
    down.kill()
    damage_log(damaged, rng, 0.3)
    damaged.start()
    eventually("it asks", lambda: "it asks the others to replace it" in log_of(damaged).rsplit("starting kvd", 1)[-1])
    try:
        call(last, "KV", "Put", pb.PutRequest(key=b"nobody", value=b"may"), timeout=3)
        score.check(False, "one of three writes nothing")
    except grpc.RpcError:
        score.check(True, "one of three writes nothing")
    score.check(damaged.running(), "the damaged one waits", damaged.log_tail())
    down.start()
    eventually("healed when there is a quorum", lambda: {id_of(damaged)} & voters(last) - {old})
    load.writes(score, 20, "writes go on")


# ---- nobody to heal it ----

def nobody_there(args, score, rng):
    cluster = start_cluster(args, 3)
    victim = cluster.members[0]
    with victim.channel() as channel:
        kv = pb.KVStub(channel)
        for i in range(40):
            kv.Put(pb.PutRequest(key=b"k%d" % i, value=b"." * PADDING), timeout=20, wait_for_ready=True)
    for member in cluster.members:
        member.kill()
    name = damage_log(victim, rng, 0.4)
    victim.start()
    code = victim.process.wait(PATIENCE_S)
    text = log_of(victim).rsplit("starting kvd", 1)[-1]
    score.check(code == 1 and name in text and "no other member answers" in text and "kvctl recover" in text,
                "alone it stops and says what to do", "exit code %s\n%s" % (code, text))
    score.check(not glob.glob(os.path.join(victim.folder, victim.name, "damaged-*")), "and nothing was moved")
    cluster.close()

    cluster = start_cluster(args, 1)
    member = cluster.members[0]
    for i in range(40):
        call(member, "KV", "Put", pb.PutRequest(key=b"k%d" % i, value=b"." * PADDING))
    member.kill()
    name = damage_log(member, rng, 0.4)
    member.start()
    code = member.process.wait(PATIENCE_S)
    text = log_of(member).rsplit("starting kvd", 1)[-1]
    score.check(code == 1 and name in text and "offset" in text and "kvctl recover" in text,
                "a single member stops and says what to do", "exit code %s\n%s" % (code, text))
    cluster.close()


# ---- a checkpoint that is whole and wrong ----

CRC_TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ 0x82F63B78 if n & 1 else n >> 1
    CRC_TABLE.append(n)


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def tamper(path, old, new):
    """Replaces bytes in blocks of changes and makes all checksums right again (docs/format/checkpoint.md)."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    at = 64 + struct.unpack_from("<I", data, 12)[0] + 4
    file_id = bytes(data[at - 4:at])
    fields, changed = b"", 0
    while True:
        length, kind = struct.unpack_from("<IB", data, at)
        payload = at + 16
        if kind == 255:
            struct.pack_into("<I", data, payload + 24, crc32c(fields))
        elif kind == 2:
            found = data.find(old, payload, payload + length)
            if found >= 0:
                data[found:found + len(new)] = new
                changed += 1
        crc = crc32c(file_id + struct.pack("<Q", at) + bytes(data[at:at + 12]) + bytes(data[payload:payload + length]))
        struct.pack_into("<I", data, at + 12, crc)
        fields += struct.pack("<I", crc)
        if kind == 255:
            break
        at = payload + length
    with open(path, "wb") as file:
        file.write(data)
    return changed


def tamper_with(score, member):
    changed = sum(tamper(path, b"right", b"wrong") for path in checkpoints(member))
    score.check(changed > 0, "there is something to tamper with")


def has_in_checkpoints(member, text):
    files = checkpoints(member)
    try:
        return len(files) >= 2 and all(text in open(path, "rb").read() for path in files)
    except FileNotFoundError:  # there is a newer one now
        return False


def health(member):
    try:
        with urllib.request.urlopen("http://%s/health" % member.endpoint, timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)
    except OSError:
        return None


class Health(threading.Thread):
    """Asks a member how it is, all the time."""

    def __init__(self, member):
        super().__init__(daemon=True)
        self.member, self.reasons, self.stop = member, set(), threading.Event()
        self.start()

    def run(self):
        while not self.stop.wait(0.01):
            state = health(self.member)
            if state is not None:
                self.reasons.add(state.get("reason"))


def wrong_state(args, score, checked_first):
    """checked_first: --experimental-initial-corrupt-check, so that the wrong value is never served."""
    cluster = start_cluster(args, 3, ["--experimental-corrupt-check-time", "1s",
                                      "--experimental-initial-corrupt-check=%s" % ("true" if checked_first else "false")])
    eventually("all serve", lambda: all(
        call(m, "KV", "Range", pb.RangeRequest(key=VICTIM)) is not None for m in cluster.members))
    call(cluster.members[0], "KV", "Put", pb.PutRequest(key=VICTIM, value=b"right"))
    load = Load(cluster, args.seed + 1)
    load.writes(score, 30, "the load begins")
    member = cluster.members[args.seed % 3]
    other = cluster.members[(args.seed + 1) % 3]
    me = id_of(member)
    eventually("the value is in checkpoints", lambda: has_in_checkpoints(member, b"right"))
    load.end(score, cluster)  # one that comes back behind the others' logs gets their state before anybody compares
    member.stop()
    tamper_with(score, member)
    before = len(log_of(member))
    member.start()
    seen_alarm, seen, watcher = set(), set(), Health(member)

    def look():
        seen_alarm.update(alarms(other))
        try:
            answer = call(member, "KV", "Range", pb.RangeRequest(key=VICTIM, serializable=True), timeout=2)
            seen.add(answer.kvs[0].value if answer.kvs else b"")
        except grpc.RpcError as error:
            seen.add("%s %s" % (error.code().name, error.details()))
        return "the others have again" in log_of(member)[before:]

    eventually("CORRUPT is raised", lambda: look() or seen_alarm, member)
    load = Load(cluster, args.seed + 2)
    eventually("it is healed", look, member)
    watcher.stop.set()
    watcher.join(30)
    text = log_of(member)[before:]
    score.check((me, 2) in seen_alarm, "CORRUPT was raised for it alone", str(seen_alarm))
    score.check({a[0] for a in seen_alarm} == {me}, "and for nobody else", str(seen_alarm))
    score.check("ALARM CORRUPT" in watcher.reasons, "its /health said so", str(watcher.reasons))
    score.check("DATA_LOSS etcdserver: corrupt cluster" in seen, "it served nothing meanwhile", str(seen))
    if checked_first:
        score.check(b"wrong" not in seen, "the wrong value was never served", str(seen))
    eventually("the alarm clears", lambda: not alarms(other))
    answer = call(member, "KV", "Range", pb.RangeRequest(key=VICTIM, serializable=True))
    score.check(answer.kvs[0].value == b"right", "it has the right value again", str(answer))
    score.check(id_of(member) == me, "it is still who it was", text)
    score.check(member.process.poll() is None, "in the same process")
    load.writes(score, 20, "writes go on")
    load.end(score, cluster)
    member.kill()
    member.start()
    _servers.wait_ready(member)
    score.check("distrusted" not in open(os.path.join(member.folder, member.name, "identity")).read(),
                "its stored state is trusted again")
    cluster.close()


def no_majority(args, score):
    """Two members, and they differ: nobody can tell who is right."""
    cluster = start_cluster(args, 2, ["--experimental-corrupt-check-time", "1s"])
    a, b = cluster.members
    call(a, "KV", "Put", pb.PutRequest(key=VICTIM, value=b"right"))
    for i in range(70):
        call(a, "KV", "Put", pb.PutRequest(key=b"k%d" % (i % 5), value=b"." * PADDING))
    eventually("the value is in checkpoints", lambda: has_in_checkpoints(b, b"right"))
    b.stop()
    tamper_with(score, b)
    b.start()
    _servers.wait_ready(b)
    eventually("CORRUPT is raised", lambda: len(alarms(a)) == 2)
    for member in cluster.members:
        try:
            call(member, "KV", "Put", pb.PutRequest(key=b"x", value=b"y"))
            score.check(False, "nothing is written any more")
        except grpc.RpcError as error:
            score.check(error.details() == "etcdserver: corrupt cluster", "nothing is written any more", str(error))
    text = log_of(a) + log_of(b)
    score.check("no majority agrees" in text and "kvctl recover" in text, "the log says what to do")
    score.check("gets the state of the others" not in text, "nobody is healed")
    cluster.close()


def main():
    global KVCTL
    args = _servers.arguments()
    KVCTL = os.path.join(args.build, "kvctl")
    score = _servers.Score()
    rng = random.Random(args.seed)
    flipped_bits(args, score, rng)
    nobody_there(args, score, rng)
    wrong_state(args, score, False)
    wrong_state(args, score, True)
    no_majority(args, score)
    score.finish()


if __name__ == "__main__":
    main()
