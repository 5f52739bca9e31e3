#!/usr/bin/python3
"""Watch: the same writes and watchers on real etcd and on kvd, and a model that says what each watcher must
see. Then what Debian's etcd is too old for (etcd-api.md section 6 says how it must be), the watch calls of
python3-etcd3, and etcdctl watch."""

import os
import random
import re
import subprocess
import threading
import time
import urllib.request

import etcd3
import grpc
from etcd3 import etcdrpc as pb

import _servers
from _watch import MESSAGES, WAIT_S, Stream, event_view, events_of

KEYS = [b"a", b"a/1", b"a/2", b"a/3", b"b", b"b\x00", b"c", b"\x00", b"\xff"]
SPANS = [(k, b"") for k in KEYS] + [(b"a/", b"a0"), (b"a", b"c"), (b"a/1", b"a/3"), (b"b", b"\x00"),
                                    (b"\x00", b"\x00"), (b"a/9", b"b"), (b"", b"\x00"), (b"", b"")]


def in_span(key, span):
    start, end = span[0] or b"\x00", span[1]
    if end == b"":
        return key == start
    return key >= start and (end == b"\x00" or key < end)


class Model:
    """The keyspace and its history as the API describes them."""

    def __init__(self, revision):
        self.revision = revision
        self.compacted = -1
        self.live = {}
        self.log = []  # (type, kv, prev or None)

    def put(self, key, value):
        old = self.live.get(key)
        kv = (key, value, old[2] if old else self.revision, self.revision, old[4] + 1 if old else 1, 0)
        self.live[key] = kv
        self.log.append(("PUT", kv, old))

    def delete(self, span):
        for key in sorted(k for k in self.live if in_span(k, span)):
            old = self.live.pop(key)
            self.log.append(("DELETE", (key, b"", 0, self.revision, 0, 0), old))

    def expected(self, watch):
        events = []
        for kind, kv, prev in self.log:
            revision = kv[3]
            if not watch["first"] <= revision or (watch["last"] is not None and revision > watch["last"]):
                continue
            if not in_span(kv[0], watch["span"]) or (0 if kind == "PUT" else 1) in watch["filters"]:
                continue
            hidden = not watch["prev_kv"] or (watch["past"] >= revision and revision - 1 < watch["compacted"])
            events.append((kind, kv, None if hidden else prev))
        return events


class Side:
    def __init__(self, cluster):
        self.member = cluster.members[0]
        self.channel = self.member.channel()
        self.kv = pb.KVStub(self.channel)
        self.streams = [Stream(self.member) for _ in range(2)]

    def close(self):
        for stream in self.streams:
            stream.close()


def random_txn(rng):
    txn = pb.TxnRequest()
    keys = rng.sample(KEYS, rng.randint(1, 4))
    for key in keys:
        op = txn.success.add()
        if rng.random() < 0.7:
            op.request_put.key, op.request_put.value = key, b"t%d" % rng.randint(0, 99)
        else:
            op.request_delete_range.key = key
    return txn


def write_both(sides, model, rng):
    """One write on both servers and in the model."""
    kind = rng.random()
    before = len(model.log)
    model.revision += 1
    if kind < 0.6:
        key, value = rng.choice(KEYS), b"v%d" % rng.randint(0, 999)
        for side in sides:
            side.kv.Put(pb.PutRequest(key=key, value=value))
        model.put(key, value)
    elif kind < 0.8:
        span = rng.choice([s for s in SPANS if s[0]])
        for side in sides:
            side.kv.DeleteRange(pb.DeleteRangeRequest(key=span[0], range_end=span[1]))
        model.delete(span)
    else:
        txn = random_txn(rng)
        for side in sides:
            side.kv.Txn(txn)
        for op in txn.success:
            if op.HasField("request_put"):
                model.put(op.request_put.key, op.request_put.value)
            else:
                model.delete((op.request_delete_range.key, b""))
    if len(model.log) == before:
        model.revision -= 1


def settled(sides, model, watches):
    """Waits until every watcher on both sides has as many events as the model says."""
    ok = True
    for watch in watches:
        want = len(model.expected(watch))
        for side in sides:
            ok &= side.streams[watch["stream"]].wait(
                lambda got, w=watch: len(events_of(got, w["id"])) >= want)
    return ok


def scrape(member):
    with urllib.request.urlopen("http://%s/metrics" % member.endpoint) as answer:
        lines = answer.read().decode().splitlines()
    return {l.split()[0]: float(l.split()[1]) for l in lines if l.startswith("etcd_debugging_mvcc_")}


