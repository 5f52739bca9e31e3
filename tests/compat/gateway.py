#!/usr/bin/python3
"""The same JSON requests to the gateways of etcd and kvd: status and parsed answer have to agree.

Ids, terms and what only etcd's version tells are taken out first; numbers may differ by nothing
else, so 64-bit values have to be strings where etcd's are. Streams go through curl, as people do it.
"""

import base64
import json
import queue
import random
import socket
import subprocess
import threading
import urllib.error
import urllib.request

import _servers

WAIT_S = 20
# What differs by design: which member, which term, how etcd 3.4 stores things; the "error" that
# gateways of its time add to "message".
PRIVATE = {"cluster_id", "member_id", "raft_term", "error", "leader", "dbSize", "dbSizeInUse",
           "raftIndex", "raftTerm", "raftAppliedIndex", "storageVersion", "dbSizeQuota",
           "downgradeInfo", "peerURLs", "clientURLs"}


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def request(member, path, body, headers=(), method="POST"):
    """Status and body, whatever the status."""
    data = body if isinstance(body, bytes) else body.encode()
    req = urllib.request.Request("http://%s%s" % (member.endpoint, path), data=data if method == "POST" else None,
                                 method=method, headers=dict(headers))
    try:
        with urllib.request.urlopen(req, timeout=WAIT_S) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def clean(value, ids):
    """Without the private parts; member ids by the order of their first appearance."""
    if isinstance(value, dict):
        return {k: clean(v, ids) for k, v in value.items() if k not in PRIVATE or (k == "leader" and isinstance(v, dict))}
    if isinstance(value, list):
        return [clean(v, ids) for v in value]
    if isinstance(value, str) and value in ids:
        return "member"
    return value


class Pair:
    """etcd and kvd, asked the same."""

    def __init__(self, etcd, kvd, score):
        self.members = [etcd, kvd]
        self.score = score
        self.ids = set()
        for member in self.members:
            _, _, body = request(member, "/v3/cluster/member/list", "{}")
            self.ids.add(json.loads(body)["members"][0]["ID"])

    def parsed(self, member, path, body, headers=()):
        status, _, text = request(member, path, body, headers)
        try:
            # 3.4 says 412 for FailedPrecondition, later gateways 400.
            return 400 if status == 412 else status, clean(json.loads(text), self.ids)
        except ValueError:
            return status, text

    def same(self, path, body, texts=True, headers=()):
        """texts=False: the parser's own words may differ, code and status may not."""
        if not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        answers = [self.parsed(m, path, body, headers) for m in self.members]
        if not texts:
            for _, answer in answers:
                if isinstance(answer, dict):
                    answer.pop("message", None)
        self.score.check(answers[0] == answers[1], "%s %.200s" % (path, body),
                         "  etcd %.2000s\n  kvd  %.2000s" % tuple(str(a) for a in answers))
        return answers[1]


# ---- keys ----

def key_value(pair):
    pair.same("/v3/kv/put", {"key": b64("foo"), "value": b64("bar")})
    pair.same("/v3/kv/put", {"key": b64("foo"), "value": b64(bytes(range(256))), "prev_kv": True})
    pair.same("/v3/kv/put", {"key": b64("fop"), "value": ""})
    pair.same("/v3/kv/put", {"key": b64("foo"), "ignore_value": True, "value": b64("x")})
    pair.same("/v3/kv/put", {"key": b64("none"), "ignore_value": True})
    pair.same("/v3/kv/put", {"value": b64("x")})
    pair.same("/v3/kv/range", {"key": b64("foo")})
    pair.same("/v3beta/kv/range", {"key": b64("foo")})
    pair.same("/v3/kv/range", {"key": b64("nothing")})
    for order in ("NONE", "ASCEND", "DESCEND", 0, 1, 2, None):
        for target in ("KEY", "VERSION", "CREATE", "MOD", "VALUE", 3):
            pair.same("/v3/kv/range", {"key": "AA==", "range_end": "AA==", "sort_order": order,
                                       "sort_target": target})
    pair.same("/v3/kv/range", {"key": b64("f"), "range_end": b64("g"), "limit": "1"})
    pair.same("/v3/kv/range", {"key": b64("f"), "range_end": b64("g"), "limit": 1})
    pair.same("/v3/kv/range", {"key": b64("f"), "range_end": b64("g"), "count_only": True})
    pair.same("/v3/kv/range", {"key": b64("f"), "range_end": b64("g"), "keys_only": True})
    pair.same("/v3/kv/range", {"key": b64("foo"), "revision": "2", "serializable": True})
    pair.same("/v3/kv/range", {"key": b64("foo"), "revision": 99999})
    pair.same("/v3/kv/range", {"key": b64("foo"), "revision": "-1"})
    pair.same("/v3/kv/deleterange", {"key": b64("fop"), "prev_kv": True})
    pair.same("/v3/kv/deleterange", {"key": b64("fop")})
    pair.same("/v3/kv/deleterange", {})


