#!/usr/bin/python3
"""Snapshot files between kvd and Debian's etcd: saved by either's tool from either server, restored by etcdctl, and what
is restored has all keys, leases, alarms and the same HashKV; under load; and every way in which it can go wrong."""

import hashlib
import io
import json
import os
import pty
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from concurrent import futures

import etcd3
import grpc
from etcd3 import etcdrpc

import _keyspace
import _servers

WAIT_S = 60

# name, arguments of the keyspace, alarm
KEYSPACES = [
    ("empty store", dict(steps=0), False),
    ("readable keys", dict(steps=200, binary=False, compact=False, leases=False), False),
    ("binary keys, versions, tombstones", dict(steps=600, compact=False), False),
    ("compacted", dict(steps=1500), False),
    ("leases and an alarm", dict(steps=400, binary=False), True),
    ("values of 1.5 MB", dict(steps=60, large=4), False),
    ("many small keys", dict(steps=4000, binary=False, value_max=10), False),
]


class Tools:
    """Both command line tools."""

    def __init__(self, build, folder):
        self.kvctl, self.folder = os.path.join(build, "kvctl"), folder
        self.env = {"PATH": os.environ["PATH"], "ETCDCTL_API": "3"}

    def run(self, tool, *args, check=True, timeout=WAIT_S):
        done = subprocess.run([tool, *args], capture_output=True, text=True, errors="replace", env=self.env,
                              cwd=self.folder, timeout=timeout)
        if check and done.returncode != 0:
            raise RuntimeError("%s %s: %d\n%s%s" % (tool, args, done.returncode, done.stdout, done.stderr))
        return done

    def etcdctl(self, *args, **kw):
        return self.run("etcdctl", *args, **kw)

    def ctl(self, *args, **kw):
        return self.run(self.kvctl, *args, **kw)

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def write(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)
        return name


def restored_etcd(tools, name):
    """A running etcd with the file's data."""
    cluster = _servers.Cluster("etcd", shutil.which("etcd"), 1, ["--log-level", "error"])
    member = cluster.members[0]
    peer = "http://127.0.0.1:%d" % member.peer_port
    tools.etcdctl("snapshot", "restore", name, "--data-dir", os.path.join(member.folder, member.name), "--name",
                  member.name, "--initial-cluster", member.name + "=" + peer, "--initial-advertise-peer-urls", peer)
    return cluster.start()


def member_id(member):
    with _keyspace.connected(member) as channel:
        return etcdrpc.MaintenanceStub(channel).Status(etcdrpc.StatusRequest(), timeout=WAIT_S).header.member_id


def statuses_agree(tools, score, name, what):
    """etcdctl counts items of all buckets as keys; all else is the same."""
    ours = json.loads(tools.ctl("snapshot", "status", name, "-w", "json").stdout)
    theirs = json.loads(tools.etcdctl("snapshot", "status", name, "-w", "json").stdout)
    score.check(all(ours[field] == theirs[field] for field in ("hash", "revision", "totalSize")),
                what + ": both statuses agree", "%s\n%s" % (ours, theirs))
    return ours


def check_keyspaces(args, tools, score):
    """kvd -> file -> etcd, and what etcd saves is read by kvctl."""
    for number, (what, space, with_alarm) in enumerate(KEYSPACES):
        kvd = _servers.start_kvd(args.build)
        member = kvd.members[0]
        _keyspace.fill(member, args.seed + number, **space)
        if with_alarm:
            _keyspace.alarm(member, member_id(member))
        done = tools.ctl("--endpoints", member.endpoint, "snapshot", "save", "ours.db")
        score.check(done.stdout == "Snapshot saved at ours.db\nServer version 3.6.0\n" and done.stderr == "",
                    what + ": kvctl says what it did and shows no bar", done.stdout + done.stderr)
        tools.etcdctl("--endpoints", member.endpoint, "snapshot", "save", "theirs.db")
        score.check(tools.read("ours.db") == tools.read("theirs.db"), what + ": etcdctl and kvctl save the same file")
        status = statuses_agree(tools, score, "ours.db", what)
        before = _keyspace.state(member)
        score.check(status["totalKey"] == len(before["keys"]) and status["revision"] in (before["revision"], 0)
                    and status["version"] == "3.6.0", what + ": status counts keys", str(status))
        etcd = restored_etcd(tools, "ours.db")
        after = _keyspace.state(etcd.members[0])
        score.check(before == after, what + ": etcd serves what kvd saved",
                    "\n".join(_keyspace.differences(before, after)))
        # and the other way: what etcd writes
        tools.ctl("--endpoints", etcd.members[0].endpoint, "snapshot", "save", "etcd.db")
        statuses_agree(tools, score, "etcd.db", what + ", of etcd")
        kvd.close()
        etcd.close()