def none_lags(side):
    """etcd looks through the past ten times a second; who waits for that is canceled by a compaction, though
    nothing in what went may have been for it."""
    end = time.monotonic() + WAIT_S
    while scrape(side.member)["etcd_debugging_mvcc_slow_watcher_total"] > 0:
        if time.monotonic() > end:
            return False
        time.sleep(0.01)  # polls what no event tells of
    return True


def create_both(sides, model, rng, score):
    start = 0
    if rng.random() < 0.6:
        start = rng.randint(1, model.revision + 3)
        if start == model.compacted and any(kind == "DELETE" and kv[3] == start for kind, kv, _ in model.log):
            start += 1  # etcd before 3.4.34 has lost that delete; delete_at_the_compaction() asks kvd
    span = rng.choice(SPANS)
    stream = rng.randrange(2)
    fields = {"start_revision": start, "prev_kv": rng.random() < 0.5,
              "filters": rng.choice([[], [], [], [0], [1], [0, 1]]),
              "progress_notify": rng.random() < 0.3}
    if rng.random() < 0.3:
        fields["watch_id"] = rng.randint(1, 30)
    answers = [side.streams[stream].created(span[0], span[1], **fields) for side in sides]
    views = [(a.watch_id, a.created, a.canceled, a.cancel_reason, a.header.revision) for a in answers]
    score.check(views[0] == views[1], "create %r" % ((span, fields),), "%r\n%r" % tuple(views))
    if answers[0].canceled:
        return None
    watch = {"id": answers[0].watch_id, "stream": stream, "span": span, "filters": fields["filters"],
             "prev_kv": fields["prev_kv"], "first": start or model.revision + 1, "last": None,
             "past": model.revision, "compacted": model.compacted}
    if start != 0 and start <= model.revision and start < model.compacted:
        watch["first"] = 1 << 62  # nothing but a cancel
        for side in sides:
            told = side.streams[stream].wait(lambda got: any(
                a.watch_id == watch["id"] and a.canceled and a.compact_revision == model.compacted
                and a.header.revision == 0 and a.cancel_reason == "" for a in got))
            score.check(told, "a start below the compaction is canceled on " + side.member.kind)
    return watch


def check_shape(answers, score, what):
    """Revisions ascend per watcher, none is split or repeated."""
    last = {}
    for answer in answers:
        for revision in sorted({e.kv.mod_revision for e in answer.events}):
            score.check(revision > last.get(answer.watch_id, 0), what + ": revisions ascend in whole batches")
            last[answer.watch_id] = revision


def differential(args, score):
    rng = random.Random(args.seed)
    clusters = [_servers.start_etcd(), _servers.start_kvd(args.build)]
    sides = [Side(c) for c in clusters]
    model, watches, used = Model(1), [], set()
    for _ in range(args.rounds):
        for _ in range(rng.randint(1, 12)):
            write_both(sides, model, rng)
        for _ in range(rng.randint(0, 4)):
            watch = create_both(sides, model, rng, score)
            if watch is not None:
                watches.append(watch)
                used.add((watch["stream"], watch["id"]))
        live = [w for w in watches if w["last"] is None]
        if live and rng.random() < 0.3:
            score.check(settled(sides, model, watches), "all events arrive before a cancel")
            gone = rng.choice(live)
            gone["last"] = model.revision
            for side in sides:
                side.streams[gone["stream"]].cancel(gone["id"])
                side.streams[gone["stream"]].wait(lambda got: got[-1].canceled and got[-1].watch_id == gone["id"])
            # An id may be used again: what it was sent stays apart from what its successor gets.
            for side in sides:
                with side.streams[gone["stream"]].change:
                    for answer in side.streams[gone["stream"]].got:
                        if answer.watch_id == gone["id"]:
                            answer.watch_id = -1000 - len(used)
            gone["id"] = -1000 - len(used)
            used.add((gone["stream"], gone["id"]))
        if rng.random() < 0.15:
            score.check(settled(sides, model, watches), "all events arrive before a compaction")
            for side in sides:
                score.check(none_lags(side), "no watcher lags before a compaction on " + side.member.kind)
            model.compacted = rng.randint(max(1, model.compacted + 1), model.revision) \
                if model.compacted < model.revision else model.compacted
            for side in sides:
                try:
                    side.kv.Compact(pb.CompactionRequest(revision=model.compacted))
                except grpc.RpcError as error:
                    score.check("compacted" in error.details(), "compact", error.details())
    score.check(settled(sides, model, watches), "all events arrive")
    for watch in watches:
        want = model.expected(watch)
        for side in sides:
            got = events_of(side.streams[watch["stream"]].snapshot(), watch["id"])
            score.check(got == want, "events of %r on %s" % (watch, side.member.kind),
                        "got  %r\nwant %r" % (got, want))
    for side in sides:
        for stream in side.streams:
            check_shape(stream.snapshot(), score, side.member.kind)
        side.close()
    for cluster in clusters:
        cluster.close()


