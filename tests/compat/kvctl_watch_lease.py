#!/usr/bin/python3
"""kvctl's watch, lease, lock, elect, make-mirror and check beside etcdctl's, on the same server.

Output is compared byte by byte. A watch through a relay that cuts connections has to come out with
each revision once. By default the server is Debian's etcd; --server kvd takes ours.
"""

import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import _servers
from etcd3 import etcdrpc

WAIT_S = 30


class Relay:
    """Forwards TCP to a server until it is told to cut."""

    def __init__(self, target):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.lock = threading.Lock()
        self.pairs, self.accepted = [], 0
        self.open = True
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                if not self.open:
                    near.close()
                    continue
                far = socket.create_connection(self.target)
                self.pairs.append((near, far))
                self.accepted += 1
            threading.Thread(target=self._pump, args=(near, far), daemon=True).start()

    def _pump(self, near, far):
        try:
            while True:
                for sock in select.select([near, far], [], [])[0]:
                    data = sock.recv(65536)
                    if not data:
                        return
                    (far if sock is near else near).sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            near.close()
            far.close()

    def cut(self, stay_down=False):
        with self.lock:
            self.open = not stay_down
            for pair in self.pairs:
                for sock in pair:
                    try:
                        sock.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
            self.pairs = []

    def up(self):
        with self.lock:
            self.open = True

    def close(self):
        self.listener.close()
        self.cut(stay_down=True)


