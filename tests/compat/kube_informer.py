#!/usr/bin/python3
"""An informer that nobody here wrote, npm's @kubernetes/client-node, misses no event and sees none twice: while a writer
creates, updates and deletes through another kvapi, its own is killed, stopped and started again, and the store is compacted
behind what it has seen.

A watch on kvd itself says what really happened, in which order. What comes through each watch of an informer has to
be exactly what happened after the revision it was opened at; each list, and in the end the informer's cache, what there was
at its revision. One of the two informers has a label selector: objects come to it when they begin to match, and are
deleted for it when they stop.
"""

import json
import os
import random
import subprocess
import sys
import threading

import grpc
from etcd3 import etcdrpc as pb

import _kube
import _npm
import _servers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "npm_kube")
NAMESPACE = "default"
PATH = "/api/v1/namespaces/%s/configmaps" % NAMESPACE
PREFIX = b"/registry/configmaps/%s/" % NAMESPACE.encode()
SELECTOR = "parity=even"
NAMES = ["c%d" % i for i in range(12)]
WAIT_S = 60


class Truth(threading.Thread):
    """What happened, from kvd: (revision, name, value, even) with value None for a deletion."""

    def __init__(self, member):
        super().__init__(daemon=True)
        self.events, self.changed = [], threading.Condition()
        self.channel = member.channel(own=True)
        request = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=PREFIX, range_end=PREFIX[:-1] + b"0", start_revision=1))
        self.hold = threading.Event()
        self.stream = pb.WatchStub(self.channel).Watch(self.requests(request))

    def requests(self, first):
        yield first
        self.hold.wait()

    def run(self):
        try:
            for answer in self.stream:
                for event in answer.events:
                    name = event.kv.key[len(PREFIX):].decode()
                    value = even = None
                    if event.type == 0:
                        stored = json.loads(event.kv.value)
                        value, even = stored["data"]["value"], stored["metadata"]["labels"]["parity"] == "even"
                    with self.changed:
                        self.events.append((event.kv.mod_revision, name, value, even))
                        self.changed.notify_all()
        except grpc.RpcError:
            pass  # the test is over

    def wait_for(self, name):
        with self.changed:
            return self.changed.wait_for(lambda: any(e[1] == name for e in self.events), WAIT_S)

    def close(self):
        self.hold.set()
        self.stream.cancel()
        self.join(WAIT_S)
        self.channel.close()

    def seen_by(self, selected):
        """(type, name, revision, value) as a watch shows it; and for each revision the state after it."""
        state, out = {}, []
        for revision, name, value, even in self.events:
            matches = value is not None and (even or not selected)
            if matches:
                out.append(("MODIFIED" if name in state else "ADDED", name, revision, value))
                state[name] = (revision, value)
            elif name in state:
                out.append(("DELETED", name, revision, state.pop(name)[1]))
        return out

    def state_at(self, selected, at):
        state = {}
        for kind, name, revision, value in self.seen_by(selected):
            if revision > at:
                break
            if kind == "DELETED":
                del state[name]
            else:
                state[name] = (revision, value)
        return state


