#!/usr/bin/python3
"""kubectl, every version of it on the machine and Debian's own 1.20, takes kvapi for a cluster.

First the commands that stage 1 promises, with the newest kubectl; then each manifest of tests/compat/manifests (the kinds
that tutorials use) is applied, applied again without a change, compared, labelled, patched, edited, scaled and
deleted; then every version of kubectl does the same in short.
"""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import threading

import _kube
import _servers

MANIFESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "manifests")
RUN_LIMIT_S = 60
# Older ones ask for OpenAPI v2 as protobuf before they apply, which stage 1 does not serve.
VALIDATES_SINCE = (1, 29)
DIFFS_SINCE = (1, 27)  # 1.20 asks the same of OpenAPI v2 first: may a patch be a dry run?
DEBIAN = "kubernetes-client"

# What kubectl sends a patch for each time, with any server, though nothing changes: it says "configured".
ALWAYS_SENT = {
    "poddisruptionbudget.policy/web": "its selector is replaced as a whole (patchStrategy: replace)",
    "pod/training-job": "a number for a quantity, nvidia.com/gpu: 2, is a string in the answer",
    "resourcequota/team": "the same",
    "statefulset.apps/db": "its claim templates, which are no list to merge, come back with defaults in them",
}

WEB = """apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, labels: {app: shop}}
spec:
  %s: 1
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - {name: c, image: "%s"}
"""


def debians_kubectl(build):
    """The kubectl of Debian's package, unpacked into the build folder; None if it can not be had."""
    folder = os.path.join(os.path.abspath(build), "kubernetes-client")
    program = os.path.join(folder, "usr", "bin", "kubectl")
    if os.access(program, os.X_OK):
        return program
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return None
    os.makedirs(folder, exist_ok=True)
    try:
        subprocess.run(["apt-get", "download", DEBIAN], cwd=folder, check=True, timeout=120, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        package, = glob.glob(os.path.join(folder, DEBIAN + "_*.deb"))
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True, timeout=120)
    except (subprocess.SubprocessError, ValueError):
        return None
    return program if os.access(program, os.X_OK) else None


class Kubectl:
    def __init__(self, version, program, kubeconfig, folder, score):
        self.version, self.program, self.folder, self.score = version, program, folder, score
        # A home of its own: what other clusters said is cached there by address.
        self.env = dict(os.environ, KUBECONFIG=kubeconfig, HOME=folder, NO_PROXY="*")
        self.name = "kubectl %d.%d" % version

    def start(self, *words):
        return subprocess.Popen([self.program, *words], env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *words, env=None, stdin=""):
        done = subprocess.run([self.program, *words], env=dict(self.env, **(env or {})), cwd=self.folder, input=stdin,
                              capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False)
        return done.returncode, done.stdout, done.stderr

    def expect(self, *words, code=0, out=None, env=None, stdin=""):
        """Runs, checks the exit code and (a regular expression) what it printed; returns stdout."""
        got, text, errors = self.run(*words, env=env, stdin=stdin)
        everything = text + errors
        fits = got == code and (out is None or re.search(out, everything))
        self.score.check(fits, "%s %s" % (self.name, " ".join(words)),
                         "exit code %d, not %d; wanted %r in:\n%s" % (got, code, out, everything[-3000:]))
        return text

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def validation(self):
        return [] if self.version >= VALIDATES_SINCE else ["--validate=false"]


def whole_lines(text):
    return [line for line in text.splitlines() if line.strip()]