# ---- what etcd 3.4.23 can not be asked ----

def put(kv, key, value=b"v"):
    return kv.Put(pb.PutRequest(key=key, value=value)).header.revision


def ids_and_cancels(member, kv, score):
    stream = Stream(member)
    score.check(stream.created(b"a").watch_id == 0, "ids begin with 0")
    score.check(stream.created(b"a", watch_id=7).watch_id == 7, "a chosen id is taken as it is")
    again = stream.created(b"a", watch_id=7)
    score.check((again.watch_id, again.canceled, again.cancel_reason) ==
                (-1, True, "mvcc: duplicate watch ID provided on the WatchStream"), "an id twice", str(again))
    empty = stream.created(b"b", b"a")
    score.check((empty.watch_id, empty.cancel_reason) == (-1, "mvcc: watcher range is empty"), "an empty range",
                str(empty))
    negative = stream.created(b"b", start_revision=-3)
    score.check((negative.watch_id, negative.cancel_reason) ==
                (-1, "etcdserver: mvcc: required revision has been compacted"), "a negative start", str(negative))
    stream.cancel(99)  # no answer to this one
    stream.cancel(7)
    stream.wait(lambda got: got[-1].canceled and got[-1].watch_id == 7)
    score.check(not any(a.watch_id == 99 for a in stream.snapshot()), "cancel of an unknown id has no answer")
    put(kv, b"a")
    stream.wait(lambda got: bool(got[-1].events))
    score.check([a.watch_id for a in stream.snapshot() if a.events] == [0], "only the other one gets the event")
    stream.half_close()
    revision = put(kv, b"a")
    score.check(stream.wait(lambda got: got[-1].header.revision == revision), "watchers outlive a half-close")
    stream.close()
    silent = Stream(member)
    silent.half_close()
    score.check(silent.wait_end() == (grpc.StatusCode.OK, ""), "without watchers it ends the stream", str(silent.ended))


def delete_at_the_compaction(member, kv, score):
    """As etcd since 3.4.34: a watch from the very revision that was compacted gets a delete of that revision."""
    put(kv, b"d")
    gone = kv.DeleteRange(pb.DeleteRangeRequest(key=b"d")).header.revision
    kv.Compact(pb.CompactionRequest(revision=gone, physical=True))
    stream = Stream(member)
    stream.created(b"d", start_revision=gone)
    stream.wait(lambda got: bool(got[-1].events))
    score.check([(e.type, e.kv.mod_revision) for a in stream.snapshot() for e in a.events] == [(1, gone)],
                "a delete at the compacted revision", str(stream.snapshot()))
    stream.close()


def r5_manual_progress(member, kv, score):
    """R5: a progress answer comes after every event it speaks for."""
    stream = Stream(member)
    stream.ask_progress()  # no watchers: nothing
    stream.created(b"p/", b"p0")
    score.check(not any(a.watch_id == -1 for a in stream.snapshot()), "no watchers, no progress")
    seen = 0
    for i in range(200):
        revision = put(kv, b"p/%d" % i)
        stream.ask_progress()
        ok = stream.wait(lambda got: any(a.watch_id == -1 and a.header.revision >= revision for a in got))
        seen += ok
    score.check(seen == 200, "each request is answered with a revision that is not behind", str(seen))
    sent, wrong = 0, 0
    for answer in stream.snapshot():
        if answer.watch_id == -1 and not answer.created:
            wrong += sent < answer.header.revision and answer.header.revision > put_base(stream)
        for event in answer.events:
            sent = event.kv.mod_revision
    score.check(wrong == 0, "R5: progress does not overtake events", str(wrong))
    future = stream.created(b"q", start_revision=revision + 50)
    before = len(stream.snapshot())
    stream.ask_progress()
    stream.cancel(future.watch_id)
    stream.wait(lambda got: got[-1].canceled)
    score.check(len(stream.snapshot()) == before + 1, "a watcher in the future: no progress")
    stream.close()