class Informer(threading.Thread):
    """The node process, and what it has said."""

    def __init__(self, folder, kubeconfig):
        super().__init__(daemon=True)
        self.lines, self.heard = [], threading.Condition()
        self.newest = {"all": 0, "some": 0}
        self.process = subprocess.Popen(["node", os.path.join(HERE, "informer.mjs"), kubeconfig, os.path.join(folder, "node_modules"),
                                         NAMESPACE, SELECTOR], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def run(self):
        for line in self.process.stdout:
            said = json.loads(line)
            with self.heard:
                self.lines.append(said)
                if "rv" in said:
                    self.newest[said["who"]] = max(self.newest[said["who"]], said["rv"])
                self.heard.notify_all()

    def wait_for(self, revision):
        with self.heard:
            return self.heard.wait_for(lambda: self.newest["all"] >= revision, WAIT_S)

    def end(self):
        try:
            return self.process.wait(WAIT_S)
        finally:
            self.process.kill()
            self.process.wait()
            self.join(WAIT_S)
            self.process.stdout.close()


class Writer:
    def __init__(self, api, rng, score):
        self.api, self.rng, self.score = api, rng, score
        self.count, self.there, self.revision = 0, set(), 0

    def body(self, name):
        self.count += 1
        return {"metadata": {"name": name, "labels": {"parity": self.rng.choice(["even", "odd"])}}, "data": {"value": str(self.count)}}

    def ask(self, want, method, path, body=None, headers=None):
        answer = self.api.ask(method, path, body, headers)
        if not self.score.check(answer.status == want, "%s %s" % (method, path), answer):
            sys.exit("the writer can not go on")
        metadata = answer.json["metadata"]
        self.revision = max(self.revision, int(metadata.get("resourceVersion", 0)))

    def write(self, name=None):
        name = name or self.rng.choice(NAMES)
        one = "%s/%s" % (PATH, name)
        if name not in self.there:
            self.ask(201, "POST", PATH, self.body(name))
            self.there.add(name)
        elif self.rng.random() < 0.2:
            self.ask(200, "DELETE", one)
            self.there.remove(name)
        elif self.rng.random() < 0.5:
            self.ask(200, "PUT", one, self.body(name))
        else:
            self.ask(200, "PATCH", one, json.dumps(self.body(name)), {"Content-Type": "application/merge-patch+json"})

    def write_many(self, count):
        for _ in range(count):
            self.write()
        # An update, so that the last revision is known.
        name = self.rng.choice(NAMES)
        if name in self.there:
            self.ask(200, "PUT", "%s/%s" % (PATH, name), self.body(name))
        else:
            self.write(name)


def compact(member, revision):
    with member.channel() as channel:
        pb.KVStub(channel).Compact(pb.CompactionRequest(revision=revision), timeout=WAIT_S, wait_for_ready=True)


def churn(score, rng, member, theirs, writer, informer, rounds):
    """Each round: writes, something goes wrong, writes, and the informer has caught up."""
    for number in range(rounds):
        what = rng.choice(["kill", "stop", "kill and compact", "stop and compact", "compact"]) if number > 4 else \
            ["kill", "compact", "stop and compact", "stop", "kill and compact"][number]
        writer.write_many(rng.randint(5, 60))
        if "kill" in what:
            theirs.kill()
        elif "stop" in what:
            score.check(theirs.stop() == 0, "kvapi stops in good order", theirs.log_tail())
        writer.write_many(rng.randint(1, 40))
        if "compact" in what:
            compact(member, writer.revision)
        if theirs.process.poll() is not None:
            theirs.start()
        writer.write_many(rng.randint(1, 20))
        if not score.check(informer.wait_for(writer.revision), "the informer catches up after: %s" % what,
                           "at %s, wanted %d\n%s\n%s" % (informer.newest, writer.revision, informer.lines[-8:], theirs.log_tail(5))):
            return


def judge(score, who, truth, lines):
    """Every watch is exactly what happened since it began, every list what there was."""
    selected = who == "some"
    happened = truth.seen_by(selected)
    watches = lists = events = 0
    begun, place = None, 0
    for line in (l for l in lines if l["who"] == who):
        what = line["what"]
        if what == "watch":
            watches += 1
            begun = line["rv"]
            place = next((i for i, e in enumerate(happened) if e[2] > begun), len(happened))
        elif what in ("list", "cache"):
            lists += what == "list"
            at = line["rv"] if what == "list" else truth.events[-1][0]
            got = {o["name"]: (o["rv"], o["value"]) for o in line["objects"]}
            score.check(got == truth.state_at(selected, at), "%s: the %s is what there was at %d" % (who, what, at), str(got))
        elif what in ("ADDED", "MODIFIED", "DELETED"):
            events += 1
            want = happened[place] if place < len(happened) else None
            place += 1
            got = (what, line["name"], line["rv"], line["value"])
            if not score.check(got == want, "%s: the next event of the watch from %d" % (who, begun), "%s, not %s" % (got, want)):
                return
    print("%s: %d watches, %d lists, %d events of %d" % (who, watches, lists, events, len(happened)), flush=True)
    score.check(watches >= 4 and lists >= 2 and events >= 50, "%s: the churn was worth the name" % who)


def main():
    args = _servers.arguments(rounds=12)
    folder = _npm.install(HERE, os.path.join(args.build, "npm_kube"))
    rng = random.Random(args.seed)
    setting = _kube.Setting()
    score = _servers.Score()
    kvd = _servers.start_kvd(args.build)
    member = kvd.members[0]
    ours = _kube.Kvapi(args.build, setting, "http://" + member.endpoint, "writers").start().wait_ready()
    theirs = _kube.Kvapi(args.build, setting, "http://" + member.endpoint, "informers").start().wait_ready()
    truth = Truth(member)
    truth.start()
    writer = Writer(ours, rng, score)
    writer.write_many(20)
    informer = Informer(folder, setting.kubeconfig("kubeconfig", theirs.server))
    informer.start()
    score.check(informer.wait_for(writer.revision), "the informer lists")
    churn(score, rng, member, theirs, writer, informer, args.rounds)
    writer.ask(201, "POST", PATH, {"metadata": {"name": "end", "labels": {"parity": "even"}}, "data": {"value": "end"}})
    score.check(informer.end() == 0, "the informer ends by itself", informer.lines[-5:])
    score.check(truth.wait_for("end"), "kvd's own watch has seen the end")
    truth.close()
    for who in ("all", "some"):
        judge(score, who, truth, informer.lines)
    for api in (ours, theirs):
        score.check(api.stop() == 0, "%s stops in good order" % api.name, api.log_tail())
    if score.failed:
        setting.keep()
    score.finish()


if __name__ == "__main__":
    main()