def acceptance(k, score):
    """The commands of stage 1, in their order. Leaves nothing behind but a namespace."""
    ns = "ml-team-%d-%d" % k.version
    apply = ["apply", *k.validation(), "-f"]
    k.expect("version", out=r'Server Version: (v|.*GitVersion:"v)1\.\d+\.\d+')
    k.expect("cluster-info", out="is running at")
    names = k.expect("api-resources", "-o", "name").split()
    score.check(len(names) >= 59, "at least 59 resources", str(names))
    k.expect("get", "--raw", "/readyz?verbose", out="readyz check passed")
    k.expect("create", "namespace", ns, out="created")
    k.expect("get", "ns", ns, "-o", "jsonpath={.status.phase}", out="^Active$")
    k.expect("create", "configmap", "c1", "--from-literal=a=b", out="configmap/c1 created")
    k.expect("create", "secret", "generic", "s1", "--from-literal=u=me", out="secret/s1 created")
    web, web2 = k.file("web.yaml", WEB % ("replicas", "x:1")), k.file("web2.yaml", WEB % ("replicas", "x:2"))
    k.expect(*apply, web, out="deployment.apps/shop created")
    k.expect(*apply, web, out="deployment.apps/shop unchanged")
    if k.version >= DIFFS_SINCE:
        k.expect("diff", "-f", web2, code=1, out=r'(?s)-\s+(- )?image: x:1.*\+\s+(- )?image: x:2')
    k.expect(*apply, web2, out="deployment.apps/shop configured")
    k.expect("patch", "deploy", "shop", "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":3}]', out="patched")
    k.expect("get", "deploy", "shop", "-o", "jsonpath={.spec.replicas} {.metadata.generation}", out="^3 3$")
    k.expect("label", "deploy", "shop", "tier=front", out="labeled")
    k.expect("get", "deploy", "-l", "tier in (front),app", "-o", "name", out="^deployment.apps/shop\n$")
    # Validation that is the server's refuses; without it there is a warning.
    k.expect(*apply, k.file("typo.yaml", (WEB % ("replicsa", "x:1")).replace("shop", "typo")), code=0 if k.validation() else 1,
             out='unknown field "spec.replicsa"')
    watched(k, score)
    for name in ("c2", "c3", "c4"):
        k.expect("create", "configmap", name)
    lines = whole_lines(k.expect("get", "cm", "-A", "--chunk-size=2"))
    score.check([l.split()[1] for l in lines[1:] if l.split()[0] == "default"] == ["c1", "c2", "c3", "c4"], "chunks make the whole list", "\n".join(lines))
    deleted_while_waiting(k, score)
    k.expect("delete", "deploy/shop", "deploy/typo", "cm/c2", "cm/c3", "cm/c4", "secret/s1", "--ignore-not-found")


def watched(k, score):
    """get -w sees a pod come and go. It says (-v=6) when the watch is open."""
    watch = k.start("get", "pods", "-w", "--output-watch-events", "-v=6")
    events = []
    opened, gone = threading.Event(), threading.Event()

    def read():
        for line in watch.stdout:
            if "watch=true" in line:
                opened.set()
            if line.startswith(("ADDED", "MODIFIED", "DELETED")):
                events.append(line.split()[:2])
            if line.startswith("DELETED"):
                break
        gone.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    score.check(opened.wait(RUN_LIMIT_S), "the watch opens")
    k.expect("run", "p1", "--image=x", out="pod/p1 created")
    k.expect("delete", "pod", "p1", "--now", out='pod "p1"')
    ended = gone.wait(RUN_LIMIT_S)
    watch.kill()
    watch.wait()
    reader.join(RUN_LIMIT_S)
    watch.stdout.close()
    score.check(ended and events[:1] == [["ADDED", "p1"]] and events[-1:] == [["DELETED", "p1"]], "ADDED, then DELETED", str(events))


def deleted_while_waiting(k, score):
    waiting = k.start("wait", "--for=delete", "cm/c1", "--timeout=%ds" % RUN_LIMIT_S, "-v=6")
    seen = []
    for line in waiting.stdout:
        seen.append(line)
        if "watch=true" in line:
            break
    k.expect("delete", "cm", "c1", out="deleted")
    seen += waiting.stdout
    score.check(waiting.wait(RUN_LIMIT_S) == 0, "wait --for=delete ends when it is gone", "".join(seen))
    waiting.stdout.close()


def named(lines, word):
    """Names in lines such as "service/web created"."""
    return sorted(line.split()[0] for line in lines if line.endswith(word))


def revisions(k):
    items = json.loads(k.expect("get", "-f", MANIFESTS, "-o", "json"))["items"]
    return {(i["kind"], i["metadata"]["name"]): i["metadata"]["resourceVersion"] for i in items}


def applied_again(k, score, created, what):
    """Nothing is written, and kubectl says so."""
    before = revisions(k)
    lines = whole_lines(k.expect("apply", "-f", MANIFESTS))
    unchanged = set(named(lines, " unchanged")) | (set(named(lines, " configured")) & set(ALWAYS_SENT))
    score.check(sorted(unchanged) == created, what, "\n".join(lines))
    score.check(revisions(k) == before, what + ": every object has the revision it had")


