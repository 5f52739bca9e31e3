#!/usr/bin/python3
"""kvctl against etcdctl: the same command lines, the same output and exit code.

Two servers (real etcd, or --server kvd) start empty; etcdctl drives one, kvctl the other, in step, so
that both see the same history. Standard output and exit codes are compared; ids, addresses and
timings are replaced by words first. Of standard error only that it is used or not: its wording is
kvctl's own. Where Debian's etcdctl 3.4 differs from 3.6, which kvctl follows, DIFFERENCES says how
and why, and the output is still checked against what follows from it.

Everything is started as a child and ended by its pid.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import _servers

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


class Server:
    """One member, alone in its cluster, and the words that stand for what only it has."""

    def __init__(self, binary, folder, name):
        self.folder = os.path.join(folder, name)
        self.client, self.peer = _servers.free_ports(2)
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
            out = out.replace(b"%d" % number, word.encode())
            out = out.replace(b"%x" % number, word.encode())
        out = out.replace(b"127.0.0.1:%d" % self.client, b"CLIENT")
        out = out.replace(b"127.0.0.1:%d" % self.peer, b"PEER")
        # Two etcds that did the same have files of different sizes: pages are written in batches by time.
        out = re.sub(rb'("(?:dbSize|dbSizeInUse|DBSize)" ?: ?)\d+', rb"\g<1>1", out)
        out = re.sub(rb"\b\d+ kB", b"1 kB", out)
        return re.sub(rb"\b[0-9.]+(ns|\xc2\xb5s|ms|s)\b", b"TIME", out)


def decode(data):
    """A protobuf message as text: "1:{1:5 2:"a"}". What does not parse as a message is bytes."""

    def varint(at):
        value = shift = 0
        while True:
            value |= (data[at] & 0x7f) << shift
            if data[at] < 0x80:
                return value, at + 1
            at, shift = at + 1, shift + 7

    fields, at = [], 0
    while at < len(data):
        key, at = varint(at)
        if key & 7 == 0:
            value, at = varint(at)
            fields.append("%d:%d" % (key >> 3, value))
        elif key & 7 == 2 and key >> 3:
            size, at = varint(at)
            inner, at = data[at:at + size], at + size
            if len(inner) != size:
                raise ValueError("cut short")
            try:
                fields.append("%d:{%s}" % (key >> 3, decode(inner)))
            except (ValueError, IndexError):
                fields.append("%d:%r" % (key >> 3, inner))
        else:
            raise ValueError("no such field")
    return " ".join(fields)


# ---- differences between 3.4.23 and 3.6, which is what kvctl follows ----
# Each: why, and what etcdctl's output (and exit code) becomes. A name is given to a command below.


def no_zero_revision(out, code, err):
    return out.replace(b'"Revision" : 0\n', b""), code


def hex_lease(out, code, err):
    return re.sub(rb'Lease" : (\d+)', lambda m: b'Lease" : %016x' % int(m[1]), out), code


def hex_ids(out, code, err):
    return re.sub(rb'":(CLUSTER|MEMBER)', rb'":"\1"', out), code


def health_on_stdout(out, code, err):
    return err, code


def hashkv_columns(out, code, err):
    return re.sub(rb"(?m)^(CLIENT, \d+)$", rb"\1, NEW", out), code


def hashkv_fields(out, code, err):
    return re.sub(rb'("Hash" : \d+\n)', rb'\1"HashRevision" : NEW\n', out), code


def hashkv_table(out, code, err):
    out = out.replace(b"| HASH |", b"| HASH | HASH REVISION |").replace(b"+-+-+", b"+-+-+-+")
    return re.sub(rb"(\| CLIENT \| \d+ \|)", rb"\1 NEW |", out), code


def status_columns(out, code, err):
    # endpoint, id, version, size, leader, learner, term, index, applied, errors
    cells = out.decode().rstrip("\n").split(", ")
    cells[3:4] = ["NEW", cells[3], "NEW", "NEW", "NEW"]
    return ", ".join(cells + ["", "false"]).encode() + b"\n", code


def status_fields(out, code, err):
    out = out.replace(b'"DBSize"', b'"StorageVersion" : NEW\n"DBSize"')
    out = re.sub(rb'("DBSize" : \d+\n)', rb'\1"DBSizeInUse" : NEW\n"DBSizeQuota" : NEW\n', out)
    out = out.replace(b'"Endpoint" : "CLIENT"\n', b'"Endpoint" : "CLIENT"\n'
                      b'"DowngradeTargetVersion" : ""\n"DowngradeEnabled" : false\n')
    return out, code


def status_table(out, code, err):
    # Squeezed, and the rules have as many parts as there are columns.
    rule = b"+-" * 16 + b"+\n"
    head = (b"| ENDPOINT | ID | VERSION | STORAGE VERSION | DB SIZE | IN USE | PERCENTAGE NOT IN USE | QUOTA "
            b"| IS LEADER | IS LEARNER | RAFT TERM | RAFT INDEX | RAFT APPLIED INDEX | ERRORS "
            b"| DOWNGRADE TARGET VERSION | DOWNGRADE ENABLED |\n")
    cells = [cell.strip() for cell in out.split(b"\n")[3].split(b"|")[1:-1]]
    cells[3:4] = [b"NEW", cells[3], b"NEW", b"NEW", b"NEW"]
    row = b"".join(b"| " + cell + (b" " if cell else b"") for cell in cells + [b"", b"false"]) + b"|\n"
    return rule + head + rule + row + rule, code


def defrag_took(out, code, err):
    return re.sub(rb"(?m)\]$", rb"]. took TIME", out), code


def refused(out, code, err):
    return b"", 128


def fails(out, code, err):
    return b"", 1


def own_version(out, code, err):
    return b"kvctl version: OURS\nAPI version: 3.6\n", code


HASH_REVISION = "3.6 adds the hash revision, which a 3.4 server leaves at 0"
STATUS = "3.6 shows more of a member; a 3.4 client does not know it"
DIFFERENCES = {
    "no zero revision": ("3.5+ leaves a Revision of 0 out of the fields format", no_zero_revision),
    "hex lease": ("3.5+ prints leases in hex with --hex", hex_lease),
    "hex ids": ("3.5+ prints the ids of member list as hex in json with --hex", hex_ids),
    "health on stdout": ("3.5+ reports healthy endpoints on stdout, 3.4 on stderr", health_on_stdout),
    "hashkv columns": (HASH_REVISION, hashkv_columns),
    "hashkv fields": (HASH_REVISION, hashkv_fields),
    "hashkv table": (HASH_REVISION, hashkv_table),
    "status columns": (STATUS, status_columns),
    "status fields": (STATUS, status_fields),
    "status table": (STATUS, status_table),
    "defrag took": ("3.5+ says how long it took", defrag_took),
    "too many arguments": (
        "etcdctl drops what is too much; kvctl refuses, since the words are rarely meant so", refused),
    "unknown subcommand": (
        "etcdctl prints help and exits with 0, which hides a slip in a script: kvctl exits with 1 "
        "(etcd-http-cli.md 6.4)", fails),
    "help on stdout": (
        "kvctl points to --help; etcdctl prints all of it on stdout", fails),
    "version": ("kvctl has its own name and version", own_version),
}


def hide_new(out):
    """Values that only a 3.5+ client shows become NEW: etcdctl 3.4 cannot tell what they should be."""
    out = re.sub(rb',"(storageVersion|dbSizeQuota|downgradeInfo|hash_revision)":("[^"]*"|\d+|\{\})', b"", out)
    out = re.sub(rb'"(StorageVersion|DBSizeInUse|DBSizeQuota|HashRevision)" : .*', rb'"\1" : NEW', out)
    out = re.sub(rb"(CLIENT, MEMBER, [^,]+), [^,]*, ([^,]+), [^,]+, \d+%, [^,]+", rb"\1, NEW, \2, NEW, NEW, NEW", out)
    out = re.sub(rb"(CLIENT, \d+), \d+\n", rb"\1, NEW\n", out)
    out = re.sub(rb"(\| CLIENT \| \d+ \|) \d+", rb"\1 NEW", out)
    return re.sub(rb"(\| CLIENT \| MEMBER \| [^|]+ )\|[^|]*(\| [^|]+ )\| [^|]+ \| \d+% \| [^|]+ \|",
                  rb"\1| NEW \2| NEW | NEW | NEW |", out)


def squeeze(out):
    """A table without its widths, which depend on timings and ids."""
    if not out.startswith(b"+-"):
        return out
    return re.sub(rb"-+", b"-", re.sub(rb" +", b" ", out))


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
    C("put fields g -w fields --prev-kv --hex", differs="hex lease"),
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
    # get
    C("get a"),
    C("get absent"),
    C("get"),
    C("get a -w json"),
    C("get a -w json --hex"),
    C("get a -w fields"),
    C("get a -w fields --hex", differs="hex lease"),
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
    C("get a f g", differs="too many arguments"),
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
    C("get a --nonsense", differs="help on stdout"),
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
    C("txn -i", stdin='ver("a") > "0"\n\nput "quoted key" "a \\"b\\" \\x41"\nget "quoted key"\n\n\n'),
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
    C("member list -w json --hex", differs="hex ids"),
    C("member list -w fields", differs="no zero revision"),
    C("member list -w fields --hex", differs="no zero revision"),
    C("member list -w protobuf"),
    C("endpoint status", differs="status columns"),
    C("endpoint status -w json"),
    C("endpoint status -w json --cluster"),
    C("endpoint status -w fields", differs="status fields"),
    C("endpoint status -w table", differs="status table"),
    C("endpoint status -w protobuf"),
    # which from 3.5 on asks for alarms too, an entry in the log: after the status
    C("endpoint health", differs="health on stdout"),
    C("endpoint health --cluster", differs="health on stdout"),
    C("endpoint health -w json"),
    C("endpoint health -w fields"),
    C("endpoint health -w table"),
    C("endpoint health -w protobuf"),
    C("endpoint hashkv", differs="hashkv columns"),
    C("endpoint hashkv --rev 10", differs="hashkv columns"),
    C("endpoint hashkv --rev 9999"),
    C("endpoint hashkv -w json"),
    C("endpoint hashkv -w json --cluster"),
    C("endpoint hashkv -w fields", differs="hashkv fields"),
    C("endpoint hashkv -w table", differs="hashkv table"),
    C("alarm list"),
    C("alarm list -w json"),
    C("alarm list -w protobuf"),
    C("alarm list -w table"),
    C("alarm list x"),
    C("alarm disarm"),
    C("alarm disarm -w json"),
    C("alarm disarm x"),
    C("defrag", differs="defrag took"),
    C("defrag --cluster -w json", differs="defrag took"),
    # names, help, version
    C("version", differs="version"),
    C("compac 9"),
    C("mem list"),
    C("end hea -w json"),
    C("end h", differs="unknown subcommand"),
    C("gett a"),
    C("member nonsense", differs="unknown subcommand"),
    C("endpoint"),
    # users, roles; then with auth on
    C("auth enable"),
    C("auth enable x"),
    C("user add"),
    C("user add ann:pw"),
    C("user add ann:pw"),
    C("user add :pw"),
    C("user add bob --interactive=false", stdin="two words\n"),
    C("user add carl --no-password -w json"),
    C("user add dora --new-user-password secret -w fields"),
    C("user add emil -w protobuf --new-user-password secret"),
    C("user passwd bob --interactive=false", stdin="new\n"),
    C("user passwd nix --interactive=false", stdin="new\n"),
    C("user passwd"),
    C("role add r1"),
    C("role add r1"),
    C("role add"),
    C("role add r2 -w json"),
    C("role add r3 -w fields"),
    C("role grant-permission r1 read a"),
    C("role grant-permission r1 write b bz"),
    C("role grant-permission r1 READWRITE p/ --prefix"),
    C("role grant-permission r1 read z --from-key"),
    C(["role", "grant-permission", "r2", "read", "", "--prefix"]),
    C(["role", "grant-permission", "r3", "read", ""]),
    C("role grant-permission r1 read a b --prefix"),
    C("role grant-permission r1 read a b --from-key"),
    C("role grant-permission r1 read a --prefix --from-key"),
    C("role grant-permission r1 nonsense a"),
    C("role grant-permission r1 read"),
    C("role grant-permission nix read a"),
    C("role grant-permission r1 read m -w json"),
    C("role grant-permission r1 read n -w fields"),
    C("role get r1"),
    C("role get r2"),
    C("role get r3"),
    C("role get r1 -w json"),
    C("role get r1 -w fields"),
    C("role get r1 -w protobuf"),
    C("role get r1 -w table"),
    C("role get nix"),
    C("role get"),
    C("role revoke-permission r1 m"),
    C("role revoke-permission r1 b bz"),
    C("role revoke-permission r1 z --from-key"),
    C("role revoke-permission r1 p/ --prefix -w json"),
    C("role revoke-permission r1 m"),
    C("role revoke-permission r1"),
    C("role list"),
    C("role list -w json"),
    C("role list -w fields"),
    C("role list x"),
    C("user grant-role ann r1"),
    C("user grant-role ann r2 -w json"),
    C("user grant-role ann nix"),
    C("user grant-role nix r1"),
    C("user grant-role ann"),
    C("user get ann"),
    C("user get ann --detail"),
    C("user get ann -w json"),
    C("user get ann -w protobuf"),
    C("user get nix"),
    C("user get"),
    C("user list"),
    C("user list -w json"),
    C("user list x"),
    C("user revoke-role ann r2"),
    C("user revoke-role ann r2"),
    C("user revoke-role ann"),
    C("user delete emil"),
    C("user delete emil"),
    C("user delete"),
    C("role delete r3"),
    C("role delete r3"),
    C("role delete"),
    C("user add root:root"),
    C("auth enable"),
    C("get a"),
    C("get a --user ann:pw"),
    C("get b --user ann:pw"),
    C("put a 1 --user ann:pw"),
    C("get a --user ann --password pw"),
    C("get a", env={"ETCDCTL_USER": "ann:pw"}),
    C("get a --user ann:wrong"),
    C("get a --user nix:pw"),
    C("get a --user carl:pw"),
    C("user list --user ann:pw"),
    C("user get ann --user ann:pw"),
    C("role get r1 --user ann:pw"),
    C("role get r2 --user ann:pw"),
    C("user list --user root:root"),
    C("user delete root --user root:root"),
    C("put q 1 --user root:root"),
    C("watch b --user ann:pw"),
    C("auth disable"),
    C("auth disable --user root:root"),
    C("get a --user ann:pw"),
    C("auth disable"),
]
# Their output is help, which is each program's own: only the exit code counts.
EXIT_CODE_ONLY = {"endpoint"}


def run(binary, args, server, command):
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **command.env}
    if "etcdctl" in os.path.basename(binary):
        env["ETCDCTL_API"] = "3"
    endpoints = [] if args and args[0] == "version" else ["--endpoints", server.endpoint]
    done = subprocess.run([binary, *endpoints, *args], env=env, input=command.stdin.encode(),
                          capture_output=True, timeout=COMMAND_TIMEOUT_S)
    out = done.stdout
    if done.returncode == 0 and "protobuf" in args:
        out = decode(out).encode()  # ids have varints of different lengths
    return server.normalise(out), done.returncode, server.normalise(done.stderr)


def compare(command, theirs, ours):
    """A list of complaints."""
    out, code, err = squeeze(theirs[0]), theirs[1], theirs[2]
    mine, my_code = hide_new(squeeze(ours[0])), ours[1]
    line = " ".join(command.args)
    if command.differs is not None:
        out, code = DIFFERENCES[command.differs][1](out, code, err)
        mine = re.sub(rb"kvctl version: [0-9.]+", b"kvctl version: OURS", mine)
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
