#!/usr/bin/python3
"""Members come, go, move and are replaced on real processes under load: no acknowledged write is lost, what etcd
refuses is refused, and who was removed stops by itself and stays out."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

import grpc
from etcd3 import etcdrpc as pb

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "compat"))
sys.path.insert(0, HERE)
import _servers  # noqa: E402
from kills import Client, all_kvs  # noqa: E402

PATIENCE_S = 60  # for what must happen; no judgement of speed


def call(member, stub, method, request, timeout=20):
    with member.channel() as channel:
        return getattr(getattr(pb, stub + "Stub")(channel), method)(request, timeout=timeout, wait_for_ready=True)


def status(member):
    return call(member, "Maintenance", "Status", pb.StatusRequest())


def id_of(member):
    return status(member).header.member_id


def error_of(make):
    try:
        make()
    except grpc.RpcError as error:
        return "%s %s" % (error.code().name, error.details())
    return "no error"


def eventually(what, predicate):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        value = predicate()
        if value:
            return value
        time.sleep(0.05)  # between two looks
    sys.exit("waited in vain: %s" % what)


def once_healthy(make):
    """etcd's strict check wants members that were connected for 5 s."""
    def attempt():
        try:
            return make()
        except grpc.RpcError as error:
            if "unhealthy cluster" in error.details():
                return None
            raise
    return eventually("the cluster is healthy", attempt)


class World:
    """A cluster whose members change, and clients that write through all that there are."""

    def __init__(self, args, size, clients):
        self.args = args
        self.kvd = os.path.join(args.build, "kvd")
        self.kvctl = os.path.join(args.build, "kvctl")
        self.cluster = _servers.start_kvd(args.build, size)
        self.members = list(self.cluster.members)
        self.clients = [Client(i, self.cluster, args.seed + i) for i in range(clients)]
        self.next = size + 1

    def start_clients(self):
        for client in self.clients:
            client.start()

    def progress(self, count=20):
        for client in self.clients:
            if not client.wait_for_writes(count, PATIENCE_S):
                sys.exit("writes do not go on")

    def write_through(self, members):
        for client in self.clients:
            client.stubs = [pb.KVStub(m.channel()) for m in members]
        time.sleep(2.1)  # the timeout of a write that is on its way through one that leaves

    def stop_clients(self, score, failures_allowed):
        for client in self.clients:
            client.stop.set()
        for client in self.clients:
            client.join()
        kvs = [all_kvs(m)[1] for m in self.members]
        score.check(all(k == kvs[0] for k in kvs), "all members hold the same")
        for client in self.clients:
            client.check(kvs[0])
            score.check(not client.problems, "no acknowledged write is lost", "\n".join(client.problems[:3]))
            score.check(failures_allowed or client.failed == 0, "no write failed", "%d: %s" % (client.failed, client.last_error))
            score.check(client.acknowledged > 0, "there were writes")

    def prepare(self):
        """A member that is not started, with ports of its own."""
        name = "n%d" % self.next
        self.next += 1
        client_port, peer_port = _servers.free_ports(2)
        member = _servers.Member("kvd", self.kvd, name, self.cluster.folder, client_port, peer_port, "?")
        member.peer_url = "http://127.0.0.1:%d" % peer_port
        self.cluster.members.append(member)  # ended with the others
        return member

    def configure(self, member, members):
        initial = ",".join("%s=%s" % (m.name or member.name, url) for m in members for url in m.peerURLs)
        self.join_with(member, initial)

    @staticmethod
    def join_with(member, initial):
        member.args[member.args.index("--initial-cluster") + 1] = initial
        member.args += ["--initial-cluster-state", "existing"]

    def add(self, via):
        member = self.prepare()
        request = pb.MemberAddRequest(peerURLs=[member.peer_url])
        answer = once_healthy(lambda: call(via, "Cluster", "MemberAdd", request))
        member.id = answer.member.ID
        self.configure(member, answer.members)
        return member

    def start(self, member):
        member.start()
        _servers.wait_ready(member)
        self.members.append(member)

    def leader(self):
        leader = status(self.members[0]).leader
        return next(m for m in self.members if id_of(m) == leader)

    def run(self, *words):
        return subprocess.run([self.kvctl, "--endpoints", ",".join(m.endpoint for m in self.members), *words],
                              capture_output=True, text=True, timeout=120, check=False)

    def expect_end(self, score, member, what):
        code = member.process.wait(PATIENCE_S)
        score.check(code == 0 and "was removed from the cluster" in member.log_tail(30), what, code)


