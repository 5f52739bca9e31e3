#!/usr/bin/python3
"""Three kvapi on three kvd, while members of both kinds are killed with -9: no read fails, no acknowledged write is
lost, all kvapi end with the same objects. Without a quorum of kvd, reads that take any state (resourceVersion=0) go on,
writes fail with a Status that says why, /livez stays ok and /readyz does not; and all comes back by itself.

A client turns to another kvapi when its own is gone, as behind a balancer. A write that failed is unknown: it may be
there or not.
"""

import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _kube  # noqa: E402
import _servers  # noqa: E402

WRITERS, READERS, KEYS_PER_WRITER = 3, 3, 4
PATH = "/api/v1/namespaces/default/configmaps"
WAIT_S = 60
REQUEST_TIMEOUT = ["--request-timeout", "3s"]  # what a write without a quorum waits for


class Client(threading.Thread):
    """Asks one kvapi after the other; has connections of its own to each."""

    def __init__(self, name, servers, seed):
        super().__init__(daemon=True)
        self.name, self.rng = name, random.Random(seed)
        self.servers = [_kube.Remote(s) for s in servers]
        self.stop, self.problems = threading.Event(), []
        self.done, self.progress = 0, threading.Condition()
        self.longest = 0.0

    def ask(self, *words, **more):
        """The answer, or None when the connection broke: then nobody knows."""
        server = self.rng.choice(self.servers)
        try:
            return server.ask(*words, timeout=WAIT_S, **more)
        except OSError:
            return None

    def run(self):
        last = time.monotonic()
        while not self.stop.is_set():
            if self.step():
                now = time.monotonic()
                self.longest, last = max(self.longest, now - last), now
                with self.progress:
                    self.done += 1
                    self.progress.notify_all()
        for server in self.servers:
            server.forget()

    def wait_for(self, count):
        """Until that many more than now are done."""
        with self.progress:
            wanted = self.done + count
            return self.progress.wait_for(lambda: self.done >= wanted, WAIT_S)


class Writer(Client):
    """Writes to its own objects only, so that the last acknowledged value of each is known."""

    def __init__(self, *words):
        super().__init__(*words)
        self.acked, self.unknown = {}, {}
        self.count = self.failed = 0
        self.last_failure = None

    def step(self):
        self.count += 1
        key = "%s-%d" % (self.name, self.rng.randrange(KEYS_PER_WRITER))
        body = {"metadata": {"name": key}, "data": {"value": str(self.count)}}
        answer = self.ask("POST", PATH, body) if key not in self.acked else self.ask("PUT", "%s/%s" % (PATH, key), body)
        if answer is not None and answer.status in (200, 201):
            revision = int(answer.json["metadata"]["resourceVersion"])
            if key in self.acked and revision <= self.acked[key][0]:
                self.problems.append("%s: revision went back to %d" % (key, revision))
            self.acked[key], self.unknown[key] = (revision, str(self.count)), []
            return True
        self.failed += 1
        self.last_failure = answer
        self.unknown.setdefault(key, []).append(str(self.count))
        if answer is not None and answer.status == 409 and key not in self.acked:
            # An earlier create that seemed to fail was done; from now on it is an update.
            self.acked[key] = (0, None)
        elif answer is not None and answer.status < 500:
            self.problems.append("%s: %s" % (key, answer))
        return False

    def check(self, state):
        for key, (revision, value) in self.acked.items():
            if key not in state:
                self.problems.append("%s: acknowledged value %s is gone" % (key, value))
                continue
            there, got = state[key]
            if there < revision or (there == revision and got != value):
                self.problems.append("%s: %s at %d, acknowledged was %s at %d" % (key, got, there, value, revision))
            elif there > revision and got not in self.unknown[key]:
                self.problems.append("%s: a value that nobody wrote: %s" % (key, got))


class Reader(Client):
    """Gets and lists, of the newest state and of any; every answer has to be good, and never older than one before
    where the newest was asked for."""

    def __init__(self, *words):
        super().__init__(*words)
        self.newest = 0

    def step(self):
        kind = self.rng.randrange(4)
        path = ["/api/v1/namespaces/default", PATH + "?limit=5", PATH, PATH + "?resourceVersion=0"][kind]
        answer = self.ask("GET", path)
        if answer is None:
            return False
        if answer.status != 200:
            self.problems.append("GET %s: %s" % (path, answer))
        elif kind in (1, 2):
            revision = int(answer.json["metadata"]["resourceVersion"])
            if revision < self.newest:
                self.problems.append("GET %s: of revision %d after %d" % (path, revision, self.newest))
            self.newest = max(self.newest, revision)
        return True


