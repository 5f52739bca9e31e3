#!/usr/bin/python3
"""What bit the stores that stand in for etcd under Kubernetes, as far as it is about watch (kubernetes-needs.md
sections 5 and 9): on real etcd and on kvd where 3.4.23 is a model, on kvd alone where etcd mended it later."""

from etcd3 import etcdrpc as pb

import _servers
from _watch import Stream

POD = b"/registry/pods/default/a"
PODS = (b"/registry/pods/", b"/registry/pods0")


def put(kv, key, value=b"v"):
    return kv.Put(pb.PutRequest(key=key, value=value)).header.revision


def watched(member, start=0, **fields):
    stream = Stream(member, metadata=[("hasleader", "true")])
    created = stream.created(*PODS, start_revision=start, prev_kv=True, progress_notify=True, **fields)
    return stream, created


def events(stream):
    return [e for a in stream.snapshot() for e in a.events]


def has_events(count):
    return lambda got: sum(len(a.events) for a in got) >= count


def list_header_is_the_stores_revision(member, kv, score):
    """kine 595: a list at an old revision must not name that revision as the present."""
    old = put(kv, POD)
    now = put(kv, POD)
    answer = kv.Range(pb.RangeRequest(key=PODS[0], range_end=PODS[1], revision=old, limit=1))
    score.check(answer.header.revision == now, "the header is the store's", "%d %d" % (answer.header.revision, now))
    stream, _ = watched(member, answer.header.revision + 1)
    revision = put(kv, POD)
    score.check(stream.wait(has_events(1)) and events(stream)[0].kv.mod_revision == revision,
                "a watch from there sees the next write first")
    stream.close()


def deletes_and_updates_have_prev_kv(member, kv, score):
    """kine 396."""
    stream, _ = watched(member)
    kv.DeleteRange(pb.DeleteRangeRequest(key=POD))
    put(kv, POD, b"1")
    put(kv, POD, b"2")
    kv.DeleteRange(pb.DeleteRangeRequest(key=POD))
    stream.wait(has_events(4))
    _, created, updated, deleted = events(stream)[-4:]
    score.check(created.kv.create_revision == created.kv.mod_revision and not created.HasField("prev_kv"),
                "a creation is known by its revisions, and has no prev_kv")
    score.check(updated.prev_kv.value == b"1" and updated.kv.create_revision < updated.kv.mod_revision, "an update has")
    score.check(deleted.type == 1 and deleted.prev_kv.value == b"2" and deleted.kv.value == b"", "a delete has")
    stream.close()


def revisions_have_no_gaps(member, kv, score):
    """kine 82 and 676: failed compares, empty deletes and leases take no revision."""
    stream, created = watched(member)
    base = created.header.revision
    for i in range(20):
        put(kv, b"/registry/pods/default/%d" % i)
        kv.DeleteRange(pb.DeleteRangeRequest(key=b"/registry/nothing"))
        txn = pb.TxnRequest()
        compare = txn.compare.add()
        compare.key, compare.target, compare.mod_revision = POD, 2, 1 << 40
        put_op = txn.success.add().request_put
        put_op.key = b"/registry/never"
        kv.Txn(txn)
    stream.wait(has_events(20))
    score.check([e.kv.mod_revision for e in events(stream)] == list(range(base + 1, base + 21)), "revisions are dense")
    stream.close()


def a_compacted_start_is_told_before_anything_else(member, kv, score):
    """kine 238: created, then canceled with the compact revision, and no event."""
    first = put(kv, POD)
    for _ in range(20):
        last = put(kv, POD)
    kv.Compact(pb.CompactionRequest(revision=last - 5))
    stream, created = watched(member, first)
    stream.wait(lambda got: got[-1].canceled)
    got = stream.snapshot()
    score.check([(a.created, a.canceled, a.compact_revision, len(a.events)) for a in got] ==
                [(True, False, 0, 0), (False, True, last - 5, 0)], "created, canceled, no event", str(got))
    stream.close()


def history_comes_in_batches(member, kv, score):
    """kine 238: one message for each event flooded the stream."""
    first = put(kv, POD)
    for _ in range(200):
        last = put(kv, POD)
    stream, _ = watched(member, first)
    stream.wait(has_events(201))
    batches = [a for a in stream.snapshot() if a.events]
    score.check(len(batches) == 1, "201 events in one answer", str(len(batches)))
    score.check(batches[0].header.revision == last, "its header is the store's revision")
    stream.close()


