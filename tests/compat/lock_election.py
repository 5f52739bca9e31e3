#!/usr/bin/python3
"""The same scenes with locks and elections on etcd and kvd: what every call answers has to agree.

A scene plays on one server and returns what it saw; leases have ids of the scene's choice, so keys and
revisions are the same on both. Where kvd does better than etcd 3.4 by intent, the scene says what it expects
of kvd instead. The last scenes are for kvd alone: what a flood of waiters costs.
"""

import resource
import urllib.request

import _locks
import _servers
from _locks import LeaderKey

UNKNOWN_LEASE = 0x7777


class Stage:
    """One server, and names that no other scene uses."""

    def __init__(self, member):
        self.member = member
        self.client = _locks.Client(member)
        self.lease = 0x1000

    def new_lease(self, ttl=600):
        self.lease += 1
        return self.client.grant(self.lease, ttl)

    def line(self, prefix):
        return _locks.Line(self.client, prefix)


# ---- locks ----


def free_lock(stage):
    c, lease = stage.client, stage.new_lease()
    yield c.call("Lock", name=b"free", lease=lease)
    yield c.call("Lock", name=b"free", lease=lease)
    yield c.keys(b"free/")
    yield c.call("Unlock", key=b"free/%x" % lease)
    yield c.call("Unlock", key=b"free/%x" % lease)
    yield c.call("Lock", name=b"free", lease=lease)
    c.put(b"free/%x" % lease, b"with a value")
    yield c.call("Lock", name=b"free", lease=lease)


def bad_requests(stage):
    c, lease = stage.client, stage.new_lease()
    yield c.call("Unlock", key=b"")
    yield c.call("Unlock")
    yield c.call("Unlock", key=b"not there")
    yield c.call("Lock", name=b"bad", lease=UNKNOWN_LEASE)
    yield c.call("Lock", name=b"bad", lease=-1)
    yield c.call("Campaign", name=b"bad", lease=UNKNOWN_LEASE, value=b"v")
    yield c.call("Leader", name=b"nobody")
    yield c.call("Leader")
    yield c.call("Proclaim", value=b"v")
    yield c.call("Resign")
    yield c.call("Proclaim", leader=LeaderKey(), value=b"v")
    yield c.call("Resign", leader=LeaderKey())
    yield c.call("Proclaim", leader=LeaderKey(name=b"e", key=b"e/1", rev=5, lease=lease), value=b"v")
    yield c.call("Proclaim", leader=LeaderKey(name=b"e", key=b"e/1", rev=5, lease=UNKNOWN_LEASE), value=b"v")
    yield c.call("Resign", leader=LeaderKey(name=b"e", key=b"e/1", rev=5, lease=lease))
    yield c.keys(b"bad/")


def odd_names(stage):
    c = stage.client
    for name in (b"", b"a/b", b"/", b"\xff\x00", b"\xff\xff", b"x" * 1000):
        for lease in (stage.new_lease(), c.grant(-stage.lease)):
            yield c.call("Lock", timeout=10, name=name, lease=lease)
            yield c.call("Unlock", key=name + b"/" + (b"%x" % lease))
    yield c.call("Lock", name=b"by server")["revision"]
    (key, value, revision, lease), = c.keys(b"by server/")
    yield value, revision, key == b"by server/%x" % lease


def names_inside_names(stage):
    """The lock "n" waits for the lock "n/m", not the other way round."""
    c, inner, outer = stage.client, stage.new_lease(), stage.new_lease()
    yield c.call("Lock", name=b"n/m", lease=inner)
    line = stage.line(b"n/")
    waiting = c.start("Lock", name=b"n", lease=outer)
    yield line.wait(2)
    yield c.call("Lock", name=b"n/m", lease=inner)
    yield c.call("Unlock", key=b"n/m/%x" % inner)
    yield waiting.result()
    line.close()


