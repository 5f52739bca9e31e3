"""Servers for tests: real etcd and kvd members on loopback, on free ports, in a folder of their own.

Everything is started as a child process and ended by pid; folders are removed at exit.
"""

import argparse
import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import grpc
from etcd3 import etcdrpc

READY_TIMEOUT_S = 30
SKIPPED = 77


def arguments(**extra):
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build", help="folder with kvd and kvctl")
    parser.add_argument("--seed", type=int, default=None)
    for name, default in extra.items():
        how = {"action": "store_true"} if default is False else {"type": type(default), "default": default}
        parser.add_argument("--" + name.replace("_", "-"), **how)
    args = parser.parse_args()
    if args.seed is None:
        args.seed = int.from_bytes(os.urandom(4), "little")
    print("seed", args.seed, flush=True)
    return args


def skip(reason):
    """Ends the program: what it tests can not be had here."""
    print("skipped:", reason, flush=True)
    sys.exit(SKIPPED)


def free_ports(count):
    """Ports that were free a moment ago. They lie below those that the kernel gives to outgoing
    connections (32768 and up), or a client of another test could take one before its server does."""
    socks = []
    while len(socks) < count:
        sock = socket.socket()
        try:
            sock.bind(("127.0.0.1", random.SystemRandom().randrange(10000, 32000)))
        except OSError:
            sock.close()
            continue
        socks.append(sock)
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


class Member:
    """One server process. `kind` is "etcd" or "kvd"."""

    def __init__(self, kind, binary, name, folder, client_port, peer_port, initial, extra=()):
        self.kind, self.binary, self.name, self.folder = kind, binary, name, folder
        self.client_port, self.peer_port = client_port, peer_port
        self.endpoint = "127.0.0.1:%d" % client_port
        self.args = [
            binary,
            "--name", name,
            "--data-dir", os.path.join(folder, name),
            "--listen-client-urls", "http://127.0.0.1:%d" % client_port,
            "--advertise-client-urls", "http://127.0.0.1:%d" % client_port,
            "--listen-peer-urls", "http://127.0.0.1:%d" % peer_port,
            "--initial-advertise-peer-urls", "http://127.0.0.1:%d" % peer_port,
            "--initial-cluster", initial,
            *extra,
        ]
        self.log_path = os.path.join(folder, name + ".log")
        self.process = None

    def start(self, **environment):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **environment})

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def stop(self, timeout=20):
        """Orderly stop; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def log_tail(self, lines=20):
        with open(self.log_path, "rb") as log:
            return b"\n".join(log.read().splitlines()[-lines:]).decode(errors="replace")

    def channel(self, own=False):
        """own: a connection that no other channel shares."""
        return grpc.insecure_channel(
            self.endpoint,
            options=[("grpc.use_local_subchannel_pool", int(own)),
                     ("grpc.max_receive_message_length", -1),
                     ("grpc.initial_reconnect_backoff_ms", 50),
                     ("grpc.min_reconnect_backoff_ms", 50),
                     ("grpc.max_reconnect_backoff_ms", 200)])


class Cluster:
    """N members that form one cluster."""

    def __init__(self, kind, binary, size, extra=()):
        self.folder = tempfile.mkdtemp(prefix="kvd-test-")
        atexit.register(self.close)
        ports = free_ports(2 * size)
        names = ["m%d" % (i + 1) for i in range(size)]
        initial = ",".join("%s=http://127.0.0.1:%d" % (n, ports[2 * i + 1]) for i, n in enumerate(names))
        self.members = [
            Member(kind, binary, n, self.folder, ports[2 * i], ports[2 * i + 1], initial, extra)
            for i, n in enumerate(names)
        ]
        self.kept = False

    def start(self):
        for member in self.members:
            member.start()
        for member in self.members:
            wait_ready(member)
        return self

    def leader(self, metadata=lambda channel: []):
        """Whom most members say leads; waits until there is one. metadata(channel): of a call, where users are on."""
        end = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < end:
            said, by_id = [], {}
            for member in self.members:
                with member.channel() as channel:
                    try:
                        status = etcdrpc.MaintenanceStub(channel).Status(etcdrpc.StatusRequest(), timeout=5,
                                                                         metadata=metadata(channel))
                    except grpc.RpcError:
                        continue
                by_id[status.header.member_id] = member
                said.append(status.leader)
            for leader in said:
                if said.count(leader) > len(self.members) // 2 and leader in by_id:
                    return by_id[leader]
            time.sleep(0.05)  # between two looks
        sys.exit("there is no leader")

    @property
    def endpoints(self):
        return ",".join(m.endpoint for m in self.members)

    def close(self):
        for member in self.members:
            member.kill()
        if not self.kept:
            shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self):
        """Leaves data and logs for whoever looks into a failure."""
        self.kept = True
        print("data and logs are in", self.folder, flush=True)


def wait_ready(member, timeout=READY_TIMEOUT_S):
    """Until a linearizable read succeeds; fails with the log's tail."""
    end = time.monotonic() + timeout
    with member.channel() as channel:
        kv = etcdrpc.KVStub(channel)
        while time.monotonic() < end:
            if not member.running():
                sys.exit("%s ended at start:\n%s" % (member.name, member.log_tail()))
            try:
                kv.Range(etcdrpc.RangeRequest(key=b"ready?"), timeout=2, wait_for_ready=True)
                return
            except grpc.RpcError as refusal:
                if refusal.details() == "etcdserver: user name is empty":
                    return  # authentication is on: it has read, and then looked at who asks
    sys.exit("%s is not ready after %d s:\n%s" % (member.name, timeout, member.log_tail()))


def start_etcd(size=1, extra=(), binary=None):
    """Debian's etcd, or the one at binary."""
    binary = binary or shutil.which("etcd")
    if binary is None:
        sys.exit("etcd is not installed: tools/install-packages build test")
    os.environ.setdefault("ETCD_UNSUPPORTED_ARCH", "")
    return Cluster("etcd", binary, size, ["--log-level", "error", *extra]).start()


def start_kvd(build, size=1, extra=()):
    return Cluster("kvd", os.path.join(build, "kvd"), size, extra).start()


class Score:
    """Counts checks and ends the program with the line that test runners read."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, ok, what, detail=""):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print("FAIL %s\n%s" % (what, detail), flush=True)
        return ok

    def finish(self):
        print("%d passed, %d failed" % (self.passed, self.failed), flush=True)
        sys.exit(0 if self.failed == 0 and self.passed > 0 else 1)