def check_under_load(args, tools, score):
    """A save while others write is one moment: pairs that are written together are together in it."""
    kvd = _servers.start_kvd(args.build)
    member = kvd.members[0]
    _keyspace.fill(member, args.seed, 3000, binary=False, value_max=2000, compact=False)
    stop, written = threading.Event(), [0]

    def write():
        rng = random.Random(args.seed)
        with _keyspace.connected(member) as channel:
            kv = etcdrpc.KVStub(channel)
            while not stop.is_set():
                value = b"%d" % written[0]
                kv.Txn(etcdrpc.TxnRequest(success=[
                    etcdrpc.RequestOp(request_put=etcdrpc.PutRequest(key=key, value=value)) for key in (b"pair/a", b"pair/b")]),
                    timeout=WAIT_S)
                kv.Put(etcdrpc.PutRequest(key=b"other/%d" % rng.randrange(500), value=rng.randbytes(500)), timeout=WAIT_S)
                written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        meanwhile = 0
        for round in range(4):
            seen = written[0]
            while written[0] == seen:
                time.sleep(0.001)
            before = written[0]
            tools.ctl("--endpoints", member.endpoint, "snapshot", "save", "load%d.db" % round)
            meanwhile += written[0] - before
    finally:
        stop.set()
        writer.join()
    score.check(meanwhile > 0, "puts go on while snapshots are taken")
    etcd = restored_etcd(tools, "load3.db")
    with _keyspace.connected(etcd.members[0]) as channel:
        kvs = etcdrpc.KVStub(channel).Range(etcdrpc.RangeRequest(key=b"pair/", range_end=b"pair0"), timeout=WAIT_S).kvs
    score.check(len(kvs) == 2 and kvs[0].value == kvs[1].value and kvs[0].mod_revision == kvs[1].mod_revision,
                "a save under load is the state at one revision", str(kvs))
    revision = json.loads(tools.ctl("snapshot", "status", "load3.db", "-w", "json").stdout)["revision"]
    score.check(_keyspace.state(etcd.members[0], history=False)["revision"] == revision,
                "and status says which")
    kvd.close()
    etcd.close()


def check_other_clients(args, tools, score):
    kvd = _servers.start_kvd(args.build)
    member = kvd.members[0]
    _keyspace.fill(member, args.seed, 300)
    tools.ctl("--endpoints", member.endpoint, "snapshot", "save", "plain.db")
    file = io.BytesIO()
    etcd3.client(host="127.0.0.1", port=member.client_port, timeout=WAIT_S).snapshot(file)
    score.check(file.getvalue() == tools.read("plain.db"), "python3-etcd3 takes the same snapshot")
    body = subprocess.run(["curl", "-sS", "-X", "POST", "-d", "{}",
                           "http://%s/v3/maintenance/snapshot" % member.endpoint], capture_output=True).stdout
    pieces = [json.loads(line)["result"] for line in body.splitlines()]
    import base64
    blobs = [base64.b64decode(piece["blob"]) for piece in pieces]
    score.check(b"".join(blobs) == tools.read("plain.db"), "the gateway streams it as JSON")
    left = [int(piece.get("remaining_bytes", 0)) for piece in pieces]
    total = sum(len(blob) for blob in blobs[:-1])
    expected = [total - sum(len(blob) for blob in blobs[:i + 1]) for i in range(len(blobs) - 1)] + [0]
    score.check(left == expected and max(map(len, blobs)) <= 32768 and len(blobs[-1]) == 32,
                "pieces of at most 32 KiB count down, the digest is the last one", str(left[-3:]))
    kvd.close()


# ---- restoring into kvd ----