def transactions(pair):
    then = [{"request_range": {"key": b64("foo")}},
            {"request_put": {"key": b64("t"), "value": b64("1")}},
            {"request_delete_range": {"key": b64("u"), "prev_kv": True}}]
    other = [{"request_txn": {"success": [{"request_put": {"key": b64("n"), "prev_kv": True}}]}}]
    for compare in ({"key": b64("foo"), "target": "VALUE", "value": b64("bar")},
                    {"key": b64("foo"), "target": "VERSION", "result": "GREATER", "version": "0"},
                    {"key": b64("foo"), "target": "CREATE", "result": "LESS", "create_revision": 5},
                    {"key": b64("foo"), "target": 2, "result": 3, "mod_revision": "0"},
                    {"key": b64("foo"), "target": "LEASE", "lease": 0},
                    {"key": b64("a"), "range_end": b64("z"), "target": "VERSION", "version": 0}):
        pair.same("/v3/kv/txn", {"compare": [compare], "success": then, "failure": other})
    pair.same("/v3/kv/txn", {})
    pair.same("/v3/kv/txn", {"success": [{"request_range": None}]})
    pair.same("/v3/kv/txn", {"success": [{"request_put": {}}]})
    pair.same("/v3/kv/txn", {"success": [{"request_put": {"key": b64("d")}}] * 2})
    pair.same("/v3/kv/txn", {"success": [{"request_range": {"key": b64("d")}}] * 129})


def compaction(pair):
    _, answer = pair.same("/v3/kv/put", {"key": b64("c")})
    revision = int(answer["header"]["revision"])
    pair.same("/v3/kv/compaction", {"revision": str(revision - 1), "physical": True})
    pair.same("/v3/kv/compaction", {"revision": revision - 1})
    pair.same("/v3/kv/compaction", {"revision": revision + 10})
    pair.same("/v3/kv/range", {"key": b64("c"), "revision": revision - 2})


# ---- JSON ----

def accepted(pair):
    """Forms that both take."""
    for body in ("", "null", " \n{}\t", '{"key":null}', '{"key":"Zm9v","unknown":[1,{"a":[]}]}',
                 '{"key":"Zm9v"} trailing', '{"key":"Zm9v"}{"key":"eA=="}', '{"key":"Zm9v","key":"eA=="}',
                 '{"\\u006bey":"Zm9v"}', '{"key":"Zm\\u0039v"}', '{"key":"Zm9v","limit":"9223372036854775807"}',
                 '{"key":"Zm9v","limit":-9223372036854775808}', '{"key":"Zm9v","limit":0}',
                 '{"key":"Zm9v","sortOrder":1}'):
        pair.same("/v3/kv/range", body)
    pair.same("/v3/kv/range", {"key": b64("foo")}, headers={"Content-Type": "text/plain"})


