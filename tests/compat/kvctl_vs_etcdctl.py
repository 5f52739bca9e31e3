#!/usr/bin/python3
"""kvctl against etcdctl: the same command lines, the same output and exit code.

Two servers (real etcd, or --server kvd) start empty; etcdctl drives one, kvctl the other, in step, so
that both see the same history. Standard output and exit codes are compared; ids, addresses and
timings are replaced by words first. Of standard error only that it is used or not: its wording is
kvctl's own. Where Debian's etcdctl 3.4 differs from 3.6, which kvctl follows, DIFFERENCES says how
and why, and the output is still checked against what follows from it.

Standard library only. Everything is started as a child and ended by its pid.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

READY_TIMEOUT_S = 60
COMMAND_TIMEOUT_S = 30


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build", help="folder with kvd and kvctl")
    parser.add_argument("--kvctl", help="default: BUILD/kvctl")
    parser.add_argument("--etcdctl", default="etcdctl")
    parser.add_argument("--server", choices=["etcd", "kvd"], default="etcd")
    parser.add_argument("--server-binary", help="default: etcd, or BUILD/kvd")
    parser.add_argument("--verbose", action="store_true", help="show each command line")
    args = parser.parse_args()
    args.kvctl = args.kvctl or os.path.join(args.build, "kvctl")
    args.server_binary = args.server_binary or (
        "etcd" if args.server == "etcd" else os.path.join(args.build, "kvd"))
    return args


# ---- servers ----


def free_ports(count):
    """Ports that were free a moment ago; all are held until the last is known."""
    socks = [socket.socket() for _ in range(count)]
    for sock in socks:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


class Server:
    """One member, alone in its cluster, and the words that stand for what only it has."""

    def __init__(self, binary, folder, name):
        self.folder = os.path.join(folder, name)
        self.client, self.peer = free_ports(2)
        url, peer_url = "http://127.0.0.1:%d" % self.client, "http://127.0.0.1:%d" % self.peer
        self.endpoint = "127.0.0.1:%d" % self.client
        with open(os.path.join(folder, name + ".log"), "wb") as log:
            self.process = subprocess.Popen(
                [binary, "--name", "member", "--data-dir", self.folder, "--log-level", "error",
                 "--listen-client-urls", url, "--advertise-client-urls", url,
                 "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
                 "--initial-cluster", "member=" + peer_url],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def learn_ids(self, etcdctl):
        """Waits until the server answers, and asks it who it is."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            done = subprocess.run(
                [etcdctl, "--endpoints", self.endpoint, "member", "list", "-w", "json"],
                env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]}, capture_output=True)
            if done.returncode == 0 and b'"name":"member"' in done.stdout:
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server did not get ready: %r" % done.stderr)
        header = json.loads(done.stdout)["header"]
        self.words = {
            "CLUSTER": header["cluster_id"], "MEMBER": header["member_id"],
        }

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def normalise(self, out):
        for word, number in self.words.items():
            out = out.replace(varint(number), b"<" + word.encode() + b">")
            out = out.replace(b"%d" % number, word.encode())
            out = out.replace(b"%x" % number, word.encode())
        out = out.replace(b"127.0.0.1:%d" % self.client, b"CLIENT")
        out = out.replace(b"127.0.0.1:%d" % self.peer, b"PEER")
        return re.sub(rb"\b[0-9.]+(ns|\xc2\xb5s|ms|s)\b", b"TIME", out)


def varint(number):
    out = bytearray()
    while number > 0x7f:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


# ---- differences between 3.4.23 and 3.6, which is what kvctl follows ----
# Each: why, and what etcdctl's output (and exit code) becomes. A name is given to a command below.


def no_zero_revision(out, code):
    return out.replace(b'"Revision" : 0\n', b""), code


def member_hex(out, code):
    # 3.4 prints raft_term in hex as well; the terms here are below ten.
    return out, code


def hashkv_columns(out, code):
    return re.sub(rb"(?m)^(CLIENT, \d+)$", rb"\1, 0", out), code


def hashkv_fields(out, code):
    return re.sub(rb'("Hash" : \d+\n)', rb'\1"HashRevision" : 0\n', out), code


def hashkv_cells(out, code):
    head, row = out.split(b"\n")[1], out.split(b"\n")[3]
    width = [len(cell) for cell in head.split(b"|")[1:3]]
    rule = b"+" + b"+".join(b"-" * w for w in width) + b"+---------------+"
    return b"\n".join([rule, head + b" HASH REVISION |", rule, row + b"             0 |", rule, b""]), code


def status_columns(out, code):
    # endpoint, id, version, size, leader, learner, term, index, applied, errors
    cells = out.decode().rstrip("\n").split(", ")
    cells[3:4] = ["", cells[3], "IN USE", "NOT IN USE", "0 B"]
    return ", ".join(cells + ["", "false"]).encode() + b"\n", code


