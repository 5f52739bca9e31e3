"""A gRPC stream over HTTP/2 made by hand, for what a real client would never send: whole frames of messages at
once, floods, streams that are reset or left lying. Only what a server of ours has to be asked: no HPACK tables, no
priorities; the server's answers are counted, and kept if wanted."""

import select
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
FRAME_MAX = 16384
WINDOW = 65535
CANCEL = 8


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field without indexing and without Huffman code (RFC 7541 section 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def message(body):
    return b"\x00" + struct.pack(">I", len(body)) + body


class Connection:
    def __init__(self, member, read=True):
        self.sock = socket.create_connection(("127.0.0.1", member.client_port))
        self.sock.settimeout(60)
        self.window = {0: WINDOW}
        self.window_initial = WINDOW
        self.next_stream = 1
        self.buffer = b""
        self.data = {}      # stream -> bytes received
        self.closed = {}    # stream -> "end", or the code of a reset
        self.keep = set()   # streams whose data is kept as bytes
        self.kept = {}
        settings = struct.pack(">HI", 4, (1 << 31) - 1 if read else 0)  # INITIAL_WINDOW_SIZE
        self.sock.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        if read:
            self.sock.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 1 - WINDOW)))

    def open(self, path, keep=False):
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"),
                  (b"content-type", b"application/grpc"), (b"te", b"trailers")]
        self.window[stream] = self.window_initial
        self.data[stream] = 0
        if keep:
            self.keep.add(stream)
            self.kept[stream] = bytearray()
        self.sock.sendall(frame(HEADERS, END_HEADERS, stream, b"".join(literal(n, v) for n, v in fields)))
        return stream

    def send(self, stream, body):
        """As fast as the windows allow."""
        at = 0
        while at < len(body):
            room = min(self.window[0], self.window[stream], FRAME_MAX, len(body) - at)
            if room <= 0:
                self.receive()
                if stream in self.closed:
                    return False
                continue
            self.write(frame(DATA, 0, stream, body[at:at + room]))
            self.window[0] -= room
            self.window[stream] -= room
            at += room
        return True

    def write(self, out):
        """Reads meanwhile: a server may take no more until its answers are taken."""
        while out:
            readable, writable, _ = select.select([self.sock], [self.sock], [], 60)
            if readable:
                self.receive()
            if writable:
                out = out[self.sock.send(out, socket.MSG_DONTWAIT):]
            elif not readable:
                raise TimeoutError("the server neither takes nor gives")

    def half_close(self, stream):
        self.sock.sendall(frame(DATA, END_STREAM, stream))

    def reset(self, stream):
        self.sock.sendall(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))

    def receive(self):
        """Waits for at least one frame, takes all that are there."""
        taken = False
        while not taken:
            bytes_in = self.sock.recv(1 << 18)
            if not bytes_in:
                raise ConnectionError("the server closed the connection")
            self.buffer += bytes_in
            taken = self.take_frames()

    def take_frames(self):
        at = 0
        while len(self.buffer) - at >= 9:
            length = int.from_bytes(self.buffer[at:at + 3], "big")
            kind, flags, stream = struct.unpack(">BBI", self.buffer[at + 3:at + 9])
            if len(self.buffer) - at < 9 + length:
                break
            self.take(kind, flags, stream, self.buffer[at + 9:at + 9 + length])
            at += 9 + length
        self.buffer = self.buffer[at:]
        return at > 0

    def take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            for i in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[i:i + 6])
                if name == 4:
                    for open_stream in [s for s in self.window if s != 0]:
                        self.window[open_stream] += value - self.window_initial
                    self.window_initial = value
            self.sock.sendall(frame(SETTINGS, ACK, 0))
        elif kind == WINDOW_UPDATE:
            self.window[stream] = self.window.get(stream, 0) + struct.unpack(">I", payload)[0]
        elif kind == PING and not flags & ACK:
            self.sock.sendall(frame(PING, ACK, 0, payload))
        elif kind == RST_STREAM:
            self.closed[stream] = struct.unpack(">I", payload)[0]
        elif kind == GOAWAY:
            raise ConnectionError("the server said GOAWAY %d" % struct.unpack(">II", payload[:8])[1])
        elif kind == DATA:
            self.data[stream] = self.data.get(stream, 0) + len(payload)
            if stream in self.keep:
                self.kept[stream] += payload
            if len(payload) > 0:
                update = struct.pack(">I", len(payload))
                self.sock.sendall(frame(WINDOW_UPDATE, 0, 0, update) + frame(WINDOW_UPDATE, 0, stream, update))
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self.closed[stream] = "end"

    def messages(self, stream):
        """Whole messages received so far on a kept stream; they are taken off."""
        found, kept, at = [], self.kept[stream], 0
        while len(kept) - at >= 5:
            length = struct.unpack(">I", kept[at + 1:at + 5])[0]
            if len(kept) - at < 5 + length:
                break
            found.append(bytes(kept[at + 5:at + 5 + length]))
            at += 5 + length
        del kept[:at]
        return found

    def close(self):
        self.sock.close()
