#!/usr/bin/python3
"""WebSocket on the gateway's routes, as etcd's gateway offers it: the same conversations with both, then what RFC
6455 asks for, what browsers cannot be let do, and clients that do not read or do not speak it."""

import base64
import json
import os
import random
import socket
import ssl
import struct
import subprocess
import urllib.request

from etcd3 import etcdrpc as pb

import _servers

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0
WAIT_S = 20
MIB = 1 << 20


def frame(opcode, payload, final=True, masked=True):
    head = bytes([final << 7 | opcode])
    length, mask_bit = len(payload), 0x80 if masked else 0
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 1 << 16:
        head += bytes([mask_bit | 126]) + struct.pack(">H", length)
    else:
        head += bytes([mask_bit | 127]) + struct.pack(">Q", length)
    if not masked:
        return head + payload
    key = os.urandom(4)
    stream = (key * (length // 4 + 1))[:length]
    return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(length, "big")


class Client:
    """One connection; `head` is the answer to the handshake."""

    def __init__(self, member, path, headers=(), method="GET", version="13", key=None, tls=None):
        self.sock = socket.create_connection(("127.0.0.1", member.client_port))
        self.sock.settimeout(WAIT_S)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock)
        self.key = key or base64.b64encode(os.urandom(16)).decode()
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: 127.0.0.1:%d" % member.client_port, "Upgrade: websocket",
                 "Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: " + version,
                 "Sec-WebSocket-Key: " + self.key, *("%s: %s" % h for h in headers), "", ""]
        self.sock.sendall("\r\n".join(lines).encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.head = head.decode()
        self.status = int(self.head.split()[1])

    def more(self):
        got = self.sock.recv(1 << 16)
        if not got:
            raise EOFError
        self.buffer += got

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        got, self.buffer = self.buffer[:count], self.buffer[count:]
        return got

    def read(self):
        """(opcode, payload) of the next frame; ("end", b"") when the server has closed."""
        try:
            first, length = self.take(2)
            if length == 126:
                length = struct.unpack(">H", self.take(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self.take(8))[0]
            return first & 15, self.take(length)
        except (EOFError, ConnectionResetError):
            return "end", b""

    def json(self):
        opcode, payload = self.read()
        return json.loads(payload) if opcode == TEXT else (opcode, payload)

    def send(self, opcode, payload, **how):
        self.sock.sendall(frame(opcode, payload, **how))

    def ask(self, request):
        self.send(TEXT, json.dumps(request).encode())

    def close(self):
        self.sock.close()


def b64(data):
    return base64.b64encode(data).decode()


def create(key, **fields):
    return {"create_request": dict(key=b64(key), **fields)}


def clean(value):
    """Without ids, which are each server's own."""
    if isinstance(value, dict):
        return {k: clean(v) for k, v in value.items() if k not in ("cluster_id", "member_id", "raft_term")}
    return [clean(v) for v in value] if isinstance(value, list) else value


def conversation(member):
    """What both must say to the same words."""
    said = []
    kv = pb.KVStub(member.channel())
    watch = Client(member, "/v3/watch")
    said.append(watch.status)
    watch.ask(create(b"w"))
    watch.send(BINARY, json.dumps(create(b"w", prev_kv=True)).encode())
    said += [watch.json() for _ in range(2)]
    two = json.dumps(create(b"x")).encode()
    watch.send(TEXT, two[:9], final=False)
    watch.send(PING, b"hello")
    watch.send(CONTINUATION, two[9:])
    said += [watch.json() for _ in range(2)]
    watch.send(TEXT, two + two)
    said += [watch.json() for _ in range(2)]
    for value in (b"1", b"2" * 200, b"3" * 70000):
        kv.Put(pb.PutRequest(key=b"w", value=value))
        said.append(sorted((watch.json() for _ in range(2)), key=lambda a: a["result"].get("watch_id", "0")))
    watch.ask({"cancel_request": {"watch_id": 1}})
    said.append(watch.json())
    watch.send(CLOSE, struct.pack(">H", 1000))
    said += [watch.read(), watch.read()]
    lease = Client(member, "/v3/lease/keepalive")
    for _ in range(2):
        lease.ask({"ID": "77"})
        said.append(lease.json())
    lease.close()
    unary = Client(member, "/v3/kv/range")
    unary.ask({"key": b64(b"w"), "count_only": True})
    said.append(unary.json())
    bad = Client(member, "/v3/watch")
    bad.send(TEXT, b"x", masked=False)
    said.append(bad.read())
    return clean(said)


def handshakes(member, score):
    rfc = Client(member, "/v3/watch", key="dGhlIHNhbXBsZSBub25jZQ==")
    score.check(rfc.status == 101 and "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in rfc.head,
                "the key of the RFC", rfc.head)
    token = Client(member, "/v3/watch", [("Sec-WebSocket-Protocol", "Bearer, some.token")])
    score.check("Sec-WebSocket-Protocol: Bearer" in token.head, "a token as a protocol", token.head)
    for name, want, client in (
            ("another version", 426, Client(member, "/v3/watch", version="8")),
            ("a key that is none", 400, Client(member, "/v3/watch", key="short")),
            ("POST", 405, Client(member, "/v3/watch", method="POST")),
            ("an unknown route", 404, Client(member, "/v3/nothing"))):
        score.check(client.status == want, name, client.head)
        client.close()
    score.check("Sec-WebSocket-Version: 13" in Client(member, "/v3/watch", version="8").head, "13 is offered")


def origins(build, score):
    member = _servers.start_kvd(build, extra=["--cors", "http://good.example"]).members[0]
    for origin, want in (("http://good.example", 101), ("http://evil.example", 403), (None, 101)):
        client = Client(member, "/v3/watch", [("Origin", origin)] if origin else [])
        score.check(client.status == want, "Origin %s" % origin, client.head)
        client.close()


def over_tls(build, score):
    """wss: with the protocol chosen by ALPN, and without any."""
    cluster = _servers.Cluster("kvd", os.path.join(build, "kvd"), 1)
    member, path = cluster.members[0], os.path.join(cluster.folder, "cert")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=kvd", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", path + ".key", "-out", path + ".crt"], check=True, capture_output=True)
    client_url = "http://127.0.0.1:%d" % member.client_port
    member.args = [a.replace(client_url, client_url.replace("http", "https")) for a in member.args]
    member.args += ["--cert-file", path + ".crt", "--key-file", path + ".key"]
    member.start()
    for protocols in (["http/1.1"], None):
        tls = ssl.create_default_context(cafile=path + ".crt")
        tls.check_hostname = False
        if protocols is not None:
            tls.set_alpn_protocols(protocols)
        client = None
        while client is None and member.running():
            try:
                client = Client(member, "/v3/watch", tls=tls)
            except (ConnectionRefusedError, ConnectionResetError):
                pass  # it is starting
        client.ask(create(b"t" * 1000))
        score.check(client.status == 101 and client.json()["result"]["created"], "over TLS, ALPN %s" % protocols)
        client.close()
    cluster.close()