def line_in_order(stage):
    c, leases = stage.client, [stage.new_lease() for _ in range(12)]
    order = leases[1:4] + leases[:1] + leases[4:]  # not that of the names
    line = stage.line(b"order/")
    calls = []
    for n, lease in enumerate(order):
        calls.append(c.start("Lock", name=b"order", lease=lease))
        yield line.wait(n + 1)
    for n, lease in enumerate(order):
        yield calls[n].result()
        yield [call.ended.is_set() for call in calls[n + 1:]].count(True)
        yield c.call("Unlock", key=b"order/%x" % lease)
    yield c.keys(b"order/")
    line.close()


def waiters_that_give_up(stage):
    """Cancelled, too late, disconnected: their keys go, and nobody waits for them."""
    c, other = stage.client, _locks.Client(stage.member)
    leases = [stage.new_lease() for _ in range(5)]
    line = stage.line(b"gone/")
    yield c.call("Lock", name=b"gone", lease=leases[0])
    cancelled = c.start("Lock", name=b"gone", lease=leases[1])
    line.wait(2)
    late = c.start("Lock", timeout=1, name=b"gone", lease=leases[2])
    line.wait(3)
    other.start("Lock", name=b"gone", lease=leases[3])
    line.wait(4)
    last = c.start("Lock", name=b"gone", lease=leases[4])
    yield line.wait(5)
    cancelled.cancel()
    yield line.wait_gone(b"gone/%x" % leases[1])
    yield late.result()[0]
    yield line.wait_gone(b"gone/%x" % leases[2])
    other.close()
    yield line.wait_gone(b"gone/%x" % leases[3])
    yield last.ended.is_set()
    yield c.call("Unlock", key=b"gone/%x" % leases[0])
    yield last.result()
    line.close()


def candidates_that_give_up(stage):
    c, leases = stage.client, [stage.new_lease() for _ in range(3)]
    line = stage.line(b"egone/")
    first = c.call("Campaign", name=b"egone", lease=leases[0], value=b"0")
    cancelled = c.start("Campaign", name=b"egone", lease=leases[1], value=b"1")
    line.wait(2)
    last = c.start("Campaign", name=b"egone", lease=leases[2], value=b"2")
    yield line.wait(3)
    cancelled.cancel()
    yield line.wait_gone(b"egone/%x" % leases[1])
    yield c.call("Resign", leader=LeaderKey(**first["leader"]))
    yield last.result()
    line.close()


def holders_without_lease(stage):
    """By revoke and by time."""
    c, revoked, short, last = stage.client, stage.new_lease(), stage.new_lease(2), stage.new_lease()
    line = stage.line(b"holder/")
    yield c.call("Lock", name=b"holder", lease=revoked)
    second = c.start("Lock", name=b"holder", lease=short)
    yield line.wait(2)
    c.revoke(revoked)
    yield second.result()
    third = c.start("Lock", name=b"holder", lease=last)
    yield line.wait_gone(b"holder/%x" % short)
    yield third.result()
    line.close()


def one_lease_twice(stage):
    c, holder, lease = stage.client, stage.new_lease(), stage.new_lease()
    line = stage.line(b"twice/")
    yield c.call("Lock", name=b"twice", lease=holder)
    calls = [c.start("Lock", name=b"twice", lease=lease) for _ in range(3)]
    yield line.wait(2)
    yield c.call("Lock", name=b"twice", lease=holder)
    yield c.call("Unlock", key=b"twice/%x" % holder)
    for call in calls:
        yield call.result()
    line.close()


# ---- elections ----


def leading(stage):
    c, lease = stage.client, stage.new_lease()
    elected = c.call("Campaign", name=b"lead", lease=lease, value=b"one")
    yield elected
    yield c.call("Leader", name=b"lead")
    yield c.call("Campaign", name=b"lead", lease=lease, value=b"one")
    yield c.call("Campaign", name=b"lead", lease=lease, value=b"two")
    yield c.call("Leader", name=b"lead")
    leader = LeaderKey(**elected["leader"])
    yield c.call("Proclaim", leader=leader, value=b"three")
    yield c.call("Proclaim", leader=leader)
    yield c.call("Leader", name=b"lead")
    wrong = LeaderKey(**elected["leader"])
    wrong.rev += 1
    yield c.call("Proclaim", leader=wrong, value=b"no")
    yield c.call("Resign", leader=wrong)
    wrong.rev, wrong.lease = leader.rev, UNKNOWN_LEASE
    yield c.call("Proclaim", leader=wrong, value=b"no")
    yield c.call("Leader", name=b"lead")
    yield c.call("Resign", leader=leader)
    yield c.call("Resign", leader=leader)
    yield c.call("Proclaim", leader=leader, value=b"late")
    yield c.call("Leader", name=b"lead")


