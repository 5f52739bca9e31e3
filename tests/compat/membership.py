"""Changes of the members, beside a real etcd: the same requests get the same codes and texts, and answers with
the same fields. etcdctl does what this client library does not know (learners)."""

import os
import subprocess
import sys

import grpc
from etcd3 import etcdrpc

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _servers import Score, arguments, free_ports, start_etcd, start_kvd

NOBODY = 0x1234


def url(port):
    return "http://127.0.0.1:%d" % port


class Side:
    def __init__(self, cluster):
        self.cluster = cluster
        self.member = cluster.members[0]
        self.channel = self.member.channel()
        self.stub = etcdrpc.ClusterStub(self.channel)
        self.ports = sorted(free_ports(5))

    def members(self):
        return self.stub.MemberList(etcdrpc.MemberListRequest()).members

    def own(self):
        return next(m for m in self.members() if m.name)

    def ctl(self, binary, *args):
        run = subprocess.run([binary, "--endpoints", self.member.endpoint, *args], capture_output=True, text=True,
                             env=dict(os.environ, ETCDCTL_API="3"), timeout=30)
        return run


def answer_of(side, call):
    """(code, text) of an error, or the fields that an answer has."""
    try:
        answer = call(side)
    except grpc.RpcError as error:
        return (error.code().name, error.details())
    header = sorted(field.name for field, _ in answer.header.ListFields())
    members = sorted((m.name, len(m.peerURLs), len(m.clientURLs)) for m in answer.members)
    return ("OK", header, members)


def request(name, make):
    def call(side):
        kind = getattr(etcdrpc, name + "Request")
        return getattr(side.stub, name)(kind(**make(side)), timeout=10)
    return call


# Each on the cluster as the ones before have left it.
REQUESTS = [
    ("add without a URL", request("MemberAdd", lambda s: {"peerURLs": []})),
    ("add with a URL that is none", request("MemberAdd", lambda s: {"peerURLs": ["nonsense"]})),
    ("add with an empty URL", request("MemberAdd", lambda s: {"peerURLs": [""]})),
    ("add with a scheme that is none", request("MemberAdd", lambda s: {"peerURLs": ["ftp://127.0.0.1:1"]})),
    ("add without a port", request("MemberAdd", lambda s: {"peerURLs": ["http://127.0.0.1"]})),
    ("add with a path", request("MemberAdd", lambda s: {"peerURLs": ["http://127.0.0.1:1/x"]})),
    ("add with a URL that is taken", request("MemberAdd", lambda s: {"peerURLs": list(s.own().peerURLs)})),
    ("remove of nobody", request("MemberRemove", lambda s: {"ID": NOBODY})),
    ("remove of id 0", request("MemberRemove", lambda s: {"ID": 0})),
    ("remove of the only member", request("MemberRemove", lambda s: {"ID": s.own().ID})),
    ("update of nobody", request("MemberUpdate", lambda s: {"ID": NOBODY, "peerURLs": [url(s.ports[3])]})),
    ("update to the same", request("MemberUpdate", lambda s: {"ID": s.own().ID, "peerURLs": list(s.own().peerURLs)})),
    ("update", request("MemberUpdate", lambda s: {"ID": s.own().ID, "peerURLs": [url(s.ports[0])]})),
    ("update to two", request("MemberUpdate", lambda s: {"ID": s.own().ID, "peerURLs": [url(s.ports[0]), url(s.ports[1])]})),
]


# etcd takes them, and is a member that nobody can reach any more. kvd says what MemberAdd says to them.
REFUSED_BY_KVD = [
    ("update to nothing", request("MemberUpdate", lambda s: {"ID": s.own().ID, "peerURLs": []})),
    ("update to a URL that is none", request("MemberUpdate", lambda s: {"ID": s.own().ID, "peerURLs": ["x"]})),
]


def id_of_learner(side):
    """etcd 3.4's client library does not say who learns: it is the one without a name."""
    return next(m.ID for m in side.members() if not m.name)


