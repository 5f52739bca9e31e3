#!/usr/bin/python3
"""kvd as a process: how it is configured, says that it is ready, is probed, and ends."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import grpc  # noqa: E402
from etcd3 import etcdrpc  # noqa: E402

import _servers  # noqa: E402

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(member_or_port, path, method="GET", timeout=20):
    """(status, body), also for errors."""
    port = getattr(member_or_port, "client_port", member_or_port)
    request = urllib.request.Request("http://127.0.0.1:%d%s" % (port, path), method=method)
    try:
        with OPENER.open(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric(member, sample):
    for line in http(member, "/metrics")[1].splitlines():
        if line.startswith(sample + " "):
            return float(line.rsplit(" ", 1)[1])
    return None


def listen_notify(folder):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(os.path.join(folder, "notify"))
    sock.settimeout(20)
    return sock


def configured_by_file(score, args):
    """A file with everything, a service manager that listens, extra listeners, two log outputs."""
    with tempfile.TemporaryDirectory(prefix="kvd-test-") as folder:
        client, peer, extra = _servers.free_ports(3)
        with open(os.path.join(folder, "kvd.yaml"), "w", encoding="utf-8") as out:
            out.write("name: f1\ndata-dir: data\n"
                      "listen-client-urls: http://127.0.0.1:%d\nadvertise-client-urls: http://127.0.0.1:%d\n"
                      "listen-peer-urls: http://127.0.0.1:%d\ninitial-advertise-peer-urls: http://127.0.0.1:%d\n"
                      "listen-metrics-urls: http://127.0.0.1:%d\nlog-outputs: [stderr, log]\n"
                      % (client, client, peer, peer, extra))
        notify = listen_notify(folder)
        env = dict(os.environ, NOTIFY_SOCKET=os.path.join(folder, "notify"), ETCD_NAME="ignored")
        with subprocess.Popen([os.path.abspath(os.path.join(args.build, "kvd")), "--config-file", "kvd.yaml"],
                              cwd=folder, env=env, stderr=subprocess.PIPE, text=True) as process:
            score.check(notify.recv(100) == b"READY=1", "the service manager hears of readiness")
            score.check(http(client, "/health") == (200, '{"health":"true","reason":""}'), "/health")
            score.check(http(extra, "/readyz") == (200, "ok\n"), "/readyz on the metrics port")
            with open("/proc/%d/limits" % process.pid, encoding="ascii") as limits:
                soft, hard = next(l for l in limits if l.startswith("Max open files")).split()[3:5]
            score.check(soft == hard, "the file limit is raised to what is allowed", "%s of %s" % (soft, hard))
            process.send_signal(signal.SIGTERM)
            score.check(notify.recv(100) == b"STOPPING=1", "and of the stop")
            said = process.stderr.read()
            score.check(process.wait(20) == 0, "an orderly stop ends with 0", said)
        notify.close()
        lines = [json.loads(line) for line in said.splitlines()]
        score.check(all({"level", "ts", "caller", "msg"} <= set(line) for line in lines), "log lines are etcd's", said)
        score.check(any(line["msg"] == "ready to serve client requests" for line in lines), "with etcd's words", said)
        with open(os.path.join(folder, "log"), encoding="utf-8") as log:
            score.check(log.read() == said, "every output gets every line")
        score.check(stat.S_IMODE(os.stat(os.path.join(folder, "data")).st_mode) == 0o700, "the data dir is private")
        score.check(stat.S_IMODE(os.stat(os.path.join(folder, "log")).st_mode) == 0o600, "and so is the log")


def configured_by_environment(score, args):
    """Variables, and signals that come as soon as the first line is out."""
    with tempfile.TemporaryDirectory(prefix="kvd-test-") as folder:
        client, peer = _servers.free_ports(2)
        env = {"ETCD_NAME": "e1", "KVD_DATA_DIR": os.path.join(folder, "d"), "ETCD_LOG_FORMAT": "console",
               "ETCD_LISTEN_CLIENT_URLS": "http://127.0.0.1:%d" % client,
               "ETCD_ADVERTISE_CLIENT_URLS": "http://127.0.0.1:%d" % client,
               "ETCD_LISTEN_PEER_URLS": "http://127.0.0.1:%d" % peer,
               "ETCD_INITIAL_ADVERTISE_PEER_URLS": "http://127.0.0.1:%d" % peer}
        with subprocess.Popen([os.path.join(args.build, "kvd")], env=env, stderr=subprocess.PIPE, text=True) as process:
            lines = []
            while not lines or "member started" not in lines[-1]:
                lines.append(process.stderr.readline())
                if lines[-1] == "":
                    break
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
            score.check(process.wait(20) == 0, "SIGINT right after the start ends with 0", "".join(lines) + rest)
        score.check("\tinfo\tserver/main.c:" in lines[0], "the console format", lines[0])
        done = subprocess.run([os.path.join(args.build, "kvd"), "--name", "e1"], env=env, capture_output=True,
                              text=True, timeout=20, check=False)
        score.check(done.returncode == 1 and "conflicting environment variable is shadowed" in done.stderr
                    and "ETCD_NAME" in done.stderr, "a flag and its variable together", done.stderr)


def warned_of_plain_text(score, args):
    """One line if clients are served in plain text beyond the machine; none otherwise."""
    for flags, flag in ((["--listen-client-urls=http://0.0.0.0:%d"], "--listen-client-urls"),
                        (["--listen-client-http-urls=http://0.0.0.0:%d"], "--listen-client-http-urls"),
                        (["--listen-client-http-urls=http://127.0.0.1:%d"], None),
                        (["--auto-tls", "--listen-client-urls=https://0.0.0.0:%d"], None)):
        with tempfile.TemporaryDirectory(prefix="kvd-test-") as folder:
            client, peer, extra = _servers.free_ports(3)
            flags = [f % ((extra,) * f.count("%d")) for f in flags]
            with open(os.path.join(folder, "log"), "wb") as log, subprocess.Popen(
                    [os.path.join(args.build, "kvd"), "--data-dir=" + os.path.join(folder, "d"),
                     "--log-format=json", "--listen-client-urls=http://127.0.0.1:%d" % client,
                     "--advertise-client-urls=http://127.0.0.1:%d" % client,
                     "--listen-peer-urls=http://127.0.0.1:%d" % peer, "--initial-cluster=default=http://127.0.0.1:%d" % peer,
                     "--initial-advertise-peer-urls=http://127.0.0.1:%d" % peer, *flags],
                    env=dict(os.environ, NOTIFY_SOCKET=""), stderr=log) as process:
                ready = ""
                while "ready to serve" not in ready and process.poll() is None:
                    with open(log.name, encoding="utf-8") as source:  # an offset of our own
                        ready = source.read()
                process.send_signal(signal.SIGTERM)
                process.wait(20)
            said = [json.loads(line) for line in ready.splitlines() if "PLAIN TEXT" in line]
            if flag is None:
                score.check(not said, "no warning with " + flags[-1], ready)
            else:
                score.check(len(said) == 1 and said[0]["flag"] == flag and "0.0.0.0" in said[0]["address"]
                            and said[0]["level"] == "warn" and "--cert-file" in said[0]["msg"]
                            and "--client-cert-auth" in said[0]["msg"], "one warning with " + flags[-1], ready)


def probed_without_quorum(score, args):
    cluster = _servers.start_kvd(args.build, 3)
    one, two, three = cluster.members
    for member in cluster.members:
        score.check(http(member, "/health")[0] == 200, "/health of " + member.name)
        score.check(metric(member, "etcd_server_has_leader") == 1, "a leader is known to " + member.name)
    score.check(sum(metric(m, "etcd_server_is_leader") for m in cluster.members) == 1, "one member leads")
    ids = {http(m, "/metrics")[1].split('server_id="')[1].split('"')[0] for m in cluster.members}
    peers = {line.split('To="')[1].split('"')[0] for line in http(one, "/metrics")[1].splitlines()
             if line.startswith("etcd_network_peer_sent_bytes_total{")}
    score.check(len(ids) == 3 and peers < ids and len(peers) == 2, "peers are told by their ids", "%s %s" % (ids, peers))

    two.kill()
    three.kill()
    status, body = http(one, "/readyz")
    score.check(status == 503 and "[+]serializable_read ok\n[-]linearizable_read failed: etcdserver: " in body,
                "/readyz without quorum names the check", "%s %s" % (status, body))
    status, body = http(one, "/health")
    score.check((status, body) == (503, '{"health":"false","reason":"RAFT NO LEADER"}\n'), "/health without quorum", body)
    score.check(http(one, "/health?serializable=true")[0] == 200, "/health?serializable=true without quorum")
    score.check(http(one, "/livez") == (200, "ok\n"), "/livez without quorum")
    score.check(metric(one, "etcd_server_has_leader") == 0, "no leader is known")
    score.check(http(one, "/health", method="POST")[0] == 405, "POST is not allowed")

    two.start()
    _servers.wait_ready(one)
    score.check(http(one, "/readyz")[0] == 200, "/readyz with quorum again")
    score.check(one.stop() == 0 and two.stop() == 0, "both stop in order")
    cluster.close()


def restarted_alone(score, args):
    """A member that is started again without the others does not go back in time (I4): it shows nothing of what
    it holds until it knows how far the cluster was. Reads that came early are answered then."""
    cluster = _servers.start_kvd(args.build, 3)
    one, two, three = cluster.members
    with one.channel() as channel:
        kv = etcdrpc.KVStub(channel)
        for i in range(50):
            before = kv.Put(etcdrpc.PutRequest(key=b"k", value=b"%d" % i), timeout=10).header.revision
    for member in cluster.members:
        member.kill()
    one.start()
    with one.channel() as channel:
        kv = etcdrpc.KVStub(channel)
        early = kv.Range.future(etcdrpc.RangeRequest(key=b"k", serializable=True), timeout=30, wait_for_ready=True)
        watch = etcdrpc.WatchStub(channel).Watch(iter([etcdrpc.WatchRequest(
            create_request=etcdrpc.WatchCreateRequest(key=b"k"))]), wait_for_ready=True)
        try:
            next(watch)
            score.check(False, "a watch begins at a revision that was long ago")
        except grpc.RpcError as error:
            score.check(error.code() == grpc.StatusCode.UNAVAILABLE, "a watch has to try again", str(error))
        score.check(not early.done(), "a serializable read waits")
        two.start()
        answer = early.result()
        score.check(answer.header.revision >= before and answer.kvs[0].value == b"49", "and sees what was there",
                    str(answer))
    cluster.close()


def ended_twice(score, args):
    """A leader that finds nobody to hand over to is asked again: it ends at once."""
    cluster = _servers.start_kvd(args.build, 2, ["--election-timeout", "4000", "--heartbeat-interval", "800"])
    leader = next(m for m in cluster.members if metric(m, "etcd_server_is_leader") == 1)
    other = next(m for m in cluster.members if m is not leader)
    other.process.send_signal(signal.SIGSTOP)
    leader.process.send_signal(signal.SIGTERM)
    while "shutting down" not in leader.log_tail() and leader.running():
        pass
    leader.process.send_signal(signal.SIGTERM)
    score.check(leader.process.wait(5) == 128 + signal.SIGTERM, "the second signal ends at once", leader.log_tail(5))
    other.process.send_signal(signal.SIGCONT)
    cluster.close()


def main():
    args = _servers.arguments()
    score = _servers.Score()
    configured_by_file(score, args)
    configured_by_environment(score, args)
    warned_of_plain_text(score, args)
    probed_without_quorum(score, args)
    restarted_alone(score, args)
    ended_twice(score, args)
    score.finish()


if __name__ == "__main__":
    main()