def proclaiming_without_lease(stage):
    """The key gets a lease of the server's choice."""
    c, lease = stage.client, stage.new_lease()
    leader = LeaderKey(**c.call("Campaign", name=b"unleased", lease=lease, value=b"one")["leader"])
    leader.lease = 0
    yield c.call("Proclaim", leader=leader, value=b"two")
    key = c.call("Leader", name=b"unleased")["kv"]
    yield key.pop("lease") not in (0, lease)
    yield key
    # Revision 0 is a key that is not there yet.
    yield c.call("Proclaim", leader=LeaderKey(key=b"made/1", lease=lease), value=b"new")
    yield c.call("Leader", name=b"made")
    by_server = c.call("Campaign", name=b"session", value=b"v")
    yield by_server["leader"].pop("lease") != 0
    yield by_server["leader"].pop("key")[:8], by_server


def candidates_in_line(stage):
    """A candidate may change what it will say, and leave."""
    c, leases = stage.client, [stage.new_lease() for _ in range(4)]
    line = stage.line(b"cand/")
    calls = []
    for n, lease in enumerate(leases):
        calls.append(c.start("Campaign", name=b"cand", lease=lease, value=b"%d" % n))
        yield line.wait(n + 1)
    revs = {lease: rev for _, _, rev, lease in c.keys(b"cand/")}
    keys = [LeaderKey(name=b"cand", key=b"cand/%x" % l, rev=revs[l], lease=l) for l in leases]
    yield c.call("Proclaim", leader=keys[1], value=b"1, revised")
    yield c.call("Resign", leader=keys[2])
    yield calls[0].result()
    yield c.call("Leader", name=b"cand")
    yield c.call("Resign", leader=keys[0])
    yield calls[1].result()
    yield c.call("Leader", name=b"cand")
    # The same candidate with another value, while it waits.
    again = c.start("Campaign", name=b"cand", lease=leases[3], value=b"3, revised")
    yield line.stream.wait(lambda got: any(e.kv.value == b"3, revised" for a in got for e in a.events))
    yield c.call("Resign", leader=keys[1])
    yield again.result()
    yield calls[3].result()
    yield c.call("Leader", name=b"cand")
    line.close()


def observing(stage):
    c, first, second = stage.client, stage.new_lease(), stage.new_lease()
    observer = c.observe(b"obs")
    one = c.call("Campaign", name=b"obs", lease=first, value=b"1")
    yield one
    yield observer.wait(1)
    line = stage.line(b"obs/")
    waiting = c.start("Campaign", name=b"obs", lease=second, value=b"2")
    yield line.wait(2)
    late = c.observe(b"obs")
    yield late.wait(1)
    yield c.call("Proclaim", leader=LeaderKey(**one["leader"]), value=b"1b")
    yield observer.wait(2), late.wait(2)
    yield c.call("Resign", leader=LeaderKey(**one["leader"]))
    yield observer.wait(3), late.wait(3)
    yield waiting.result()
    c.put(b"obs/%x" % second, b"by anybody")
    yield observer.wait(4)
    c.kv.DeleteRange(_locks.etcdrpc.DeleteRangeRequest(key=b"obs/", range_end=b"obs0"))
    # Until the server has seen that nobody leads, it does not watch for the next one.
    yield c.call("Leader", name=b"obs")
    yield observer.wait(4) == observer.got
    observer.close()
    late.close()
    line.close()