def prepared_kvd(args, tools, name, *flags, size=1, wal=False, restored=None):
    """A kvd cluster that is not started yet, with the file's data: the first members (None: all) restored by kvctl;
    and what kvctl said."""
    cluster = _servers.Cluster("kvd", os.path.join(args.build, "kvd"), size)
    initial = ",".join("%s=http://127.0.0.1:%d" % (m.name, m.peer_port) for m in cluster.members)
    said = []
    for member in cluster.members[:restored]:
        where = ["--data-dir", os.path.join(member.folder, member.name)]
        if wal:
            where += ["--wal-dir", os.path.join(member.folder, member.name + ".wal")]
            member.args += where[2:]
        said.append(tools.ctl("snapshot", "restore", name, *where, "--name", member.name, "--initial-cluster", initial,
                              "--initial-advertise-peer-urls", "http://127.0.0.1:%d" % member.peer_port, *flags).stdout)
    return cluster, said


def restored_kvd(*args, **kw):
    cluster, said = prepared_kvd(*args, **kw)
    return cluster.start(), said


def check_restores(args, tools, score):
    """etcd -> file -> kvd -> file -> kvd."""
    for number, (what, space, with_alarm) in enumerate(KEYSPACES):
        etcd = _servers.start_etcd()
        member = etcd.members[0]
        _keyspace.fill(member, args.seed + number, **space)
        if with_alarm:
            _keyspace.alarm(member, member_id(member))
        tools.etcdctl("--endpoints", member.endpoint, "snapshot", "save", "etcd.db")
        statuses_agree(tools, score, "etcd.db", what + ", of etcd")
        before = _keyspace.state(member)
        if number % 3 == 0:
            # what stands in a data dir: no digest, pages that are free, space behind the database
            etcd.members[0].stop()
            shutil.copy(os.path.join(member.folder, member.name, "member/snap/db"), tools.path("etcd.db"))
            statuses_agree(tools, score, "etcd.db", what + ", of etcd's data dir")
        etcd.close()
        kvd, _ = restored_kvd(args, tools, "etcd.db", "--bump-revision", "0", *(["--skip-hash-check"] if number % 3 == 0 else []),
                              wal=number % 2 == 1)
        after = _keyspace.state(kvd.members[0])
        score.check(before == after, what + ": kvd serves what etcd saved",
                    "\n".join(_keyspace.differences(before, after)))
        kvd.members[0].kill()
        kvd.members[0].start()
        _servers.wait_ready(kvd.members[0])
        score.check(_keyspace.state(kvd.members[0]) == before, what + ": and after it was killed")
        tools.ctl("--endpoints", kvd.members[0].endpoint, "snapshot", "save", "kvd.db")
        again, _ = restored_kvd(args, tools, "kvd.db", "--bump-revision", "0")
        after = _keyspace.state(again.members[0])
        score.check(before == after, what + ": kvd serves what kvd saved",
                    "\n".join(_keyspace.differences(before, after)))
        kvd.close()
        again.close()


def auth_view(tools, member):
    """Who may do what, as real etcdctl tells it: of etcd and of kvd alike."""
    def ask(user, *words):
        done = tools.etcdctl("--endpoints", member.endpoint, *(["--user", user] if user else []), *words, check=False)
        return done.returncode, done.stdout.strip(), done.stderr.strip().split("\n")[-1].split('"error":')[-1]

    return [ask("root:secret", "user", "get", "ann", "--detail"), ask("root:secret", "role", "list"),
            ask("ann:other", "get", "a1"), ask("ann:other", "put", "a1", "x"), ask("ann:other", "get", "b"),
            ask("ann:wrong", "get", "a1"), ask("", "get", "a1")]


def check_auth(args, tools, score):
    """Users, roles and that authentication is on go both ways: nobody gets in who could not before."""
    etcd = _servers.start_etcd()
    at = ["--endpoints", etcd.members[0].endpoint]
    for words in ("put a1 v", "put b v", "user add root:secret", "user grant-role root root", "user add ann:other",
                  "role add reader", "role grant-permission reader read a b", "user grant-role ann reader", "auth enable"):
        tools.etcdctl(*at, *words.split())
    tools.etcdctl(*at, "--user", "root:secret", "snapshot", "save", "auth.db")
    expected = auth_view(tools, etcd.members[0])
    etcd.close()
    kvd, said = restored_kvd(args, tools, "auth.db", "--bump-revision", "0")
    score.check("2 users and their roles are there; authentication is on." in "".join(said), "a restore tells of users", said)
    seen = auth_view(tools, kvd.members[0])
    score.check(seen == expected, "etcd's users on kvd", "%r\n%r" % (expected, seen))
    tools.ctl("--endpoints", kvd.members[0].endpoint, "--user", "root:secret", "snapshot", "save", "kvd.db")
    kvd.close()
    etcd = restored_etcd(tools, "kvd.db")
    seen = auth_view(tools, etcd.members[0])
    score.check(seen == expected, "and back on etcd", "%r\n%r" % (expected, seen))
    etcd.close()