class Running:
    """A client that goes on until it is told to stop; its output is waited for."""

    all = []

    def __init__(self, args, stdin=None):
        self.process = subprocess.Popen(
            args, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        self.out, self.err = b"", b""
        self.change = threading.Condition()
        self.readers = [threading.Thread(target=self._read, args=(self.process.stdout, "out")),
                        threading.Thread(target=self._read, args=(self.process.stderr, "err"))]
        for reader in self.readers:
            reader.start()
        if stdin:
            self.write(stdin)
        Running.all.append(self)

    def _read(self, pipe, name):
        while True:
            data = os.read(pipe.fileno(), 65536)
            with self.change:
                setattr(self, name, getattr(self, name) + data)
                self.change.notify_all()
            if not data:
                return

    def write(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait_for(self, what):
        """Until its output has a match; False if that takes too long."""
        def there():
            return re.search(what, self.out, re.S) is not None
        with self.change:
            return self.change.wait_for(there, WAIT_S)

    def end(self, number=None):
        """(output, exit code); number: a signal to send first."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = "did not end"
            self.process.wait()
        for reader in self.readers:
            reader.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        Running.all.remove(self)
        return self.out, code


def environment(**more):
    return {"PATH": os.environ["PATH"], "ETCDCTL_API": "3", **more}


class Test:
    def __init__(self, args):
        self.args = args
        self.random = random.Random(args.seed)
        self.score = _servers.Score()
        self.cluster = self.start()
        self.endpoint = self.cluster.endpoints
        self.kvctl = os.path.join(args.build, "kvctl")

    def start(self):
        if self.args.server == "kvd":
            return _servers.start_kvd(self.args.build)
        return _servers.start_etcd()

    def line(self, program, *words, endpoint=None):
        binary = self.kvctl if program == "kvctl" else "etcdctl"
        return [binary, "--endpoints", endpoint or self.endpoint, *words]

    def run(self, program, *words, endpoint=None, **env):
        done = subprocess.run(self.line(program, *words, endpoint=endpoint), env=environment(**env),
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT_S)
        return done.stdout, done.returncode

    def running(self, program, *words, endpoint=None, stdin=None):
        return Running(self.line(program, *words, endpoint=endpoint), stdin)

    def put(self, key, value, *more):
        out, code = self.run("etcdctl", "put", *more, "--", key, value)
        assert code == 0, out

    def revision(self, endpoint=None):
        return json.loads(self.run("etcdctl", "get", "x", "-w", "json", endpoint=endpoint)[0])["header"]["revision"]

    def same(self, what, theirs, ours):
        self.score.check(theirs == ours, what, "  etcdctl %r\n  kvctl   %r" % (theirs, ours))


# ---- watch ----


def watch_output_is_the_same(t):
    """History, then live events, in every format."""
    for i, words in enumerate([(), ("-w", "json"), ("-w", "fields"), ("-w", "protobuf"), ("--hex",),
                               ("-w", "json", "--hex"), ("--prev-kv",), ("--prev-kv", "-w", "json"),
                               ("--prev-kv", "-w", "fields"), ("--prev-kv", "-w", "protobuf"),
                               ("--prev-kv", "--hex")]):
        start = str(t.revision() + 1)
        prefix = "w%d/" % i
        t.put(prefix + "a", "1")
        t.put(prefix + "a", "two\nlines")
        t.run("etcdctl", "del", prefix + "a")
        t.put(prefix + "half", "")
        both = [t.running(p, "watch", "--prefix", "--rev", start, *words, prefix) for p in ("etcdctl", "kvctl")]
        half = b"half|aGFsZ|\\\\x68\\\\x61\\\\x6c\\\\x66|" + b"L2hhbGY"
        outs = []
        for one in both:
            t.score.check(one.wait_for(half), "history of a watch", one.out)
        t.put(prefix + "b", "live")
        t.run("etcdctl", "del", prefix + "b")
        t.put(prefix + "whole", "")
        for one in both:
            t.score.check(one.wait_for(b"whole|d2hvbG|\\\\x77\\\\x68\\\\x6f\\\\x6c\\\\x65|L3dob2xl"), "live events", one.out)
        # one more, so that the one before is complete
        t.put(prefix + "zzz", "")
        for one in both:
            t.score.check(one.wait_for(b"zzz|enp6|\\\\x7a\\\\x7a\\\\x7a|L3p6e"), "the last event", one.out)
        for one in both:
            outs.append(one.end(signal.SIGKILL)[0])
        theirs = outs[0]
        # 3.5+ leave a Revision of 0 out; the rest of the last answer may still be under way
        length = min(len(theirs), len(outs[1]))
        t.same("watch " + " ".join(words), theirs[:length], outs[1][:length])


def watch_with_command_is_the_same(t):
    start = str(t.revision() + 1)
    t.put("e\"xec", "v\nx")
    t.run("etcdctl", "del", "e\"xec")
    t.put("e-last", "")
    words = ("watch", "--prefix", "--rev", start, "e", "--", "sh", "-c", "env | grep ^ETCD_WATCH | sort; echo --")
    outs = []
    for program in ("etcdctl", "kvctl"):
        one = t.running(program, *words)
        t.score.check(one.wait_for(b"(.*\n--){3}"), "three commands", one.out)
        outs.append(one.end(signal.SIGKILL)[0])
    t.same("watch with a command", outs[0], outs[1])
    for command in (("sh", "-c", "exit 3"), ("/nonexistent", "x")):
        results = [t.running(p, "watch", "e-last", "--rev", start, "--", *command).end() for p in ("etcdctl", "kvctl")]
        t.same("watch with a command that fails", results[0], results[1])


def watch_errors_are_the_same(t):
    compacted = t.revision()
    t.put("c", "1")
    t.run("etcdctl", "compaction", str(t.revision()))
    for words in (("watch",), ("watch", "a", "b", "--prefix"), ("watch", "a", "--"), ("watch", "--", "echo"),
                  ("watch", "a", "--rev", str(compacted), "-w", "json"), ("watch", "a", "--rev", str(compacted)),
                  ("watch", "a", "--rev", str(compacted), "-w", "protobuf"),
                  ("watch", "b", "a"), ("watch", "a", "--rev", "x")):
        if words == ("watch", "b", "a"):
            continue  # 3.4 reports it as a future revision
        theirs, ours = [t.running(p, *words).end() for p in ("etcdctl", "kvctl")]
        if theirs[1] == 1:
            theirs = (b"", 1)  # help on standard output
        t.same(" ".join(words), theirs, ours)
    for env in ({"ETCDCTL_WATCH_RANGE_END": "b"},):
        t.same("watch with %r" % env, t.run("etcdctl", "watch", "a", **env), t.run("kvctl", "watch", "a", **env))
    t.same("watch with a conflict", t.run("etcdctl", "watch", "a", ETCDCTL_WATCH_KEY="k"),
           t.run("kvctl", "watch", "a", ETCDCTL_WATCH_KEY="k"))


def interactive_watches_share_a_stream(t):
    """Lines take effect one after the other; progress comes to each watch."""
    one = t.running("kvctl", "watch", "-i", stdin="watch i1\nwatch --prefix i2\nprogress\n")
    t.score.check(one.wait_for(b"progress notify: \\d+\nprogress notify: \\d+\n"), "progress of two watches", one.out)
    t.put("i1", "x")
    t.score.check(one.wait_for(b"PUT\ni1\nx\n"), "the first watch", one.out)
    t.put("i2/y", "z")
    t.score.check(one.wait_for(b"PUT\ni2/y\nz\n"), "the second watch", one.out)
    one.write("nonsense\n")
    one.process.stdin.close()
    one.process.stdin = None
    t.score.check(one.end()[1] == 3, "the end of the input is exit code 3")
    t.score.check(b"Invalid command" in one.err, "a bad line is told", one.err)


def revisions_of(out):
    found = []
    for line in out.splitlines():
        if line.startswith(b"{"):
            found += [event["kv"]["mod_revision"] for event in json.loads(line)["Events"]]
    return found


def resumed_watch_has_each_revision_once(t):
    """The connection is cut at random moments while others write."""
    relay = Relay(t.endpoint)
    start = t.revision() + 1
    watch = t.running("kvctl", "watch", "--prefix", "r/", "--rev", str(start), "-w", "json", endpoint=relay.endpoint)
    for i in range(60):
        t.put("r/%d" % (i % 7), "v%d" % i)
        if t.random.random() < 0.2:
            relay.cut()
    t.put("r/end", "")
    last = t.revision()
    t.score.check(watch.wait_for(b"\"mod_revision\":%d\\b.*\n" % last), "the last event", watch.out)
    out, _ = watch.end(signal.SIGKILL)
    t.score.check(revisions_of(out) == list(range(start, last + 1)), "each revision once, in order", revisions_of(out))
    t.score.check(relay.accepted > 1, "the connection was cut")
    relay.close()


def watch_from_now_on_keeps_its_place(t):
    """Cut after "created" and before any event: what happens meanwhile is not missed."""
    relay = Relay(t.endpoint)
    watch = t.running("kvctl", "watch", "-i", "-w", "json", endpoint=relay.endpoint, stdin="watch --prefix n/\nprogress\n")
    t.score.check(watch.wait_for(b"progress notify: .*\n"), "the watch is in effect", watch.out)
    relay.cut(stay_down=True)
    start = t.revision() + 1
    for i in range(5):
        t.put("n/%d" % i, "")
    relay.up()
    last = t.revision()
    t.score.check(watch.wait_for(b"\"mod_revision\":%d\\b.*\n" % last), "events of the time without connection", watch.out)
    out, _ = watch.end(signal.SIGKILL)
    t.score.check(revisions_of(out) == list(range(start, last + 1)), "each of them once", revisions_of(out))
    relay.close()


def watch_moves_to_another_endpoint(t):
    first, second = Relay(t.endpoint), Relay(t.endpoint)
    start = t.revision() + 1
    watch = t.running("kvctl", "watch", "--prefix", "s/", "--rev", str(start), "-w", "json",
                      endpoint=first.endpoint + "," + second.endpoint)
    t.put("s/1", "")
    t.score.check(watch.wait_for(b"\"mod_revision\":%d\\b.*\n" % start), "the first event", watch.out)
    (first if first.accepted else second).cut(stay_down=True)
    t.put("s/2", "")
    t.score.check(watch.wait_for(b"\"mod_revision\":%d\\b.*\n" % (start + 1)), "the second, from elsewhere", watch.out)
    out, _ = watch.end(signal.SIGKILL)
    t.score.check(revisions_of(out) == [start, start + 1], "each once", revisions_of(out))
    first.close()
    second.close()


def slow_command_misses_nothing(t):
    """More happens while the first command runs than kvctl keeps in memory."""
    folder = tempfile.mkdtemp(prefix="kvctl-watch-")
    try:
        fifo = os.path.join(folder, "fifo")
        os.mkfifo(fifo)
        script = "[ -e %s/go ] || cat %s; echo $ETCD_WATCH_KEY" % (folder, fifo)
        watch = t.running("kvctl", "watch", "-w", "fields", "--prefix", "q/", "--rev", str(t.revision() + 1), "--", "sh", "-c", script)
        keys = ["q/%03d" % i for i in range(300)]
        with t.cluster.members[0].channel() as channel:
            kv = etcdrpc.KVStub(channel)
            kv.Put(etcdrpc.PutRequest(key=keys[0].encode()), timeout=WAIT_S)
            with open(fifo, "w") as held:  # opens once the first command reads it
                for key in keys[1:]:
                    kv.Put(etcdrpc.PutRequest(key=key.encode()), timeout=WAIT_S)
                open(os.path.join(folder, "go"), "w").close()
                held.write("")
        t.score.check(watch.wait_for(b"\n\"q/299\"\n"), "the last command", watch.out[-200:])
        out, _ = watch.end(signal.SIGKILL)
        seen = re.findall(r'(?m)^"(q/\d+)"$', out.decode())
        t.score.check(seen == keys, "each event has its command, once, in order", seen)
    finally:
        shutil.rmtree(folder)


def reader_that_goes_away_ends_the_watch(t):
    start = str(t.revision() + 1)
    for i in range(3):
        t.put("p/%d" % i, "")
    line = " ".join(t.line("kvctl", "watch", "--prefix", "p/", "--rev", start)) + " -- echo command"
    watch = subprocess.Popen(["bash", "-c", "set -o pipefail; %s | head -1" % line], env=environment(),
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while watch.poll() is None:
        t.put("p/more", "")
    t.score.check(watch.communicate()[0] == b"PUT\n" and watch.returncode in (1, 6), "watch | head -1", watch.returncode)


def nobody_there_is_an_error(t):
    port = _servers.free_ports(1)[0]
    for words in (("watch", "a"), ("lease", "keep-alive", "1"), ("lock", "x"), ("elect", "-l", "x"), ("make-mirror", "127.0.0.1:%d" % port)):
        out, code = t.run("kvctl", "--dial-timeout", "300ms", "--command-timeout", "1s", *words, endpoint="127.0.0.1:%d" % port)
        t.score.check(code == 1, "%s without a server" % words[0], (out, code))


def compaction_meanwhile_is_reported(t):
    relay = Relay(t.endpoint)
    watch = t.running("kvctl", "watch", "--prefix", "--rev", str(t.revision() + 1), "g/", endpoint=relay.endpoint)
    t.put("g/first", "")
    t.score.check(watch.wait_for(b"g/first\n"), "the first event", watch.out)
    relay.cut(stay_down=True)
    t.put("g/lost", "")
    t.put("g/last", "")
    t.run("etcdctl", "compaction", str(t.revision()))
    relay.up()
    _, code = watch.end()
    t.score.check(code == 5 and b"has been compacted" in watch.err, "a gap is an error", (code, watch.err))
    relay.close()


# ---- leases ----


def without_ids(out):
    """Lease ids differ from call to call, and so does a TTL from second to second."""
    out = re.sub(rb"(lease |\"ID\" : |\"ID\":|\"id\":)[0-9a-f]+", rb"\1ID", out)
    return re.sub(rb"(remaining\(|\"ttl\":|\"TTL\" : )(4[789]|50)\b", rb"\1LEFT", out)


def lease_output_is_the_same(t):
    for words in ((), ("-w", "json"), ("-w", "fields"), ("-w", "json", "--hex")):
        results = []
        for program in ("etcdctl", "kvctl"):
            seen = [t.run(program, "lease", "grant", "50", *words)]
            out, _ = t.run("etcdctl", "lease", "grant", "50")
            lease = out.split()[1].decode()
            t.put("leased", "v", "--lease", lease)
            for command in (("timetolive", lease), ("timetolive", lease, "--keys"), ("keep-alive", "--once", lease),
                            ("revoke", lease), ("timetolive", lease), ("timetolive", lease, "--keys")):
                seen.append(t.run(program, "lease", *command, *words))
            results.append([(without_ids(re.sub(rb"([Rr]evision\" ?: ?)\d+", rb"\1R", out)), code) for out, code in seen])
        for theirs, ours in zip(*results):
            t.same("lease ... " + " ".join(words), theirs, ours)
        t.same("lease list " + " ".join(words), t.run("etcdctl", "lease", "list", *words), t.run("kvctl", "lease", "list", *words))


def lease_errors_are_the_same(t):
    for line in ("lease keep-alive --once 1234", "lease keep-alive 1234", "lease keep-alive 1234 -w json", "lease keep-alive",
                 "lease revoke 1234", "lease revoke zz", "lease revoke", "lease grant", "lease grant x",
                 "lease grant 99999999999", "lease timetolive", "lease timetolive zz", "lease timetolive 1234",
                 "lease grant 10 -w table", "put leased v --lease 1234", "put leased v --lease zz"):
        theirs, ours = t.run("etcdctl", *line.split()), t.run("kvctl", *line.split())
        t.same(line, theirs, ours)


def put_attaches_the_lease(t):
    out, _ = t.run("kvctl", "lease", "grant", "60")
    lease = out.split()[1].decode()
    t.run("kvctl", "put", "attached", "v", "--lease", lease)
    out, _ = t.run("etcdctl", "lease", "timetolive", lease, "--keys")
    t.score.check(b"attached keys([attached])" in out, "put --lease", out)
    t.run("kvctl", "lease", "revoke", lease)
    t.score.check(t.run("etcdctl", "get", "attached")[0] == b"", "revoking deletes the key")


def keep_alive_outlives_its_connection(t):
    """A lease of 3 s is kept for longer than that, over a cut; it ends with its revocation."""
    relay = Relay(t.endpoint)
    out, _ = t.run("etcdctl", "lease", "grant", "3")
    lease = out.split()[1].decode()
    keeper = t.running("kvctl", "lease", "keep-alive", lease, endpoint=relay.endpoint)
    t.score.check(keeper.wait_for(b"keepalived"), "the first renewal", keeper.out)
    relay.cut()
    t.score.check(keeper.wait_for(b"(keepalived.*){5}"), "renewals after the cut", keeper.out)
    t.run("etcdctl", "lease", "revoke", lease)
    out, code = keeper.end()
    t.score.check(code == 0 and out.endswith(b"lease %s expired or revoked.\n" % lease.encode()), "the end", (code, out))
    relay.close()


# ---- locks and elections ----


def queue_len(t, name):
    return json.loads(t.run("etcdctl", "get", "--prefix", name + "/", "-w", "json")[0]).get("count", 0)


def wait_for_queue(t, name, length):
    """The server tells each change of the queue."""
    watch = t.running("etcdctl", "watch", "--prefix", "--rev", "1" if t.compacted == 0 else str(t.compacted), name + "/")
    with watch.change:
        watch.change.wait_for(lambda: queue_len(t, name) >= length, WAIT_S)
    watch.end(signal.SIGKILL)
    return queue_len(t, name) == length


def locks_are_shared_with_etcdctl(t):
    for n, (first, second) in enumerate((("kvctl", "etcdctl"), ("etcdctl", "kvctl"), ("kvctl", "kvctl"))):
        name = "L%d" % n
        holder = t.running(first, "lock", name)
        t.score.check(holder.wait_for(b"%s/[0-9a-f]+\n\n" % name.encode()), "a free lock", holder.out)
        waiter = t.running(second, "lock", name, "echo", "got it")
        t.score.check(wait_for_queue(t, name, 2), "two in the queue")
        t.score.check(waiter.out == b"", "the second waits", waiter.out)
        _, code = holder.end(signal.SIGTERM)
        t.score.check(code == 0, "%s releases the lock on SIGTERM" % first, code)
        out, code = waiter.end()
        t.score.check((out, code) == (b"got it\n", 0), "%s gets the lock from %s" % (second, first), (out, code))


def lock_runs_a_command(t):
    out, code = t.run("kvctl", "lock", "LC", "--", "sh", "-c", "echo $ETCD_LOCK_KEY $ETCD_LOCK_REV; exit 7")
    t.score.check(re.fullmatch(rb"LC/[0-9a-f]+ \d+\n", out) is not None and code == 7, "key, revision and exit code", (out, code))
    t.score.check(queue_len(t, "LC") == 0, "the lock is free again")
    show = ("sh", "-c", "env | grep ^ETCD_LOCK_ | sed s,LC/.*,LC/lease, | sort; exit 3")
    revision, runs = -1, {}
    for program in ("etcdctl", "kvctl"):
        out, code = t.run(program, "lock", "LC", "--", *show)
        runs[program] = dict(line.split("=") for line in out.decode().split())
        got = int(runs[program]["ETCD_LOCK_REV"])
        # etcdctl 3.4 exits with 1, later ones as kvctl.
        t.score.check(code == (3 if program == "kvctl" else 1) and got > revision,
                      program + " exports a revision that grows", (out, code))
        revision = got
    token = runs["kvctl"].pop("ETCD_LOCK_TOKEN", None)
    t.score.check(runs["kvctl"].keys() == runs["etcdctl"].keys() and token == runs["kvctl"]["ETCD_LOCK_REV"],
                  "kvctl exports the token besides; of a free lock it is the revision of the answer", runs)
    for command in (("/nonexistent",), ("true",)):
        t.same("lock and " + command[0], t.run("etcdctl", "lock", "LC", *command), t.run("kvctl", "lock", "LC", *command))
    t.score.check(t.run("kvctl", "lock", "LC", "--", "sh", "-c", "kill -9 $$")[1] == 255, "a command that was killed")
    t.same("lock without a name", t.run("etcdctl", "lock"), t.run("kvctl", "lock"))
    waiter_name = "LW"
    holder = t.running("kvctl", "lock", waiter_name)
    holder.wait_for(b"\n\n")
    waiter = t.running("kvctl", "lock", waiter_name)
    wait_for_queue(t, waiter_name, 2)
    _, code = waiter.end(signal.SIGINT)
    t.score.check(code == 1 and queue_len(t, waiter_name) == 1, "an interrupted waiter leaves the queue", code)
    holder.end(signal.SIGINT)


def tokens_grow_from_holder_to_holder(t):
    """The fencing token is the create revision of the key: printed on request, and in json and fields."""
    name = "LT"
    holder = t.running("kvctl", "lock", "--print-token", name)
    t.score.check(holder.wait_for(rb"^LT/[0-9a-f]+\n\n\d+\n"), "key, empty value, token", holder.out)
    waiter = t.running("kvctl", "lock", name, "--", "sh", "-c", "echo $ETCD_LOCK_TOKEN $ETCD_LOCK_REV")
    wait_for_queue(t, name, 2)
    (kv, waiting) = sorted(json.loads(t.run("etcdctl", "get", "--prefix", name + "/", "-w", "json")[0])["kvs"],
                           key=lambda kv: kv["create_revision"])
    t.score.check(holder.out.endswith(b"\n%d\n" % kv["create_revision"]), "the token is the create revision", (holder.out, kv))
    holder.end(signal.SIGTERM)
    token, revision = map(int, waiter.end()[0].split())
    t.score.check(token == waiting["create_revision"] and revision > token,
                  "of the second, too; it got the lock at a later revision", (token, revision, waiting))
    for form, pattern in (("json", rb'"create_revision":(\d+)'), ("fields", rb'"CreateRevision" : (\d+)')):
        for words in (("lock", name), ("elect", "ET", "v")):
            held = t.running("kvctl", words[0], "--print-token", "-w", form, *words[1:])
            t.score.check(held.wait_for(pattern) and b"\n\n" not in held.out.strip(), "%s in %s" % (words[0], form), held.out)
            t.score.check(held.end(signal.SIGTERM)[1] == 0, "its end")
    leader = t.running("kvctl", "elect", "--print-token", "ET", "me")
    t.score.check(leader.wait_for(rb"^ET/[0-9a-f]+\nme\n\d+\n"), "elect prints it, too", leader.out)
    leader.end(signal.SIGTERM)


def a_leader_runs_a_command(t):
    out, code = t.run("kvctl", "elect", "EC", "me", "--", "sh", "-c",
                      "echo $ETCD_ELECT_KEY $ETCD_ELECT_REV $ETCD_ELECT_TOKEN; exit 9")
    t.score.check(re.fullmatch(rb"EC/[0-9a-f]+ (\d+) \1\n", out) is not None and code == 9, "as the leader", (out, code))
    t.score.check(queue_len(t, "EC") == 0, "and resigns")
    first = t.running("kvctl", "elect", "EC", "first")
    first.wait_for(b"first\n")
    second = t.running("kvctl", "elect", "EC", "second", "--", "echo", "elected")
    wait_for_queue(t, "EC", 2)
    t.score.check(second.out == b"", "a candidate waits", second.out)
    first.end(signal.SIGTERM)
    t.score.check(second.end() == (b"elected\n", 0), "then it runs", second.out)
    t.same("elect with too much", t.run("etcdctl", "elect", "EC", "a", "b"), t.run("kvctl", "elect", "EC", "a", "b"))


def elections_are_shared_with_etcdctl(t):
    first = t.running("kvctl", "elect", "E", "one")
    t.score.check(first.wait_for(b"E/[0-9a-f]+\none\n"), "the first leads", first.out)
    listeners = [t.running(p, "elect", "-l", "E") for p in ("etcdctl", "kvctl")]
    for one in listeners:
        t.score.check(one.wait_for(b"one\n"), "a listener sees the leader", one.out)
    second = t.running("etcdctl", "elect", "E", "two")
    t.score.check(wait_for_queue(t, "E", 2), "two candidates")
    t.score.check(first.end(signal.SIGTERM)[1] == 0, "the first resigns")
    for one in [second, *listeners]:
        t.score.check(one.wait_for(b"two\n"), "the second leads", one.out)
    outs = [one.end(signal.SIGTERM) for one in listeners]
    t.same("elect -l", outs[0], outs[1])
    second.end(signal.SIGTERM)
    for line in ("elect", "elect E", "elect E v -l"):
        t.same(line, t.run("etcdctl", *line.split()), t.run("kvctl", *line.split()))


# ---- make-mirror and check ----


def mirror_follows_the_source(t):
    other = t.start()
    for i in range(30):
        t.put("m/%03d" % i, "v%d" % i)
    mirror = t.running("kvctl", "make-mirror", "--prefix", "m/", "--dest-prefix", "copy/", "--max-txn-ops", "4", other.endpoints)
    there = t.running("etcdctl", "watch", "--prefix", "--rev", "1", "", endpoint=other.endpoints)
    t.score.check(there.wait_for(b"copy/029\nv29\n"), "what was there", there.out)
    t.put("m/new", "n")
    t.run("etcdctl", "del", "m/000")
    t.put("not-this", "x")
    t.put("m/done", "")
    t.score.check(there.wait_for(b"copy/done\n"), "what changed", (there.out[-200:], mirror.err))
    there.end(signal.SIGKILL)
    mirror.end(signal.SIGTERM)
    theirs = t.run("etcdctl", "get", "--prefix", "m/")[0].replace(b"m/", b"copy/")
    t.score.check(t.run("etcdctl", "get", "--prefix", "", endpoint=other.endpoints)[0] == theirs, "both hold the same")
    for line in ("make-mirror", "make-mirror x --dest-prefix a --no-dest-prefix"):
        t.same(line, t.run("etcdctl", *line.split()), t.run("kvctl", *line.split()))
    other.close()


def check_perf_judges(t):
    out, code = t.run("kvctl", "check", "perf", "--duration", "2s")
    t.score.check(code in (0, 1) and out.endswith(b"PASS\n" if code == 0 else b"FAIL\n") and b"hroughput" in out
                  and b"lowest request" in out and b"tddev" in out, "check perf", (out, code))
    t.score.check(t.run("etcdctl", "get", "--prefix", "/etcdctl-check-perf/", "--keys-only")[0] == b"", "its keys are gone")
    t.put("/etcdctl-check-perf/mine", "")
    t.score.check(t.run("kvctl", "check", "perf", "--duration", "2s")[1] == 3, "keys that are there stay")
    t.run("etcdctl", "del", "/etcdctl-check-perf/mine")
    t.same("check perf --load zz", t.run("etcdctl", "check", "perf", "--load", "zz"), t.run("kvctl", "check", "perf", "--load", "zz"))


def main():
    t = Test(_servers.arguments(server="etcd", only=""))
    t.compacted = 0
    try:
        for test in (watch_output_is_the_same, watch_with_command_is_the_same, interactive_watches_share_a_stream,
                     resumed_watch_has_each_revision_once, watch_from_now_on_keeps_its_place,
                     watch_moves_to_another_endpoint, slow_command_misses_nothing,
                     reader_that_goes_away_ends_the_watch, nobody_there_is_an_error,
                     lease_output_is_the_same, lease_errors_are_the_same, put_attaches_the_lease,
                     keep_alive_outlives_its_connection, locks_are_shared_with_etcdctl, lock_runs_a_command,
                     tokens_grow_from_holder_to_holder, a_leader_runs_a_command,
                     elections_are_shared_with_etcdctl, mirror_follows_the_source, check_perf_judges,
                     compaction_meanwhile_is_reported, watch_errors_are_the_same):
            if t.args.only in test.__name__:
                print(test.__name__, flush=True)
                test(t)
    finally:
        for one in list(Running.all):
            one.end(signal.SIGKILL)
        t.cluster.close()
    t.score.finish()


if __name__ == "__main__":
    main()