def broken(member, score):
    """Each ends its own connection with the code of the RFC."""
    two_gib = struct.pack(">BBQI", 0x81, 0xff, 1 << 31, 0)
    for name, code, raw in (
            ("reserved bits", 1002, b"\xc1\x80abcd"), ("an unknown opcode", 1002, frame(5, b"")),
            ("a ping in pieces", 1002, frame(PING, b"", final=False)), ("a long ping", 1002, frame(PING, b"x" * 126)),
            ("nothing to continue", 1002, frame(CONTINUATION, b"x")),
            ("a message in a message", 1002, frame(TEXT, b"{", final=False) + frame(TEXT, b"}")),
            ("half a close code", 1002, frame(CLOSE, b"\x03")), ("2 GiB", 1009, two_gib),
            ("no JSON", 1007, frame(TEXT, b"create")), ("half of JSON", 1007, frame(TEXT, b'{"a":')),
            ("wrong base64", 1007, frame(TEXT, b'{"create_request":{"key":"!"}}')),
            ("deep nesting", 1007, frame(TEXT, b'{"a":' * 20000 + b"1" + b"}" * 20000)),
            ("not UTF-8", 1007, frame(TEXT, b'{"create_request":{"key":"\xff"}}'))):
        client = Client(member, "/v3/watch")
        client.sock.sendall(raw)
        got = [client.read()]
        if got[0][0] == TEXT:
            score.check(json.loads(got[0][1])["code"] == 3, name + " is told as JSON", str(got))
            got = [client.read()]
        score.check(got[0][0] == CLOSE and struct.unpack(">H", got[0][1][:2])[0] == code, name, str(got))
        score.check(client.read()[0] == "end", name + ": and the connection ends")
        client.close()