def refused(pair):
    """Forms that neither takes."""
    deep = '{"a":' * 10001 + "1" + "}" * 10001
    for body in ("[]", "1", '"x"', "{", '{"key":', '{"key":"Zm9v"', '{"key":"Zm9v",}', "{'key':'Zm9v'}",
                 '{"key":1}', '{"key":{}}', '{"key":["Zm9v"]}', '{"key":"Zm9"}x'.replace("Zm9", "Z"),
                 '{"key":"Zm9v!"}', '{"key":"Zm=v"}', '{"key":"Zm9v","limit":true}', '{"key":"Zm9v","limit":"x"}',
                 '{"key":"Zm9v","limit":9223372036854775808}', '{"key":"Zm9v","limit":"-9223372036854775809"}',
                 '{"key":"Zm9v","limit":99999999999999999999999}', '{"key":"Zm9v","limit":1.5}',
                 '{"key":"Zm9v","limit":"0x10"}', '{"key":"Zm9v","keys_only":"true"}', '{"key":"Zm9v","keys_only":1}',
                 '{"key":"Zm9v","sort_order":"UP"}', '{"key":"Zm9v","sort_order":true}',
                 '{"key":"Zm9v","sort_order":2147483648}', deep):
        status, _ = pair.same("/v3/kv/range", body, texts=False)
        pair.score.check(status == 400, "refused: %.60s" % body, status)


def only_kvd(pair):
    """Where newer etcd differs from 3.4, or 3.4 is no model."""
    kvd, check = pair.members[1], pair.score.check
    status, headers, body = request(kvd, "/v3/nope", "{}")
    check((status, json.loads(body)) == (404, {"code": 5, "message": "Not Found"}), "unknown route", body)
    check(headers["Content-Type"] == "application/json", "type of errors", headers)
    check(headers["Access-Control-Allow-Origin"] == "*", "CORS", headers)
    for path in ("/v3/kv/range", "/v3/watch"):
        status, _, body = request(kvd, path, "", method="GET")
        check((status, json.loads(body)) == (501, {"code": 12, "message": "Method Not Allowed"}), "GET " + path, body)
    request(kvd, "/v3/kv/put", json.dumps({"key": b64(b"\xfb\xff"), "value": b64("odd")}))
    for key in ("-_8=", "-_8", "+/8"):
        status, _, body = request(kvd, "/v3/kv/range", json.dumps({"key": key}))
        check(status == 200 and json.loads(body)["count"] == "1", "base64 %s" % key, body)
    status, _, body = request(kvd, "/v3/kv/range", '{"key":"\xff"}'.encode("latin-1"))
    check(status == 400, "not UTF-8", body)
    status, _, body = request(kvd, "/v3/kv/txn", '{"success":[{"request_put":{"key":"YQ"},"request_range":{"key":"YQ"}}]}')
    check(status == 400, "two members of a oneof", body)
    status, _, body = request(kvd, "/v3/kv/range", '{"key":"YQ"}', {"Grpc-Timeout": "soon"})
    check(status == 400, "malformed timeout", body)
    status, _, body = request(kvd, "/v3/kv/range", '{"key":"YQ"}', {"Grpc-Timeout": "5S"})
    check(status == 200, "timeout", body)
    status, _, body = request(kvd, "/v3/kv/range", '{"key":"YQ","sort_order":7}')
    check((status, json.loads(body)["message"]) == (400, "etcdserver: invalid sort option"), "unknown enum", body)
    many = "[" + "{}," * 100000 + "{}]"
    status, _, body = request(kvd, "/v3/kv/txn", '{"x":%s}' % many)
    check(status == 400, "too many values", body)


def random_keys(pair, rng):
    """Generated puts and ranges with every byte value. Not sorted by version: among equals etcd has
    no order."""
    for _ in range(200):
        key = b64(bytes(rng.randrange(256) for _ in range(rng.randrange(1, 4))))
        if rng.random() < 0.5:
            pair.same("/v3/kv/put", {"key": key, "value": b64(rng.randbytes(rng.randrange(200))),
                                     "prev_kv": rng.random() < 0.5})
        else:
            pair.same("/v3/kv/range", {"key": key, "range_end": rng.choice(["", "AA==", b64(b"\xf0")]),
                                       "limit": rng.choice([0, "3", 7]), "keys_only": rng.random() < 0.3,
                                       "sort_order": rng.choice(["ASCEND", "DESCEND"]),
                                       "sort_target": rng.choice(["KEY", "MOD", "CREATE"])})