def manifests(k, score):
    """Everything at once: a manifest costs no process of its own."""
    created = named(whole_lines(k.expect("apply", "-f", MANIFESTS)), " created")
    kinds = sum(len(re.findall(r"^kind: ", open(p, encoding="utf-8").read(), re.M)) for p in glob.glob(MANIFESTS + "/*.yaml"))
    score.check(len(created) == kinds, "all %d objects are created" % kinds, "\n".join(created))
    applied_again(k, score, created, "applied again, nothing changes")
    score.check(k.expect("diff", "-f", MANIFESTS) == "", "there is no difference to what is there")
    labelled = whole_lines(k.expect("label", "-f", MANIFESTS, "team=blue"))
    score.check(named(labelled, " labeled") == created, "all are labelled", "\n".join(labelled))
    patched = whole_lines(k.expect("patch", "-f", MANIFESTS, "--type=merge", "-p", '{"metadata":{"annotations":{"by":"hand"}}}'))
    score.check(named(patched, " patched") == created, "all are patched", "\n".join(patched))
    applied_again(k, score, created, "what others wrote is left alone")
    listed = json.loads(k.expect("get", "-f", MANIFESTS, "-o", "json"))["items"]
    score.check(len(listed) == kinds and all(i["metadata"]["labels"]["team"] == "blue" and i["metadata"]["annotations"]["by"] == "hand"
                                             for i in listed), "labels and annotations are there")
    k.expect("get", "-f", MANIFESTS, "-o", "wide")
    changes(k)
    deleted = whole_lines(k.expect("delete", "-f", MANIFESTS, "--cascade=background"))
    score.check(len(deleted) == kinds and all("deleted" in line for line in deleted), "all are deleted", "\n".join(deleted))


def changes(k):
    """Edits, scales, rolls out, expands what the manifests made."""
    editor = k.file("editor.sh", "#!/bin/sh\nsed -i 's/level: info/level: debug/; s/replicas: [0-9]*$/replicas: 7/' \"$1\"\n")
    os.chmod(editor, 0o700)
    for what, path, want in (("configmap/settings", ".data.level", "debug"), ("deployment/web", ".spec.replicas", "7")):
        k.expect("edit", what, env={"EDITOR": editor, "KUBE_EDITOR": editor}, out="edited")
        k.expect("get", what, "-o", "jsonpath={%s}" % path, out="^%s$" % want)
    for what in ("deployment/web", "statefulset/db", "replicaset/plain"):
        k.expect("scale", what, "--replicas=4", out="scaled")
        k.expect("get", what, "-o", "jsonpath={.spec.replicas}", out="^4$")
    k.expect("scale", "deployment/web", "--replicas=1", "--current-replicas=9", code=1)
    k.expect("set", "image", "deployment/web", "nginx=nginx:1.28", out="image updated")
    k.expect("set", "env", "deployment/web", "MODE=test", out="env updated")
    k.expect("rollout", "restart", "deployment/web", out="restarted")
    k.expect("patch", "service", "web", "-p", '{"spec":{"ports":[{"port":80,"name":"http"}]}}', out="patched")
    k.expect("annotate", "pod", "training-job", "note=x", out="annotated")
    k.expect("describe", "deployment", "web", out=r"(?s)Name:\s+web.*Image:\s+nginx:1.28")
    k.expect("describe", "pod", "training-job", out=r"(?s)Name:\s+training-job.*nvidia.com/gpu:\s+2")
    k.expect("get", "all", out="(?s)pod/training-job.*deployment.apps/web.*job.batch/pi")
    k.expect("get", "deploy,svc,hpa", "--show-labels", out="team=blue")
    k.expect("get", "roles,rolebindings", out=r"(?s)CREATED AT\nrole.rbac.*rolebinding.rbac.*Role/reader")
    k.expect("get", "pv,sc", "--show-kind", out="(?s)persistentvolume/disk-1.*storageclass.storage.k8s.io/manual")
    k.expect("get", "roles", "--sort-by=.metadata.creationTimestamp", out="reader")
    k.expect("get", "quota", "team", "-o", "custom-columns=N:.metadata.name,P:.spec.hard.pods", out=r"team\s+20")
    k.expect("create", "-f", os.path.join(MANIFESTS, "secret.yaml"), code=1, out="AlreadyExists")
    k.expect("replace", "-f", os.path.join(MANIFESTS, "configmap.yaml"), out="replaced")
    k.expect("delete", "configmap", "settings", out="deleted")
    k.expect("apply", "-f", os.path.join(MANIFESTS, "configmap.yaml"), out="created")


