#!/usr/bin/python3
"""python3-etcd3, a client library nobody here wrote, against kvd: its own calls, its own idea of right."""

import etcd3

import _servers


def main():
    args = _servers.arguments()
    cluster = _servers.start_kvd(args.build, 3)
    score = _servers.Score()
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
    score.finish()


if __name__ == "__main__":
    main()
