"""kvapi for tests: processes on loopback with certificates of their own, and a plain HTTP client.

Everything is started as a child process and ended by pid; folders are removed at exit.
"""

import atexit
import base64
import glob
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time

import _servers
from tls import Certs

READY_TIMEOUT_S = 30
# Who asks: the name of the certificate's owner and the groups it is in.
IDENTITIES = {"admin": ("admin", "system:masters"), "alice": ("alice", "dev"), "kubelet": ("system:node:n1", "system:nodes")}
TOKEN = "token-of-admin"


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "%d %s" % (self.status, self.body.decode(errors="replace")[:2000])


class Setting:
    """A folder with a CA, a server certificate and one for each identity."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="kvd-test-")
        self.kept = False
        atexit.register(self.close)
        self.certs = Certs(self.folder)
        self.certs.ca("ca")
        self.certs.sign("server")
        for name, (user, group) in IDENTITIES.items():
            self.certs.sign(name, san=None, subject="/O=%s/CN=%s" % (group, user))
        with open(self.certs.path("tokens.csv"), "w", encoding="ascii") as out:
            out.write('%s,admin,1,"system:masters"\n' % TOKEN)

    def context(self, identity):
        context = ssl.create_default_context(cafile=self.certs.path("ca.crt"))
        if identity in IDENTITIES:
            context.load_cert_chain(self.certs.path(identity + ".crt"), self.certs.path(identity + ".key"))
        return context

    def kubeconfig(self, name, server, identity="admin"):
        def data(file):
            with open(self.certs.path(file), "rb") as source:
                return base64.b64encode(source.read()).decode()

        path = self.certs.path(name)
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority-data": data("ca.crt")}}],
            "users": [{"name": "u", "user": {"client-certificate-data": data(identity + ".crt"),
                                             "client-key-data": data(identity + ".key")}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "default"}}]}
        with open(path, "w", encoding="ascii") as out:
            json.dump(config, out)
        return path

    def close(self):
        if not self.kept:
            shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self):
        self.kept = True
        print("certificates and logs are in", self.folder, flush=True)


class Remote:
    """Requests to one kvapi, over a connection that is kept per identity. One thread at a time."""

    def __init__(self, api):
        self.setting, self.port, self.connections = api.setting, api.port, {}

    def connect(self, identity="admin", timeout=60):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.setting.context(identity), timeout=timeout)

    def ask(self, method, path, body=None, headers=None, identity="admin", timeout=60):
        """One request, never repeated: a connection that broke raises OSError, and the next request opens another."""
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        connection = self.connections.pop(identity, None) or self.connect(identity)
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            got = Answer(answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException) as lost:
            connection.close()
            raise lost if isinstance(lost, OSError) else ConnectionError(repr(lost)) from lost
        self.connections[identity] = connection
        return got

    def forget(self):
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()


class Kvapi(Remote):
    """One API server process in front of a store."""

    def __init__(self, build, setting, endpoints, name="kvapi", extra=()):
        self.setting, self.name = setting, name
        self.port, self.plain_port = _servers.free_ports(2)
        self.server = "https://127.0.0.1:%d" % self.port
        path = setting.certs.path
        self.args = [os.path.join(build, "kvapi"), "--etcd-servers", endpoints, "--bind-address", "127.0.0.1",
                     "--secure-port", str(self.port), "--insecure-port", str(self.plain_port),
                     "--tls-cert-file", path("server.crt"), "--tls-private-key-file", path("server.key"),
                     "--client-ca-file", path("ca.crt"), "--token-auth-file", path("tokens.csv"), *extra]
        self.log_path = path(name + ".log")
        self.process = None
        super().__init__(self)

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        atexit.register(self.kill)
        return self

    def wait_ready(self):
        end = time.monotonic() + READY_TIMEOUT_S
        last = None
        while time.monotonic() < end:
            if self.process.poll() is not None:
                sys.exit("%s ended at start with %d:\n%s" % (self.name, self.process.returncode, self.log_tail()))
            try:
                last = self.ask("GET", "/readyz?verbose", timeout=5)
                if last.status == 200:
                    return self
            except OSError as refused:
                last = refused
            time.sleep(0.01)
        sys.exit("%s is not ready after %d s: %s\n%s" % (self.name, READY_TIMEOUT_S, last, self.log_tail()))

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()
        self.forget()

    def stop(self, timeout=20):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.forget()
        return self.process.wait(timeout)

    def log_tail(self, lines=30):
        with open(self.log_path, "rb") as log:
            return b"\n".join(log.read().splitlines()[-lines:]).decode(errors="replace")


def kubectls():
    """(version, path) of every kubectl on the machine, oldest first. The name "kubectl" may be a dispatcher,
    with the programs of each version beside it."""
    found = shutil.which("kubectl")
    if found is None:
        return []
    versioned = glob.glob(os.path.join(os.path.dirname(os.path.realpath(found)), "kubectl.*"))
    by_version = {}
    for path in versioned or [found]:
        if not os.access(path, os.X_OK):
            continue
        done = subprocess.run([path, "version", "--client", "-o", "json"], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            version = json.loads(done.stdout)["clientVersion"]
            by_version[(int(version["major"]), int(version["minor"].rstrip("+")))] = path
    return sorted(by_version.items())