def compact_rev_key_can_be_watched(member, kv, score):
    """kine 513: apiservers agree on compactions by one key outside of /registry."""
    stream = Stream(member)
    stream.created(b"compact_rev_key")
    txn = pb.TxnRequest()
    compare = txn.compare.add()
    compare.key, compare.target, compare.version = b"compact_rev_key", 0, 0
    txn.success.add().request_put.key = b"compact_rev_key"
    txn.failure.add().request_range.key = b"compact_rev_key"
    score.check(kv.Txn(txn).succeeded, "the first one writes")
    score.check(not kv.Txn(txn).succeeded, "the second one reads")
    score.check(stream.wait(has_events(1)) and events(stream)[0].kv.version == 1, "its watcher is told")
    stream.close()


def created_answers_come_in_the_order_of_requests(member, kv, score):
    stream = Stream(member)
    for i in range(100):
        stream.create(b"o%d" % i)
        put(kv, b"o0")
    stream.wait(lambda got: sum(a.created for a in got) == 100)
    got = stream.snapshot()
    score.check([a.watch_id for a in got if a.created] == list(range(100)), "ids and answers are in order")
    before = next(i for i, a in enumerate(got) if a.created and a.watch_id == 0)
    score.check(all(i > before for i, a in enumerate(got) if a.events), "no event before created")
    stream.close()


def progress_is_never_zero_nor_ahead(member, kv, score):
    """kine 268 and 568, k8s-dqlite 263 and 264, etcd 15220: revision 0 sticks, a revision ahead loses events. On an
    empty store, on a quiet one, and beside writers; resumed behind each answer nothing is missing."""
    stream, created = watched(member)
    stream.ask_progress()
    score.check(stream.wait(lambda got: got[-1].watch_id == -1), "an empty store answers too")
    score.check(stream.snapshot()[-1].header.revision == created.header.revision > 0, "with its revision")
    for i in range(100):
        pending = [kv.Put.future(pb.PutRequest(key=POD, value=b"%d" % i)) for _ in range(3)]
        stream.ask_progress()
        for call in pending:
            revision = call.result().header.revision
    stream.ask_progress()
    stream.wait(lambda got: got[-1].watch_id == -1 and got[-1].header.revision >= revision)
    seen, wrong = created.header.revision, []
    for answer in stream.snapshot()[1:]:
        if answer.watch_id == -1:
            # Every revision is a write to the key: what progress speaks for has been sent.
            wrong += [answer.header.revision] if answer.header.revision != seen else []
        for event in answer.events:
            wrong += [event.kv.mod_revision] if event.kv.mod_revision != seen + 1 else []
            seen = event.kv.mod_revision
    score.check(not wrong and seen >= revision, "progress is at the last event, never above, never below", str(wrong[:9]))
    again, _ = watched(member, seen - 10 + 1)
    score.check(again.wait(has_events(10)), "a bookmark can be resumed from")
    score.check([e.kv.mod_revision for e in events(again)] == list(range(seen - 9, seen + 1)), "without gap or repeat")
    again.close()
    stream.close()



def main():
    args = _servers.arguments()
    score = _servers.Score()
    kvd = _servers.start_kvd(args.build).members[0]
    with kvd.channel() as channel:
        progress_is_never_zero_nor_ahead(kvd, pb.KVStub(channel), score)
    for member in (_servers.start_etcd().members[0], _servers.start_kvd(args.build).members[0]):
        with member.channel() as channel:
            kv = pb.KVStub(channel)
            for test in (list_header_is_the_stores_revision, deletes_and_updates_have_prev_kv, revisions_have_no_gaps,
                         a_compacted_start_is_told_before_anything_else, history_comes_in_batches,
                         compact_rev_key_can_be_watched, created_answers_come_in_the_order_of_requests):
                failed = score.failed
                test(member, kv, score)
                if score.failed > failed:
                    print("  in %s on %s" % (test.__name__, member.kind), flush=True)
    score.finish()


if __name__ == "__main__":
    main()