# With etcdctl against both: what it prints, but for numbers.
COMMANDS = [
    ("promote nobody", lambda s: ["member", "promote", "1234"]),
    ("promote a voter", lambda s: ["member", "promote", "%x" % s.own().ID]),
    ("add a learner", lambda s: ["member", "add", "l1", "--learner", "--peer-urls", url(s.ports[2])]),
    ("add a second learner", lambda s: ["member", "add", "l2", "--learner", "--peer-urls", url(s.ports[3])]),
    ("add a learner again", lambda s: ["member", "add", "l2", "--learner", "--peer-urls", url(s.ports[2])]),
    ("promote a learner that is not there", lambda s: ["member", "promote", "%x" % id_of_learner(s)]),
    ("list", lambda s: ["member", "list"]),
    ("update a learner", lambda s: ["member", "update", "%x" % id_of_learner(s), "--peer-urls", url(s.ports[3])]),
    ("remove a learner", lambda s: ["member", "remove", "%x" % id_of_learner(s)]),
    ("remove without an id", lambda s: ["member", "remove"]),
    ("remove what is no id", lambda s: ["member", "remove", "xyz"]),
    ("add without a name", lambda s: ["member", "add"]),
    ("add without URLs", lambda s: ["member", "add", "x"]),
    ("update without URLs", lambda s: ["member", "update", "1234"]),
]


def normal(side, run):
    """Exit code and output, where this cluster's ports and ids have names."""
    def name(text):
        names = {"%x" % m.ID: "ID%d" % i for i, m in enumerate(sorted(side.members(), key=lambda m: m.name, reverse=True))}
        header = side.stub.MemberList(etcdrpc.MemberListRequest()).header
        names["%x" % header.cluster_id] = "CLUSTER"
        for i, port in enumerate(side.ports):
            names[str(port)] = "PORT%d" % i
        names[side.member.endpoint] = "CLIENT"
        for old, new in names.items():
            text = text.replace(old, new)
        return text
    error = "etcdserver: " in run.stderr and run.stderr.split("etcdserver: ")[-1].split('"')[0]
    # An id is made of the URLs, the cluster's name and the second: the same URLs twice within one meet the id first.
    error = error and error.replace("member ID already exist", "Peer URLs already exists")
    return run.returncode, name(run.stdout), error


def without_member_id(text):
    """The words, in an order that ids and ports do not change; ids of members that are gone have no name."""
    return sorted("ID" if len(word) > 12 and all(c in "0123456789abcdef" for c in word) else word for word in text.replace(",", " ").replace(chr(34), " ").split())


def main():
    args = arguments()
    score = Score()
    etcd, kvd = Side(start_etcd()), Side(start_kvd(args.build))
    for name, call in REQUESTS:
        theirs, ours = answer_of(etcd, call), answer_of(kvd, call)
        score.check(theirs == ours, name, "etcd: %s\nkvd:  %s" % (theirs, ours))
    for name, call in REFUSED_BY_KVD:
        ours = answer_of(kvd, call)
        score.check(ours == ("INVALID_ARGUMENT", "etcdserver: given member URLs are invalid"), name, ours)
    kvctl = os.path.join(args.build, "kvctl")
    for name, words in COMMANDS:
        theirs = normal(etcd, etcd.ctl("etcdctl", *words(etcd)))
        ours = normal(kvd, kvd.ctl("etcdctl", *words(kvd)))
        theirs, ours = [(c, without_member_id(o), e) for c, o, e in (theirs, ours)]
        score.check(theirs == ours, name + ", by etcdctl", "etcd: %s\nkvd:  %s" % (theirs, ours))
    # etcd 3.4 forgets in an update that a member is a learner; kvd does not, as later versions of etcd.
    listed = kvd.ctl(kvctl, "member", "list").stdout
    score.check(listed == "" or "unstarted" not in listed, "the learner is gone", listed)
    theirs = normal(etcd, etcd.ctl("etcdctl", "member", "add", "n", "--learner", "--peer-urls", url(etcd.ports[4])))
    mine = normal(kvd, kvd.ctl(kvctl, "member", "add", "n", "--learner", "--peer-urls", url(kvd.ports[4])))
    theirs = (0, without_member_id(theirs[1].replace("added to", "added as learner to")), theirs[2])
    mine = (mine[0], without_member_id(mine[1]), mine[2])
    score.check(theirs == mine, "kvctl member add prints what etcdctl 3.6 prints", "%s\n%s" % (theirs, mine))
    kvd.ctl(kvctl, "member", "update", "%x" % id_of_learner(kvd), "--peer-urls", url(kvd.ports[3]))
    listed = kvd.ctl(kvctl, "member", "list").stdout
    score.check("unstarted" in listed and listed.count(", true") == 1, "an updated learner is a learner", listed)
    theirs = normal(etcd, etcd.ctl("etcdctl", "member", "remove", "%x" % id_of_learner(etcd)))
    mine = normal(kvd, kvd.ctl(kvctl, "member", "remove", "%x" % id_of_learner(kvd)))
    theirs, mine = [(c, without_member_id(o), e) for c, o, e in (theirs, mine)]
    score.check(theirs == mine, "kvctl member remove prints what etcdctl prints", "%s\n%s" % (theirs, mine))
    score.finish()


if __name__ == "__main__":
    main()
