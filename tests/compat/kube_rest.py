#!/usr/bin/python3
"""kvapi as a process: --dev from an empty folder to a working API, who is let in and who is not, clients that mean harm,
answers of megabytes, watches, changes, deletions, and a store that goes away. kubectl and a real kube-apiserver's answers
have tests of their own (kube_kubectl.py, kube_golden.py)."""

import glob
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time

import _servers

JSON = {"Content-Type": "application/json"}
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}}


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "%d %s" % (self.status, self.body[:600].decode(errors="replace"))


class Kvapi:
    """A process with --dev; what it prints first says that it is ready."""

    def __init__(self, build, folder, *extra):
        self.folder = folder
        self.process = subprocess.Popen([os.path.join(build, "kvapi"), "--dev", folder, "--secure-port", "0", *extra],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.said = ""
        while "get namespaces" not in self.said:
            line = self.process.stdout.readline()
            if not line:
                sys.exit("kvapi ended before it was ready: %s" % self.process.stderr.read())
            self.said += line
        with open(os.path.join(folder, "kubeconfig"), encoding="ascii") as config:
            self.port = int(re.search(r"server: https://127\.0\.0\.1:(\d+)", config.read()).group(1))
        self.connection = None

    def path(self, name):
        return os.path.join(self.folder, name)

    def context(self, cert="admin"):
        context = ssl.create_default_context(cafile=self.path("ca.crt"))
        if cert is not None:
            context.load_cert_chain(self.path(cert + ".crt"), self.path(cert + ".key"))
        return context

    def connect(self, context=None):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context or self.context(), timeout=60)

    def ask(self, method, path, body=None, headers=None):
        if self.connection is None:
            self.connection = self.connect()
        if isinstance(body, (dict, list)):
            body, headers = json.dumps(body), {**JSON, **(headers or {})}
        self.connection.request(method, path, body=body, headers=headers or {})
        return Answer(self.connection.getresponse())

    def once(self, context, path, headers=None):
        connection = self.connect(context)
        try:
            connection.request("GET", path, headers=headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def memory_most_mb(self):
        with open("/proc/%d/status" % self.process.pid, encoding="ascii") as status:
            return int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1)) / 1024

    def gauge(self, name):
        return float(re.search(r"^%s (\S+)$" % re.escape(name), self.ask("GET", "/metrics").body.decode(), re.M).group(1))

    def kvd_pid(self):
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid), encoding="ascii") as children:
            return int(children.read().split()[0])

    def stop(self, number=signal.SIGTERM):
        if self.connection is not None:
            self.connection.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


def wait_until(what, condition):
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            sys.exit("waited in vain: %s" % what)
        time.sleep(0.01)