def grow(score, args):
    """1 -> 2 -> 3 -> 5 without a failed write; a member that is added and not started holds up nobody."""
    world = World(args, 1, 4)
    first = world.members[0]
    world.start_clients()
    for size in (2, 3, 4, 5):
        member = world.add(first)
        world.progress()
        world.start(member)
        score.check(id_of(member) == member.id, "the id is the one that was promised")
        world.progress()
        listed = call(member, "Cluster", "MemberList", pb.MemberListRequest()).members
        score.check(len(listed) == size, "%d members" % size, listed)
    eventually("all have published", lambda: all(m.name for m in call(first, "Cluster", "MemberList", pb.MemberListRequest()).members))

    # A quorum of five does without two: so all have their vote.
    world.stop_clients(score, failures_allowed=False)
    dead = [m for m in world.members if m is not world.leader()][:2]
    for member in dead:
        member.kill()
    alive = [m for m in world.members if m not in dead]
    call(alive[0], "KV", "Put", pb.PutRequest(key=b"two are dead", value=b"1"))
    for member in dead:
        member.start()
        _servers.wait_ready(member)

    # All again, with what their flags say being out of date.
    for member in world.members:
        member.stop()
    for member in world.members:
        member.start()
    for member in world.members:
        _servers.wait_ready(member)
    score.check(len({status(m).leader for m in world.members}) == 1, "one leader after a restart of all")
    return world


def r13_one_dead_member_does_not_keep_others_out(score, world):
    """Three of four are alive: a quorum of the five that there would be. The new one never starts."""
    text = error_of(lambda: world.add(world.members[0]))
    score.check(text == "no error", "R13: a member is added though one is dead", text)
    extra = next(m.ID for m in call(world.members[0], "Cluster", "MemberList", pb.MemberListRequest()).members if not m.name)
    text = error_of(lambda: once_healthy(lambda: call(world.members[0], "Cluster", "MemberRemove",
                                                      pb.MemberRemoveRequest(ID=extra))))
    score.check(text == "no error", "R13: and goes again", text)


def shrink(score, world):
    """The leader is removed under load, and one that is dead."""
    world.clients = [Client(10 + i, world.cluster, world.args.seed + i) for i in range(4)]
    leader = world.leader()
    rest = [m for m in world.members if m is not leader]
    for client in world.clients:
        client.stubs = [pb.KVStub(m.channel()) for m in rest]
    world.start_clients()
    world.progress()
    leader_id = id_of(leader)
    once_healthy(lambda: call(rest[0], "Cluster", "MemberRemove", pb.MemberRemoveRequest(ID=leader_id)))
    world.members = rest
    world.expect_end(score, leader, "a removed leader ends with code 0")
    world.progress()
    leader.start()
    world.expect_end(score, leader, "and does so again when it is started again")
    text = error_of(lambda: call(rest[0], "Cluster", "MemberRemove", pb.MemberRemoveRequest(ID=leader_id)))
    score.check(text == "NOT_FOUND etcdserver: member not found", "removed twice", text)

    dead = next(m for m in rest if m is not world.leader())
    dead_id = id_of(dead)
    dead.kill()
    world.members = [m for m in rest if m is not dead]
    alive = world.members[0]
    r13_one_dead_member_does_not_keep_others_out(score, world)
    text = error_of(lambda: once_healthy(lambda: call(alive, "Cluster", "MemberRemove", pb.MemberRemoveRequest(ID=dead_id))))
    score.check(text == "no error", "a dead member can be removed", text)
    dead.start()
    world.expect_end(score, dead, "a dead one that was removed hears of it when it comes back")
    fresh = world.add(alive)
    world.start(fresh)
    world.progress()
    world.stop_clients(score, failures_allowed=True)


def wrong_lists(score, world):
    alive = world.members[0]
    member = world.add(alive)
    right = member.args[member.args.index("--initial-cluster") + 1]
    for initial, text in ((",".join(right.split(",")[1:] if member.name not in right.split(",")[0] else right.split(",")[:-1]),
                           "member count is unequal"),
                          (right.replace(alive.args[alive.args.index("--listen-peer-urls") + 1], "http://127.0.0.1:1"),
                           "unmatched member while checking PeerURLs")):
        member.args[member.args.index("--initial-cluster") + 1] = initial
        member.start()
        code = member.process.wait(PATIENCE_S)
        score.check(code == 1 and text in member.log_tail(), "join: " + text, "%s %s" % (code, member.log_tail(3)))
    member.args[member.args.index("--initial-cluster") + 1] = right
    world.start(member)
    gone = member
    once_healthy(lambda: call(alive, "Cluster", "MemberRemove", pb.MemberRemoveRequest(ID=gone.id)))
    world.members.remove(gone)
    world.expect_end(score, gone, "a follower that is removed ends with code 0")