# ---- the other services ----

def others(pair):
    pair.same("/v3/cluster/member/list", {})
    for member in pair.members:
        status, _, body = request(member, "/v3/maintenance/status", "{}")
        answer = json.loads(body)
        pair.score.check(status == 200 and isinstance(answer["raftIndex"], str) and
                         answer["leader"] == answer["header"]["member_id"], "status of " + member.kind, body)
    status, _, body = request(pair.members[1], "/v3/maintenance/hash", "{}")
    pair.score.check(status == 200 and isinstance(json.loads(body)["hash"], int), "hash is a number", body)
    status, _, body = request(pair.members[1], "/v3/maintenance/hashkv", "{}")
    pair.score.check(status == 200 and json.loads(body)["compact_revision"] == "11", "hash of the keyspace", body)
    for member in pair.members:
        bodies = [json.loads(request(member, "/v3/maintenance/alarm",
                                     json.dumps({"action": action, "alarm": "CORRUPT", "memberID": "7"}))[2])
                  for action in ("ACTIVATE", "GET", "DEACTIVATE", "GET")]
        alarm = [{"memberID": "7", "alarm": "CORRUPT"}]
        pair.score.check([b.get("alarms", []) for b in bodies] == [alarm, alarm, alarm, []],
                         "alarms of " + member.kind, bodies)


def leases(pair):
    pair.same("/v3/lease/grant", {"TTL": "1000", "ID": 77})
    pair.same("/v3/lease/grant", {"TTL": 1000, "ID": "77"})
    pair.same("/v3/kv/put", {"key": b64("leased"), "lease": "77"})
    for prefix in ("/v3/lease/", "/v3/kv/lease/"):
        pair.same(prefix + "leases", {})
        status, answer = pair.parsed(pair.members[1], prefix + "timetolive", '{"ID":77,"keys":true}')
        pair.score.check(status == 200 and answer["grantedTTL"] == "1000" and answer["keys"] == [b64("leased")],
                         "time to live", answer)
    pair.same("/v3/lease/timetolive", {"ID": "1"})
    pair.same("/v3/lease/revoke", {"ID": 77})
    pair.same("/v3/kv/lease/revoke", {"ID": 77})
    answers = []
    pair.same("/v3/lease/grant", {"TTL": "1000", "ID": 78})
    for member in pair.members:
        _, _, body = request(member, "/v3/lease/keepalive", '{"ID":78} {"ID":"5"}\n')
        answers.append([clean(json.loads(line), pair.ids) for line in body.splitlines()])
    pair.score.check(answers[0] == answers[1] and len(answers[0]) == 2, "keepalive", answers)


# ---- streams ----