def made_by_commands(k):
    """Objects that kubectl makes itself: their bodies are protobuf since 1.32."""
    commands = [
        ("create", "deployment", "d", "--image=x", "--replicas=2"), ("autoscale", "deployment", "d", "--max=3"),
        ("expose", "deployment", "d", "--port=80", "--name=svc"), ("create", "service", "clusterip", "ip", "--tcp=80:8080"),
        ("create", "ingress", "i", "--rule=a.example/*=svc:80"), ("create", "serviceaccount", "bob"),
        ("create", "role", "r", "--verb=get,list", "--resource=pods"), ("create", "rolebinding", "r", "--role=r", "--user=alice"),
        ("create", "clusterrole", "cr", "--verb=get", "--non-resource-url=/healthz"),
        ("create", "clusterrolebinding", "cr", "--clusterrole=cr", "--group=dev"), ("create", "quota", "q", "--hard=pods=9,cpu=2"),
        ("create", "poddisruptionbudget", "b", "--selector=app=d", "--min-available=50%"),
        ("create", "job", "j", "--image=x", "--", "true"), ("create", "cronjob", "cj", "--image=x", "--schedule=@hourly", "--", "true"),
        ("create", "priorityclass", "p", "--value=7")]
    for words in commands:
        k.expect(*words, out="created|autoscaled|exposed")
    k.expect("get", "hpa,svc,ingress,role,rolebinding,quota,pdb,job,cronjob,priorityclass",
             out=r"(?s)Deployment/d.*80/TCP.*a\.example.*Role/r.*50%.*0/1.*@hourly.*7\s+false")
    k.expect("get", "cronjob", "cj", "-o", "jsonpath={.spec.jobTemplate.spec.template.spec.containers[0].command[0]}", out="^true$")
    k.expect("auth", "can-i", "create", "pods", out="^yes")
    k.expect("delete", "deploy/d", "hpa/d", "svc/svc", "svc/ip", "ingress/i", "sa/bob", "role/r", "rolebinding/r", "clusterrole/cr",
             "clusterrolebinding/cr", "quota/q", "pdb/b", "job/j", "cronjob/cj", "priorityclass/p", out="deleted")


def every_version(kubectl, score):
    """What every kubectl must be able to do, in a namespace of its own."""
    ns = "t-%d-%d" % kubectl.version
    kubectl.expect("create", "ns", ns, out="created")
    kubectl.expect("get", "ns", ns, out=r"%s\s+Active" % ns)
    inside = ["-n", ns]
    kubectl.expect("create", "configmap", "c", "--from-literal=a=b", *inside, out="created")
    files = []
    for name in ("deployment", "service", "configmap"):
        files += ["-f", os.path.join(MANIFESTS, name + ".yaml")]
    for word in ("created", "unchanged"):
        lines = whole_lines(kubectl.expect("apply", *kubectl.validation(), *files, *inside))
        score.check(len(named(lines, " " + word)) == 3, "%s apply: %s" % (kubectl.name, word), "\n".join(lines))
    kubectl.expect("scale", "deployment/web", "--replicas=5", *inside, out="scaled")
    kubectl.expect("get", "deploy", "web", *inside, out=r"0/5\s+0\s+0")
    kubectl.expect("delete", *files, *inside, out='deployment.apps "web" deleted')


def main():
    args = _servers.arguments()
    found = _kube.kubectls()
    debian = debians_kubectl(args.build)
    if debian is not None:
        found.insert(0, ((1, 20), debian))
    if not found:
        _servers.skip("there is no kubectl on this machine, and Debian's package %s can not be had" % DEBIAN)
    print("kubectl", ", ".join("%d.%d" % version for version, _ in found), flush=True)
    setting = _kube.Setting()
    kvd = _servers.start_kvd(args.build)
    api = _kube.Kvapi(args.build, setting, "http://" + kvd.members[0].endpoint).start().wait_ready()
    kubeconfig = setting.kubeconfig("kubeconfig", api.server)
    score = _servers.Score()
    all_of_them = [Kubectl(version, program, kubeconfig, setting.folder, score) for version, program in found]
    newest = all_of_them[-1]
    for kubectl in {all_of_them[0].version: all_of_them[0], newest.version: newest}.values():
        acceptance(kubectl, score)
    if newest.version >= VALIDATES_SINCE:
        made_by_commands(newest)
        manifests(newest, score)
    for kubectl in all_of_them:
        every_version(kubectl, score)
    plain = Kubectl(newest.version, newest.program, "/dev/null", setting.folder, score)
    code, out, err = plain.run("-s", "http://127.0.0.1:%d" % api.plain_port, "get", "--raw", "/livez")
    score.check((code, out) == (0, "ok"), "plain HTTP on loopback", out + err)
    score.check(api.stop() == 0, "kvapi stops in good order", api.log_tail())
    score.finish()


if __name__ == "__main__":
    main()