def status_fields(out, code):
    out = out.replace(b'"DBSize"', b'"StorageVersion" : ""\n"DBSize"')
    out = re.sub(rb'("DBSize" : \d+\n)', rb'\1"DBSizeInUse" : BYTES\n"DBSizeQuota" : 0\n', out)
    out = out.replace(b'"Endpoint" : "CLIENT"\n', b'"Endpoint" : "CLIENT"\n'
                      b'"DowngradeTargetVersion" : ""\n"DowngradeEnabled" : false\n')
    return out, code


def status_table(out, code):
    # Another table altogether: only the order of the headings is checked, and that one row is there.
    return (b"ENDPOINT ID VERSION STORAGE VERSION DB SIZE IN USE PERCENTAGE NOT IN USE QUOTA IS LEADER "
            b"IS LEARNER RAFT TERM RAFT INDEX RAFT APPLIED INDEX ERRORS DOWNGRADE TARGET VERSION "
            b"DOWNGRADE ENABLED\n1 row\n"), code


def fails(out, code):
    return b"", 1


def own_version(out, code):
    return b"kvctl version: OURS\nAPI version: 3.6\n", code


DIFFERENCES = {
    "no zero revision": (
        "3.5+ leaves a Revision of 0 out of the fields format", no_zero_revision),
    "hashkv columns": ("3.6 adds the hash revision, which a 3.4 server leaves at 0", hashkv_columns),
    "hashkv fields": ("3.6 adds the hash revision, which a 3.4 server leaves at 0", hashkv_fields),
    "hashkv cells": ("3.6 adds the hash revision, which a 3.4 server leaves at 0", hashkv_cells),
    "status columns": ("3.6 adds six columns", status_columns),
    "status fields": ("3.6 adds five fields", status_fields),
    "status table": ("3.6 adds six columns", status_table),
    "unknown subcommand": (
        "etcdctl prints help and exits with 0, which hides a slip in a script: kvctl exits with 1 "
        "(etcd-http-cli.md 6.4)", fails),
    "version": ("kvctl has its own name and version", own_version),
    "no output": (
        "kvctl points to --help instead of printing all of it; etcdctl's help goes to stdout", fails),
}


def in_use(out):
    """What a 3.4 client does not print of a server's size."""
    out = re.sub(rb'"DBSizeInUse" : \d+', b'"DBSizeInUse" : BYTES', out)
    return re.sub(rb"(CLIENT, MEMBER, [0-9.]+, [0-9.]*, [^,]+, )[^,]+, \d+%", rb"\1IN USE, NOT IN USE", out)


def headings(out):
    lines = out.decode().split("\n")
    cells = [cell.strip() for cell in lines[1].split("|")[1:-1]]
    return ("%s\n%d row\n" % (" ".join(cells), len(lines) - 6 + 1)).encode()


# ---- command lines, in order; each sees what those before it wrote ----


class Command:
    def __init__(self, line, stdin="", differs=None, env=None, kvctl=None):
        self.args = line if isinstance(line, list) else line.split()
        self.kvctl_args = kvctl.split() if kvctl is not None else self.args
        self.stdin, self.differs, self.env = stdin, differs, env or {}