def watch_from(member, revision):
    """The first answer after "created" to a watch of everything from a revision."""
    request = etcdrpc.WatchRequest(create_request=etcdrpc.WatchCreateRequest(
        key=b"\0", range_end=b"\0", start_revision=revision))
    with _keyspace.connected(member) as channel:
        answers = etcdrpc.WatchStub(channel).Watch(iter([request]), timeout=WAIT_S)
        next(answers)
        answer = next(answers)
        answers.cancel()
        return answer


def check_new_cluster(args, tools, score):
    """Three members restored by default: a new cluster, whose past nobody can take for its own."""
    old = _servers.start_kvd(args.build)
    _keyspace.fill(old.members[0], args.seed, 800, binary=False, compact=False)
    tools.ctl("--endpoints", old.members[0].endpoint, "snapshot", "save", "old.db")
    before = _keyspace.state(old.members[0], history=False)
    cluster, said = restored_kvd(args, tools, "old.db", size=3)
    raised = before["revision"] + 1000000000
    score.check(all("raised by 1000000000, from %d to %d" % (before["revision"], raised) in text and
                    "restore the same file for the other members" in text for text in said),
                "kvctl says what it did", said[0])
    states = [_keyspace.state(member, history=False) for member in cluster.members]
    score.check(states[0] == states[1] == states[2], "all members hold the same",
                "\n".join(_keyspace.differences(states[0], states[1])))
    score.check(all(states[0][part] == before[part] for part in ("keys", "leases", "alarms")), "keys and leases are the old ones",
                "\n".join(_keyspace.differences(states[0], before)))
    score.check(states[0]["revision"] == states[0]["compact_revision"] == raised, "the revision is raised and compacted",
                str(raised))
    answer = watch_from(cluster.members[1], before["revision"])
    score.check(answer.canceled and answer.compact_revision == raised, "a watch from before ends as compacted", str(answer))
    with _keyspace.connected(old.members[0]) as channel:
        old_list = etcdrpc.ClusterStub(channel).MemberList(etcdrpc.MemberListRequest(), timeout=WAIT_S)
    with _keyspace.connected(cluster.members[2]) as channel:
        new_list = etcdrpc.ClusterStub(channel).MemberList(etcdrpc.MemberListRequest(), timeout=WAIT_S)
        put = etcdrpc.KVStub(channel).Put(etcdrpc.PutRequest(key=b"new", value=b"x"), timeout=WAIT_S)
    score.check(new_list.header.cluster_id != old_list.header.cluster_id and len(new_list.members) == 3
                and not {m.ID for m in new_list.members} & {m.ID for m in old_list.members}, "cluster and members have new ids",
                str(new_list))
    score.check(put.header.revision == raised + 1, "writes go on from there", str(put))
    for member in cluster.members:
        member.kill()
    for member in cluster.members:
        member.start()
    for member in cluster.members:
        _servers.wait_ready(member)
    states = [_keyspace.state(member, history=False) for member in cluster.members]
    score.check(states[0] == states[1] == states[2] and states[0]["revision"] == raised + 1 and
                (b"new", b"x", raised + 1, raised + 1, 1, 0) in states[0]["keys"], "and they survive a restart of all")
    old.close()
    cluster.close()


def check_forgotten_members(args, tools, score):
    """A member that was started empty instead of restored is not taken for one that has the data."""
    cluster, _ = prepared_kvd(args, tools, "old.db", size=3, restored=2)
    cluster.start()
    states = [_keyspace.state(member, history=False) for member in cluster.members]
    score.check(states[0] == states[1] == states[2] and len(states[2]["keys"]) > 0, "one that was forgotten gets the data",
                "\n".join(_keyspace.differences(states[0], states[2])))
    cluster.close()

    # Two of three make a cluster without data. The third may lead them first, and then they get it.
    cluster, _ = prepared_kvd(args, tools, "old.db", size=3, restored=1)
    for member in cluster.members:
        member.start()
    one, end, same = cluster.members[0], time.monotonic() + WAIT_S, False
    while one.running() and not same and time.monotonic() < end:
        try:
            states = [_keyspace.state(member, history=False) for member in cluster.members]
            same = states[0] == states[1] == states[2] and len(states[0]["keys"]) > 0
        except (grpc.RpcError, grpc.FutureTimeoutError):
            pass
    score.check(same or (not one.running() and "contradicts what is committed here" in one.log_tail()),
                "with two of three forgotten all get the data, or the one that has it stops aloud", one.log_tail())
    print("two of three forgotten: %s" % ("all got the data" if same else "the restored one stopped"))
    cluster.close()


