"""Watch streams for tests: the whole of today's messages (python3-etcd3 knows those of 3.2 only), made
from our own .proto files, and a stream that keeps everything it was sent."""

import queue
import threading

import grpc

import _proto

WAIT_S = 20


_message = _proto.load("rpc.proto")
MESSAGES = {name: _message("etcdserverpb." + name) for name in ("WatchRequest", "WatchResponse", "WatchCreateRequest")}


class Stream:
    """One Watch call. Answers are kept in `got`; `wait` blocks until they satisfy a condition."""

    def __init__(self, member, metadata=(), channel=None):
        self.own = member.channel() if channel is None else None
        self.requests = queue.Queue()
        self.got = []
        self.ended = None
        self.reads = threading.Event()
        self.reads.set()
        self.change = threading.Condition()
        method = (self.own or channel).stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=MESSAGES["WatchResponse"].FromString)
        self.call = method(iter(self.requests.get, None), metadata=list(metadata))
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            for answer in self.call:
                with self.change:
                    self.got.append(answer)
                    self.change.notify_all()
                self.reads.wait()
            ended = (grpc.StatusCode.OK, "")
        except grpc.RpcError as error:
            ended = (error.code(), error.details())
        with self.change:
            self.ended = ended
            self.change.notify_all()

    def wait(self, condition, timeout=WAIT_S):
        """True once condition(answers) is; False after the timeout or at the end of the stream."""
        with self.change:
            return self.change.wait_for(lambda: condition(self.got), timeout)

    def wait_end(self, timeout=WAIT_S):
        with self.change:
            self.change.wait_for(lambda: self.ended is not None, timeout)
            return self.ended

    def send(self, request):
        self.requests.put(request)

    def create(self, key, end=b"", **fields):
        request = MESSAGES["WatchRequest"]()
        request.create_request.key = key
        request.create_request.range_end = end
        for name, value in fields.items():
            if name == "filters":
                request.create_request.filters.extend(value)
            else:
                setattr(request.create_request, name, value)
        self.send(request)

    def created(self, key, end=b"", **fields):
        """Creates and returns the answer."""
        with self.change:
            before = sum(1 for a in self.got if a.created)
        self.create(key, end, **fields)
        self.wait(lambda got: sum(1 for a in got if a.created) > before)
        return [a for a in self.got if a.created][before]

    def cancel(self, watch_id):
        request = MESSAGES["WatchRequest"]()
        request.cancel_request.watch_id = watch_id
        self.send(request)

    def ask_progress(self):
        request = MESSAGES["WatchRequest"]()
        request.progress_request.SetInParent()
        self.send(request)

    def stop_reading(self):
        """What comes waits in the sockets, after at most one more answer."""
        self.reads.clear()

    def go_on_reading(self):
        self.reads.set()

    def half_close(self):
        self.requests.put(None)

    def close(self):
        self.go_on_reading()
        self.call.cancel()
        self.requests.put(None)
        self.thread.join(WAIT_S)
        if self.own is not None:
            self.own.close()

    def snapshot(self):
        with self.change:
            return list(self.got)


def event_view(event):
    """What a client sees of an event, as something that compares and prints."""
    def kv(pair):
        return (pair.key, pair.value, pair.create_revision, pair.mod_revision, pair.version, pair.lease)
    return ("DELETE" if event.type == 1 else "PUT", kv(event.kv),
            kv(event.prev_kv) if event.HasField("prev_kv") else None)


def events_of(answers, watch_id):
    return [event_view(e) for a in answers if a.watch_id == watch_id for e in a.events]
