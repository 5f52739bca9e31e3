#!/usr/bin/python3
"""python3-etcd3, a client library nobody here wrote, against kvd: its own calls, its own idea of right.

First the examples of its documentation, taken from its files when this runs and run as they stand there, and
more scenes of watches, leases, locks and leading by a lease: on etcd and on kvd, with the same to be seen.
"""

import contextlib
import glob
import io
import os
import queue
import re
import textwrap
import threading
import types

import etcd3
import etcd3.exceptions

import _servers

WAIT_S = 20


# ---- the library's examples ----


def example_of(text):
    """The example in the library's docstrings that has this text."""
    found = []
    for path in glob.glob(os.path.join(os.path.dirname(etcd3.__file__), "*.py")):
        with open(path) as file:
            blocks = re.findall(r"^( *)\.\. code-block:: python\n\n?((?:\1    .*\n|\n)+)", file.read(), re.M)
        found += [textwrap.dedent(code) for _, code in blocks if text in code]
    (code,) = found
    return code


def run_example(text, client, names=()):
    """What it prints. Its etcd3.client() is ours."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(example_of(text), {"etcd3": types.SimpleNamespace(client=lambda: client), "etcd": client, **dict(names)})
    return out.getvalue()


def example_transaction(client):
    client.put("/doot/testing", "doot")
    run_example("/doot/testing", client)
    yield client.get("/doot/testing")[0]
    run_example("/doot/testing", client)
    yield client.get("/doot/testing")[0]


def example_lock(client):
    yield run_example("etcd.lock('toot', ttl=20)", client)
    yield client.lock("toot").is_acquired()


def example_watch(client):
    """It waits for ever: here until the watch is cancelled."""
    told, cancels = queue.Queue(), queue.Queue()

    def watch(key):
        events, cancel = client.watch(key)
        cancels.put(cancel)
        return events, cancel

    thread = threading.Thread(daemon=True, target=exec, args=(
        example_of("etcd.watch('/doot/key')"),
        {"etcd": types.SimpleNamespace(watch=watch), "print": lambda event: told.put(str(event))}))
    thread.start()
    cancel = cancels.get(timeout=WAIT_S)
    client.put("/doot/key", "1")
    client.put("/doot/other", "2")
    client.delete("/doot/key")
    yield [told.get(timeout=WAIT_S) for _ in range(2)]
    cancel()
    thread.join(WAIT_S)
    yield thread.is_alive()


# ---- more of the same interfaces ----


def event_view(event):
    return type(event).__name__, event.key, event.value


def watches(client):
    revision = client.put("w/0", "before").header.revision
    events, cancel = client.watch_prefix("w/")
    past, cancel_past = client.watch("w/0", start_revision=revision, prev_kv=True)
    client.put("w/1", "a")
    client.put("w/0", "b")
    client.delete("w/1")
    yield [event_view(next(events)) for _ in range(3)]
    yield [(event_view(e), e.prev_value) for e in (next(past), next(past))]
    cancel()
    cancel_past()
    yield list(events), list(past)


def watches_for_one_event(client):
    for name, call in (("watch_once", lambda: client.watch_once("one")),
                       ("watch_prefix_once", lambda: client.watch_prefix_once("on"))):
        got = queue.Queue()
        thread = threading.Thread(target=lambda c=call, g=got: g.put(event_view(c())), daemon=True)
        thread.start()
        while got.empty():  # nobody says when the watch is there
            client.put("one", "v")
            thread.join(0.05)
        yield name, got.get()
    try:
        client.watch_once("silent", timeout=0.2)
    except etcd3.exceptions.WatchTimedOut:
        yield "timed out"


def watch_callbacks(client):
    got = queue.Queue()
    watch = client.add_watch_prefix_callback("cb/", got.put)
    client.put("cb/1", "x")
    yield [event_view(e) for e in got.get(timeout=WAIT_S).events]
    client.cancel_watch(watch)
    client.put("cb/1", "y")
    other, cancel = client.watch("cb/1", start_revision=client.get("cb/1")[1].mod_revision)
    yield event_view(next(other))  # what was cancelled would have come by now
    cancel()
    yield got.empty()


def watch_of_what_is_compacted(client):
    first = client.put("old", "1").header.revision
    client.compact(client.put("old", "2").header.revision)
    events, _ = client.watch("old", start_revision=first)
    try:
        next(events)
    except etcd3.exceptions.RevisionCompactedError as error:
        yield error.compacted_revision - first


def leases(client):
    lease = client.lease(10, lease_id=0x77)
    client.put("leased", "v", lease=lease)
    yield lease.id, lease.ttl, client.get("leased")[1].lease_id
    (renewed,) = lease.refresh()
    yield renewed.ID, renewed.TTL
    yield lease.granted_ttl, lease.remaining_ttl in (9, 10), list(lease.keys)
    info = client.get_lease_info(0x77)
    yield info.grantedTTL, list(info.keys)
    lease.revoke()
    yield client.get("leased")
    (renewed,) = client.refresh_lease(0x77)
    yield renewed.TTL, client.get_lease_info(0x77).TTL
    for call in (lambda: client.revoke_lease(0x77), lambda: client.put("leased", "v", lease=0x77)):
        try:
            call()
        except Exception as error:  # pylint: disable=broad-except
            yield type(error).__name__, str(getattr(error, "details", lambda: error)())
    short = client.lease(2)
    client.put("short", "v", lease=short)
    events, cancel = client.watch("short")
    yield event_view(next(events))
    cancel()


def acquire(lock):
    """Whether it was free. If it was not, Debian's tenacity calls the library's wait() as it does not expect."""
    try:
        return lock.acquire()
    except TypeError:
        return False


def locks(client):
    one, two = client.lock("only", ttl=10), client.lock("only", ttl=10)
    yield acquire(one), one.is_acquired(), two.is_acquired()
    yield acquire(two)
    one.refresh()
    yield one.is_acquired()
    events, cancel = client.watch(one.key)
    yield one.release()
    yield type(next(events)).__name__
    yield acquire(two), two.is_acquired(), one.is_acquired(), one.release()
    yield two.release()
    yield [type(next(events)).__name__ for _ in range(2)]
    # A holder that says nothing any more loses it when its time is up.
    yield acquire(client.lock("only", ttl=2)), acquire(two)
    yield [type(next(events)).__name__ for _ in range(2)]
    cancel()
    with client.lock("only", ttl=10) as lock:
        yield lock.is_acquired()


def leading(client):
    """Leaders by put_if_not_exists with a lease, as this library has no elections."""
    mine, theirs = client.lease(20), client.lease(20)
    yield client.put_if_not_exists("leader", "me", lease=mine), client.put_if_not_exists("leader", "you", lease=theirs)
    events, cancel = client.watch("leader")
    mine.revoke()
    yield event_view(next(events))
    yield client.put_if_not_exists("leader", "you", lease=theirs), event_view(next(events))
    cancel()
    ok, _ = client.transaction(compare=[client.transactions.value("leader") == "me"],
                               success=[client.transactions.put("led", "by me")], failure=[])
    yield ok, client.get("led")


def administration(client):
    status = client.status()
    yield status.leader.name, [m.name for m in client.members], status.raft_term > 0, status.db_size > 0
    client.defragment()
    yield isinstance(client.hash(), int), list(client.list_alarms())


SCENES = [example_transaction, example_lock, example_watch, watches, watches_for_one_event, watch_callbacks,
          watch_of_what_is_compacted, leases, locks, leading, administration]


def play(scene, clients, score):
    seen = [list(scene(client)) for client in clients]
    score.check(seen[0] == seen[1] and seen[1], scene.__name__, "  etcd %s\n  kvd  %s" % tuple(seen))


def connect(member):
    return etcd3.client(host="127.0.0.1", port=member.client_port)


def main():
    args = _servers.arguments()
    score = _servers.Score()
    pair = [connect(cluster.members[0]) for cluster in (_servers.start_etcd(), _servers.start_kvd(args.build))]
    for scene in SCENES:
        play(scene, pair, score)
    three_members(args, score)
    score.finish()


def three_members(args, score):
    cluster = _servers.start_kvd(args.build, 3)
    client = etcd3.client(host="127.0.0.1", port=cluster.members[0].client_port)
    other = etcd3.client(host="127.0.0.1", port=cluster.members[1].client_port)

    client.put("doc/a", "1")
    client.put("doc/b", "2")
    score.check(client.get("doc/a")[0] == b"1", "get gives what put wrote")
    score.check(other.get("doc/a")[0] == b"1", "another member gives it too")
    score.check(client.get("absent") == (None, None), "an absent key is None")
    value, meta = client.get("doc/b")
    score.check((meta.version, meta.key) == (1, b"doc/b"), "metadata has version and key")
    score.check([v for v, _ in client.get_prefix("doc/")] == [b"1", b"2"], "a prefix comes in key order")
    score.check([v for v, _ in client.get_prefix("doc/", sort_order="descend")] == [b"2", b"1"],
                "descending order")
    score.check([m.key for _, m in client.get_range("doc/a", "doc/b")] == [b"doc/a"], "a range excludes its end")
    score.check(client.put_if_not_exists("doc/a", "x") is False, "put_if_not_exists refuses a present key")
    score.check(client.put_if_not_exists("doc/c", "3") is True, "and takes an absent one")
    score.check(client.replace("doc/a", "1", "one") is True, "replace with the right old value")
    score.check(client.replace("doc/a", "1", "no") is False, "replace with the wrong old value")

    ok, answers = client.transaction(
        compare=[client.transactions.value("doc/a") == "one", client.transactions.version("doc/b") > 0],
        success=[client.transactions.put("doc/d", "4"), client.transactions.get("doc/d")],
        failure=[client.transactions.delete("doc/a")])
    score.check(ok is True and answers[1][0][0] == b"4", "a transaction reads its own write")

    nested, _ = client.transaction(
        compare=[],
        success=[client.transactions.txn(
            compare=[client.transactions.create("doc/e") == 0],
            success=[client.transactions.put("doc/e", "5")], failure=[])],
        failure=[])
    score.check(nested is True and client.get("doc/e")[0] == b"5", "a nested transaction runs")

    score.check(client.delete("doc/e") is True, "delete of a present key")
    score.check(client.delete("doc/e") is False, "delete of an absent key")
    score.check(client.delete_prefix("doc/").deleted == 4, "delete_prefix counts")

    revision = client.put("r", "new").header.revision
    client.compact(revision)
    try:
        client.compact(revision)
        score.check(False, "compacting twice must fail")
    except Exception as error:  # pylint: disable=broad-except
        score.check("compacted" in str(error), "compacting twice is refused", repr(error))

    status = client.status()
    score.check(status.db_size > 0 and status.leader is not None, "status has size and leader")
    members = list(client.members)
    score.check(sorted(m.name for m in members) == ["m1", "m2", "m3"], "members are listed by name",
                str([m.name for m in members]))
    score.check(all(m.client_urls for m in members), "members have published their client URLs")
    score.check(isinstance(client.hash(), int), "hash answers")
    score.check(list(client.list_alarms()) == [], "no alarms")


if __name__ == "__main__":
    main()
