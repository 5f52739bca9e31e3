#!/usr/bin/python3
"""Space quota, auto-compaction and downgrade on real processes: what a full quota refuses and what not, on every
member; the alarm's end by itself, through a disarm, and across kill -9; bursts; no quota at all; old revisions that go
by themselves, whoever leads; a downgrade that all members know of.
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import grpc
from etcd3 import etcdrpc as pb

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402
from process import OPENER, http, metric  # noqa: E402

QUOTA = 4 << 20
VALUE = bytes(50_000)
GIVE_UP_S = 60
NO_SPACE = ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")
NOSPACE_ALARM, ACTIVATE = 1, 1


class Stubs:
    def __init__(self, member):
        self.channel = member.channel()
        self.kv = pb.KVStub(self.channel)
        self.lease = pb.LeaseStub(self.channel)
        self.maintenance = pb.MaintenanceStub(self.channel)


def outcome_once(method, request):
    """"OK", or (code, text)."""
    try:
        method(request, timeout=20)
        return "OK"
    except grpc.RpcError as error:
        return error.code().name, error.details()


def is_unknown(result):
    """A change of leader, or a machine that is too busy: nothing is known of what became of it."""
    return result != "OK" and result[0] in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


def outcome(method, request):
    """The same, until it is known: all requests here may be repeated."""
    end = time.monotonic() + GIVE_UP_S
    while True:
        result = outcome_once(method, request)
        if not is_unknown(result) or time.monotonic() > end:
            return result


def put(stubs, key=b"k", value=VALUE):
    return outcome(stubs.kv.Put, pb.PutRequest(key=key, value=value))


def fill(stubs):
    """The same key again and again: history takes the space. How often, and how it ended."""
    for puts in range(1000):
        result = put(stubs)
        if result != "OK":
            return puts, result
    return 1000, "OK"


def kvctl(args, cluster, *words):
    done = subprocess.run([os.path.join(args.build, "kvctl"), "--endpoints", cluster.endpoints,
                           "--command-timeout", "30s", "--dial-timeout", "20s", *words],
                          capture_output=True, text=True, timeout=GIVE_UP_S, check=False)
    return done.returncode, done.stdout


def wait_until(condition):
    """Whether it came true at last."""
    end = time.monotonic() + GIVE_UP_S
    while time.monotonic() < end:
        if condition():
            return True
    return False


def alarms(args, cluster):
    """What kvctl says, once it gets an answer."""
    said_last = []

    def answered():
        said_last[:] = kvctl(args, cluster, "alarm", "list")
        return said_last[0] == 0
    return said_last[1] if wait_until(answered) else "kvctl fails: %s" % said_last


def newest(stubs):
    """The revision at which the store stands; linearizable."""
    answers = []

    def answered():
        try:
            answers.append(stubs.kv.Range(pb.RangeRequest(key=b"k", count_only=True), timeout=20))
        except grpc.RpcError:
            pass
        return answers
    assert wait_until(answered), "no member answers"
    return answers[0].header.revision


def compact(stubs):
    """To the newest revision. Asked twice, the second time finds it done."""
    result = outcome(stubs.kv.Compact, pb.CompactionRequest(revision=newest(stubs)))
    return "OK" if result == ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted") else result


def hash_of(member, revision):
    body = json.dumps({"revision": revision}).encode()
    request = urllib.request.Request("http://%s/v3/maintenance/hashkv" % member.endpoint, data=body)
    with OPENER.open(request, timeout=GIVE_UP_S) as answer:
        return json.loads(answer.read())["hash"]


def gateway_put(member):
    """HTTP status, gRPC code, text."""
    request = urllib.request.Request("http://%s/v3/kv/put" % member.endpoint, data=b'{"key":"aw=="}')
    try:
        with OPENER.open(request, timeout=GIVE_UP_S) as answer:
            return answer.status, 0, ""
    except urllib.error.HTTPError as error:
        body = json.loads(error.read())
        return error.code, body["code"], body["message"]


def settle(all_stubs):
    """Afterwards each member has applied all that was acknowledged before."""
    for stubs in all_stubs:
        newest(stubs)


def same_hash(cluster, all_stubs):
    """Whether all members hold the same at the newest revision of the first."""
    revision = newest(all_stubs[0])
    settle(all_stubs)
    return len({hash_of(member, revision) for member in cluster.members}) == 1


def said(member, words):
    """How often a line with all these words is in its log."""
    with open(member.log_path, encoding="utf-8", errors="replace") as log:
        return sum(all(word in line for word in words) for line in log)


def refused_and_not(score, cluster, all_stubs, lease):
    """While the alarm stands, on each member."""
    put_op = pb.RequestOp(request_put=pb.PutRequest(key=b"t", value=b"v"))
    del_op = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"none"))
    for n, stubs in enumerate(all_stubs):
        name = cluster.members[n].name
        score.check(put(stubs, b"small", b"") == NO_SPACE, "put on " + name)
        txn = pb.TxnRequest(success=[del_op], failure=[put_op])
        score.check(outcome(stubs.kv.Txn, txn) == NO_SPACE, "a put in the branch not taken on " + name)
        score.check(outcome(stubs.lease.LeaseGrant, pb.LeaseGrantRequest(TTL=60)) == NO_SPACE, "lease grant on " + name)
        score.check(outcome(stubs.kv.Txn, pb.TxnRequest(success=[del_op])) == "OK", "a txn without puts on " + name)
        score.check(outcome(stubs.kv.DeleteRange, pb.DeleteRangeRequest(key=b"old%d" % n)) == "OK", "delete on " + name)
        score.check(outcome(stubs.kv.Range, pb.RangeRequest(key=b"k")) == "OK", "range on " + name)
        member = cluster.members[n]
        score.check(gateway_put(member) == (429, 8, NO_SPACE[1]), "put through the gateway of " + name)
        score.check(http(member, "/health") == (503, '{"health":"false","reason":"ALARM NOSPACE"}\n'), "/health of " + name)
        score.check(http(member, "/health?exclude=NOSPACE")[0] == 200, "/health?exclude=NOSPACE of " + name)
        score.check(http(member, "/readyz")[0] == 200, "/readyz of " + name)
    result = outcome(all_stubs[1].lease.LeaseRevoke, pb.LeaseRevokeRequest(ID=lease))
    score.check(result == "OK" or result[0] == "NOT_FOUND", "lease revoke", str(result))  # not found: asked twice
    count = all_stubs[2].kv.Range(pb.RangeRequest(key=b"leased"), timeout=20).count
    score.check(count == 0, "the revoked lease took its key along")


def shown(score, args, cluster):
    """The alarm and the quota where people and dashboards look."""
    one = cluster.members[0]
    code, text = kvctl(args, cluster, "endpoint", "status", "-w", "json")
    status = json.loads(text)
    score.check(code == 0 and len(status) == 3, "endpoint status", text)
    own = status[0]["Status"]["header"]["member_id"]
    for entry in status:
        entry = entry["Status"]
        score.check(entry.get("errors") == ["memberID:%d alarm:NOSPACE " % own], "errors of Status", text)
        score.check(entry["dbSizeQuota"] == QUOTA, "quota in Status", text)
        score.check(entry["dbSize"] >= entry["dbSizeInUse"] > QUOTA * 9 // 10, "sizes in Status", text)
    score.check(alarms(args, cluster) == "memberID:%d alarm:NOSPACE \n" % own, "alarm list", alarms(args, cluster))
    for member in cluster.members:
        for label, expected in (("NOSPACE", 1), ("CORRUPT", 0)):
            sample = 'etcd_debugging_server_alarms{alarm_type="%s",server_id="%x"}' % (label, own)
            score.check(metric(member, sample) == expected, sample + " of " + member.name)
        score.check(metric(member, "etcd_server_quota_backend_bytes") == QUOTA, "quota of " + member.name)
        size = metric(member, "etcd_mvcc_db_total_size_in_bytes")
        used = metric(member, "etcd_mvcc_db_total_size_in_use_in_bytes")
        score.check(size >= used > QUOTA * 9 // 10, "sizes of " + member.name, "%s %s" % (size, used))
    score.check(wait_until(lambda: said(one, ["alarm NOSPACE is raised"]) == 1), "the alarm in the log", one.log_tail())
    warning = "the space quota is being used up"
    for line in (70, 85, 95):
        count = sum(said(one, [warning, '"percent":%d,' % percent]) for percent in range(line, line + 5))
        score.check(count == 1, "a warning at %d %%" % line, one.log_tail())
    score.check(said(one, [warning]) == 3, "and no others", one.log_tail())
    score.check(said(one, ["kvctl compaction"]) >= 3, "and what to do", one.log_tail())


def filled_and_freed(score, args):
    cluster = _servers.start_kvd(args.build, 3, ["--quota-backend-bytes", str(QUOTA)])
    all_stubs = [Stubs(m) for m in cluster.members]
    lease = 7
    outcome(all_stubs[0].lease.LeaseGrant, pb.LeaseGrantRequest(ID=lease, TTL=600))
    score.check(outcome(all_stubs[0].kv.Put, pb.PutRequest(key=b"leased", lease=lease)) == "OK", "and its key")
    for n in range(3):
        put(all_stubs[0], b"old%d" % n, b"x")
    puts, result = fill(all_stubs[0])
    score.check(result == NO_SPACE, "the quota fills up", str(result))
    score.check(puts * len(VALUE) > QUOTA * 8 // 10, "and not before its time", str(puts))
    settle(all_stubs)
    shown(score, args, cluster)
    refused_and_not(score, cluster, all_stubs, lease)

    score.check(compact(all_stubs[2]) == "OK", "compaction under the alarm")
    score.check(wait_until(lambda: alarms(args, cluster) == ""), "the alarm ends by itself", alarms(args, cluster))
    for stubs, member in zip(all_stubs, cluster.members):
        score.check(put(stubs, b"k", b"again") == "OK", "put after that on " + member.name)
        score.check(http(member, "/health")[0] == 200, "/health after that of " + member.name)
    score.check(same_hash(cluster, all_stubs), "all members hold the same")
    score.check(wait_until(lambda: said(cluster.members[0], ["alarm NOSPACE of this member is cleared"]) == 1),
                "its end in the log", cluster.members[0].log_tail())
    score.check(metric(cluster.members[0], "kvd_server_quota_warning_percent") == 0, "no warning is left")
    cluster.close()


def killed_and_disarmed(score, args):
    cluster = _servers.start_kvd(args.build, 3, ["--quota-backend-bytes", str(QUOTA)])
    all_stubs = [Stubs(m) for m in cluster.members]
    score.check(fill(all_stubs[1])[1] == NO_SPACE, "the quota fills up")
    listed = alarms(args, cluster)
    for member in cluster.members:
        member.kill()
    for member in cluster.members:
        member.start()
    for member in cluster.members:
        _servers.wait_ready(member)
    all_stubs = [Stubs(m) for m in cluster.members]
    score.check(listed != "" and alarms(args, cluster) == listed, "kill -9 and restart keep the alarm", listed)
    score.check(put(all_stubs[0], b"small", b"") == NO_SPACE, "and what it refuses")

    score.check(kvctl(args, cluster, "alarm", "disarm") == (0, listed), "disarm says what it did")
    score.check(alarms(args, cluster) == "", "and the alarm is gone")
    settle(all_stubs)
    score.check(put(all_stubs[1]) == NO_SPACE, "the next write finds space short still")
    score.check(alarms(args, cluster) == listed, "and the alarm is back", alarms(args, cluster))

    # Whose alarm it is clears it: not before it is back.
    cluster.members[1].kill()
    others = [all_stubs[0], all_stubs[2]]
    score.check(wait_until(lambda: compact(others[0]) == "OK"), "compaction without the member")
    score.check(put(others[1], b"small", b"") == NO_SPACE, "the alarm of a member that is away stays")
    cluster.members[1].start()
    _servers.wait_ready(cluster.members[1])
    score.check(wait_until(lambda: alarms(args, cluster) == ""), "and ends when it is back")

    # A client's alarm stays, space or not.
    own = json.loads(kvctl(args, cluster, "endpoint", "status", "-w", "json")[1])[0]["Status"]["header"]["member_id"]
    request = pb.AlarmRequest(action=ACTIVATE, memberID=own, alarm=NOSPACE_ALARM)
    score.check(outcome(all_stubs[0].maintenance.Alarm, request) == "OK", "a client activates the alarm")
    compact(all_stubs[2])
    stayed = all(put(stubs, b"small", b"") == NO_SPACE for _ in range(5) for stubs in others)
    score.check(stayed and alarms(args, cluster) != "", "it is not cleared by itself")
    score.check(kvctl(args, cluster, "alarm", "disarm")[0] == 0 and put(others[0], b"small", b"") == "OK",
                "but by a disarm")
    score.check(same_hash(cluster, [all_stubs[0], Stubs(cluster.members[1]), all_stubs[2]]), "all hold the same")
    cluster.close()


def burst(score, args):
    """Many writers on all members overrun the quota together: what was acknowledged is there."""
    cluster = _servers.start_kvd(args.build, 3, ["--quota-backend-bytes", str(QUOTA)])
    all_stubs = [Stubs(m) for m in cluster.members]
    acked, unknown, odd = [], [], []

    def write(n):
        for i in range(1000):
            key = b"%d/%d" % (n, i)
            result = outcome_once(all_stubs[n % 3].kv.Put, pb.PutRequest(key=key, value=VALUE))
            if result == NO_SPACE:
                return
            if result == "OK":
                acked.append(key)
            else:
                (unknown if is_unknown(result) else odd).append(result)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(12)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    score.check(not odd, "every write is done or refused", str(odd[:3]))
    count = all_stubs[0].kv.Range(pb.RangeRequest(key=b"0", range_end=b"z", count_only=True), timeout=20).count
    score.check(len(acked) <= count <= len(acked) + len(unknown), "just the acknowledged ones are there",
                "%d, acknowledged %d, unknown %d" % (count, len(acked), len(unknown)))
    score.check(alarms(args, cluster) != "", "the alarm is raised")
    score.check(same_hash(cluster, all_stubs), "all members hold the same")
    outcome(all_stubs[0].kv.DeleteRange, pb.DeleteRangeRequest(key=b"0", range_end=b"z"))
    compact(all_stubs[1])
    score.check(wait_until(lambda: alarms(args, cluster) == ""), "all alarms end by themselves", alarms(args, cluster))
    score.check(put(all_stubs[2]) == "OK", "writes go on")
    cluster.close()


def without_quota(score, args):
    cluster = _servers.start_kvd(args.build, 1, ["--quota-backend-bytes", "-1"])
    stubs = Stubs(cluster.members[0])
    score.check(all(put(stubs, b"k%d" % n, bytes(1_000_000)) == "OK" for n in range(16)), "16 MB without a quota")
    score.check(alarms(args, cluster) == "", "no alarm")
    score.check(metric(cluster.members[0], "etcd_server_quota_backend_bytes") == -1, "the quota's metric says none")
    code, text = kvctl(args, cluster, "defrag", "--cluster")
    score.check(code == 0 and text.startswith("Finished defragmenting etcd member[http://"), "defrag answers", text)
    cluster.close()


def compacted_by_itself(score, args):
    """Whoever leads compacts, to what is at least a retention old."""
    cluster = _servers.start_kvd(args.build, 3, ["--auto-compaction-retention", "500ms"])
    live = list(cluster.members)
    compacted = "etcd_debugging_mvcc_compact_revision"

    def write_until(revision):
        stubs = [Stubs(m) for m in live]

        def reached():
            put(stubs[0], b"k", b"v")
            return all(metric(m, compacted) >= revision for m in live)
        return wait_until(reached)

    score.check(write_until(10), "old revisions go by themselves")
    leader = next(m for m in live if metric(m, "etcd_server_is_leader") == 1)
    score.check(said(leader, ["completed auto periodic compaction"]) >= 1, "the leader says so", leader.log_tail())
    score.check(all(said(m, ["starting auto periodic compaction"]) == 0 for m in live if m is not leader),
                "only the leader compacts")
    live.remove(leader)
    leader.kill()
    for member in live:
        _servers.wait_ready(member)
    score.check(write_until(metric(live[0], compacted) + 10), "the next leader goes on")
    cluster.close()


def downgraded(score, args):
    cluster = _servers.start_kvd(args.build, 3)

    def infos():
        status = json.loads(kvctl(args, cluster, "endpoint", "status", "-w", "json")[1])
        return [entry["Status"]["downgradeInfo"] for entry in status]

    score.check(infos() == [{}] * 3, "no downgrade at first", str(infos()))
    score.check(kvctl(args, cluster, "downgrade", "validate", "3.5.0")
                == (0, "Downgrade validate success, cluster version 3.6\n"), "validate")
    score.check(kvctl(args, cluster, "downgrade", "enable", "3.4")[0] == 1, "only one minor version back")
    score.check(kvctl(args, cluster, "downgrade", "enable", "3.5.3")
                == (0, "Downgrade enable success, cluster version 3.6\n"), "enable")
    score.check(wait_until(lambda: infos() == [{"enabled": True, "targetVersion": "3.5.0"}] * 3), "all members know",
                str(infos()))
    score.check(kvctl(args, cluster, "downgrade", "enable", "3.5")[0] == 1, "once is enough")
    for member in cluster.members:
        member.kill()
    for member in cluster.members:
        member.start()
    for member in cluster.members:
        _servers.wait_ready(member)
    score.check(infos() == [{"enabled": True, "targetVersion": "3.5.0"}] * 3, "kill -9 and restart keep it", str(infos()))
    columns = kvctl(args, cluster, "endpoint", "status")[1].splitlines()[0].split(", ")
    score.check(columns[-2:] == ["3.5.0", "true"], "endpoint status shows it", str(columns))
    url = "http://%s/v3/maintenance/downgrade" % cluster.members[1].endpoint
    with OPENER.open(urllib.request.Request(url, data=b'{"action":"CANCEL"}'), timeout=GIVE_UP_S) as answer:
        score.check(json.loads(answer.read())["version"] == "3.6", "cancel through the gateway")
    score.check(wait_until(lambda: infos() == [{}] * 3), "it is over for all", str(infos()))
    score.check(kvctl(args, cluster, "downgrade", "cancel")
                == (0, "Downgrade cancel success, cluster version 3.6\n"), "cancel of nothing")
    cluster.close()


def main():
    args = _servers.arguments()
    score = _servers.Score()
    filled_and_freed(score, args)
    killed_and_disarmed(score, args)
    burst(score, args)
    without_quota(score, args)
    compacted_by_itself(score, args)
    downgraded(score, args)
    score.finish()


if __name__ == "__main__":
    main()
