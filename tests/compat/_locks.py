"""Calls of the Lock and Election services for tests, and what is needed around them."""

import threading

import grpc
from etcd3 import etcdrpc

import _proto
import _watch

WAIT_S = 20
MESSAGE = _proto.load("v3lock.proto", "v3election.proto")
LeaderKey = MESSAGE("v3electionpb.LeaderKey")
NOTHING = (None, None)


def _service(rpc):
    return "v3lockpb.Lock" if rpc in ("Lock", "Unlock") else "v3electionpb.Election"


def request(rpc, **fields):
    package = _service(rpc).split(".")[0]
    return MESSAGE("%s.%sRequest" % (package, "Leader" if rpc == "Observe" else rpc))(**fields)


def _answer_type(rpc):
    return MESSAGE("%s.%sResponse" % (_service(rpc).split(".")[0], "Leader" if rpc == "Observe" else rpc))


def view(message):
    """An answer as something that compares and prints: of the header, only the revision is not private."""
    out = {}
    for field, value in message.ListFields():
        if field.name == "header":
            out["revision"] = value.revision
        elif field.message_type is not None:
            out[field.name] = view(value)
        else:
            out[field.name] = value
    return out


class Pending:
    """A call under way."""

    def __init__(self, future):
        self.future = future
        self.ended = threading.Event()
        future.add_done_callback(lambda _: self.ended.set())

    def result(self, timeout=WAIT_S):
        """The answer's view, or (code, text) of the error."""
        if not self.ended.wait(timeout):
            return "no answer after %d s" % timeout
        if self.future.cancelled():
            return "cancelled"
        error = self.future.exception()
        return view(self.future.result()) if error is None else (error.code().name, error.details())

    def cancel(self):
        self.future.cancel()


class Observer:
    """An Observe stream; keeps what it was sent."""

    def __init__(self, client, name):
        self.got, self.end = [], None
        self.change = threading.Condition()
        self.call = client.channel.unary_stream(
            "/v3electionpb.Election/Observe", request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=_answer_type("Observe").FromString)(request("Observe", name=name),
                                                                      metadata=client.metadata)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for answer in self.call:
                with self.change:
                    self.got.append(view(answer))
                    self.change.notify_all()
            end = ("OK", "")
        except grpc.RpcError as error:
            end = (error.code().name, error.details())
        with self.change:
            self.end = end
            self.change.notify_all()

    def wait(self, count, timeout=WAIT_S):
        """The first so many answers, or what came instead."""
        with self.change:
            self.change.wait_for(lambda: len(self.got) >= count or self.end is not None, timeout)
            return self.got[:count] if len(self.got) >= count else (self.got[:], self.end)

    def wait_end(self, timeout=WAIT_S):
        with self.change:
            self.change.wait_for(lambda: self.end is not None, timeout)
            return self.end

    def close(self):
        self.call.cancel()


class Client:
    """One connection."""

    def __init__(self, member, metadata=()):
        self.member = member
        self.channel = member.channel(own=True)
        self.metadata = list(metadata)
        self.kv = etcdrpc.KVStub(self.channel)
        self.leases = etcdrpc.LeaseStub(self.channel)

    def start(self, rpc, timeout=None, **fields):
        method = self.channel.unary_unary("/%s/%s" % (_service(rpc), rpc),
                                          request_serializer=lambda m: m.SerializeToString(),
                                          response_deserializer=_answer_type(rpc).FromString)
        return Pending(method.future(request(rpc, **fields), timeout=timeout, metadata=self.metadata))

    def call(self, rpc, timeout=None, **fields):
        return self.start(rpc, timeout, **fields).result()

    def observe(self, name):
        return Observer(self, name)

    def grant(self, lease, ttl=600):
        """A lease with an id of the test's choice, so that keys are the same on every server."""
        self.leases.LeaseGrant(etcdrpc.LeaseGrantRequest(ID=lease, TTL=ttl))
        return lease

    def revoke(self, lease):
        self.leases.LeaseRevoke(etcdrpc.LeaseRevokeRequest(ID=lease))

    def keys(self, prefix):
        got = self.kv.Range(etcdrpc.RangeRequest(key=prefix, range_end=prefix[:-1] + bytes([prefix[-1] + 1])))
        return [(kv.key, kv.value, kv.create_revision, kv.lease) for kv in got.kvs]

    def revision(self):
        return self.kv.Range(etcdrpc.RangeRequest(key=b"?")).header.revision

    def put(self, key, value=b""):
        return self.kv.Put(etcdrpc.PutRequest(key=key, value=value)).header.revision

    def close(self):
        self.channel.close()


class Line:
    """Watches the keys under a prefix: waits until so many are there."""

    def __init__(self, client, prefix):
        self.seen, self.there, self.gone = 0, set(), set()
        self.stream = _watch.Stream(client.member, channel=client.channel)
        self.stream.created(prefix, prefix[:-1] + bytes([prefix[-1] + 1]), start_revision=1)

    def _follow(self, answers):
        for answer in answers[self.seen:]:
            for event in answer.events:
                if event.type == 1:
                    self.there.discard(event.kv.key)
                    self.gone.add(event.kv.key)
                else:
                    self.there.add(event.kv.key)
        self.seen = len(answers)
        return self

    def wait(self, count):
        return self.stream.wait(lambda got: len(self._follow(got).there) == count, WAIT_S)

    def wait_gone(self, key):
        return self.stream.wait(lambda got: key in self._follow(got).gone, WAIT_S)

    def close(self):
        self.stream.close()
