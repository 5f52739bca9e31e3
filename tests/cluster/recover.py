#!/usr/bin/python3
"""A lost quorum: three members under load are killed at once, data dirs are lost or damaged, and
`kvctl recover` makes a new cluster that has every acknowledged write of the best one that is left.
`kvctl verify` finds a flipped bit wherever it has a meaning, names the file, changes nothing and does
not crash; what is damaged everywhere is said plainly. Bad input leaves nothing half made.

--kvctl: another kvctl, as one built with ASan.
"""

import json
import os
import random
import shutil
import subprocess
import sys

from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402
import kills  # noqa: E402

CLIENTS = 4
CHECKPOINT_BYTES = 64 << 10
VALUE_BYTES = 2000
BLOCK = 4096
SEGMENT_HEADER = 52


class Tool:
    def __init__(self, binary, score):
        self.binary, self.score = binary, score

    def run(self, *words, file_limit="unlimited"):
        """file_limit: bytes a file may grow to. Set by prlimit: with preexec_fn Python forks, and gRPC then waits for calls
        that go on in other threads, for ever where its channel is still being connected."""
        done = subprocess.run(["prlimit", "--fsize=%s" % file_limit, self.binary, *words], capture_output=True, text=True,
                              errors="replace", stdin=subprocess.DEVNULL, timeout=120)
        crashed = done.returncode < 0 or "Sanitizer" in done.stderr or "runtime error" in done.stderr
        if crashed:
            self.score.check(False, "kvctl %s does not crash" % " ".join(words), done.stderr[-3000:])
        return done

    def verify(self, folder):
        done = self.run("verify", folder, "-w", "json")
        return done.returncode, json.loads(done.stdout) if done.stdout else {}, done

    def recover(self, *words):
        done = self.run("recover", *words, "-w", "json")
        return done.returncode, json.loads(done.stdout) if done.stdout else {}, done


def tree(folder):
    """Every file with its bytes, mode and time: what must not change."""
    out = {}
    for where, _, names in os.walk(folder):
        for name in [".", *names]:
            path = os.path.join(where, name)
            st = os.stat(path)
            data = b"" if name == "." else open(path, "rb").read()
            out[path] = (st.st_mode, st.st_mtime_ns, hash(data))
    return out


