#!/usr/bin/python3
"""What a request costs a member alone, in instructions: against bench/instructions.json, and more than a tenth above
fails. Instructions are what a busy machine does not change: two runs differ by half a per cent. One client, so that
nothing depends on what comes together; two runs of different length, so that start and stop go out.

  tests/cluster/instructions.py [--update]     --update: what is found becomes what is compared with
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402

STORED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "instructions.json")
# (workload of kvbench, requests of the short run and of the long one)
WORKLOADS = [
    ("put --keys 1000", 300, 1800),
    ("get --keys 1000", 300, 2300),
    ("txn --keys 1000", 300, 1800),
    ("range --keys 20000 --limit 500", 20, 220),
    ("k8s-write --keys 500", 300, 1800),
]
WORSE = 1.1
START_S, RUN_S = 120, 200  # valgrind takes fifty times as long


def total(args, workload, requests):
    """Instructions of a member from start to stop."""
    cluster = _servers.Cluster("kvd", os.path.join(args.build, "kvd"), 1)
    member = cluster.members[0]
    counts = os.path.join(cluster.folder, "counts")
    member.args = ["valgrind", "--quiet", "--tool=callgrind", "--callgrind-out-file=" + counts, *member.args]
    member.start()
    _servers.wait_ready(member, START_S)
    done = subprocess.run([os.path.join(args.build, "kvbench"), *workload.split(), "--endpoints", member.endpoint, "--json",
                           "--clients", "1", "--conns", "1", "--warmup", "0", "--seconds", str(RUN_S),
                           "--requests", str(requests)], capture_output=True, text=True, timeout=2 * RUN_S, check=False)
    if done.returncode != 0 or json.loads(done.stdout)["requests"] != requests:
        sys.exit("%s: exit code %d\n%s%s" % (workload, done.returncode, done.stdout, done.stderr))
    member.stop(START_S)
    with open(counts) as file:
        found = re.findall(r"^(?:totals|summary): (\d+)", file.read(), re.M)
    cluster.close()
    return int(found[-1])


def main():
    args = _servers.arguments(update=False)
    if shutil.which("valgrind") is None:
        _servers.skip("valgrind is not installed")
    score = _servers.Score()
    found = {"compiler": subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip(),
             "machine": platform.machine()}
    with open(STORED) as file:
        stored = json.load(file)
    if not args.update and any(found[what] != stored[what] for what in found):
        _servers.skip("the stored counts are those of gcc %(compiler)s on %(machine)s" % stored)
    for workload, short, long in WORKLOADS:
        each = (total(args, workload, long) - total(args, workload, short)) // (long - short)
        found[workload] = each
        before = stored.get(workload)
        print("report: %s: %d instructions, stored %s" % (workload, each, before), flush=True)
        if not args.update:
            score.check(before is not None and each <= WORSE * before, "%s costs no more than it did" % workload,
                        "%d instructions, %s are stored; if that is meant: %s --update" % (each, before, sys.argv[0]))
    if args.update:
        with open(STORED, "w") as file:
            json.dump(found, file, indent=2)
            file.write("\n")
        return
    score.finish()


if __name__ == "__main__":
    main()