class Curl:
    """A stream as curl shows it, line by line."""

    def __init__(self, member, path, body):
        self.process = subprocess.Popen(
            ["curl", "-sS", "-N", "-X", "POST", "-d", body, "http://%s%s" % (member.endpoint, path)],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def next(self):
        line = self.lines.get(timeout=WAIT_S)
        return None if line is None else json.loads(line)

    def close(self):
        self.process.kill()
        self.process.wait()


def events_until(curl, count, ids):
    """All results up to the one that brings the number of events to count."""
    results, seen = [], 0
    while seen < count:
        result = clean(curl.next(), ids)
        results.append(result)
        seen += len(result["result"].get("events", []))
    return results


def flat(results):
    """Events of a watch in order: how they are cut into answers is the server's choice."""
    return [event for result in results for event in result["result"].get("events", [])]


def watches(pair):
    body = json.dumps({"create_request": {"key": b64("w"), "range_end": b64("x"), "prev_kv": True}})
    curls = [Curl(m, "/v3/watch", body) for m in pair.members]
    created = [clean(c.next(), pair.ids) for c in curls]
    pair.score.check(created[0] == created[1] and created[1]["result"]["created"], "watch created", created)
    pair.same("/v3/kv/put", {"key": b64("w1"), "value": b64("a")})
    pair.same("/v3/kv/put", {"key": b64("w1"), "value": b64("b")})
    pair.same("/v3/kv/deleterange", {"key": b64("w1")})
    events = [flat(events_until(c, 3, pair.ids)) for c in curls]
    pair.score.check(events[0] == events[1], "watch events", events)
    for curl in curls:
        curl.close()
    bad = [Curl(m, "/v3/watch", '{"create_request":{"key":"dw==","start_revision":"1"}}') for m in pair.members]
    lines = [[clean(c.next(), pair.ids) for _ in range(2)] for c in bad]
    pair.score.check(lines[0] == lines[1], "watch below the compaction", lines)
    for curl in bad:
        curl.close()
    status, answer = pair.parsed(pair.members[1], "/v3/watch", '{"create_request":{"key":1}}')
    pair.score.check(status == 400 and answer["code"] == 3, "bad JSON for a stream", answer)


def locks_and_elections(pair):
    for lease in (7001, 7002):
        pair.same("/v3/lease/grant", {"ID": lease, "TTL": 600})
    pair.same("/v3/lock/lock", {"name": b64("gl"), "lease": 7001})
    pair.same("/v3beta/lock/lock", {"name": b64("gl"), "lease": "7001"})
    pair.same("/v3/lock/unlock", {"key": b64("gl/1b59")})
    pair.same("/v3/lock/unlock", {"key": b64("gl/1b59")})
    pair.same("/v3/lock/unlock", {})
    pair.same("/v3/lock/lock", {"name": b64("gl"), "lease": 1})
    pair.same("/v3/lock/lock", {"name": "no base64!"}, texts=False)
    pair.same("/v3/election/leader", {"name": b64("ge")})
    leader = pair.same("/v3/election/campaign", {"name": b64("ge"), "lease": 7001, "value": b64("one")})[1]["leader"]
    pair.same("/v3/election/campaign", {"name": b64("ge"), "lease": 7001, "value": b64("two")})
    pair.same("/v3/election/leader", {"name": b64("ge")})
    pair.same("/v3/election/proclaim", {"leader": leader, "value": b64("three")})
    pair.same("/v3/election/proclaim", {"leader": dict(leader, rev="1"), "value": b64("no")})
    pair.same("/v3/election/proclaim", {"value": b64("no")})
    pair.same("/v3/election/resign", {})
    curls = [Curl(m, "/v3/election/observe", json.dumps({"name": b64("ge")})) for m in pair.members]
    for step in ({"leader": leader, "value": b64("four")}, {"leader": leader, "value": b64("five")}):
        shown = [clean(curl.next(), pair.ids) for curl in curls]
        pair.score.check(shown[0] == shown[1] and "kv" in shown[0]["result"], "observe", shown)
        pair.same("/v3/election/proclaim", step)
    pair.same("/v3/election/resign", {"leader": leader})
    for curl in curls:
        curl.close()
    pair.same("/v3/election/observe", "{", texts=False)
    # A client that leaves while it waits takes its key along.
    pair.same("/v3/lock/lock", {"name": b64("gone"), "lease": 7001})
    watch = json.dumps({"create_request": {"key": b64("gone/"), "range_end": b64("gone0"), "filters": []}})
    for member in pair.members:
        told = Curl(member, "/v3/watch", watch)
        told.next()
        waiting = Curl(member, "/v3/lock/lock", json.dumps({"name": b64("gone"), "lease": 7002}))
        there = flat(events_until(told, 1, pair.ids))
        waiting.close()
        there += flat(events_until(told, 1, pair.ids))
        pair.score.check([e.get("type", "PUT") for e in there] == ["PUT", "DELETE"], "%s: it leaves" % member.kind, there)
        told.close()


def big_stream(pair):
    """Far more than the sockets hold, read late: what is there arrives whole and in order."""
    kvd = pair.members[1]
    _, _, body = request(kvd, "/v3/kv/range", '{"key":"YQ"}')
    start = int(json.loads(body)["header"]["revision"]) + 1
    value = b64(b"v" * 100000)
    for n in range(100):
        request(kvd, "/v3/kv/put", json.dumps({"key": b64("big%03d" % n), "value": value}))
    curl = Curl(kvd, "/v3/watch", json.dumps({"create_request": {"key": b64("big"), "range_end": b64("bih"),
                                                                 "start_revision": start}}))
    keys = [base64.b64decode(e["kv"]["key"]).decode() for e in flat(events_until(curl, 100, pair.ids))]
    pair.score.check(keys == ["big%03d" % n for n in range(100)], "big watch", keys)
    curl.close()


def long_ranges(pair):
    """Beyond what kvd puts together in one piece; whose client leaves in the middle harms nobody."""
    for n in range(200):
        size = 900000 if n == 77 else 20 * n
        pair.same("/v3/kv/put", {"key": b64("long/%03d" % n), "value": b64(bytes([n]) * size)})
    everything = {"key": b64("long/"), "range_end": b64("long0")}
    _, answer = pair.same("/v3/kv/range", everything)
    pair.score.check(len(answer["kvs"]) == 200, "all keys of a long range")
    pair.same("/v3/kv/range", dict(everything, limit=150, sort_order="DESCEND"))
    pair.same("/v3/kv/range", dict(everything, sort_target="VALUE", sort_order="ASCEND", min_mod_revision=3))
    body = json.dumps(everything).encode()
    for size in (1, 300, 100000):
        host, port = pair.members[1].endpoint.split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"POST /v3/kv/range HTTP/1.1\r\nHost: kvd\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            client.recv(size)
    pair.same("/v3/kv/range", everything)


def rules(build, score):
    """--cors and --host-whitelist, as etcd follows them; the gateway switched off."""
    flags = ["--cors", "http://a.example:80", "--host-whitelist", "127.0.0.1,b.example"]
    members = [_servers.start_etcd(extra=flags).members[0], _servers.start_kvd(build, extra=flags).members[0]]
    for headers in ({}, {"Origin": "http://a.example:80"}, {"Origin": "http://evil.example"}, {"Host": "b.example:1"},
                    {"Host": "evil.example"}):
        seen = []
        for member in members:
            status, answer, _ = request(member, "/v3/kv/range", '{"key":"YQ=="}', headers)
            seen.append((status, answer["Access-Control-Allow-Origin"], answer["Access-Control-Allow-Methods"]))
        score.check(seen[0] == seen[1], "rules %s" % headers, seen)
    off = _servers.start_kvd(build, extra=["--enable-grpc-gateway=false"]).members[0]
    status, _, body = request(off, "/v3/kv/range", '{"key":"YQ=="}')
    score.check((status, body) == (404, b"404 page not found\n"), "gateway off", body)


def main():
    args = _servers.arguments()
    score = _servers.Score()
    rng = random.Random(args.seed)
    etcd, kvd = _servers.start_etcd(), _servers.start_kvd(args.build)
    pair = Pair(etcd.members[0], kvd.members[0], score)
    for part in (key_value, transactions, compaction, accepted, refused, others):
        part(pair)
    random_keys(pair, rng)
    leases(pair)
    locks_and_elections(pair)
    watches(pair)
    long_ranges(pair)
    only_kvd(pair)
    big_stream(pair)
    rules(args.build, score)
    score.check(kvd.members[0].running() and kvd.members[0].stop() == 0, "kvd ends in order", kvd.members[0].log_tail())
    score.finish()


if __name__ == "__main__":
    main()