C = Command
COMMANDS = [
    # put
    C("put a 1"),
    C("put a 2 --prev-kv"),
    C(["put", "empty", ""]),
    C("put from-stdin", stdin="some value\n"),
    C("put nothing"),
    C("put json j -w json"),
    C("put json k -w json --prev-kv"),
    C("put fields f -w fields"),
    C("put fields g -w fields --prev-kv"),
    C("put fields g -w fields --prev-kv --hex"),
    C("put pb p -w protobuf"),
    C(["put", "", "v"]),
    C("put a --ignore-value --prev-kv"),
    C("put a x --ignore-value"),
    C("put absent --ignore-value"),
    C("put a x --lease 123"),
    C("put a x --lease zz"),
    C("put a x --ignore-lease"),
    C("put a -- -v"),
    C("put -- -k v"),
    C(["put", "key with blanks", "value\twith\ttabs and \u00e4 and \u2028"]),
    C("put a"),
    C("put"),
    C("put a b c d"),
    # get
    C("get a"),
    C("get absent"),
    C("get"),
    C("get a -w json"),
    C("get a -w json --hex"),
    C("get a -w fields"),
    C("get a -w fields --hex"),
    C("get a -w protobuf"),
    C("get a --write-out=simple"),
    C("get a -wjson"),
    C("get a -w=fields"),
    C("get a -w xml"),
    C("get a -w table"),
    C("get a --hex"),
    C("get a --print-value-only"),
    C("get a --print-value-only -w json"),
    C(["get", "--prefix", ""]),
    C(["get", "--prefix", "", "--hex"]),
    C(["get", "--prefix", "", "-w", "json"]),
    C(["get", "--prefix", "", "-w", "fields"]),
    C(["get", "--prefix", "", "-w", "protobuf"]),
    C(["get", "--prefix", "", "--keys-only"]),
    C(["get", "--prefix", "", "--keys-only", "-w", "json"]),
    C(["get", "--prefix", "", "--limit", "2"]),
    C(["get", "--prefix", "", "--limit=2", "-w", "json"]),
    C(["get", "--prefix", "", "--order", "DESCEND"]),
    C(["get", "--prefix", "", "--order=ascend", "--sort-by=key", "--limit", "1", "-w", "json"]),
    C(["get", "--prefix", "", "--order", "descend", "--sort-by", "MODIFY"]),
    C(["get", "--prefix", "", "--order", "ASCEND", "--sort-by", "create"]),
    C(["get", "--prefix", "", "--order", "ASCEND", "--sort-by", "VERSION", "--limit", "2"]),
    C(["get", "--prefix", "", "--order", "DESCEND", "--sort-by", "VALUE"]),
    C("get a --order sideways"),
    C("get a --sort-by size"),
    C("get --from-key f"),
    C(["get", "--from-key", ""]),
    C("get a f"),
    C("get a f --prefix"),
    C("get a --prefix --from-key"),
    C("get a --rev 2"),
    C("get a --rev 2 -w json"),
    C("get a --rev=-1"),
    C("get a --rev 9999"),
    C("get a --rev x"),
    C("get a --consistency s"),
    C("get a --consistency=l"),
    C("get a --consistency x"),
    C(["get", ""]),
    C("get a --nonsense", differs="no output"),
    C("--hex get a"),
    C("-w json get a"),
    # environment
    C("get a", env={"ETCDCTL_WRITE_OUT": "fields"}),
    C("get a", env={"ETCDCTL_HEX": "true"}),
    C("get a -w json", env={"ETCDCTL_WRITE_OUT": "json"}),
    C("get a", env={"ETCDCTL_DIAL_TIMEOUT": "3s", "ETCDCTL_UNKNOWN": "x"}),
    # txn
    C("txn", stdin='mod("a") > "0"\n\nput a 3\nget a\n\nput b no\n\n'),
    C("txn", stdin='val("a") = "no"\n\nput a 4\n\nget a\ndel json\n\n'),
    C("txn", stdin='ver("absent") = "0"\n\nput created yes\n\n\n'),
    C("txn -w json", stdin='create("a") != "0"\nc("a") < "999"\n\nget a\nput t 1 --prev-kv\ndel t --prev-kv\n\n\n'),
    C("txn -w fields", stdin='m("a") != "0"\n\nget a\nput t 1 --prev-kv\ndel t --prev-kv\n\n\n'),
    C("txn -w protobuf", stdin='value("a") = "3"\n\nget a\n\n\n'),
    C("txn --hex", stdin="\nget a\n\n\n"),
    C("txn -i", stdin='ver("a") > "0"\n\nput "quoted key" "a \\"b\\" \\x41"\nget \'quoted key\'\n\n\n'),
    C("txn", stdin='\nget --prefix ""\nget a --limit=1 --from-key\n\n\n'),
    C("txn", stdin='\nput z1 1\nput z2 2\ndel z --prefix\nget z --prefix\n\n\n'),
    C("txn", stdin="\n\n\n"),
    C("txn -w json", stdin="\n\n\n"),
    C("txn", stdin='mod("a") > "0"\n\nput a 1\nput a 2\n\n\n'),
    C("txn", stdin='mod("a") > "x"\n\n\n\n'),
    C("txn", stdin='mad("a") > "1"\n\n\n\n'),
    C("txn", stdin='mod("a")> "1"\n\n\n\n'),
    C("txn", stdin='mod("a") >"1"\n\n\n\n'),
    C("txn", stdin='mod(a) > "1"\n\n\n\n'),
    C("txn", stdin="mod(`a`) > `1`  and more\n\nget a\n\n\n"),
    C("txn", stdin="\nput\n\n\n"),
    C("txn", stdin="\nset a b\n\n\n"),
    C("txn", stdin="\nput a b --nonsense\n\n\n"),
    C("txn", stdin="\nput a b\n"),
    C("txn", stdin="\n\nput a b"),
    C("txn", stdin="\nget a --order sideways\n\n\n"),
    C("txn extra", stdin="\n\n\n"),
    C("txn -w table", stdin="\n\n\n"),
    # del
    C("del fields"),
    C("del fields"),
    C("del a --prev-kv"),
    C("put p/1 x"),
    C("put p/2 y"),
    C("del --prefix p/ --prev-kv -w json"),
    C("put q1 x"),
    C("put q2 y"),
    C("put q3 z"),
    C("del q1 q3", kvctl="del q1 q3 --range"),
    C("del --from-key q -w fields --prev-kv"),
    C("del"),
    C("del a b c"),
    C("del a --prefix --from-key"),
    C("del x -w protobuf"),
    C("del x -w table"),
    # compaction
    C("compaction 5"),
    C("compaction 5"),
    C("compaction 99999"),
    C("compaction 7 --physical"),
    C("compaction 8 -w json"),
    C("compaction"),
    C("compaction x"),
    C("get a --rev 3"),
    # cluster
    C("member list"),
    C("member list --hex"),
    C("member list -w table"),
    C("member list -w json"),
    C("member list -w json --hex"),
    C("member list -w fields", differs="no zero revision"),
    C("member list -w fields --hex", differs="no zero revision"),
    C("member list -w protobuf"),
    C("endpoint health"),
    C("endpoint health --cluster"),
    C("endpoint health -w json"),
    C("endpoint health -w fields"),
    C("endpoint health -w table"),
    C("endpoint health -w protobuf"),
    C("endpoint status", differs="status columns"),
    C("endpoint status -w json"),
    C("endpoint status -w json --cluster"),
    C("endpoint status -w fields", differs="status fields"),
    C("endpoint status -w table", differs="status table"),
    C("endpoint status -w protobuf"),
    C("endpoint hashkv", differs="hashkv columns"),
    C("endpoint hashkv --rev 10", differs="hashkv columns"),
    C("endpoint hashkv --rev 9999"),
    C("endpoint hashkv -w json"),
    C("endpoint hashkv -w json --cluster"),
    C("endpoint hashkv -w fields", differs="hashkv fields"),
    C("endpoint hashkv -w table", differs="hashkv cells"),
    C("alarm list"),
    C("alarm list -w json"),
    C("alarm list -w protobuf"),
    C("alarm list -w table"),
    C("alarm list x"),
    C("alarm disarm"),
    C("alarm disarm -w json"),
    C("alarm disarm x"),
    # names, help, version
    C("version", differs="version"),
    C("comp"),
    C("m list"),
    C("end h"),
    C("gett a"),
    C("member nonsense", differs="unknown subcommand"),
    C("endpoint"),
]
# Their output is help, which is each program's own: only the exit code counts.
EXIT_CODE_ONLY = {"comp", "m list", "end h", "endpoint"}


