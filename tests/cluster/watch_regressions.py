#!/usr/bin/python3
"""What went wrong in etcd's watch over the years (faults.md section 5), each with its id. R5, R6 and R16 on a single
member are in tests/compat/watch.py; here is what needs a member that lags behind.

R4 (a snapshot sends watches back in time) has its tests where snapshots are: tests/cluster/checkpoints.py, and the
simulator's watchers on members that install one. Here is the same without one: a member that comes from far behind
while watchers wait on it.
"""

import os
import signal
import sys

from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402
from _watch import Stream  # noqa: E402

BEHIND = 300  # revisions
LARGE = b"v" * 65536  # so many of them do not fit into what a connection holds


def put(kv, key=b"k", value=b"v"):
    return kv.Put(pb.PutRequest(key=key, value=value), timeout=20, wait_for_ready=True).header.revision


def serializable_revision(kv):
    return kv.Range(pb.RangeRequest(key=b"k", serializable=True), timeout=20, wait_for_ready=True).header.revision


class Lagging:
    """A member that stood still while the others wrote, and goes on while they do: it serves, and knows little of what
    it missed until they go on, too. (One that was started again would not serve: it does not know what of its own log
    is committed.)"""

    def __init__(self, build):
        self.cluster = _servers.start_kvd(build, 3)
        self.late, *self.others = self.cluster.members
        self.kvs = [pb.KVStub(m.channel()) for m in self.cluster.members]
        for _ in range(10):
            put(self.kvs[0])
        os.kill(self.late.process.pid, signal.SIGSTOP)
        for _ in range(BEHIND):
            self.revision = put(self.kvs[1], value=LARGE)
        for member in self.others:
            os.kill(member.process.pid, signal.SIGSTOP)
        os.kill(self.late.process.pid, signal.SIGCONT)
        self.at_start = serializable_revision(self.kvs[0])

    def go_on(self):
        for member in self.others:
            os.kill(member.process.pid, signal.SIGCONT)

    def close(self):
        self.go_on()
        self.cluster.close()


def revisions(stream):
    return [e.kv.mod_revision for a in stream.snapshot() for e in a.events]


def r4_r10_a_lagging_member_tells_nothing_below_the_start(build, score):
    lagging = Lagging(build)
    score.check(lagging.at_start < lagging.revision, "the member lags", "%d" % lagging.at_start)
    resumed, later, old = Stream(lagging.late), Stream(lagging.late), Stream(lagging.late)
    for stream, start in ((resumed, lagging.revision + 1), (later, lagging.revision + 5), (old, 2)):
        created = stream.created(b"k", start_revision=start, progress_notify=True)
        score.check(created.created and not created.canceled, "R10: a start beyond the member's own revision is taken")
        stream.ask_progress()
    score.check(not any(a.watch_id == -1 for s in (resumed, later) for a in s.snapshot()),
                "R10: no progress below the start")
    lagging.go_on()
    first = put(lagging.kvs[0])
    for _ in range(6):
        last = put(lagging.kvs[0])
    for stream in (resumed, later, old):
        score.check(stream.wait(lambda got, s=stream: revisions(s)[-1:] == [last]), "the last event comes")
    score.check(first == lagging.revision + 1, "nobody else wrote")
    score.check(revisions(resumed) == list(range(first, last + 1)),
                "R4 R10: exactly what comes after the start", str(revisions(resumed)[:20]))
    score.check(revisions(later) == list(range(lagging.revision + 5, last + 1)),
                "R10: a start further off waits for it", str(revisions(later)[:20]))
    score.check(revisions(old) == list(range(2, last + 1)), "the whole of history without gap or repeat")
    for stream in (resumed, later, old):
        stream.close()
    lagging.close()


def r5_progress_of_a_lagging_member_is_its_own(build, score):
    """What it says it has, it has sent; its revision is not the cluster's."""
    lagging = Lagging(build)
    stream = Stream(lagging.late)
    stream.created(b"k")
    stream.ask_progress()
    score.check(stream.wait(lambda got: got[-1].watch_id == -1), "progress without a leader")
    told = stream.snapshot()[-1].header.revision
    score.check(lagging.at_start <= told < lagging.revision, "R5: progress is the member's own",
                "%d, member at %d" % (told, lagging.at_start))
    lagging.go_on()
    last = put(lagging.kvs[1])
    score.check(stream.wait(lambda got: revisions(stream)[-1:] == [last]), "what it missed comes")
    answers = stream.snapshot()
    after = next(i for i, a in enumerate(answers) if a.watch_id == -1 and a.header.revision == told)
    seen = [e.kv.mod_revision for a in answers[after:] for e in a.events]
    score.check(seen == list(range(told + 1, last + 1)), "R5: nothing at or below it comes again, nothing is left out",
                "told %d, then %r" % (told, seen[:20]))
    stream.close()
    lagging.close()


def r16_far_behind_watchers_do_not_hold_up_writes(build, score):
    """Eight watchers that must read 20,000 revisions to find nothing; a write goes on for every few steps."""
    cluster = _servers.start_kvd(build, 1)
    kv = pb.KVStub(cluster.members[0].channel())
    for i in range(0, 20000, 500):
        pending = [kv.Put.future(pb.PutRequest(key=b"k%d" % j, value=b"v")) for j in range(i, i + 500)]
        for call in pending:
            call.result()
    stream = Stream(cluster.members[0])
    for _ in range(8):
        stream.create(b"nothing", b"nothinh", start_revision=2)
    stream.create(b"live")
    writes = 0
    stream.ask_progress()
    while not any(a.watch_id == -1 and not a.created for a in stream.snapshot()):
        revision = put(kv, b"live")
        writes += 1
    score.check(writes > 0, "R16: writes go on while watchers read far back")
    score.check(stream.wait(lambda got: revisions(stream)[-1:] == [revision]), "and live events come")
    stream.close()
    cluster.close()


def main():
    args = _servers.arguments()
    score = _servers.Score()
    r4_r10_a_lagging_member_tells_nothing_below_the_start(args.build, score)
    r5_progress_of_a_lagging_member_is_its_own(args.build, score)
    r16_far_behind_watchers_do_not_hold_up_writes(args.build, score)
    score.finish()


if __name__ == "__main__":
    main()