def check_bad_restores(args, tools, score):
    """Each is refused with a reason, and leaves nothing."""
    data = tools.read("plain.db")
    tools.write("cut.db", data[:len(data) // 2])
    tools.write("flipped.db", data[:9000] + bytes([data[9000] ^ 1]) + data[9001:])
    tools.write("plain-without-digest.db", data[:-32])
    tools.write("empty.db", b"")
    tools.write("foreign.db", os.urandom(100000))
    os.mkdir(tools.path("taken"))
    tools.write("taken/file", b"x")
    me = ["--initial-advertise-peer-urls", "http://127.0.0.1:1"]
    for what, args_, text, code in [
        ("no file named", [], "snapshot restore requires exactly one argument", 128),
        ("a missing file", ["absent.db"], "absent.db", 1),
        ("a cut file", ["cut.db"], "cut.db: cut short", 1),
        ("an empty file", ["empty.db"], "empty.db: the file is empty", 1),
        ("a foreign file", ["foreign.db"], "foreign.db: no etcd snapshot", 1),
        ("a flipped bit", ["flipped.db"], "expected sha256 [", 1),
        ("no digest", ["plain-without-digest.db"], "snapshot missing hash but --skip-hash-check=false", 1),
        ("a directory", ["."], "", 1),
        ("a target in use", ["plain.db", "--data-dir", "taken"], 'data-dir "taken" not empty or could not be read', 1),
        ("a log in use", ["plain.db", "--wal-dir", "taken"], 'wal-dir "taken" exists', 1),
        ("a target that cannot be made", ["plain.db", "--data-dir", "plain.db/x"], "plain.db/x", 1),
        ("a name that is not there", ["plain.db", "--initial-cluster", "a=http://127.0.0.1:1"],
         'couldn\'t find local name "default" in the initial cluster configuration', 1),
        ("other peer URLs", ["plain.db", "--initial-cluster", "default=http://127.0.0.1:2", *me],
         "--initial-cluster has default=http://127.0.0.1:2 but missing from --initial-advertise-peer-urls=http://127.0.0.1:1", 1),
        ("a URL twice", ["plain.db", "--initial-cluster", "default=http://127.0.0.1:1,b=http://127.0.0.1:1", *me],
         "has duplicate url", 1),
        ("a URL that is none", ["plain.db", "--initial-cluster", "default=foo", *me],
         "URL scheme must be http, https, unix, or unixs: foo", 1),
        ("half of the flags", ["plain.db", "--bump-revision", "5"], "--mark-compacted required if --bump-revision", 1),
        ("the other half", ["plain.db", "--mark-compacted"], "--bump-revision required if --mark-compacted", 1),
        ("a bump that is no number", ["plain.db", "--bump-revision", "x", "--mark-compacted"], "invalid argument", 1),
    ]:
        done = tools.ctl("snapshot", "restore", *args_, check=False)
        score.check(done.returncode == code and text in done.stderr and done.stdout == "", "restore: " + what,
                    "%d %s%s" % (done.returncode, done.stdout, done.stderr))
        score.check(not os.path.exists(tools.path("default.etcd")), "restore: %s leaves nothing" % what)
    score.check(tools.read("taken/file") == b"x", "what was in the target is still there")
    # a disk that is full, somewhere on the way
    for limit in (0, 8192, 1 << 20):
        done = subprocess.run(["prlimit", "--fsize=%d" % limit, tools.kvctl, "snapshot", "restore", "plain.db"], capture_output=True,
                              text=True, env=tools.env, cwd=tools.folder, timeout=WAIT_S)
        score.check(done.returncode == 1 and "default.etcd/" in done.stderr
                    and not os.path.exists(tools.path("default.etcd")), "a full disk leaves nothing (%d bytes)" % limit,
                    "%d %s" % (done.returncode, done.stderr))
        done = subprocess.run(["prlimit", "--fsize=%d" % limit, tools.kvctl, "--endpoints", args.full_endpoint, "snapshot", "save",
                               "full.db"], capture_output=True, text=True, env=tools.env, cwd=tools.folder, timeout=WAIT_S)
        score.check(done.returncode == 5 and "could not write full.db.part" in done.stderr
                    and not os.path.exists(tools.path("full.db")) and not os.path.exists(tools.path("full.db.part")),
                    "a full disk leaves nothing of a save (%d bytes)" % limit, "%d %s" % (done.returncode, done.stderr))
    tools.ctl("snapshot", "restore", "plain-without-digest.db", "--skip-hash-check")
    score.check(os.stat(tools.path("default.etcd")).st_mode & 0o777 == 0o700, "a data dir is private")
    done = tools.ctl("snapshot", "restore", "plain.db", check=False)
    score.check(done.returncode == 1 and 'data-dir "default.etcd" not empty' in done.stderr, "a second restore does not overwrite")


def check_interrupted_restores(args, tools, score):
    """A signal at a random moment leaves nothing; a kill leaves nothing that kvd would take for a member."""
    rng = random.Random(args.seed)
    began = time.monotonic()
    tools.ctl("snapshot", "restore", "load0.db", "--data-dir", "uncut")
    took, whole = time.monotonic() - began, 0
    for _ in range(30):
        process = subprocess.Popen([tools.kvctl, "snapshot", "restore", "load0.db", "--data-dir", "cut"], cwd=tools.folder,
                                   env=tools.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        number = rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGKILL))
        time.sleep(rng.random() * 1.3 * took)
        process.send_signal(number)
        process.wait(WAIT_S)
        folder = tools.path("cut")
        if process.returncode == 0:
            whole += 1
            score.check(os.path.exists(os.path.join(folder, "identity")), "a restore that ended well is whole")
        elif number != signal.SIGKILL:
            # a signal that came when all was done, and before the process had ended, found it whole
            score.check(not os.path.exists(folder) or process.returncode == -number and
                        os.path.exists(os.path.join(folder, "identity")), "signal %d leaves nothing" % number,
                        str(process.returncode))
        else:
            # empty folders are as good as none
            left = [name for _, _, names in os.walk(folder) for name in names]
            if left and "identity" not in left:
                port, peer = _servers.free_ports(2)
                done = subprocess.run([os.path.join(args.build, "kvd"), "--data-dir", folder, "--listen-client-urls",
                                       "http://127.0.0.1:%d" % port, "--advertise-client-urls", "http://127.0.0.1:%d" % port,
                                       "--listen-peer-urls", "http://127.0.0.1:%d" % peer], capture_output=True, timeout=WAIT_S)
                score.check(done.returncode != 0, "kvd refuses what a killed restore left", "%s %s" % (left, done.stderr.decode()))
        shutil.rmtree(folder, ignore_errors=True)
    print("%d of 30 restores ended before their signal" % whole)


# ---- what can go wrong ----


class LyingServer:
    """A Snapshot service that sends what a test tells it."""

    def __init__(self):
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        handler = grpc.method_handlers_generic_handler("etcdserverpb.Maintenance", {
            "Snapshot": grpc.unary_stream_rpc_method_handler(
                self.snapshot, etcdrpc.SnapshotRequest.FromString, etcdrpc.SnapshotResponse.SerializeToString)})
        self.server.add_generic_rpc_handlers((handler,))
        self.endpoint = "127.0.0.1:%d" % self.server.add_insecure_port("127.0.0.1:0")
        self.pieces, self.failure, self.hang = [], None, None
        self.server.start()

    def snapshot(self, request, context):
        for remaining, blob in self.pieces:
            yield etcdrpc.SnapshotResponse(remaining_bytes=remaining, blob=blob)
        if self.hang is not None:
            self.hang.wait()
        if self.failure is not None:
            context.abort(*self.failure)

    def close(self):
        self.server.stop(None)


def check_bad_streams(tools, score):
    server = LyingServer()
    data = tools.read("plain.db")
    pieces = [(1, data[:5000]), (0, data[5000:-32]), (0, data[-32:])]

    def refuse(what, text, code=5):
        tools.write("kept.db", b"old")
        done = tools.ctl("--endpoints", server.endpoint, "snapshot", "save", "kept.db", check=False)
        score.check(done.returncode == code and text in done.stderr, what, "%d %s" % (done.returncode, done.stderr))
        score.check(tools.read("kept.db") == b"old" and not os.path.exists(tools.path("kept.db.part")),
                    what + ": the file is as before, and no part is left")

    server.pieces = pieces
    tools.ctl("--endpoints", server.endpoint, "snapshot", "save", "again.db")
    score.check(tools.read("again.db") == data, "pieces of any size are put together")
    server.pieces = [(len(data) - i - 1, data[i:i + 1]) for i in range(300)] + [(0, data[300:])]
    tools.ctl("--endpoints", server.endpoint, "snapshot", "save", "again.db")
    score.check(tools.read("again.db") == data, "single bytes too")
    server.pieces = [pieces[0], (0, data[5000:-33] + b"x"), pieces[2]]
    refuse("a byte changed on its way", "damaged on its way")
    server.pieces = pieces[:2]
    refuse("no digest", "sha256 checksum not found [bytes: %d]" % (len(data) - 32))
    server.pieces = []
    refuse("nothing at all", "sha256 checksum not found [bytes: 0]")
    server.pieces, server.failure = pieces[:1], (grpc.StatusCode.INTERNAL, "disk on fire")
    refuse("an error in the middle", "disk on fire")
    server.failure = (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")
    server.pieces = []
    refuse("a refusal", "Error: etcdserver: permission denied")

    # a server that hangs, and a person that does not want to wait
    server.failure, server.hang, server.pieces = None, threading.Event(), pieces[:1]
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen([tools.kvctl, "--endpoints", server.endpoint, "snapshot", "save", "kept.db"],
                                   stderr=subprocess.PIPE, cwd=tools.folder, env=tools.env)
        part = tools.path("kept.db.part")
        end = time.monotonic() + WAIT_S
        while not (os.path.exists(part) and os.path.getsize(part) == 5000) and time.monotonic() < end:
            time.sleep(0.01)
        score.check(os.stat(part).st_mode & 0o777 == 0o600, "the part is private")
        process.send_signal(number)
        errors = process.communicate(timeout=WAIT_S)[1]
        score.check(process.returncode == 5 and b"interrupted: nothing was saved" in errors,
                    "signal %d ends a save" % number, "%d %s" % (process.returncode, errors))
        score.check(tools.read("kept.db") == b"old" and not os.path.exists(part), "signal %d leaves nothing" % number)
    done = tools.ctl("--endpoints", server.endpoint, "--command-timeout", "300ms", "snapshot", "save", "kept.db", check=False)
    score.check(done.returncode == 5 and "context deadline exceeded" in done.stderr and tools.read("kept.db") == b"old",
                "--command-timeout ends a save", done.stderr)
    server.hang.set()
    server.close()


def check_bad_commands(tools, score):
    for args, text, code in [
        (["save"], "snapshot save expects one argument", 128),
        (["save", "a", "b"], "snapshot save expects one argument", 128),
        (["save", "a", "--endpoints", "127.0.0.1:1,127.0.0.1:2"],
         "snapshot must be requested to one selected node, not multiple [127.0.0.1:1 127.0.0.1:2]", 5),
        (["save", "missing/a"], "could not open missing/a.part", 5),
        (["save", "."], "is a directory", 5),
        (["save", "a", "--endpoints", "127.0.0.1:1"], "connecting to 127.0.0.1:1", 5),
        (["status"], "snapshot status requires exactly one argument", 128),
        (["status", "absent"], "absent: No such file or directory", 1),
        (["status", "plain.db", "-w", "protobuf"], "protobuf not supported as output format", 4),
    ]:
        done = tools.ctl("snapshot", *args, check=False)
        score.check(done.returncode == code and text in done.stderr, "snapshot " + " ".join(args),
                    "%d %s" % (done.returncode, done.stderr))
    score.check(not os.path.exists(tools.path("a.part")), "no part is left of a save that never began")


def check_bad_files(args, tools, score):
    """What etcdctl answers with a panic or not at all."""
    data = tools.read("plain.db")
    rng = random.Random(args.seed)
    files = [
        ("empty", b"", "the file is empty"),
        ("text", b"#!/bin/sh\n" * 1000, "no etcd snapshot or database"),
        ("zeros", b"\0" * 100000, "no etcd snapshot or database"),
        ("cut", data[:len(data) // 2], "cut short"),
        ("cut to the heads", data[:8192], "cut short"),
        ("heads gone", b"\0" * 8192 + data[8192:], "no etcd snapshot or database"),
    ]
    for name, content, text in files:
        done = tools.ctl("snapshot", "status", tools.write("bad.db", content), check=False)
        score.check(done.returncode == 1 and text in done.stderr and "bad.db" in done.stderr, "status of a bad file: " + name,
                    done.stderr)
    found = 0
    for _ in range(100):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        done = tools.ctl("snapshot", "status", tools.write("bad.db", damaged), check=False)
        found += done.stderr != ""
        if done.returncode not in (0, 1) or (done.returncode == 1) != done.stderr.startswith("Error: "):
            score.check(False, "status of a damaged file", "%d %s" % (done.returncode, done.stderr))
    score.check(found == 100, "damage anywhere is an error or a warning", "%d of 100" % found)
    tools.write("bad.db", data[:-32])
    plain, whole = (tools.ctl("snapshot", "status", name, "-w", "json").stdout for name in ("bad.db", "plain.db"))
    score.check(plain == whole, "a file without digest has the same status")
    before = (hashlib.sha256(data).digest(), os.stat(tools.path("plain.db")).st_mtime_ns)
    os.chmod(tools.path("plain.db"), 0o400)
    tools.ctl("snapshot", "status", "plain.db")
    score.check(before == (hashlib.sha256(tools.read("plain.db")).digest(), os.stat(tools.path("plain.db")).st_mtime_ns),
                "status changes nothing")
    os.chmod(tools.path("plain.db"), 0o600)


def check_formats(tools, score):
    done = tools.ctl("snapshot", "status", "plain.db", "-w", "json").stdout
    fields = json.loads(done)
    score.check(list(fields) == ["hash", "revision", "totalKey", "totalSize", "version"], "json has etcdutl's fields", done)
    done = tools.ctl("snapshot", "status", "plain.db").stdout
    score.check(done.startswith("%x, %d, %d, " % (fields["hash"], fields["revision"], fields["totalKey"]))
                and done.endswith("B, 3.6.0\n"), "simple is one line", done)
    done = tools.ctl("snapshot", "status", "plain.db", "-w", "fields").stdout
    score.check(done == '"Hash" : %(hash)d\n"Revision" : %(revision)d\n"Keys" : %(totalKey)d\n"Size" : %(totalSize)d\n'
                '"Version" : "3.6.0"\n' % fields, "fields are etcdutl's", done)
    done = tools.ctl("snapshot", "status", "plain.db", "-w", "table").stdout
    score.check([cell.strip() for cell in done.splitlines()[1].split("|")[1:-1]]
                == ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"], "table has etcdutl's columns", done)


def check_bar(args, tools, score):
    """On a terminal, and only there, a line says how far it is."""
    kvd = _servers.start_kvd(args.build)
    _keyspace.fill(kvd.members[0], args.seed, 10, large=6)
    master, slave = pty.openpty()
    process = subprocess.Popen([tools.kvctl, "--endpoints", kvd.members[0].endpoint, "snapshot", "save", "bar.db"],
                               stderr=slave, stdout=subprocess.PIPE, cwd=tools.folder, env=tools.env)
    out = process.communicate(timeout=WAIT_S)[0]
    os.close(slave)
    shown = b""
    while not shown.endswith(b"\r\x1b[K"):
        shown += os.read(master, 65536)
    os.close(master)
    score.check(b"saving [" in shown and b"% " in shown and b"/s" in shown, "the bar has a share and a rate", repr(shown))
    score.check(out.startswith(b"Snapshot saved at bar.db\n"), "standard output is as without it", repr(out))
    kvd.close()


def main():
    args = _servers.arguments()
    args.build = os.path.abspath(args.build)
    score = _servers.Score()
    folder = tempfile.mkdtemp(prefix="kvd-test-")
    try:
        tools = Tools(args.build, folder)
        check_keyspaces(args, tools, score)
        check_under_load(args, tools, score)
        check_other_clients(args, tools, score)
        check_formats(tools, score)
        check_bad_streams(tools, score)
        check_bad_commands(tools, score)
        check_bad_files(args, tools, score)
        check_bar(args, tools, score)
        check_auth(args, tools, score)
        check_restores(args, tools, score)
        check_new_cluster(args, tools, score)
        check_forgotten_members(args, tools, score)
        kvd = _servers.start_kvd(args.build)
        _keyspace.fill(kvd.members[0], args.seed, 10, large=3)
        args.full_endpoint = kvd.members[0].endpoint
        check_bad_restores(args, tools, score)
        kvd.close()
        check_interrupted_restores(args, tools, score)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    score.finish()


if __name__ == "__main__":
    main()
