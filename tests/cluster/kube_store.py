#!/usr/bin/python3
"""kube/store over kvd and over Debian's etcd (build/kubestore under the command of this script).

Random writers, some straight to the store and some through kubestore; observers that list, chunk, watch, stop,
pause and resume with all kinds of selectors; members killed with -9 and started again, compactions. What each
observer was told is compared event by event with what the store says of every revision, read one by one."""

import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402

PREFIX = b"/registry/configmaps/"
END = b"/registry/configmaps0"
NAMESPACES = ("a", "b")
NAMES = ["k%d" % i for i in range(12)]
TIMEOUT_S = 60
BEHIND_MAX = 300


def canonical(ns, name, uid, label, count):
    return json.dumps({"kind": "ConfigMap", "apiVersion": "v1",
                       "metadata": {"name": name, "namespace": ns, "uid": uid, "labels": {"x": label}},
                       "data": {"n": count}}, separators=(",", ":"))


def with_revision(text, revision):
    value = json.loads(text)
    value["metadata"]["resourceVersion"] = str(revision)
    return value


class Kubestore:
    """The program; answers go to a queue for each id."""

    def __init__(self, build, endpoints, timeout_ms=20000, history=0, compact_ms=0):
        env = dict(os.environ, KUBESTORE_TIMEOUT_MS=str(timeout_ms), KUBESTORE_HISTORY=str(history),
                   KUBESTORE_COMPACT_MS=str(compact_ms))
        self.process = subprocess.Popen([os.path.join(build, "kubestore"), endpoints], env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lock = threading.Lock()
        self.queues = {}
        self.count = 0
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        pending = None  # (queue, header, items, how many are to come)
        for line in self.process.stdout:
            line = line.rstrip("\n")
            if pending is not None:
                pending[2].append(json.loads(line))
            else:
                name, rest = line.split(" ", 1)
                target = self.queues[name]
                if not rest.startswith("list "):
                    target.put(rest)
                    continue
                words = rest.split(" ")
                pending = (target, words, [], int(words[4]))
            if len(pending[2]) == pending[3]:
                pending[0].put(pending[1] + [pending[2]])
                pending = None
        for target in list(self.queues.values()):
            target.put("failed 0 - - the program has ended")

    def open(self):
        with self.lock:
            self.count += 1
            name = "i%d" % self.count
            self.queues[name] = queue.Queue()
            return name

    def send(self, line):
        with self.lock:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def get(self, name, timeout=TIMEOUT_S):
        return self.queues[name].get(timeout=timeout)

    def ask(self, command, rest):
        name = self.open()
        self.send("%s %s %s" % (command, name, rest))
        return self.get(name)

    def ask_all(self, requests):
        """The answers to (command, rest), asked at once."""
        names = [self.open() for _ in requests]
        for name, (command, rest) in zip(names, requests):
            self.send("%s %s %s" % (command, name, rest))
        return [self.get(name) for name in names]

    def list(self, ns="-", labels="-", fields="-", fresh="newest", revision=0, limit=0, token="-"):
        """(revision, items, token, remaining), or the failure's text."""
        got = self.ask("list", "v1/configmaps %s %s %s %s %d %d %s" % (ns, labels, fields, fresh, revision, limit, token))
        if isinstance(got, str):
            return got
        return int(got[1]), got[5], got[3], int(got[2])

    def close(self):
        self.process.stdin.close()
        return self.process.wait(TIMEOUT_S)


class Historian(threading.Thread):
    """Reads the objects at every revision, one after the other."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.stubs = [pb.KVStub(m.channel()) for m in cluster.members]
        self.states = {1: {}}
        self.done = 1
        self.acked = 0  # by anybody
        self.goal = None
        self.change = threading.Condition()

    def read(self, revision):
        request = pb.RangeRequest(key=PREFIX, range_end=END, revision=revision, serializable=True)
        while True:
            for stub in list(self.stubs):
                try:
                    answer = stub.Range(request, timeout=0.5)
                    return {kv.key[len(PREFIX):].decode(): (kv.mod_revision, kv.value.decode()) for kv in answer.kvs}
                except grpc.RpcError:
                    self.stubs.append(self.stubs.pop(0))  # down, or it is not there yet
            with self.change:
                self.change.wait(0.01)

    def run(self):
        while self.goal is None or self.done < self.goal:
            state = self.read(self.done + 1)
            with self.change:
                self.done += 1
                self.states[self.done] = state
                self.change.notify_all()

    def wait_for(self, revision):
        with self.change:
            return self.change.wait_for(lambda: self.done >= revision or self.goal is not None, TIMEOUT_S)

    def end_at(self, revision):
        with self.change:
            self.goal = revision
            self.change.notify_all()


class Selector:
    def __init__(self, ns="-", labels="-", fields="-", match=None):
        self.ns, self.labels, self.fields = ns, labels, fields
        self.words = "%s %s %s" % (ns, labels, fields)
        self.match = match or (lambda ns, name, label: True)

    def matches(self, key, text):
        ns, name = key.split("/")
        if self.ns not in ("-", ns):
            return False
        return self.match(ns, name, json.loads(text)["metadata"]["labels"]["x"])

    def state(self, state):
        """What a list of it holds, in order."""
        return [with_revision(text, revision) for key, (revision, text) in sorted(state.items()) if self.matches(key, text)]


SELECTORS = [
    Selector(),
    Selector(ns="a"),
    Selector(labels="x=1", match=lambda ns, name, label: label == "1"),
    Selector(ns="b", labels="x!=1", match=lambda ns, name, label: label != "1"),
    Selector(ns="a", fields="metadata.name=k1", match=lambda ns, name, label: name == "k1"),
    Selector(fields="metadata.name=k1,metadata.namespace!=b", match=lambda ns, name, label: name == "k1" and ns != "b"),
]


def expected_events(states, selector, start, end):
    events = []
    for revision in range(start + 1, end + 1):
        before, after = states[revision - 1], states[revision]
        for key in sorted(before.keys() | after.keys()):
            old, new = before.get(key), after.get(key)
            if old == new:
                continue
            was = old is not None and selector.matches(key, old[1])
            now = new is not None and selector.matches(key, new[1])
            if now:
                events.append(("MODIFIED" if was else "ADDED", with_revision(new[1], revision)))
            elif was:
                events.append(("DELETED", with_revision(old[1], revision)))
    return events


class Observer(threading.Thread):
    """Lists and watches, again and again; remembers what it was told."""

    def __init__(self, number, program, historian, seed):
        super().__init__(daemon=True)
        self.rng = random.Random(seed)
        self.number, self.program, self.historian = number, program, historian
        self.selector = SELECTORS[number % len(SELECTORS)]
        self.lists, self.watches, self.failures = [], [], []
        self.expired = self.slow = 0
        self.watching = None
        self.final = None  # the revision to get to

    def end_at(self, revision):
        self.final = revision
        if self.watching is not None:
            self.program.queues[self.watching].put("look 0")  # it may have seen all already

    def run(self):
        start = None
        while not self.is_done(start):
            if start is None:
                start = self.list()
            elif self.rng.random() < 0.2:
                start = self.chunks() or start
            else:
                start = self.watch(start)

    def is_done(self, start):
        return self.final is not None and start is not None and start >= self.final

    def list(self):
        fresh = self.rng.choice(["newest", "newest", "any", "notolder"])
        acked = self.historian.acked
        got = self.program.list(self.selector.ns, self.selector.labels, self.selector.fields, fresh, acked)
        if isinstance(got, str):
            self.failures.append(("list " + fresh, got))
            return None
        if fresh != "any" and got[0] < acked:
            self.failures.append(("list " + fresh, "is of %d, %d was there before it began" % (got[0], acked)))
        self.lists.append((got[0], got[1]))
        return got[0]

    def chunks(self):
        """In chunks of one snapshot."""
        items, token, first = [], "-", None
        while True:
            got = self.program.list(self.selector.ns, self.selector.labels, self.selector.fields, "newest", 0,
                                    self.rng.randint(1, 4), token)
            if isinstance(got, str):
                if token == "-" or " 410 Expired " not in got:
                    self.failures.append(("chunk", got))
                return None
            revision, more, token, _ = got
            first = first or revision
            if revision != first:
                self.failures.append(("chunk", "is of %d after %d" % (revision, first)))
            items += more
            if token == "-":
                break
        self.lists.append((first, items))
        return None

    def watch(self, start):
        name = self.watching = self.program.open()
        initial = self.rng.random() < 0.3
        self.program.send("watch %s v1/configmaps %s %d %s" % (name, self.selector.words, 0 if initial else start,
                                                             "ib" if initial else "b"))
        state, events = ([], None) if initial else (None, [])
        wanted, stopping = self.rng.randint(1, 60), False
        last = start
        while True:
            if events is not None and not stopping and len(events) >= wanted and self.final is None:
                stopping = True
                self.program.send("bookmark " + name)
                self.program.send("stop " + name)
                self.program.send("get %s v1/configmaps a none any 0" % name)  # behind the last that comes
            line = self.program.get(name)
            kind, rest = line.split(" ", 1)
            if kind == "event":
                what, text = rest.split(" ", 1)
                value = json.loads(text)
                if events is None:
                    state.append(value)
                else:
                    events.append((what, value))
                    last = int(value["metadata"]["resourceVersion"])
                if self.rng.random() < 0.02 and self.final is None and not stopping:
                    self.program.send("pause " + name)
                    self.historian.wait_for(self.historian.done + self.rng.choice([10, 150]))
                    self.program.send("resume " + name)
            elif kind == "bookmark":
                revision, end = rest.split(" ")
                last = int(revision)
                if end == "1":
                    self.lists.append((last, state))
                    start, events = last, []
            elif kind != "look":
                break
            if self.final is not None and not stopping and events is not None and last >= self.final:
                wanted, stopping = 0, True
                self.program.send("stop " + name)
                self.program.send("get %s v1/configmaps a none any 0" % name)
        if events is not None:
            self.watches.append((start, events, last))
        if kind == "ended":
            code = rest.split(" ")[0]
            self.expired += code == "410"
            self.slow += code == "0"
            if code not in ("410", "0"):
                self.failures.append(("watch", line))
            if code == "410" or events is None:
                return None
        return last

    def verify(self, states, score):
        name = "observer %d (%s)" % (self.number, self.selector.words)
        for what, text in self.failures:
            score.check(False, "%s: %s" % (name, what), text)
        for revision, items in self.lists:
            wanted = self.selector.state(states[revision])
            for item in wanted:
                del item["kind"], item["apiVersion"]
            for item in items:
                item.pop("kind", None), item.pop("apiVersion", None)
            if items != wanted:
                score.check(False, "%s: list at %d" % (name, revision), "%s\n%s" % (items, wanted))
        for start, events, last in self.watches:
            wanted = expected_events(states, self.selector, start, last)
            if events != wanted:
                at = next((i for i, (a, b) in enumerate(zip(events, wanted)) if a != b), min(len(events), len(wanted)))
                score.check(False, "%s: watch from %d to %d, event %d" % (name, start, last, at),
                            "told  %s\nwanted %s" % (events[at:at + 2], wanted[at:at + 2]))
        score.check(True, name)


class Writer(threading.Thread):
    """Odd ones through kubestore, even ones straight to the store."""

    def __init__(self, number, cluster, program, historian, seed):
        super().__init__(daemon=True)
        self.rng = random.Random(seed)
        self.number, self.program, self.historian = number, program, historian
        self.stubs = [pb.KVStub(m.channel()) for m in cluster.members]
        self.acked, self.unknown, self.failures = 0, 0, []
        self.known = {}  # key: revision that this one has seen last
        self.stop = threading.Event()
        self.change = threading.Condition()

    def run(self):
        count = 0
        while not self.stop.is_set():
            count += 1
            ns, name = self.rng.choice(NAMESPACES), self.rng.choice(NAMES)
            text = canonical(ns, name, "%d-%d" % (self.number, count), self.rng.choice("01"), str(count))
            write = self.through if self.number % 2 else self.straight
            revision = write(ns, name, text)
            if revision is not None:
                with self.historian.change:
                    self.historian.acked = max(self.historian.acked, revision)
                if self.number == 2 and self.rng.random() < 0.2:  # 0 writes while kubestore stands still
                    self.look(ns, name, revision)
            with self.change:
                self.acked += revision is not None
                self.change.notify_all()
            if revision is not None:
                self.historian.wait_for(revision - BEHIND_MAX)

    def look(self, ns, name, revision):
        """Who reads the newest sees what has just been written."""
        got = self.program.ask("get", "v1/configmaps %s %s newest 0" % (ns, name)).split(" ")
        if got[0] == "object" and int(got[2]) < revision:
            self.failures.append("read at %s what was written at %d" % (got[2], revision))
        if got[0] != "object" and got[1] != "404":
            self.failures.append(" ".join(got))

    def straight(self, ns, name, text):
        key = PREFIX + ("%s/%s" % (ns, name)).encode()
        txn = pb.TxnRequest()
        if self.rng.random() < 0.25:
            txn.success.add().request_delete_range.key = key
        else:
            put = txn.success.add().request_put
            put.key, put.value = key, text.encode()
        try:
            return self.rng.choice(self.stubs).Txn(txn, timeout=0.5).header.revision
        except grpc.RpcError:
            return None

    def through(self, ns, name, text):
        key = ns + "/" + name
        revision = self.known.pop(key, None)
        if revision is None:
            got = self.program.ask("create", "v1/configmaps %s %s %s" % (ns, name, text))
        elif self.rng.random() < 0.3:
            got = self.program.ask("delete", "v1/configmaps %s %s %d" % (ns, name, revision))
            text = None
        else:
            got = self.program.ask("update", "v1/configmaps %s %s %d %s" % (ns, name, revision, text))
        words = got.split(" ", 3)
        if words[0] == "object":
            stored = json.loads(words[3])
            if text is not None:
                self.known[key] = int(words[1])
                if stored != with_revision(text, int(words[1])):
                    self.failures.append("wrote %s, was told %s" % (text, words[3]))
            return int(words[1])
        if words[1] == "409" and words[2] == "AlreadyExists":
            found = self.program.ask("get", "v1/configmaps %s %s newest 0" % (ns, name)).split(" ")
            if found[0] == "object":
                self.known[key] = int(found[1])
        elif words[1] == "504":
            self.unknown += 1
        elif words[1] not in ("404", "409"):
            self.failures.append(got)
        return None

    def wait_for_writes(self, count):
        with self.change:
            wanted = self.acked + count
            return self.change.wait_for(lambda: self.acked >= wanted, TIMEOUT_S)


def setup(cluster):
    with cluster.members[0].channel() as channel:
        kv = pb.KVStub(channel)
        for ns in NAMESPACES:
            text = '{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"%s"},"status":{"phase":"Active"}}' % ns
            kv.Put(pb.PutRequest(key=b"/registry/namespaces/" + ns.encode(), value=text.encode()), timeout=10)


def put(cluster, key, text):
    with cluster.members[0].channel() as channel:
        return pb.KVStub(channel).Put(pb.PutRequest(key=key, value=text), timeout=10).header.revision


def namespaces_are_compared(cluster, program, score):
    """In the transaction that creates: missing, terminating, and what changes while it is on its way."""
    text = canonical("none", "k", "u", "0", "1")
    got = program.ask("create", "v1/configmaps none k " + text)
    score.check(got == 'failed 404 NotFound - namespaces "none" not found', "create in no namespace", got)
    key = b"/registry/namespaces/none"
    ns = b'{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"none"},"status":{"phase":"%s"}}'
    put(cluster, key, ns % b"Terminating")
    got = program.ask("create", "v1/configmaps none k " + text)
    score.check(got == 'failed 403 Forbidden - configmaps "k" is forbidden: unable to create new content in namespace '
                'none because it is being terminated', "create in a namespace that ends", got)
    put(cluster, key, ns % b"Active")
    got = program.ask("create", "v1/configmaps none k " + text)
    score.check(got.startswith("object "), "create in a namespace that is there", got)
    got = program.ask("create", "v1/configmaps none k " + text)
    score.check(got == 'failed 409 AlreadyExists - configmaps "k" already exists', "create twice", got)
    put(cluster, key, ns % b"Terminating")
    got = program.ask("create", "v1/configmaps none k2 " + text.replace('"k"', '"k2"'))
    score.check(got.startswith("failed 403 "), "create in a namespace that has just ended", got)


def events_end_by_a_lease(cluster, program, score):
    for name in ("e1", "e2"):
        text = '{"kind":"Event","apiVersion":"v1","metadata":{"name":"%s","namespace":"a"},"reason":"r"}' % name
        got = program.ask("create", "v1/events a %s %s" % (name, text))
        score.check(got.startswith("object "), "an event is created", got)
    with cluster.members[0].channel() as channel:
        kvs = pb.KVStub(channel).Range(pb.RangeRequest(key=b"/registry/events/", range_end=b"/registry/events0"),
                                       timeout=10).kvs
        left = pb.LeaseStub(channel).LeaseTimeToLive(pb.LeaseTimeToLiveRequest(ID=kvs[0].lease, keys=True), timeout=10)
    score.check(len(left.keys) == 2 and left.grantedTTL == 3660, "two events share a lease of their life and a minute",
                str(left))


def unreadable_value_is_named(cluster, program, score):
    key = b"/registry/secrets/a/bad"
    put(cluster, key, b"k8s\0\xff")
    name = "/registry/secrets/a/bad cannot be read"
    for what, got in (("get", program.ask("get", "v1/secrets a bad newest 0")), ("list", program.ask(
            "list", "v1/secrets a - - newest 0 0 -")), ("cached list", program.ask("list", "v1/secrets a - - any 0 0 -")),
            ("cached get", program.ask("get", "v1/secrets a bad any 0"))):
        score.check(isinstance(got, str) and got.startswith("failed 500 InternalError") and name in got, what, str(got))


def many_pages(cluster, program, score):
    """More than is asked of the store at once, by whoever answers."""
    with cluster.members[0].channel() as channel:
        kv = pb.KVStub(channel)
        for first in range(0, 2500, 100):
            txn = pb.TxnRequest()
            for i in range(first, first + 100):
                op = txn.success.add().request_put
                op.key = b"/registry/serviceaccounts/a/s%04d" % i
                op.value = b'{"kind":"ServiceAccount","apiVersion":"v1","metadata":{"name":"s%04d","namespace":"a"}}' % i
            kv.Txn(txn, timeout=10)
    names = ["s%04d" % i for i in range(2500)]
    for words in ("a - - newest 0 0 -", "a - - newest 0 1200 -", "a - - any 0 0 -", "a - - newest 0 1200 -",
                  "- - metadata.name!=s0003 newest 0 1200 -"):
        got = program.ask("list", "v1/serviceaccounts " + words)
        if not score.check(not isinstance(got, str), "list " + words, got):
            continue
        wanted = [n for n in names if "!=" not in words or n != "s0003"]
        wanted = wanted[:1200] if "1200" in words else wanted
        score.check([i["metadata"]["name"] for i in got[5]] == wanted, "list %s has what it shall" % words)
        left = 1300 if "1200" in words and "!=" not in words else -1
        score.check(int(got[2]) == left and (got[3] != "-") == ("1200" in words), "list %s says what is left" % words,
                    " ".join(got[:5]))


def continues_after_compaction(cluster, score, args):
    """A token of a revision that is gone: 410 with one that goes on."""
    program = Kubestore(args.build, cluster.endpoints)
    revision, items, token, left = program.list(ns="a", limit=2)
    score.check(len(items) == 2 and left == 3, "a chunk of two, three left", "%d %d" % (len(items), left))
    last = put(cluster, PREFIX + b"a/k9", canonical("a", "k9", "u", "0", "9").encode())
    with cluster.members[0].channel() as channel:
        pb.KVStub(channel).Compact(pb.CompactionRequest(revision=last), timeout=10)
    got = Kubestore.list(program, ns="a", limit=2, token=token)
    if not isinstance(got, str):  # its own history still has it
        score.check(got[0] == revision and len(got[1]) == 2, "history goes on", str(got))
    other = Kubestore(args.build, cluster.endpoints)
    got = other.list(ns="a", limit=2, token=token)
    score.check(isinstance(got, str) and got.startswith("failed 410 Expired ey"), "410 with a token", str(got))
    got = other.list(ns="a", limit=10, token=got.split(" ")[3])
    score.check(got[0] >= last and [i["metadata"]["name"] for i in got[1]] == ["k2", "k3", "k4", "k9"],
                "which goes on from the newest state", str(got))
    got = other.list(ns="a", fresh="exact", revision=revision)
    score.check(got == "failed 410 Expired - The resourceVersion for the provided list is too old.", "exactly that", str(got))
    got = other.list(ns="a", fresh="notolder", revision=last + 1000)
    score.check(got == "failed 504 Timeout - Timeout: Too large resource version: %d, current: %d" % (last + 1000, last),
                "a revision that is not there yet", str(got))
    program.close()
    other.close()


def one_of_two_compacts(cluster, score, args):
    """Each round by one of them, up to what the round before has seen."""
    programs = [Kubestore(args.build, cluster.endpoints, compact_ms=1) for _ in range(2)]
    with cluster.members[0].channel() as channel:
        kv = pb.KVStub(channel)
        rounds, compacted = [], False
        while not compacted or len(rounds) < 3:
            got = kv.Range(pb.RangeRequest(key=b"compact_rev_key"), timeout=10)
            if got.kvs and got.kvs[0] not in rounds:
                rounds.append(got.kvs[0])
            try:
                kv.Range(pb.RangeRequest(key=b"x", revision=rounds[0].mod_revision - 1 if rounds else 0), timeout=10)
            except grpc.RpcError as refusal:
                compacted = "required revision has been compacted" in refusal.details()
        versions = [kv.version for kv in rounds]
        score.check(versions == sorted(versions), "the rounds are counted", str(versions))
        score.check(all(int(kv.value) < kv.mod_revision for kv in rounds), "what is there now stays", str(rounds))
    for program in programs:
        program.close()


def lost_store(cluster, score, args):
    """Any state goes on, the rest fails in time and says why; then all is well again."""
    program = Kubestore(args.build, cluster.endpoints, timeout_ms=1500)
    before = program.list(ns="a")
    watch = program.open()
    program.send("watch %s v1/configmaps a - - %d b" % (watch, before[0]))
    for member in cluster.members:
        member.kill()
    got = program.list(ns="a", fresh="any")
    score.check(got == before, "any state is there", str(got))
    got = program.ask("get", "v1/configmaps a k1 any 0")
    score.check(got.startswith("object "), "any object is there", got)
    requests = [("list", "v1/configmaps a - - newest 0 0 -"), ("get", "v1/configmaps a k1 newest 0"), ("health", ""),
                ("create", "v1/configmaps a k8 " + canonical("a", "k8", "u", "0", "8")), ("list", "v1/pods a - - any 0 0 -"),
                ("delete", "v1/configmaps a k1 1")]
    for (what, _), got in zip(requests, program.ask_all(requests)):
        score.check(got.split(" ")[1] in ("503", "504") and "127.0.0.1:" in got, what + " says why", str(got))
    for member in cluster.members:
        member.start()
    for member in cluster.members:
        _servers.wait_ready(member)
    revision = put(cluster, PREFIX + b"a/k1", canonical("a", "k1", "u", "0", "again").encode())
    got = program.get(watch)
    score.check(got.startswith("event MODIFIED ") and '"resourceVersion":"%d"' % revision in got, "the watch goes on", got)
    got = program.list(ns="a")
    score.check(got[0] == revision, "so do lists", str(got))
    program.close()


def one_by_one(cluster, score, args):
    score.complete = False
    setup(cluster)
    program = Kubestore(args.build, cluster.endpoints)
    for i in range(5):
        put(cluster, PREFIX + b"a/k%d" % i, canonical("a", "k%d" % i, "u", "0", str(i)).encode())
    namespaces_are_compared(cluster, program, score)
    events_end_by_a_lease(cluster, program, score)
    unreadable_value_is_named(cluster, program, score)
    many_pages(cluster, program, score)
    score.check(program.close() == 0, "kubestore ends in order")
    continues_after_compaction(cluster, score, args)
    one_of_two_compacts(cluster, score, args)
    lost_store(cluster, score, args)
    score.complete = True


def end_of(cluster, score):
    """The same last change for every selector; its revision."""
    revision = 0
    for ns in reversed(NAMESPACES):
        for label in "01":
            put = pb.PutRequest(key=PREFIX + ("%s/k1" % ns).encode(), value=canonical(ns, "k1", "end", label, "end").encode())
            for member in cluster.members * 20:
                try:
                    with member.channel() as channel:
                        revision = pb.KVStub(channel).Put(put, timeout=2).header.revision
                    break
                except grpc.RpcError:
                    continue
    score.check(revision != 0, "the last writes are taken")
    return revision


def compact(cluster, historian, rng, behind=60):
    revision = historian.done - rng.randint(0, behind)
    for member in cluster.members:
        try:
            with member.channel() as channel:
                pb.KVStub(channel).Compact(pb.CompactionRequest(revision=revision), timeout=2)
            return
        except grpc.RpcError:
            continue


def lose_history(cluster, program, rng, writers, historian, score):
    """kubestore stands still, its connections break, and what it has missed is compacted."""
    program.process.send_signal(signal.SIGSTOP)
    for member in cluster.members:
        member.kill()
        member.start()
        _servers.wait_ready(member)
    score.check(writers[0].wait_for_writes(50), "others write meanwhile")
    historian.wait_for(historian.done + 40)
    compact(cluster, historian, rng, 0)
    program.process.send_signal(signal.SIGCONT)


def faults(cluster, program, rng, writers, historian, score, rounds):
    for round in range(rounds):
        score.check(rng.choice(writers).wait_for_writes(30), "writers go on")
        what = rng.random()
        if round % 4 == 3:
            lose_history(cluster, program, rng, writers, historian, score)
            continue
        if what < 0.4:
            compact(cluster, historian, rng)
        elif len(cluster.members) > 1 or what < 0.7:
            member = rng.choice(cluster.members)
            member.kill()
            if len(cluster.members) > 1:
                score.check(writers[0].wait_for_writes(10), "the others go on")
            if rng.random() < 0.5:
                compact(cluster, historian, rng)
            member.start()
            _servers.wait_ready(member)


def random_run(cluster, args, score, rounds):
    rng = random.Random(args.seed)
    setup(cluster)
    program = Kubestore(args.build, cluster.endpoints, history=100)
    historian = Historian(cluster)
    historian.start()
    writers = [Writer(i, cluster, program, historian, rng.random()) for i in range(4)]
    observers = [Observer(i, program, historian, rng.random()) for i in range(2 * len(SELECTORS))]
    for thread in writers + observers:
        thread.start()
    faults(cluster, program, rng, writers, historian, score, rounds)
    for writer in writers:
        writer.stop.set()
    for writer in writers:
        writer.join(TIMEOUT_S)
    final = end_of(cluster, score)
    historian.end_at(final)
    for observer in observers:
        observer.end_at(last_for(observer.selector, final))
    for observer in observers:
        observer.join(TIMEOUT_S)
        score.check(not observer.is_alive(), "observer %d has seen all" % observer.number)
    historian.join(TIMEOUT_S)
    score.check(program.close() == 0, "kubestore ends in order")
    for writer in writers:
        score.check(not writer.failures, "writer %d" % writer.number, "\n".join(writer.failures[:5]))
    for observer in observers:
        observer.verify(historian.states, score)
    print("%s: %d revisions, %d lists, %d watches, %d events, %d expired, %d slow, %d writes of unknown fate" % (
        cluster.members[0].kind, final, sum(len(o.lists) for o in observers), sum(len(o.watches) for o in observers),
        sum(len(w[1]) for o in observers for w in o.watches), sum(o.expired for o in observers),
        sum(o.slow for o in observers), sum(w.unknown for w in writers)), flush=True)


def last_for(selector, final):
    """end_of() writes b/k1 x=0, b/k1 x=1, a/k1 x=0, a/k1 x=1, the last at `final`."""
    if selector.ns == "b" and selector.labels == "x!=1":
        return final - 2  # its DELETED
    return final


def main():
    args = _servers.arguments(rounds=7)
    score = _servers.Score()
    both = [(cluster, _servers.Score()) for cluster in (_servers.start_kvd(args.build), _servers.start_etcd())]
    threads = [threading.Thread(target=one_by_one, args=(cluster, part, args)) for cluster, part in both]
    for thread in threads:
        thread.start()
    for thread, (cluster, part) in zip(threads, both):
        thread.join()
        cluster.close()
        score.passed += part.passed
        score.failed += part.failed
        score.check(part.complete, "%s is looked at to the end" % cluster.members[0].kind)
    cluster = _servers.start_kvd(args.build, 3)
    random_run(cluster, args, score, args.rounds)
    cluster.close()
    cluster = _servers.start_etcd(1)
    random_run(cluster, args, score, args.rounds // 2)
    cluster.close()
    score.finish()


if __name__ == "__main__":
    main()