def run(binary, args, server, command):
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **command.env}
    if "etcdctl" in os.path.basename(binary):
        env["ETCDCTL_API"] = "3"
    endpoints = [] if args and args[0] == "version" else ["--endpoints", server.endpoint]
    done = subprocess.run([binary, *endpoints, *args], env=env, input=command.stdin.encode(),
                          capture_output=True, timeout=COMMAND_TIMEOUT_S)
    return server.normalise(done.stdout), done.returncode, done.stderr


def compare(command, theirs, ours):
    """A list of complaints."""
    out, code = theirs[0], theirs[1]
    mine, my_code = ours[0], ours[1]
    line = " ".join(command.args)
    if command.differs is not None:
        out, code = DIFFERENCES[command.differs][1](out, code)
        mine = in_use(mine)
        mine = re.sub(rb"kvctl version: [0-9.]+", b"kvctl version: OURS", mine)
        if command.differs == "status table":
            mine = headings(mine)
    if line in EXIT_CODE_ONLY:
        out = mine = b""
    complaints = []
    if code != my_code:
        complaints.append("exit code %d, expected %d" % (my_code, code))
    if code == 0 and out != mine:
        complaints.append("output\n    %r\n  expected\n    %r" % (mine, out))
    if code != 0 and mine != b"" and mine != out:
        complaints.append("output %r although it failed; expected %r" % (mine, out))
    if my_code != 0 and ours[2] == b"":
        complaints.append("failed without a word")
    return complaints


def main():
    args = arguments()
    folder = tempfile.mkdtemp(prefix="kvctl-compat-")
    servers = []
    passed = failed = 0
    try:
        for name in ("theirs", "ours"):
            servers.append(Server(args.server_binary, folder, name))
        for server in servers:
            server.learn_ids(args.etcdctl)
        for command in COMMANDS:
            theirs = run(args.etcdctl, command.args, servers[0], command)
            ours = run(args.kvctl, command.kvctl_args, servers[1], command)
            complaints = compare(command, theirs, ours)
            line = " ".join(repr(arg) if " " in arg or arg == "" else arg for arg in command.args)
            if command.stdin:
                line += " <<< " + repr(command.stdin)
            if args.verbose and not complaints:
                print("ok    " + line)
            for complaint in complaints:
                print("FAIL  %s\n  %s\n  stderr %r, etcdctl's %r" % (line, complaint, ours[2], theirs[2][:300]))
            passed += not complaints
            failed += bool(complaints)
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(folder)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