def observing_many_changes(stage):
    """What one leader proclaims comes whole and in order."""
    c, lease = stage.client, stage.new_lease()
    leader = LeaderKey(**c.call("Campaign", name=b"many", lease=lease, value=b"begin")["leader"])
    observer = c.observe(b"many")
    yield observer.wait(1)
    for n in range(200):
        c.call("Proclaim", leader=leader, value=b"%d" % n)
    yield [answer["kv"] for answer in observer.wait(201)]
    observer.close()


SCENES = [free_lock, bad_requests, odd_names, names_inside_names, line_in_order, waiters_that_give_up,
          candidates_that_give_up, holders_without_lease, one_lease_twice, leading, proclaiming_without_lease,
          candidates_in_line, observing, observing_many_changes]


def play(scene, stages, score):
    seen = [list(scene(stage)) for stage in stages]
    for n, (etcd, kvd) in enumerate(zip(*seen)):
        score.check(etcd == kvd, "%s, step %d" % (scene.__name__, n),
                    "  etcd %.2000s\n  kvd  %.2000s" % (etcd, kvd))


# ---- kvd alone ----


def waiters_whose_lease_ends(stage, score):
    """etcd 3.4 gives them the lock (later ones an error, when it is their turn), and the lead even today."""
    c, holder, revoked, short = stage.client, stage.new_lease(), stage.new_lease(), stage.new_lease(2)
    for rpc, name, text, fields in (("Lock", b"dead", "mutex: session is expired", {}),
                                    ("Campaign", b"edead", "election: session is expired", {"value": b"v"})):
        held = c.call(rpc, name=name, lease=holder, **fields)
        line = stage.line(name + b"/")
        calls = [c.start(rpc, name=name, lease=lease, **fields) for lease in (revoked, short)]
        score.check("revision" in held and line.wait(3), "two wait for " + rpc)
        c.revoke(revoked)
        for call in calls:
            score.check(call.result() == ("UNKNOWN", text), "a waiter without a lease, " + rpc, call.result())
        revoked, short = c.grant(revoked), stage.new_lease(2)
        line.close()


def many_waiters(stage, score, count=4000):
    """One line, several connections: bounded memory for each, and one of them at a time is woken."""
    member = stage.member
    clients = [_locks.Client(member) for _ in range(8)]
    lease = stage.new_lease()
    stage.client.call("Lock", name=b"crowd", lease=lease)
    line = stage.line(b"crowd/")
    leases = [stage.new_lease() for _ in range(count)]
    before = rss(member)
    calls = [clients[n % 8].start("Lock", name=b"crowd", lease=lease) for n, lease in enumerate(leases)]
    score.check(line.wait(count + 1), "%d wait" % count)
    score.check(metric(member, "kvd_lock_waiters") == count, "the metric says so")
    each = (rss(member) - before) / count
    print("%d waiters: %.0f bytes each" % (count, each), flush=True)
    score.check(each < 16384, "memory of a waiter", each)
    order = sorted(stage.client.keys(b"crowd/"), key=lambda kv: kv[2])
    place = {kv[3]: n for n, kv in enumerate(order)}
    by_place = sorted(zip(leases, calls), key=lambda pair: place[pair[0]])
    stage.client.call("Unlock", key=b"crowd/%x" % lease)
    cpu = cpu_s(member)
    for n, (lease, call) in enumerate(by_place[:500]):
        got = call.result()
        if not score.check(got != "cancelled" and "key" in got, "place %d gets the lock" % n, got):
            break
        stage.client.call("Unlock", key=b"crowd/%x" % lease)
    print("a lock handed on with %d in line: %.0f us CPU" % (count, (cpu_s(member) - cpu) / 500 * 1e6), flush=True)
    score.check(by_place[500][1].result() != "cancelled" and not by_place[501][1].ended.is_set(), "one at a time")
    for client in clients:
        client.close()
    score.check(line.wait(1), "clients that go take their keys along, but for the holder")
    score.check(metric(member, "kvd_lock_waiters") == 0, "the metric falls")
    line.close()