def moved(score, world):
    """MemberUpdate, and the member started where it is now."""
    member = next(m for m in world.members if m is not world.leader())
    member_id = id_of(member)
    via = next(m for m in world.members if m is not member)
    port = _servers.free_ports(1)[0]
    new = "http://127.0.0.1:%d" % port
    call(via, "Cluster", "MemberUpdate", pb.MemberUpdateRequest(ID=member_id, peerURLs=[new]))
    member.stop()
    for flag in ("--listen-peer-urls", "--initial-advertise-peer-urls"):
        member.args[member.args.index(flag) + 1] = new
    member.start()
    _servers.wait_ready(member)
    call(member, "KV", "Put", pb.PutRequest(key=b"moved", value=b"1"))
    # It can lead, so the others reach it.
    code = world.run("move-leader", "%x" % member_id)
    score.check(code.returncode == 0, "a member that has moved can lead", code.stderr)
    listed = {m.ID: list(m.peerURLs) for m in call(via, "Cluster", "MemberList", pb.MemberListRequest()).members}
    score.check(listed[member_id] == [new], "its URL is the new one", listed)


def readyz(member):
    try:
        with urllib.request.urlopen("http://%s/readyz?verbose" % member.endpoint, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def learner(score, world):
    member = world.prepare()
    words = ("member", "add", member.name, "--learner", "--peer-urls", member.peer_url)
    out = eventually("a learner can be added",
                     lambda: (lambda done: None if "unhealthy" in done.stderr else done)(world.run(*words)))
    score.check(out.returncode == 0 and "added as learner" in out.stdout, "a learner is added", out.stderr)
    lines = dict(line.split("=", 1) for line in out.stdout.splitlines() if line.startswith("ETCD_"))
    member_id = out.stdout.split()[1]
    text = world.run("member", "promote", member_id).stderr
    score.check("can only promote a learner member which is in sync with leader" in text, "not ready", text)
    text = world.run("member", "add", "x", "--learner", "--peer-urls", "http://127.0.0.1:1").stderr
    score.check("too many learner members in cluster" in text or "unhealthy" in text, "too many learners", text)
    world.join_with(member, lines["ETCD_INITIAL_CLUSTER"].strip('"'))
    member.start()
    read = pb.RangeRequest(key=b"moved", serializable=True)
    eventually("the learner has the data", lambda: error_of(lambda: call(member, "KV", "Range", read)) == "no error" and
               call(member, "KV", "Range", read).count == 1)
    for stub, method, request in (("KV", "Range", pb.RangeRequest(key=b"a")),
                                  ("KV", "Put", pb.PutRequest(key=b"a", value=b"1")),
                                  ("KV", "Txn", pb.TxnRequest()),
                                  ("Lease", "LeaseGrant", pb.LeaseGrantRequest(TTL=5)),
                                  ("Cluster", "MemberList", pb.MemberListRequest()),
                                  ("Maintenance", "Alarm", pb.AlarmRequest())):
        text = error_of(lambda: call(member, stub, method, request))
        score.check(text == "FAILED_PRECONDITION etcdserver: rpc not supported for learner", "learner: " + method, text)
    code, text = readyz(member)
    score.check(code == 503 and "[-]non_learner" in text, "a learner is not ready", text)
    # A node's metrics say what it is.
    with urllib.request.urlopen("http://%s/metrics" % member.endpoint, timeout=10) as answer:
        score.check(b"\netcd_server_is_learner 1\n" in answer.read(), "metrics: a learner")
    text = world.run("move-leader", member_id).stderr
    score.check("bad leader transferee" in text, "a learner can not lead", text)
    eventually("it is promoted", lambda: world.run("member", "promote", member_id).returncode == 0)
    text = world.run("member", "promote", member_id).stderr
    score.check("can only promote a learner member" in text, "promoted twice", text)
    _servers.wait_ready(member)
    world.members.append(member)
    call(member, "KV", "Put", pb.PutRequest(key=b"a", value=b"1"))
    score.check(readyz(member)[0] == 200, "a voter is ready")


def replaced(world, old, member, interrupt):
    """kvctl member replace, whose new member is started when it says so."""
    endpoints = ",".join(m.endpoint for m in world.members if m is not old)
    words = [world.kvctl, "--endpoints", endpoints, "member", "replace", "%x" % id_of(old), member.name,
             "--peer-urls", member.peer_url, "--yes"]
    text = ""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            text += line
            if line.startswith("ETCD_INITIAL_CLUSTER="):
                World.join_with(member, line.split("=", 1)[1].strip().strip('"'))
            elif line.startswith("ETCD_INITIAL_CLUSTER_STATE"):
                if interrupt:
                    process.kill()
                    break
                member.start()
    if interrupt:
        member.start()
        again = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
        return again.returncode, text + again.stdout
    return process.returncode, text


def roll(score, args):
    """All three members of a cluster are replaced under load, one after the other."""
    world = World(args, 3, 6)
    world.start_clients()
    world.progress()
    for turn, old in enumerate(list(world.members)):
        member = world.prepare()
        keep = [m for m in world.members if m is not old]
        world.write_through(keep)
        code, text = replaced(world, old, member, interrupt=turn == 1)
        score.check(code == 0 and "3 of 4 needed, you will tolerate 1 failure" in text and "Done: 2 of 3 needed" in text,
                    "replace %d" % turn, text)
        world.expect_end(score, old, "the old member ends with code 0")
        _servers.wait_ready(member)
        world.members = keep + [member]
        world.write_through(world.members)
        world.progress()
    world.stop_clients(score, failures_allowed=True)
    out = world.run("member", "replace", "1", "x", "--peer-urls", "http://127.0.0.1:1", "--yes")
    score.check(out.returncode == 1 and "neither" in out.stderr, "replace of nobody", out.stderr)
    out = world.run("endpoint", "health")
    score.check(out.returncode == 0, "all are healthy", out.stderr)
    world.cluster.close()


def over_tls(score, args):
    """The question who the members are goes over TLS as all else between them."""
    def encrypted(member):
        plain = "http://127.0.0.1:%d" % member.peer_port
        member.args = [a.replace(plain, plain.replace("http", "https")) for a in member.args] + ["--peer-auto-tls"]

    cluster = _servers.Cluster("kvd", os.path.join(args.build, "kvd"), 1)
    first = cluster.members[0]
    encrypted(first)
    cluster.start()
    client_port, peer_port = _servers.free_ports(2)
    request = pb.MemberAddRequest(peerURLs=["https://127.0.0.1:%d" % peer_port])
    listed = call(first, "Cluster", "MemberAdd", request).members
    second = _servers.Member("kvd", first.binary, "m2", cluster.folder, client_port, peer_port,
                             ",".join("%s=%s" % (m.name or "m2", m.peerURLs[0]) for m in listed))
    encrypted(second)
    second.args += ["--initial-cluster-state", "existing"]
    cluster.members.append(second)
    second.start()
    _servers.wait_ready(second)
    call(second, "KV", "Put", pb.PutRequest(key=b"tls", value=b"1"))
    score.check(all_kvs(first)[1].keys() == {b"tls"}, "a member joins over TLS")
    cluster.close()


def gateway(score, world):
    """The same as JSON."""
    member = world.members[0]
    for path, body, code in (("member/remove", b'{"ID":"4660"}', 404), ("member/promote", b'{"ID":"4660"}', 404),
                             ("member/add", b'{"peerURLs":["nonsense"]}', 400),
                             ("member/update", b'{"ID":"4660","peerURLs":["http://127.0.0.1:1"]}', 404)):
        try:
            with urllib.request.urlopen("http://%s/v3/cluster/%s" % (member.endpoint, path), body, timeout=20) as answer:
                said = answer.status
        except urllib.error.HTTPError as error:
            said = error.code
        score.check(said == code, "gateway: " + path, said)


def main():
    args = _servers.arguments()
    score = _servers.Score()
    world = grow(score, args)
    shrink(score, world)
    wrong_lists(score, world)
    moved(score, world)
    learner(score, world)
    gateway(score, world)
    world.cluster.close()
    over_tls(score, args)
    roll(score, args)
    score.finish()


if __name__ == "__main__":
    main()