def is_gone(pid):
    """Ended; perhaps nobody has asked after it yet."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii") as state:
            return state.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_folder(score, api):
    for name in ("ca.key", "apiserver.key", "admin.key", "tokens.csv", "kubeconfig"):
        score.check(stat.S_IMODE(os.stat(api.path(name)).st_mode) == 0o600, "%s is its owner's alone" % name)
    score.check(glob.glob(api.path("*.tmp")) == [], "no half-written file is left")
    names = [n["metadata"]["name"] for n in api.ask("GET", "/api/v1/namespaces").json["items"]]
    score.check(names == ["default", "kube-node-lease", "kube-public", "kube-system"], "the first namespaces are there", names)


def test_identities(score, api):
    with open(api.path("tokens.csv"), encoding="ascii") as tokens:
        token = tokens.read().split(",")[0]
    nobody = api.context(None)
    score.check(api.once(nobody, "/livez").body == b"ok", "anybody may ask for health")
    refused = api.once(nobody, "/api/v1/pods")
    score.check(refused.status == 403 and refused.json["reason"] == "Forbidden", "nobody may list pods", refused)
    score.check(api.once(nobody, "/api").status == 403, "nobody may read discovery")
    answer = api.once(nobody, "/api/v1/pods", {"Authorization": "Bearer " + token})
    score.check(answer.status == 200, "the token is let in", answer)
    for forged in (token[:-1], token + "0", token.upper() + "z", "x" * 8000, "\x7f", "..", token[::-1]):
        answer = api.once(nobody, "/livez", {"Authorization": "Bearer " + forged})
        score.check(answer.status == 401 or answer.status == 400, "a forged token is not anonymous", (forged[:40], answer))
    review = api.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}).json
    score.check(review["status"]["userInfo"]["username"] == "kubernetes-admin", "the certificate says who it is", review)
    score.check(review["status"]["userInfo"]["groups"] == ["system:masters", "system:authenticated"], "and in which groups", review)


def test_access_reviews(score, api):
    path = "/apis/authorization.k8s.io/v1/"
    mine = api.ask("POST", path + "selfsubjectaccessreviews", {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}})
    score.check(mine.status == 201 and mine.json["status"]["allowed"] is True, "an admin may list pods", mine)
    for group, resource, allowed in (("dev", {"resourceAttributes": {"verb": "list", "resource": "pods"}}, False),
                                     ("system:masters", {"resourceAttributes": {"verb": "list", "resource": "pods"}}, True),
                                     ("system:authenticated", {"nonResourceAttributes": {"verb": "get", "path": "/api"}}, True)):
        other = api.ask("POST", path + "subjectaccessreviews", {"spec": {"user": "bob", "groups": [group], **resource}})
        score.check(other.json["status"]["allowed"] is allowed, "bob of %s: %s" % (group, resource), other)
    neither = api.ask("POST", path + "selfsubjectaccessreviews", {"spec": {}})
    score.check(neither.status == 422, "one of the two must be asked for", neither)


def test_foreign_certificate(score, api, folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                    "-subj", "/O=system:masters/CN=admin", "-keyout", folder + "/alien.key", "-out", folder + "/alien.crt"],
                   check=True, capture_output=True)
    context = ssl.create_default_context(cafile=api.path("ca.crt"))
    context.load_cert_chain(folder + "/alien.crt", folder + "/alien.key")
    try:
        answer = api.once(context, "/api/v1/pods")
        score.check(answer.status in (401, 403), "a certificate of nobody's CA is worth nothing", answer)
    except (ssl.SSLError, OSError, http.client.HTTPException):
        score.check(True, "a certificate of nobody's CA is turned away")


def deep(levels):
    return '{"metadata":{"name":"d"},"data":' + '{"a":' * levels + "1" + "}" * levels + "}"


def test_hostile_bodies(score, api):
    cases = {
        "ten thousand levels": (deep(9990), JSON, (400,)), "more than Go reads": (deep(100000), JSON, (400,)),
        "an array of brackets": ("[" * 1000000, JSON, (400,)), "no object": ('"x"', JSON, (400, 422)),
        "bytes that are no text": (b"\xff\xfe\x00{", JSON, (400,)),
        "a YAML bomb": ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            "%s: &%s [*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s]\n" % ((c, c) + (chr(ord(c) - 1),) * 9) for c in "bcdefghij"),
            {"Content-Type": "application/yaml"}, (400,)),
        "protobuf that is none": (b"k8s\x00" + b"\x0a\xff\xff\xff\xff\x0f" * 100, {"Content-Type": "application/vnd.kubernetes.protobuf"}, (400,)),
        "two megabytes of data": (json.dumps({"metadata": {"name": "big"}, "data": {"a": "x" * 2000000}}), JSON, (413, 422)),
        "labels without end": (json.dumps({"metadata": {"name": "l", "labels": {"k%d" % i: "-" for i in range(20000)}}}), JSON, (422,)),
    }
    for what, (body, headers, codes) in cases.items():
        answer = api.ask("POST", CONFIGMAPS, body, headers)
        ok = answer.status in codes and answer.json["kind"] == "Status" and answer.json["message"] != ""
        score.check(ok, "%s: refused with a Status" % what, answer)
    answer = api.ask("POST", CONFIGMAPS, b" " * (3 * 1024 * 1024 + 1), JSON)
    score.check(answer.status == 413 and answer.json["reason"] == "RequestEntityTooLarge", "three MiB and a byte: 413", answer)
    api.connection.close()
    api.ask("POST", CONFIGMAPS, {"metadata": {"name": "patched"}})
    many = [{"op": "add", "path": "/data", "value": {}}] * 10001
    answer = api.ask("PATCH", CONFIGMAPS + "/patched", json.dumps(many), {"Content-Type": "application/json-patch+json"})
    score.check(answer.status == 413, "a patch of 10,001 operations: 413", answer)
    many = api.ask("GET", CONFIGMAPS + "?" + "&".join("a%d=b" % i for i in range(2000)))
    score.check(many.status == 200, "a query of two thousand parameters is read as far as it makes sense", many)
    score.check(api.memory_most_mb() < 400, "memory stayed bounded", "%.0f MiB" % api.memory_most_mb())


def test_slow_clients(score, api):
    """Two hundred that have sent half a request do not keep another one from being answered."""
    slow = []
    for i in range(200):
        sock = api.context().wrap_socket(socket.create_connection(("127.0.0.1", api.port)), server_hostname="localhost")
        sock.sendall(b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n{" % CONFIGMAPS.encode() if i % 2 else b"GET /li")
        slow.append(sock)
    score.check(api.ask("GET", "/livez").body == b"ok", "half-sent requests are nobody else's concern")
    for sock in slow:
        sock.close()


def test_lists(score, api):
    """Four megabytes in all forms; a client that takes its time gets all of it."""
    padding = "p" * 4000
    for i in range(1000):
        answer = api.ask("POST", "/api/v1/namespaces/kube-public/configmaps", {"metadata": {"name": "n%05d" % i}, "data": {"p": padding}})
        if answer.status != 201:
            score.check(False, "create", answer)
            return
    path = "/api/v1/namespaces/kube-public/configmaps"
    names = ["n%05d" % i for i in range(1000)]
    plain = api.ask("GET", path)
    score.check([o["metadata"]["name"] for o in plain.json["items"]] == names, "a list has all objects in order")
    score.check(int(plain.headers["Content-Length"]) == len(plain.body), "its length was told before")
    pretty = api.ask("GET", path + "?pretty=true")
    score.check(pretty.json == plain.json and pretty.body.decode().rstrip("\n") == json.dumps(plain.json, indent=2, ensure_ascii=False),
                "indented, it is the same")
    table = api.ask("GET", path, headers=TABLE).json
    score.check([row["cells"][0] for row in table["rows"]] == names and table["columnDefinitions"][0]["name"] == "Name", "as a table")
    meta = api.ask("GET", path, headers={"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}).json
    score.check([o["metadata"]["name"] for o in meta["items"]] == names and "data" not in meta["items"][0], "as metadata only")
    connection = api.connect()
    connection.request("GET", path)
    response = connection.getresponse()
    body = b""
    while True:
        piece = response.read(64 * 1024)
        if not piece:
            break
        body += piece
        if len(body) < 1 << 20:
            api.ask("GET", "/livez")
    score.check(body == plain.body, "read in small pieces, it is the same")
    connection.request("GET", path)
    connection.sock.close()  # while the answer is being written
    score.check(api.ask("GET", "/livez").body == b"ok", "a client that goes away in the middle costs nothing")
    gone = api.ask("DELETE", path)
    score.check(gone.status == 200 and len(gone.json["items"]) == 1000, "deletecollection answers what it deleted", gone)
    score.check(api.ask("GET", path).json["items"] == [], "and nothing is left")


def lines(response, count):
    return [json.loads(response.readline()) for _ in range(count)]


def test_watches(score, api):
    version = api.ask("GET", CONFIGMAPS).json["metadata"]["resourceVersion"]
    streams = []
    for headers in ({}, TABLE):
        connection = api.connect()
        connection.request("GET", CONFIGMAPS + "?watch=1&resourceVersion=" + version, headers=headers)
        streams.append((connection, connection.getresponse()))
    score.check(api.gauge('apiserver_longrunning_requests{verb="WATCH"}') == 2, "watches are counted")
    api.ask("POST", CONFIGMAPS, {"metadata": {"name": "w1"}})
    api.ask("PATCH", CONFIGMAPS + "/w1", json.dumps({"data": {"a": "b"}}), {"Content-Type": "application/merge-patch+json"})
    api.ask("DELETE", CONFIGMAPS + "/w1")
    events = lines(streams[0][1], 3)
    score.check([e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED"], "a watch sees what happens, in order", events)
    tables = lines(streams[1][1], 3)
    score.check([t["object"]["kind"] for t in tables] == ["Table"] * 3 and len(tables[0]["object"]["columnDefinitions"]) > 1
                and not tables[1]["object"]["columnDefinitions"], "columns come with the first event only", tables)
    for connection, _ in streams:
        connection.sock.close()
        connection.close()
    wait_until("watches of lost clients end", lambda: api.gauge('apiserver_longrunning_requests{verb="WATCH"}') == 0)
    ended = api.ask("GET", CONFIGMAPS + "?watch=1&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion=" + version)
    types = [json.loads(line)["type"] for line in ended.body.splitlines()]
    score.check(ended.status == 200 and types[:3] == ["ADDED", "MODIFIED", "DELETED"], "a watch whose time is up ends in order", ended)
    named = api.ask("GET", "/api/v1/watch/namespaces/default?timeoutSeconds=1")
    score.check(json.loads(named.body.splitlines()[0])["object"]["metadata"]["name"] == "default", "the old path of a watch works", named)


def test_changes(score, api):
    body = {"metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE}}
    made = api.ask("POST", DEPLOYMENTS, body).json
    one = DEPLOYMENTS + "/web"
    score.check(made["metadata"]["generation"] == 1 and made["spec"]["revisionHistoryLimit"] == 10, "created with defaults", made)
    again = api.ask("PUT", one, made).json
    score.check(again == made, "a PUT that changes nothing writes nothing", again)
    made["status"]["replicas"] = 7
    made["metadata"]["labels"] = {"a": "b"}
    main = api.ask("PUT", one, made).json
    score.check(main["status"].get("replicas") is None and main["metadata"]["generation"] == 1, "a PUT of the object keeps the status", main)
    main["status"] = {"replicas": 2, "observedGeneration": 1}
    main["spec"]["replicas"] = 9
    status = api.ask("PUT", one + "/status", main).json
    score.check(status["status"]["replicas"] == 2 and status["spec"]["replicas"] == 2, "a PUT of the status keeps the rest", status)
    stale = api.ask("PUT", one, main)
    score.check(stale.status == 409, "a stale version is a conflict", stale)
    scale = api.ask("PATCH", one + "/scale", json.dumps({"spec": {"replicas": 5}}), {"Content-Type": "application/merge-patch+json"}).json
    score.check(scale["kind"] == "Scale" and scale["spec"]["replicas"] == 5 and scale["status"] == {"replicas": 2, "selector": "app=web"}, "scaled", scale)
    score.check(api.ask("GET", one).json["metadata"]["generation"] == 2, "and the generation rises")
    refused = api.ask("PUT", one + "/scale", {"metadata": {"name": "web"}, "spec": {"replicas": -1}})
    score.check(refused.status == 422, "no negative replicas", refused)
    dry = api.ask("PATCH", one + "?dryRun=All", json.dumps({"spec": {"replicas": 1}}), {"Content-Type": "application/merge-patch+json"}).json
    score.check(dry["spec"]["replicas"] == 1 and api.ask("GET", one).json["spec"]["replicas"] == 5, "a dry run shows and does not write", dry)
    apply = api.ask("PATCH", one + "?fieldManager=t", "{}", {"Content-Type": "application/apply-patch+yaml"})
    score.check(apply.status == 415, "server-side apply is not faked", apply)
    hpa = {"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}}
    old = api.ask("POST", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", hpa)
    new = api.ask("GET", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h").json
    score.check(old.status == 201 and new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50, "two versions of one object", (old, new))


def test_deletions(score, api):
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    api.ask("POST", PODS, pod)
    bound = api.ask("POST", PODS + "/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}})
    score.check(bound.status == 201, "bound", bound)
    twice = api.ask("POST", PODS + "/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n2"}})
    score.check(twice.status == 409, "not twice", twice)
    dying = api.ask("DELETE", PODS + "/p").json
    score.check(dying["metadata"]["deletionGracePeriodSeconds"] == 30, "a bound pod has its grace", dying)
    shorter = api.ask("DELETE", PODS + "/p", {"gracePeriodSeconds": 5}).json
    score.check(shorter["metadata"]["deletionGracePeriodSeconds"] == 5, "which can be made shorter", shorter)
    longer = api.ask("DELETE", PODS + "/p", {"gracePeriodSeconds": 50}).json
    score.check(longer["metadata"]["deletionGracePeriodSeconds"] == 5, "but not longer", longer)
    api.ask("DELETE", PODS + "/p?gracePeriodSeconds=0")
    score.check(api.ask("GET", PODS + "/p").status == 404, "and ended at once")
    api.ask("POST", CONFIGMAPS, {"metadata": {"name": "f", "finalizers": ["example.com/a"]}})
    api.ask("DELETE", CONFIGMAPS + "/f")
    held = api.ask("GET", CONFIGMAPS + "/f").json
    score.check("deletionTimestamp" in held["metadata"], "a finalizer holds it", held)
    again = api.ask("DELETE", CONFIGMAPS + "/f").json
    score.check(again["metadata"]["resourceVersion"] == held["metadata"]["resourceVersion"], "a second DELETE writes nothing", again)
    held["metadata"]["finalizers"] = []
    api.ask("PUT", CONFIGMAPS + "/f", held)
    score.check(api.ask("GET", CONFIGMAPS + "/f").status == 404, "the last finalizer gone, it goes")
    api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "t"}})
    api.ask("POST", "/api/v1/namespaces/t/configmaps", {"metadata": {"name": "x"}})
    score.check(api.ask("DELETE", "/api/v1/namespaces/t").json["status"]["phase"] == "Terminating", "a namespace is terminating first")
    late = api.ask("POST", "/api/v1/namespaces/t/configmaps", {"metadata": {"name": "y"}})
    score.check(late.status == 403, "nothing new in it", late)
    api.ask("PUT", "/api/v1/namespaces/t/finalize", {"metadata": {"name": "t"}, "spec": {"finalizers": []}})
    score.check(api.ask("GET", "/api/v1/namespaces/t").status == 404, "finalized, it goes")


def test_evictions(score, api):
    pod = {"metadata": {"name": "e", "labels": {"app": "e"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    evict = lambda **more: api.ask("POST", PODS + "/e/eviction", {"metadata": {"name": "e"}, **more})
    api.ask("POST", PODS, pod)
    api.ask("POST", PODS + "/e/binding", {"metadata": {"name": "e"}, "target": {"kind": "Node", "name": "n1"}})
    api.ask("PATCH", PODS + "/e/status", json.dumps({"status": {"phase": "Running"}}), {"Content-Type": "application/merge-patch+json"})
    budget = api.ask("POST", budgets, {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "e"}}}}).json
    waits = evict()
    score.check(waits.status == 429 and waits.headers["Retry-After"] == "10", "a budget that nobody has counted yet: later", waits)
    budget["status"] = {"observedGeneration": 1, "disruptionsAllowed": 0, "desiredHealthy": 1, "currentHealthy": 1, "expectedPods": 1}
    budget = api.ask("PUT", budgets + "/b/status", budget).json
    refused = evict()
    score.check(refused.status == 429 and "needs 1 healthy pods and has 1" in refused.body.decode(), "no disruption allowed", refused)
    budget["status"]["disruptionsAllowed"] = 1
    api.ask("PUT", budgets + "/b/status", budget)
    dry = evict(deleteOptions={"dryRun": ["All"]})
    score.check(dry.status == 201 and "deletionTimestamp" not in api.ask("GET", PODS + "/e").json["metadata"], "a dry run", dry)
    done = evict(deleteOptions={"gracePeriodSeconds": 7})
    score.check(done.status == 201 and done.json["status"] == "Success", "evicted", done)
    score.check(api.ask("GET", PODS + "/e").json["metadata"]["deletionGracePeriodSeconds"] == 7, "with the grace asked for")
    left = api.ask("GET", budgets + "/b").json["status"]
    score.check(left["disruptionsAllowed"] == 0 and "e" in left["disruptedPods"], "the budget has paid for it", left)


def test_discovery(score, api):
    first = api.ask("GET", "/apis")
    again = api.ask("GET", "/apis", headers={"If-None-Match": first.headers["ETag"]})
    score.check(again.status == 304 and again.body == b"", "discovery that is known is not sent again", again)
    score.check("Accept" in first.headers["Vary"], "and differs by Accept")
    for path in ("/api/v1/namespaces/default/configmaps/a/b/c", "/api/v1/nothing", "/apis/apps/v1/namespaces/default/pods"):
        score.check(api.ask("GET", path).status == 404, "%s is not there" % path)
    score.check(api.ask("HEAD", CONFIGMAPS).status == 405, "HEAD is not allowed")


def test_restart(score, build, folder):
    """Killed, it takes its kvd with it; started again, what was acknowledged is there."""
    api = Kvapi(build, folder)
    kvd = api.kvd_pid()
    made = api.ask("POST", CONFIGMAPS, {"metadata": {"name": "kept"}}).json
    api.stop(signal.SIGKILL)
    wait_until("kvd ends with kvapi", lambda: is_gone(kvd))
    api = Kvapi(build, folder)
    score.check(api.ask("GET", CONFIGMAPS + "/kept").json == made, "what was acknowledged outlives kill -9")
    os.kill(api.kvd_pid(), signal.SIGKILL)
    score.check(api.process.wait(30) == 1, "kvapi --dev ends when its kvd has ended")
    score.check("kvd has ended" in api.process.stderr.read(), "and says so")


def test_lost_store(score, build, folder):
    kvd = _servers.start_kvd(build)
    api = Kvapi(build, folder, "--etcd-servers", "http://" + kvd.members[0].endpoint, "--request-timeout", "1s")
    api.ask("POST", CONFIGMAPS, {"metadata": {"name": "seen"}})
    api.ask("GET", CONFIGMAPS + "?resourceVersion=0")
    kvd.members[0].kill()
    score.check(api.ask("GET", "/livez").body == b"ok", "without a store kvapi lives")
    ready = api.ask("GET", "/readyz")
    score.check(ready.status == 500 and b"[-]etcd failed" in ready.body, "is not ready, and says why", ready)
    write = api.ask("POST", CONFIGMAPS, {"metadata": {"name": "lost"}})
    score.check(write.status >= 500 and write.json["kind"] == "Status", "a write fails with a Status", write)
    cached = api.ask("GET", CONFIGMAPS + "?resourceVersion=0")
    score.check(cached.status == 200 and "seen" in cached.body.decode(), "what is cached can still be read", cached)
    kvd.members[0].start()
    wait_until("kvapi is ready again", lambda: api.ask("GET", "/readyz").status == 200)
    score.check(api.ask("POST", CONFIGMAPS, {"metadata": {"name": "back"}}).status == 201, "and goes on by itself when the store is back")
    score.check(api.stop() == 0, "stops in good order")


def test_flags(score, build):
    def run(*flags):
        done = subprocess.run([os.path.join(build, "kvapi"), *flags], capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, done.stderr

    code, text = run("--etcd-server=http://x")
    score.check(code == 2 and "is --etcd-servers meant?" in text, "an unknown flag: the nearest one is named", text)
    code, text = run("--etcd-servers", "http://127.0.0.1:1")
    score.check(code == 2 and "no way in" in text, "no way in is refused", text)
    code, text = run("--etcd-servers", "http://127.0.0.1:1", "--insecure-port", "8080", "--insecure-bind-address", "0.0.0.0")
    score.check(code == 2 and "loopback" in text, "no plain HTTP beyond this machine", text)
    code, text = run("--dev", "/proc/nothing/here")
    score.check(code == 1 and "/proc/nothing/here" in text, "a folder that cannot be made is named", text)


def main():
    args = _servers.arguments()
    folder = tempfile.mkdtemp(prefix="kvd-test-")
    score = _servers.Score()
    try:
        api = Kvapi(args.build, folder + "/dev")
        for test in (test_folder, test_identities, test_access_reviews, test_hostile_bodies, test_slow_clients, test_lists, test_watches,
                     test_changes, test_deletions, test_evictions, test_discovery):
            test(score, api)
        test_foreign_certificate(score, api, folder)
        score.check(api.stop() == 0, "kvapi stops in good order", api.process.stderr.read())
        test_restart(score, args.build, folder + "/dev")
        test_lost_store(score, args.build, folder + "/lost")
        test_flags(score, args.build)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    score.finish()


if __name__ == "__main__":
    main()