def put_base(stream):
    """Revision before the first event."""
    return next(a.events[0].kv.mod_revision for a in stream.snapshot() if a.events) - 1


def timed_progress(member, kv, score):
    stream = Stream(member)
    first = stream.created(b"t", progress_notify=True)
    other = stream.created(b"t")
    revision = put(kv, b"elsewhere")
    ok = stream.wait(lambda got: any(a.watch_id == first.watch_id and not a.created and not a.events
                                     and a.header.revision == revision for a in got))
    score.check(ok, "progress comes unasked")
    score.check(not any(a.watch_id == other.watch_id and not a.created for a in stream.snapshot()),
                "but only to those that want it")
    stream.close()


def fragments(member, kv, score):
    """A revision above 2 MiB is cut only where that was asked for."""
    txn = pb.TxnRequest()
    value = os.urandom(700 * 1024)
    for i in range(5):
        put(kv, b"f/%d" % i, value)
    for i in range(5):
        op = txn.success.add()
        op.request_delete_range.key = b"f/%d" % i
    whole, cut = Stream(member), Stream(member)
    whole.created(b"f/", b"f0", prev_kv=True)
    cut.created(b"f/", b"f0", prev_kv=True, fragment=True)
    kv.Txn(txn)
    whole.wait(lambda got: bool(got[-1].events))
    cut.wait(lambda got: bool(got[-1].events) and not got[-1].fragment)
    score.check([len(a.events) for a in whole.snapshot() if a.events] == [5], "one response of 3.5 MB")
    parts = [a for a in cut.snapshot() if a.events]
    score.check(len(parts) > 1 and [a.fragment for a in parts] == [True] * (len(parts) - 1) + [False],
                "fragments are marked, the last one is not", str([a.fragment for a in parts]))
    score.check(all(a.ByteSize() < 2 << 20 for a in parts), "and below 2 MiB")
    score.check([event_view(e) for a in parts for e in a.events] ==
                [event_view(e) for a in whole.snapshot() for e in a.events], "with the same events")
    whole.close()
    cut.close()


def r6_r16_stopped_reader(member, kv, score):
    """A reader that stops costs bounded memory, delays nobody and misses nothing (R6, R16)."""
    channel = member.channel()
    method = channel.stream_stream("/etcdserverpb.Watch/Watch",
                                   request_serializer=lambda m: m.SerializeToString(),
                                   response_deserializer=pb.WatchResponse.FromString)
    hold = threading.Event()
    requests = [pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"s/", range_end=b"s0"))
                for _ in range(20)]

    def send():
        yield from requests
        hold.wait()

    call = method(send())
    for _ in requests:
        next(call)
    lively = Stream(member)
    lively.created(b"s/", b"s0")
    before = memory(member)
    value = os.urandom(64 * 1024)
    for i in range(300):
        revision = put(kv, b"s/%d" % (i % 10), value)
    ok = lively.wait(lambda got: bool(got[-1].events) and got[-1].events[-1].kv.mod_revision == revision)
    score.check(ok, "R6: the other reader gets everything")
    grown = memory(member) - before
    score.check(grown < 100 << 20, "memory is bounded though 380 MB wait to be read", "%d MB" % (grown >> 20))
    seen = {}
    while len(seen) < 20 or any(len(v) < 300 for v in seen.values()):
        answer = next(call)
        seen.setdefault(answer.watch_id, []).extend(e.kv.mod_revision for e in answer.events)
    want = list(range(revision - 299, revision + 1))
    score.check(all(v == want for v in seen.values()), "reading again gives every event once, in order")
    hold.set()
    call.cancel()
    channel.close()
    lively.close()