def load(cluster, rng, score):
    clients = [kills.Client(i, cluster, rng.random(), VALUE_BYTES) for i in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        score.check(client.wait_for_writes(150, 60), "writes go on")
    return clients


def end(clients):
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join(30)


# ---- verify ----

def checked_ranges(tool, folder):
    """Where the bytes of a log mean something: name of the file -> [(from, to)]."""
    out = {}
    for line in tool.run("wal", "dump", folder).stdout.splitlines():
        name, offset, kind = line.split()[:3]
        if kind == "segment":
            out[name] = [(0, SEGMENT_HEADER)]
        elif kind == "end" and int(offset) > BLOCK:
            out[name].append((BLOCK, int(offset)))
        elif kind == "seal":
            out[name].append((BLOCK, int(offset) + 24))
    return out


def flip(path, offset, bit):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def flips_are_found(tool, folder, rng, count, score):
    """The member ended in good order: a mark proves the last write too."""
    code, good, done = tool.verify(folder)
    score.check(code == 0 and good.get("good") is True, "an orderly stopped member is good", done.stdout + done.stderr)
    ranges = {os.path.join(folder, "wal", name): r for name, r in checked_ranges(tool, folder).items()}
    files = {os.path.join(folder, "identity"): [(0, os.path.getsize(os.path.join(folder, "identity")))]}
    for name in os.listdir(os.path.join(folder, "snap")):
        path = os.path.join(folder, "snap", name)
        files[path] = [(0, os.path.getsize(path))]
    score.check(len(files) >= 2, "there are checkpoints", str(files))
    files.update(ranges)
    missed = wrong = 0
    for number in range(count):
        path = sorted(files)[number % len(files)]
        start, stop = rng.choice(files[path])
        # Not only the large middle of a file, but its ends too.
        offset = min(stop - 1, start + rng.randrange(64)) if rng.random() < 0.3 else rng.randrange(start, stop)
        bit = rng.randrange(8)
        flip(path, offset, bit)
        code, report, done = tool.verify(folder)
        found = [f for f in report.get("findings", []) if f["kind"] == "damage"]
        if code != 1 or not found:
            missed += 1
            print("missed: %s offset %d bit %d: exit %d\n%s" % (path, offset, bit, code, done.stdout + done.stderr))
        elif not any(path in f["what"] and f.get("advice") for f in found):
            wrong += 1
            print("not named: %s offset %d bit %d: %s" % (path, offset, bit, found))
        flip(path, offset, bit)
    score.check(missed == 0, "verify finds each of %d flipped bits" % count)
    score.check(wrong == 0, "and names the file, and what to do")
    # Where nothing is written yet a bit means nothing; it must not be taken for anything.
    for path in sorted(ranges):
        offset = os.path.getsize(path) - 1 - rng.randrange(1000)
        if any(start <= offset < stop for start, stop in ranges[path]):
            continue
        flip(path, offset, rng.randrange(8))
        code, report, done = tool.verify(folder)
        score.check(code in (0, 1) and report.get("hash") == good["hash"], "a bit behind the end changes no state",
                    done.stdout + done.stderr)
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(b"\0")
    before = tree(folder)
    score.check(tool.verify(folder)[1].get("hash") == good["hash"] and tree(folder) == before, "verify changes nothing")


def cuts_are_found(tool, folder, rng, score):
    for name in sorted(os.listdir(os.path.join(folder, "snap"))) + ["../identity"]:
        path = os.path.join(folder, "snap", name)
        data = open(path, "rb").read()
        for size in [0, rng.randrange(len(data)), len(data) - 1]:
            with open(path, "wb") as file:
                file.write(data[:size])
            code, _, done = tool.verify(folder)
            score.check(code == 1, "%s cut to %d bytes is damaged" % (name, size), done.stdout + done.stderr)
        with open(path, "wb") as file:
            file.write(data)
    log = os.path.join(folder, "wal")
    for name in sorted(n for n in os.listdir(log) if n.endswith(".wal"))[:2]:
        path = os.path.join(log, name)
        os.rename(path, path + "-aside")
        code, report, done = tool.verify(folder)
        score.check(code == 1 and any("missing" in f["what"] or "gone" in f["what"] or "ends" in f["what"]
                                      for f in report["findings"] if f["kind"] == "damage"),
                    "a missing segment is damage", done.stdout + done.stderr)
        os.rename(path + "-aside", path)
        break
    score.check(tool.verify(folder)[0] == 0, "all is as before")


# ---- recover ----

class New:
    """A cluster that is recovered: ports, flags, and its members' folders."""

    def __init__(self, build, folder, size):
        ports = _servers.free_ports(2 * size)
        names = ["n%d" % (i + 1) for i in range(size)]
        initial = ",".join("%s=http://127.0.0.1:%d" % (n, ports[2 * i + 1]) for i, n in enumerate(names))
        self.members = [_servers.Member("kvd", os.path.join(build, "kvd"), n, folder, ports[2 * i], ports[2 * i + 1],
                                        initial, ("--initial-cluster-token", "recovered-cluster"))
                        for i, n in enumerate(names)]
        self.flags = [["--name", n, "--data-dir", os.path.join(folder, n), "--initial-cluster", initial,
                       "--initial-advertise-peer-urls", "http://127.0.0.1:%d" % ports[2 * i + 1]]
                      for i, n in enumerate(names)]

    def start(self):
        for member in self.members:
            member.start()
        for member in self.members:
            _servers.wait_ready(member)

    def kill(self):
        for member in self.members:
            member.kill()


def put(member, key):
    with member.channel() as channel:
        return pb.KVStub(channel).Put(pb.PutRequest(key=key, value=b"x"), timeout=30, wait_for_ready=True).header.revision


def check_writes(clients, kvs, score, what):
    for client in clients:
        client.problems = []
        client.check(kvs)
        score.check(not client.problems, "%s: client %d's acknowledged writes are there" % (what, client.number),
                    "\n".join(client.problems[:5]))


def recover_all(build, tool, dirs, clients, score):
    """All dirs, then two: each acknowledged write is in the best; the three new members agree."""
    before = [tree(d) for d in dirs]
    code, plan, done = tool.recover(*dirs)
    score.check(code == 0 and plan["complete"] is True and "made" not in plan, "a dry run says that nothing is lost",
                done.stdout + done.stderr)
    text = tool.run("recover", *dirs).stdout
    score.check("no acknowledged write is lost" in text and "Nothing was made" in text, "in words too", text)
    for chosen in (dirs, dirs[1:]):
        new = New(build, os.path.dirname(dirs[0]), 3)
        for flags in new.flags:
            code, report, done = tool.recover(*chosen, *flags, "--yes")
            score.check(code == 0 and report["complete"] is True, "recover makes a member", done.stdout + done.stderr)
        new.start()
        _, kvs = kills.all_kvs(new.members[0])
        check_writes(clients, kvs, score, "%d dirs" % len(chosen))
        revision = put(new.members[1], b"after")
        score.check(revision == report["new_revision"] + 1, "revisions go on from the raised one",
                    "%d, %s" % (revision, report))
        for member in new.members:
            kills.all_kvs(member)  # linearizable: it has applied the put now
        hashes = {kills.hash_at(m, revision) for m in new.members}
        score.check(len(hashes) == 1, "HashKV is equal on the new members", str(hashes))
        for member in new.members:
            score.check(member.stop() == 0, "a new member stops in good order")
            code, _, done = tool.verify(os.path.join(member.folder, member.name))
            score.check(code == 0, "and is good", done.stdout + done.stderr)
            shutil.rmtree(os.path.join(member.folder, member.name))
    score.check([tree(d) for d in dirs] == before, "the old dirs were not changed")


def recover_one(build, tool, folder, clients, score):
    """One of three: all it has, and that more may be lost."""
    _, seen, _ = tool.verify(folder)
    text = tool.run("recover", folder).stdout
    score.check("MAY BE LOST" in text, "one of three: it says that writes may be lost", text)
    new = New(build, os.path.dirname(folder), 1)
    code, report, done = tool.recover(folder, *new.flags[0], "--yes", "--bump-revision", "0")
    score.check(code == 0 and report["complete"] is False, "recover makes a member of one dir", done.stdout + done.stderr)
    score.check(report["dirs"][0]["hash"] == seen["hash"] and report["dirs"][0]["revision"] == seen["revision"],
                "verify and recover see the same state", str((seen, report)))
    new.start()
    revision, kvs = kills.all_kvs(new.members[0])
    score.check(revision == seen["revision"] and kills.hash_at(new.members[0], 0) == seen["hash"],
                "it serves that state, HashKV and all", "%s %s" % (revision, seen))
    for client in clients:  # what was acknowledged up to this member's last revision
        for key, (at, value) in client.acked.items():
            if at <= revision and (key not in kvs or kvs[key].mod_revision < at):
                score.check(False, "%r, acknowledged at %d, is there at %d" % (key, at, revision))
    with new.members[0].channel() as channel:
        members = pb.ClusterStub(channel).MemberList(pb.MemberListRequest(), timeout=10).members
    score.check([m.name for m in members] == ["n1"], "the cluster has the new member alone", str(members))
    new.kill()
    shutil.rmtree(os.path.join(os.path.dirname(folder), "n1"))

    new = New(build, os.path.dirname(folder), 1)
    code, report, done = tool.recover(folder, *new.flags[0], "--yes", "--only-committed")
    dir0 = report["dirs"][0]
    score.check(code == 0 and report["committed"] <= dir0["last_index"] and dir0["revision"] <= seen["revision"],
                "--only-committed takes no more than that", done.stdout + done.stderr)
    shutil.rmtree(os.path.join(os.path.dirname(folder), "n1"))


def recover_damaged(build, tool, dirs, rng, score):
    """All logs damaged in the middle: the entries before it, or the checkpoint, are what is left."""
    copies = [d + "-damaged" for d in dirs]
    for original, copy in zip(dirs, copies):
        shutil.copytree(original, copy)
        ranges = checked_ranges(tool, copy)
        for _ in range(3):
            name = rng.choice([n for n in ranges if len(ranges[n]) > 1])
            start, stop = ranges[name][1]
            flip(os.path.join(copy, "wal", name), rng.randrange(start, stop), rng.randrange(8))
    new = New(build, os.path.dirname(dirs[0]), 1)
    code, report, done = tool.recover(*copies, *new.flags[0], "--yes")
    usable = any(d["state"].startswith("best") for d in report.get("dirs", []))
    score.check(usable and code == 0, "damaged logs: what is before the damage is recovered", done.stdout + done.stderr)
    if code == 0:
        new.start()
        score.check(put(new.members[0], b"after") == report["new_revision"] + 1, "and it serves")
        new.kill()
        shutil.rmtree(os.path.join(os.path.dirname(dirs[0]), "n1"))
    for copy in copies:
        shutil.rmtree(copy)


# ---- bad input ----

def bad_input(args, tool, dirs, folder, score):
    def refused(what, text, *words, code=None, **how):
        target = os.path.join(folder, "refused")
        done = tool.run(*words, *(("--data-dir", target, "--yes") if words[0] == "recover" else ()), **how)
        score.check(done.returncode != 0 and (code is None or done.returncode == code) and text in done.stderr
                    and not os.path.exists(target), what, "exit %d\n%s%s" % (done.returncode, done.stdout, done.stderr))

    empty = os.path.join(folder, "empty")
    os.mkdir(empty)
    etcd = os.path.join(folder, "etcd")
    os.makedirs(os.path.join(etcd, "member"))
    for words in (("verify",), ("recover",)):
        code = 6 if words[0] == "verify" else 1
        refused("an empty dir", "is empty", *words, empty, code=code)
        refused("no dir", "No such file", *words, os.path.join(folder, "nowhere"), code=code)
        refused("etcd's dir", "data dir of etcd", *words, etcd, code=code)
        refused("a foreign dir", "no data dir of kvd", *words, folder, code=code)
    refused("no dir at all", "needs the data dirs", "recover", code=128)
    refused("a dir twice", "of the same member", "recover", dirs[0], dirs[0])

    other = _servers.start_kvd(args.build, 1)
    used = os.path.join(other.folder, "m1")
    refused("a dir in use", "in use", "verify", used, code=6)
    refused("a dir in use", "in use", "recover", used)
    other.members[0].stop()
    refused("dirs of two clusters", "data dirs of one cluster", "recover", dirs[0], used)
    other.close()

    done = tool.run("recover", dirs[0], "--yes", "--data-dir", folder)
    score.check(done.returncode == 1 and "not empty" in done.stderr, "a target that is there is refused", done.stderr)
    refused("flags that contradict each other", "couldn't find local name", "recover", dirs[0], "--name", "x",
            "--initial-cluster", "y=http://127.0.0.1:1")
    for limit in (1, 4096, 100000):
        refused("a full disk at %d bytes" % limit, "refused/", "recover", *dirs, file_limit=limit)
    if os.geteuid() != 0:
        os.chmod(os.path.join(dirs[0], "identity"), 0)
        score.check(tool.verify(dirs[0])[0] == 6, "a file that can not be read is exit code 6")
        os.chmod(os.path.join(dirs[0], "identity"), 0o600)
    os.chmod(os.path.join(dirs[0], "identity"), 0o644)
    code, report, _ = tool.verify(dirs[0])
    score.check(code == 0 and any("0644" in f["what"] for f in report["findings"]), "a mode that is too wide is noted")
    os.chmod(os.path.join(dirs[0], "identity"), 0o600)


def snapshots(build, tool, rng, folder, score):
    """verify takes snapshot files too."""
    cluster = _servers.start_kvd(build, 1)
    for i in range(50):
        put(cluster.members[0], b"key %d" % i)
    path = os.path.join(folder, "snap.db")
    done = tool.run("--endpoints", cluster.members[0].endpoint, "snapshot", "save", path)
    score.check(done.returncode == 0, "a snapshot is saved", done.stderr)
    code, report, done = tool.verify(path)
    score.check(code == 0 and report["keys"] == 50 and report["hash"] == kills.hash_at(cluster.members[0], 0),
                "a snapshot is good, with the HashKV of the member", done.stdout + done.stderr)
    cluster.close()
    for _ in range(20):
        offset, bit = rng.randrange(os.path.getsize(path)), rng.randrange(8)
        flip(path, offset, bit)
        code, _, done = tool.verify(path)
        score.check(code == 1 and path in done.stderr, "a flipped bit at %d is found" % offset, done.stdout + done.stderr)
        flip(path, offset, bit)


def main():
    args = _servers.arguments(flips=60, kvctl="")
    score = _servers.Score()
    rng = random.Random(args.seed)
    tool = Tool(args.kvctl or os.path.join(args.build, "kvctl"), score)
    cluster = _servers.start_kvd(args.build, 3, ("--checkpoint-log-bytes", str(CHECKPOINT_BYTES)))
    clients = load(cluster, rng, score)
    for member in cluster.members:  # all at once
        member.process.kill()
    for member in cluster.members:
        member.kill()
    end(clients)
    dirs = [os.path.join(cluster.folder, m.name) for m in cluster.members]
    for folder in dirs:
        code, report, done = tool.verify(folder)
        score.check(code == 0 and report["keys"] > 0 and report["checkpoints"], "kill -9 damages nothing",
                    done.stdout + done.stderr)
    recover_all(args.build, tool, dirs, clients, score)
    recover_one(args.build, tool, rng.choice(dirs), clients, score)
    recover_damaged(args.build, tool, dirs, rng, score)
    bad_input(args, tool, dirs, cluster.folder, score)
    snapshots(args.build, tool, rng, cluster.folder, score)

    for member in cluster.members:
        member.start()
    for member in cluster.members:
        _servers.wait_ready(member)
    _, kvs = kills.all_kvs(cluster.members[0])
    check_writes(clients, kvs, score, "the old cluster, which nobody touched")
    for member in cluster.members:
        score.check(member.stop() == 0, "stops in good order", member.log_tail())
    folder = rng.choice(dirs)
    flips_are_found(tool, folder, rng, args.flips, score)
    cuts_are_found(tool, folder, rng, score)
    if score.failed:
        cluster.keep()
    cluster.close()
    score.finish()


if __name__ == "__main__":
    main()