def objects(api):
    answer = api.ask("GET", PATH)
    return {i["metadata"]["name"]: (int(i["metadata"]["resourceVersion"]), i["data"]["value"]) for i in answer.json["items"]}


def progress(score, clients, what):
    for client in clients:
        score.check(client.wait_for(5), "%s goes on: %s" % (client.name, what), getattr(client, "last_failure", ""))


def kill_in_turn(score, rng, cluster, apis, clients, rounds):
    for number in range(rounds):
        member = cluster.members[number % 3]
        api = apis[rng.randrange(3)] if number % 2 else None
        member.kill()
        if api is not None:
            api.kill()
        progress(score, clients, "without %s%s" % (member.name, " and " + api.name if api else ""))
        member.start()
        if api is not None:
            api.start().wait_ready()
        _servers.wait_ready(member)
        progress(score, clients, "with %s again" % member.name)


def without_quorum(score, cluster, apis, name):
    for api in apis:
        score.check(api.ask("GET", PATH + "?resourceVersion=0").status == 200, "a list fills the cache")
    for member in cluster.members[:2]:
        member.kill()
    api = apis[2]
    answer = api.ask("POST", PATH, {"metadata": {"name": "no-quorum"}}, timeout=2 * WAIT_S)
    score.check(answer.status in (500, 503, 504) and answer.json["kind"] == "Status" and len(answer.json["message"]) > 10,
                "a write fails, and says why", answer)
    print("without quorum a write says:", answer.json.get("message"), flush=True)
    score.check(api.ask("GET", PATH + "?resourceVersion=0").status == 200, "a list of any state goes on")
    score.check(api.ask("GET", "%s/%s?resourceVersion=0" % (PATH, name)).status == 200, "a get of any state goes on")
    answer = api.ask("GET", "/livez")
    score.check((answer.status, answer.body) == (200, b"ok"), "/livez stays ok", answer)
    answer = api.ask("GET", "/readyz")
    score.check(answer.status in (500, 503) and b"etcd" in answer.body, "/readyz says that the store is missing", answer)
    for member in cluster.members[:2]:
        member.start()
    for member in cluster.members:
        _servers.wait_ready(member)
    for api in apis:
        api.wait_ready()
    answer = api.ask("POST", PATH, {"metadata": {"name": "after"}})
    score.check(answer.status == 201, "with a quorum all is well again", answer)


def main():
    args = _servers.arguments(rounds=6)
    rng = random.Random(args.seed)
    score = _servers.Score()
    setting = _kube.Setting()
    cluster = _servers.start_kvd(args.build, 3)
    endpoints = ",".join("http://" + m.endpoint for m in cluster.members)
    apis = [_kube.Kvapi(args.build, setting, endpoints, "kvapi-%d" % i, REQUEST_TIMEOUT).start() for i in range(3)]
    for api in apis:
        api.wait_ready()
    writers = [Writer("w%d" % i, apis, rng.random()) for i in range(WRITERS)]
    readers = [Reader("r%d" % i, apis, rng.random()) for i in range(READERS)]
    clients = writers + readers
    for client in clients:
        client.start()
    kill_in_turn(score, rng, cluster, apis, clients, args.rounds)
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join(2 * WAIT_S)
    states = [objects(api) for api in apis]
    score.check(states[0] == states[1] == states[2], "all kvapi have the same objects", str(states))
    for writer in writers:
        writer.check(states[0])
    for client in clients:
        score.check(not client.problems, "%s has nothing to complain about" % client.name, "\n".join(client.problems[:10]))
    score.check(all(c.done >= 10 * args.rounds for c in clients), "the load was worth the name", str([c.done for c in clients]))
    print("%d writes acknowledged, %d failed or unknown, longest pause %.2f s; %d reads, longest pause %.2f s"
          % (sum(w.done for w in writers), sum(w.failed for w in writers), max(w.longest for w in writers),
             sum(r.done for r in readers), max(r.longest for r in readers)), flush=True)
    without_quorum(score, cluster, apis, min(states[0]))
    for api in apis:
        score.check(api.stop() == 0, "%s stops in good order" % api.name, api.log_tail())
    if score.failed:
        setting.keep()
        cluster.keep()
    score.finish()


if __name__ == "__main__":
    main()