def memory(member):
    with open("/proc/%d/statm" % member.process.pid, encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def floods(member, kv, score):
    """Requests by the hundred thousand from a client that reads nothing: bounded memory, others unharmed."""
    ask = MESSAGES["WatchRequest"]()
    ask.progress_request.SetInParent()
    create = MESSAGES["WatchRequest"]()
    create.create_request.key = b"flood"
    lively = Stream(member)
    lively.created(b"flood/")
    channel, hold, sent = member.channel(), threading.Event(), threading.Event()

    def requests():
        yield create.SerializeToString()
        for _ in range(100000):
            yield ask.SerializeToString()
        for _ in range(20000):
            yield create.SerializeToString()
        sent.set()
        hold.wait()

    before = memory(member)
    call = channel.stream_stream("/etcdserverpb.Watch/Watch")(requests())
    score.check(sent.wait(60), "the flood is taken in")
    revision = put(kv, b"flood/")
    score.check(lively.wait(lambda got: bool(got[-1].events) and got[-1].events[0].kv.mod_revision == revision),
                "another stream gets its event")
    grown = memory(member) - before
    score.check(grown < 50 << 20, "memory is bounded under a flood", "%d MB" % (grown >> 20))
    hold.set()
    call.cancel()
    channel.close()
    bad = member.channel()
    call = bad.stream_stream("/etcdserverpb.Watch/Watch")(iter([b"\x0a\xff\xff"]))
    try:
        list(call)
        score.check(False, "bytes that are no message must end the stream")
    except grpc.RpcError as error:
        score.check(error.code() == grpc.StatusCode.INTERNAL, "bytes that are no message", repr(error))
    bad.close()
    lively.close()


def metrics(member, kv, score):
    names = ["etcd_debugging_mvcc_" + n + "_total" for n in ("watcher", "watch_stream", "slow_watcher", "events")]
    old = scrape(member)
    stream = Stream(member)
    stream.created(b"m")
    stream.created(b"m", start_revision=10 ** 9)
    put(kv, b"m")
    stream.wait(lambda got: bool(got[-1].events))
    new = scrape(member)
    score.check([new[n] - old[n] for n in names] == [2, 1, 0, 1], "metrics count watchers, streams and events",
                repr([(n, old[n], new[n]) for n in names]))
    stream.close()


def compacted_while_behind(member, kv, score):
    """History in batches of at most 1000 revisions; a start below the compaction is refused with it."""
    first = put(kv, b"h")
    for _ in range(2500):
        last = put(kv, b"h")
    stream = Stream(member)
    stream.created(b"h", b"i", start_revision=first)
    stream.wait(lambda got: bool(got[-1].events) and got[-1].events[-1].kv.mod_revision == last)
    batches = [a for a in stream.snapshot() if a.events]
    score.check(max(len(a.events) for a in batches) <= 1000, "batches of at most 1000")
    score.check([e.kv.mod_revision for a in batches for e in a.events] == list(range(first, last + 1)),
                "history without gap or repeat")
    score.check(all(a.header.revision == last for a in batches), "the header has the store's revision")
    kv.Compact(pb.CompactionRequest(revision=last - 5, physical=True))
    late = stream.created(b"h", start_revision=last - 6)
    ok = stream.wait(lambda got: got[-1].canceled)
    gone = stream.snapshot()[-1]
    score.check(ok and (gone.watch_id, gone.compact_revision, gone.header.revision, gone.cancel_reason) ==
                (late.watch_id, last - 5, 0, ""), "canceled with the compact revision", str(gone))
    stream.cancel(late.watch_id)
    score.check(stream.wait(lambda got: got[-1].canceled and got[-1].compact_revision == 0),
                "the id is known until the client cancels it")
    kept = stream.created(b"h", start_revision=last - 5)
    ok = stream.wait(lambda got: len(events_of(got, kept.watch_id)) == 6)
    score.check(ok, "the compacted revision itself can still be watched")
    stream.close()


def lost_leader(args, score):
    cluster = _servers.start_kvd(args.build, 3)
    strict = Stream(cluster.members[0], metadata=[("hasleader", "true")])
    patient = Stream(cluster.members[0])
    strict.created(b"x")
    patient.created(b"x")
    cluster.members[1].kill()
    cluster.members[2].kill()
    score.check(strict.wait_end() == (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader"),
                "hasleader: the stream ends when there is none", str(strict.ended))
    score.check(patient.ended is None, "without it the stream stays open")
    strict.close()
    for member in cluster.members[1:]:
        member.start()
    _servers.wait_ready(cluster.members[0])
    with cluster.members[1].channel() as channel:
        pb.KVStub(channel).Put(pb.PutRequest(key=b"x"), wait_for_ready=True, timeout=20)
    score.check(patient.wait(lambda got: bool(got[-1].events)), "and goes on when the leader is back")
    code = cluster.members[0].stop()
    score.check(code == 0, "a member with open streams stops in order", str(code))
    ended = patient.wait_end()
    score.check(ended is not None and ended[0] == grpc.StatusCode.UNAVAILABLE, "a member that stops ends it",
                str(ended))
    patient.close()
    cluster.close()


# ---- other people's clients ----

def library(member, score):
    client = etcd3.client(host="127.0.0.1", port=member.client_port)
    seen, there = [], threading.Event()

    def on_event(answer):
        seen.extend(answer.events)
        if len(seen) >= 3:
            there.set()

    watch_id = client.add_watch_callback("lib/a", on_event)
    client.put("lib/a", "1")
    client.put("lib/a", "2")
    client.delete("lib/a")
    score.check(there.wait(20) and [type(e).__name__ for e in seen] == ["PutEvent", "PutEvent", "DeleteEvent"],
                "add_watch_callback", repr(seen))
    client.cancel_watch(watch_id)

    events, cancel = client.watch_prefix("lib/p/", prev_kv=True)
    client.put("lib/p/1", "one")
    client.put("lib/p/1", "two")
    first, second = next(events), next(events)
    score.check((first.key, first.value, second.value, second.prev_value) == (b"lib/p/1", b"one", b"two", b"one"),
                "watch_prefix with prev_kv")
    cancel()
    score.check(list(events) == [], "its iterator ends when it is canceled")

    timer = threading.Timer(0.1, lambda: client.put("lib/once", "now"))
    timer.start()
    score.check(client.watch_once("lib/once", timeout=20).value == b"now", "watch_once")
    timer.join()
    revision = client.put("lib/r", "1").header.revision
    events, cancel = client.watch("lib/r", start_revision=revision)
    score.check(next(events).value == b"1", "watch from a revision")
    cancel()


CTL = [["watch", "--rev=2", "--prefix", "k"], ["watch", "--rev=2", "--prefix", "k", "--prev-kv"],
       ["watch", "--rev=3", "k1"], ["watch", "--rev=2", "k1", "k3"], ["watch", "--rev=2", "--prefix", "", "-w", "json"],
       ["watch", "--rev=2", "--prefix", "k", "--", "sh", "-c", "echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY"],
       ["watch", "--rev=1", "zz", "--prev-kv"]]


def ctl_output(member, command, end):
    """What it prints up to the line that the last event ends in."""
    process = subprocess.Popen(["etcdctl", "--endpoints", member.endpoint, *command], stdout=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, env=dict(os.environ, ETCDCTL_API="3"))
    lines = []
    timer = threading.Timer(20, process.kill)
    timer.start()
    for line in process.stdout:
        lines.append(line.decode())
        if end in line:
            break
    timer.cancel()
    process.kill()
    process.wait()
    return "".join(lines)


def etcdctl(args, score):
    clusters = [_servers.start_etcd(), _servers.start_kvd(args.build)]
    for cluster in clusters:
        with cluster.members[0].channel() as channel:
            kv = pb.KVStub(channel)
            for i in range(1, 5):
                put(kv, b"k%d" % i, b"value %d" % i)
            put(kv, b"k1", b"again")
            kv.DeleteRange(pb.DeleteRangeRequest(key=b"k2"))
            put(kv, b"k1", b"the end")
            put(kv, b"k2", b"the end")
            put(kv, b"zz", b"the end")
    for command in CTL:
        end = b"k1" if "sh" in command else b"Events" if "json" in command else b"the end"
        outputs = [re.sub(r'"(cluster_id|member_id|raft_term)":\d+', r'"\1":0', ctl_output(c.members[0], command, end))
                   for c in clusters]
        score.check(outputs[0] == outputs[1] and outputs[0] != "", "etcdctl " + " ".join(command),
                    "etcd:\n%s\nkvd:\n%s" % tuple(outputs))
    for cluster in clusters:
        cluster.close()


def main():
    args = _servers.arguments(rounds=150)
    score = _servers.Score()
    differential(args, score)
    cluster = _servers.start_kvd(args.build, 1, ["--watch-progress-notify-interval", "100ms"])
    member = cluster.members[0]
    with member.channel() as channel:
        kv = pb.KVStub(channel)
        for test in (ids_and_cancels, delete_at_the_compaction, r5_manual_progress, timed_progress, fragments,
                     r6_r16_stopped_reader, compacted_while_behind, floods, metrics):
            test(member, kv, score)
    library(member, score)
    score.check(member.running(), "the member is still there")
    cluster.close()
    lost_leader(args, score)
    etcdctl(args, score)
    score.finish()


if __name__ == "__main__":
    main()
