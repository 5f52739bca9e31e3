#!/usr/bin/python3
"""/metrics beside etcd's: every name that etcd's alert rules and dashboards use (etcd-http-cli.md section 4.1) is
there with its type and labels; what both have has the same type and labels; calls and the messages of streams are
counted alike for the same requests."""

import re
import urllib.request

import grpc
from etcd3 import etcdrpc as pb

import _servers
from _watch import Stream

LE = ("le",)
METHOD = ("grpc_method", "grpc_service", "grpc_type")
DASHBOARD = {
    "etcd_server_has_leader": ("gauge", ()),
    "etcd_server_leader_changes_seen_total": ("counter", ()),
    "etcd_server_is_leader": ("gauge", ()),
    "etcd_server_is_learner": ("gauge", ()),
    "etcd_server_proposals_committed_total": ("gauge", ()),
    "etcd_server_proposals_applied_total": ("gauge", ()),
    "etcd_server_proposals_pending": ("gauge", ()),
    "etcd_server_proposals_failed_total": ("counter", ()),
    "etcd_server_quota_backend_bytes": ("gauge", ()),
    "etcd_mvcc_db_total_size_in_bytes": ("gauge", ()),
    "etcd_mvcc_db_total_size_in_use_in_bytes": ("gauge", ()),
    "etcd_disk_wal_fsync_duration_seconds": ("histogram", LE),
    "etcd_disk_backend_commit_duration_seconds": ("histogram", LE),
    "etcd_network_peer_round_trip_time_seconds": ("histogram", ("To", "le")),
    "etcd_network_peer_sent_bytes_total": ("counter", ("To",)),
    "etcd_network_peer_received_bytes_total": ("counter", ("From",)),
    "etcd_network_peer_sent_failures_total": ("counter", ("To",)),
    "etcd_network_peer_received_failures_total": ("counter", ("From",)),
    "etcd_network_client_grpc_sent_bytes_total": ("counter", ()),
    "etcd_network_client_grpc_received_bytes_total": ("counter", ()),
    "grpc_server_started_total": ("counter", METHOD),
    "grpc_server_msg_received_total": ("counter", METHOD),
    "grpc_server_msg_sent_total": ("counter", METHOD),
    "grpc_server_handled_total": ("counter", ("grpc_code", *METHOD)),
    "grpc_server_handling_seconds": ("histogram", (*METHOD, "le")),
    "process_resident_memory_bytes": ("gauge", ()),
    "process_cpu_seconds_total": ("counter", ()),
    "process_open_fds": ("gauge", ()),
    "process_max_fds": ("gauge", ()),
    "process_start_time_seconds": ("gauge", ()),
    "process_virtual_memory_bytes": ("gauge", ()),
}


def scrape(member):
    with urllib.request.urlopen("http://%s/metrics" % member.endpoint) as answer:
        return answer.read().decode()


def shape(text):
    """name -> (type, labels); of a histogram the labels of its buckets."""
    found = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M):
        sample = name + "_bucket" if kind == "histogram" else name
        line = re.search(r"^%s(?:\{(.*)\})? \S+$" % sample, text, re.M)
        if line is not None:  # a vector that has no member yet says nothing of its labels
            found[name] = (kind, tuple(sorted(re.findall(r'([A-Za-z_]+)="', line.group(1) or ""))))
    return found


def buckets(text, name):
    return [float(b) for b in re.findall(r'^%s_bucket\{.*?le="([^"]+)"\} ' % name, text, re.M)]


def value(text, name, method):
    found = re.search(r'^%s\{grpc_method="%s",[^}]*\} (\S+)$' % (name, method), text, re.M)
    return float(found.group(1)) if found else None


def shapes(etcd, kvd, score):
    theirs, ours = scrape(etcd), scrape(kvd)
    their, our = shape(theirs), shape(ours)
    for name, want in DASHBOARD.items():
        want = (want[0], tuple(sorted(want[1])))
        score.check(our.get(name) == want, "4.1: " + name, "%s, not %s" % (our.get(name), want))
        if name in their:
            score.check(their[name] == want, "etcd has it so too: " + name, str(their[name]))
    for name in sorted(their.keys() & our.keys()):
        score.check(their[name] == our[name], "type and labels of " + name, "%s %s" % (their[name], our[name]))
        if their[name][0] == "histogram":
            first = [b[:b.index(float("inf")) + 1] for b in (buckets(theirs, name), buckets(ours, name))]
            score.check(first[0] == first[1], "buckets of " + name, "%s\n%s" % tuple(first))


def watch_some(member):
    """Messages of a stream that both servers send one for one."""
    stream = Stream(member)
    with member.channel() as channel:
        kv = pb.KVStub(channel)
        for i in range(3):
            stream.created(b"m%d" % i)
        for i in range(5):
            kv.Put(pb.PutRequest(key=b"m1"))
            stream.wait(lambda got, n=4 + i: len(got) >= n)
        stream.cancel(2)
        stream.wait(lambda got: got[-1].canceled)
        try:
            kv.Put(pb.PutRequest(key=b""))
        except grpc.RpcError:
            pass
    stream.close()