def names_that_are_too_much(stage, score):
    """What waits is bounded in bytes, too; whoever comes later is told."""
    too_many = ("UNKNOWN", "etcdserver: too many requests")
    c, client = stage.client, _locks.Client(stage.member)
    name = b"n" * 600000
    c.call("Lock", name=name, lease=stage.new_lease())
    calls = [client.start("Lock", name=name, lease=stage.new_lease()) for _ in range(120)]
    last = calls[-1].result()
    waiting = [call for call in calls if not call.ended.is_set()]
    score.check(last == too_many, "too many bytes of names are refused", last)
    score.check(100 < len(waiting) < 115, "64 MiB of them wait", len(waiting))
    score.check("revision" in c.call("Unlock", key=b"another"), "others are answered")
    for call in waiting:
        call.cancel()
    lease, got = stage.new_lease(), too_many
    for _ in range(1000):
        got = c.call("Lock", name=b"small", lease=lease)
        if got != too_many:
            break
    score.check("key" in got, "when they have left there is room again", got)
    client.close()


def stopping(cluster, score):
    """Who waits is told; the key stays, for a client that comes again with its lease."""
    stage = Stage(cluster.members[0])
    c, holder, lease = stage.client, stage.new_lease(), stage.new_lease()
    c.call("Lock", name=b"stop", lease=holder)
    line = stage.line(b"stop/")
    calls = [c.start("Lock", name=b"stop", lease=lease), c.start("Campaign", name=b"stop", lease=lease, value=b"")]
    observer = c.observe(b"stop")
    observer.wait(1)
    score.check(line.wait(2), "two wait")
    score.check(cluster.members[0].stop() == 0, "the member stops")
    for call in calls:
        score.check(call.result() == ("UNAVAILABLE", "etcdserver: server stopped"), "a waiting call", call.result())
    score.check(observer.wait_end() == ("UNAVAILABLE", "etcdserver: server stopped"), "an observer", observer.end)
    cluster.members[0].start()
    _servers.wait_ready(cluster.members[0])
    c = _locks.Client(cluster.members[0])
    score.check(len(c.keys(b"stop/")) == 2, "places are kept", c.keys(b"stop/"))
    again = c.start("Lock", name=b"stop", lease=lease)
    c.call("Unlock", key=b"stop/%x" % holder)
    score.check(again.result().get("key") == b"stop/%x" % lease, "and taken up again", again.result())


def slow_observer(stage, score):
    """It misses nothing of one leader's words, and costs others nothing."""
    c, lease = stage.client, stage.new_lease()
    leader = LeaderKey(**c.call("Campaign", name=b"slow", lease=lease, value=b"")["leader"])
    slow = c.channel.unary_stream("/v3electionpb.Election/Observe",
                                  request_serializer=lambda m: m.SerializeToString(),
                                  response_deserializer=_locks.MESSAGE("v3electionpb.LeaderResponse").FromString)(
                                      _locks.request("Observe", name=b"slow"))
    next(slow)
    for n in range(300):
        score.check("revision" in c.call("Proclaim", leader=leader, value=b"%06d" % n + b"x" * 100000), "proclaim")
    got = [int(next(slow).kv.value[:6]) for _ in range(300)]
    score.check(got == list(range(300)), "a slow observer gets all", got[:5])
    slow.cancel()


def metric(member, name):
    with urllib.request.urlopen("http://%s/metrics" % member.endpoint) as answer:
        values = [line.split()[1] for line in answer.read().decode().splitlines() if line.startswith(name + " ")]
    return float(values[0]) if values else None


def rss(member):
    with open("/proc/%d/statm" % member.process.pid) as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def cpu_s(member):
    with open("/proc/%d/schedstat" % member.process.pid) as file:
        return int(file.read().split()[0]) / 1e9


def main():
    args = _servers.arguments()
    score = _servers.Score()
    etcd, kvd = _servers.start_etcd(), _servers.start_kvd(args.build)
    stages = [Stage(etcd.members[0]), Stage(kvd.members[0])]
    for scene in SCENES:
        play(scene, stages, score)
    for scene in (waiters_whose_lease_ends, many_waiters, names_that_are_too_much, slow_observer):
        scene(stages[1], score)
    stopping(_servers.start_kvd(args.build), score)
    if score.failed:
        kvd.keep()
    score.finish()


if __name__ == "__main__":
    main()
