#!/usr/bin/python3
"""Records what real kubectls send for the same commands: 1.31 JSON, 1.32 and later protobuf.

    tests/unit/kube/record_bodies.py KUBECTL_1_31 KUBECTL_1_3x... >tests/unit/kube/bodies.tsv

One line per command: the newer version, the command, the body of 1.31 as JSON, the newer one's in
base64; of a version that sends what the one before it sent there is no line. test_protobuf.c decodes
the latter and expects the former. Run by hand.
"""

import base64
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading

COMMANDS = """
create namespace n1
create configmap c1 --from-literal=a=b --from-literal=c=d
create secret generic s1 --from-literal=u=me
create secret docker-registry d1 --docker-username=u --docker-password=p --docker-server=s
create serviceaccount a1
create token a1 --duration=1h --audience=x
create quota q1 --hard=cpu=1,memory=1Gi,pods=2 --scopes=BestEffort
create role r1 --verb=get,list --resource=pods,deployments.apps --resource-name=x
create clusterrole r2 --verb=get --non-resource-url=/metrics/*
create rolebinding b1 --role=r1 --user=alice --group=g --serviceaccount=default:a1
create clusterrolebinding b2 --clusterrole=r2 --user=alice
create service clusterip v1 --tcp=80:8080 --tcp=443:https
create service externalname v2 --external-name=example.com
create service nodeport v3 --tcp=80 --node-port=30080
create deployment web --image=nginx --replicas=2 --port=80
create job j1 --image=x -- sh -c true
create cronjob cj1 --image=x --schedule=*/5\\ *\\ *\\ *\\ * -- date
create ingress i1 --rule=example.com/path*=svc:80,tls=secret1
create poddisruptionbudget p1 --selector=app=web --min-available=50%
create priorityclass h1 --value=1000 --description=high --global-default=true
autoscale deployment web --min=1 --max=5 --cpu-percent=70
auth can-i list pods --subresource=log -n ml
auth whoami
""".strip().split("\n")

DISCOVERY = {
    "/api": [("", "v1", [("pods", "Pod")])],
    "/apis": [("apps", "v1", [("deployments", "Deployment")])],
}
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def discovery(path):
    items = []
    for group, version, resources in DISCOVERY[path]:
        items.append({"metadata": {"name": group}, "versions": [{
            "version": version, "freshness": "Current", "resources": [{
                "resource": plural, "responseKind": {"group": group, "version": version,
                                                     "kind": kind},
                "scope": "Namespaced", "singularResource": kind.lower(),
                "verbs": ["create", "get", "list"],
                "subresources": [{"subresource": "scale", "verbs": ["get", "update"],
                                  "responseKind": {"group": "autoscaling", "version": "v1",
                                                   "kind": "Scale"}}],
            } for plural, kind in resources]}]})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {}, "items": items}


class Recorder(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bodies = []  # (path, content type, body)

    def log_message(self, *args):
        pass

    def answer(self, code, value, content_type="application/json"):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path in DISCOVERY:
            self.answer(200, discovery(path), AGGREGATED)
        elif path.endswith("/deployments/web"):
            self.answer(200, {"kind": "Deployment", "apiVersion": "apps/v1",
                              "metadata": {"name": "web", "namespace": "default"}})
        else:
            self.answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure",
                              "reason": "NotFound", "code": 404})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.split("?")[0]
        self.bodies.append((path, self.headers["Content-Type"], body))
        self.answer(201, {"metadata": {"name": "x"}, "status": {"allowed": True, "token": "t"}})


def run(kubectl, port, home):
    """The body that each command posts."""
    found = []
    for command in COMMANDS:
        Recorder.bodies.clear()
        words = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|\S)+", command)]
        subprocess.run([kubectl, "-s", "http://127.0.0.1:%d" % port] + words,
                       env={"HOME": home, "PATH": os.environ["PATH"]}, check=False,
                       stdout=subprocess.DEVNULL, stderr=sys.stderr, timeout=60)
        found.append(Recorder.bodies[-1] if Recorder.bodies else None)
    return found


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        known = run(sys.argv[1], server.server_port, home)
        last = {}
        for kubectl in sys.argv[2:]:
            version = re.search(r"1\.\d+", kubectl.rsplit("/", 1)[1]).group(0)
            for command, old, new in zip(COMMANDS, known, run(kubectl, server.server_port, home)):
                if old is None or new is None or "protobuf" not in new[1]:
                    print("no protobuf of %s: %s" % (version, command), file=sys.stderr)
                    continue
                if json.loads(old[2])["apiVersion"].encode() not in new[2][:64]:
                    print("%s sends another version: %s" % (version, command), file=sys.stderr)
                    continue
                if last.get(command) == new[2]:
                    continue
                last[command] = new[2]
                print(version, command, json.dumps(json.loads(old[2]), separators=(",", ":")),
                      base64.b64encode(new[2]).decode(), sep="\t")
    server.shutdown()


if __name__ == "__main__":
    main()