def random_pieces(member, rng, score):
    """A hundred creates, in random frames, in random pieces of TCP."""
    client = Client(member, "/v3/watch")
    raw = b""
    for i in range(100):
        text = json.dumps(create(b"r%d" % i * rng.randint(1, 300))).encode()
        cuts = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(0, 4)))
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)])]
        for n, part in enumerate(parts):
            raw += frame(TEXT if n == 0 else CONTINUATION, part, final=n == len(parts) - 1)
            if rng.random() < 0.2:
                raw += frame(PONG, b"unasked")
    at = 0
    while at < len(raw):
        size = rng.choice([1, 2, 5, 100, 5000])
        client.sock.sendall(raw[at:at + size])
        at += size
    ids = [client.json()["result"].get("watch_id", "0") for _ in range(100)]
    score.check(ids == [str(i) for i in range(100)], "any split of frames and bytes", str(ids))
    client.close()


def memory(member):
    with open("/proc/%d/statm" % member.process.pid, encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def watchers(member):
    with urllib.request.urlopen("http://%s/metrics" % member.endpoint) as answer:
        text = answer.read().decode()
    return int(text.split("\netcd_debugging_mvcc_watcher_total ")[1].split()[0])


def stopped_readers(member, score):
    """Who does not read misses nothing, costs little, and harms nobody."""
    kv = pb.KVStub(member.channel())
    clients = [Client(member, "/v3/watch") for _ in range(20)]
    for client in clients:
        client.ask(create(b"s/", range_end=b64(b"s0")))
        score.check(client.json()["result"]["created"], "created")
    before, value = memory(member), os.urandom(64 << 10)
    revisions = [kv.Put(pb.PutRequest(key=b"s/%d" % (i % 7), value=value)).header.revision for i in range(300)]
    grown = memory(member) - before
    score.check(grown < 60 * MIB, "520 MB wait to be read, memory is bounded", "%d MiB" % (grown // MIB))
    got = []
    while len(got) < 300:
        got += [int(e["kv"]["mod_revision"]) for e in clients[3].json()["result"]["events"]]
    score.check(got == revisions, "reading again gives every event once, in order")
    for client in clients:
        client.close()
    while watchers(member) != 0:
        pass
    score.check(True, "clients that went away leave no watcher")


def floods(member, score):
    """Pings, and creates, by the hundred thousand from a client that reads nothing."""
    kv = pb.KVStub(member.channel())
    for name, one in (("pings", frame(PING, b"x" * 125)), ("creates", frame(TEXT, json.dumps(create(b"f")).encode()))):
        client = Client(member, "/v3/watch")
        client.sock.setblocking(False)
        before, sent, block = memory(member), 0, one * 1000
        refusals = 0
        while refusals < 200 and sent < 200 * MIB:
            try:
                sent += client.sock.send(block[sent % len(one):])
                refusals = 0
            except BlockingIOError:
                refusals += 1
                kv.Put(pb.PutRequest(key=b"other", value=b"v"))
            except (BrokenPipeError, ConnectionResetError):
                break  # cut off: fine too
        grown = memory(member) - before
        score.check(grown < 40 * MIB, "a flood of %s: memory is bounded" % name, "%d MiB" % (grown // MIB))
        print("flood of %s: %d KiB were taken, memory %+d KiB" % (name, sent >> 10, grown >> 10), flush=True)
        client.close()
    while watchers(member) != 0:
        pass


def main():
    args = _servers.arguments()
    score = _servers.Score()
    rng = random.Random(args.seed)
    etcd, kvd = _servers.start_etcd(), _servers.start_kvd(args.build)
    said = [conversation(c.members[0]) for c in (etcd, kvd)]
    for theirs, ours in zip(*said):
        score.check(theirs == ours, "the same conversation", "etcd %.300s\nkvd  %.300s" % (theirs, ours))
    score.check(len(said[0]) == len(said[1]) > 10, "to its end")
    etcd.close()
    member = kvd.members[0]
    handshakes(member, score)
    broken(member, score)
    random_pieces(member, rng, score)
    stopped_readers(member, score)
    floods(member, score)
    origins(args.build, score)
    over_tls(args.build, score)
    score.check(member.running(), "the member lives", member.log_tail())
    if score.failed:
        kvd.keep()
    score.finish()


if __name__ == "__main__":
    main()