def counts(members, score):
    seen = []
    for member in members:
        before = scrape(member)
        watch_some(member)
        after = scrape(member)
        while value(after, "grpc_server_handling_seconds_count", "Watch") == \
                value(before, "grpc_server_handling_seconds_count", "Watch"):
            after = scrape(member)  # the end of the stream is on its way
        seen.append({(name, method): value(after, name, method) - value(before, name, method)
                     for method in ("Watch", "Put")
                     for name in ("grpc_server_started_total", "grpc_server_msg_received_total",
                                  "grpc_server_msg_sent_total", "grpc_server_handling_seconds_count")})
    for key, count in seen[0].items():
        score.check(count == seen[1][key], "%s of %s" % key, "etcd %s, kvd %s" % (count, seen[1][key]))
    score.check(seen[1]["grpc_server_msg_received_total", "Watch"] == 4 and
                seen[1]["grpc_server_msg_sent_total", "Watch"] == 9, "messages of a stream", str(seen[1]))


def sample(text, name):
    found = re.search(r"^%s (\S+)$" % re.escape(name), text, re.M)
    return float(found.group(1)) if found else 0


CLIENTS = [
    "etcd_debugging_lease_granted_total", "etcd_debugging_lease_revoked_total", "etcd_debugging_lease_renewed_total",
    "etcd_debugging_lease_ttl_total_count", "etcd_debugging_lease_ttl_total_sum",
    "etcd_debugging_server_lease_expired_total",
    'etcd_server_client_requests_total{client_api_version="9.9",type="unary"}',
    'etcd_server_client_requests_total{client_api_version="9.9",type="stream"}',
    'etcd_server_client_requests_total{client_api_version="unknown",type="unary"}',
    "etcd_mvcc_hash_duration_seconds_count", "etcd_mvcc_hash_rev_duration_seconds_count"]


def ask_much(member):
    """Leases to their end, hashes, ranges; with and without a version."""
    version = [("client-api-version", "9.9")]
    with member.channel() as channel:
        lease, kv, hashes = pb.LeaseStub(channel), pb.KVStub(channel), pb.MaintenanceStub(channel)
        for ttl in (100, 1000):
            last = lease.LeaseGrant(pb.LeaseGrantRequest(TTL=ttl), metadata=version).ID
        list(lease.LeaseKeepAlive(iter([pb.LeaseKeepAliveRequest(ID=last)] * 3), metadata=version))
        list(lease.LeaseKeepAlive(iter([pb.LeaseKeepAliveRequest(ID=12345)]), metadata=version))
        lease.LeaseRevoke(pb.LeaseRevokeRequest(ID=last), metadata=version)
        short = lease.LeaseGrant(pb.LeaseGrantRequest(TTL=1))
        kv.Put(pb.PutRequest(key=b"gone", lease=short.ID))
        for _ in range(4):
            hashes.Hash(pb.HashRequest())
    stream = Stream(member)
    stream.created(b"gone", start_revision=1)
    stream.wait(lambda got: any(e.type == 1 for answer in got for e in answer.events), 60)
    stream.close()


def clients(members, score):
    seen = []
    for member in members:
        before = scrape(member)
        ask_much(member)
        after = scrape(member)
        while sample(after, "etcd_debugging_server_lease_expired_total") == \
                sample(before, "etcd_debugging_server_lease_expired_total") and member.running():
            after = scrape(member)  # etcd counts it after the fact
        seen.append({name: sample(after, name) - sample(before, name) for name in CLIENTS})
    for name in CLIENTS:
        score.check(seen[0][name] == seen[1][name], name, "etcd %s, kvd %s" % (seen[0][name], seen[1][name]))
    score.check(seen[1]["etcd_mvcc_hash_duration_seconds_count"] == 4
                and seen[1]["etcd_debugging_lease_granted_total"] == 3
                and seen[1]["etcd_debugging_lease_renewed_total"] == 3, "as many as were asked for", str(seen[1]))


def ranges(member, score):
    """Short and long ones, and one that fails (etcd has it from 3.6 on)."""
    count = 'etcd_server_range_duration_seconds_count{success="%s"}'
    before = scrape(member)
    with member.channel() as channel:
        kv = pb.KVStub(channel)
        puts = [kv.Put.future(pb.PutRequest(key=b"r%d" % i, value=b"v" * 200)) for i in range(3000)]
        for put in puts:
            put.result()
        revision = kv.Put(pb.PutRequest(key=b"r")).header.revision
        for serializable in (False, True):
            kv.Range(pb.RangeRequest(key=b"r", serializable=serializable))
        asked = scrape(member)
        kv.Range(pb.RangeRequest(key=b"r", range_end=b"s"))
        try:
            kv.Range(pb.RangeRequest(key=b"r", revision=revision + 100000))
            score.check(False, "a range of the future fails")
        except grpc.RpcError:
            pass
    after = scrape(member)
    score.check(sample(asked, count % "true") - sample(before, count % "true") == 2, "ranges are measured")
    score.check(sample(after, count % "true") - sample(asked, count % "true") == 1, "long ones are")
    score.check(sample(after, count % "false") - sample(before, count % "false") == 1, "failed ones are")


def main():
    args = _servers.arguments()
    score = _servers.Score()
    flags = ["--metrics=extensive"]
    etcd, kvd = _servers.start_etcd(3, flags), _servers.start_kvd(args.build, 3, flags)
    members = [etcd.members[0], kvd.members[0]]
    counts(members, score)
    leaders = [max(cluster.members, key=lambda m: sample(scrape(m), "etcd_server_is_leader"))
               for cluster in (etcd, kvd)]
    clients(leaders, score)
    ranges(kvd.members[0], score)
    shapes(*members, score)
    plain = _servers.start_kvd(args.build).members[0]
    score.check("grpc_server_handling_seconds" not in scrape(plain), "no durations unless --metrics=extensive")
    score.finish()


if __name__ == "__main__":
    main()
