#!/usr/bin/python3
"""npm's etcd3, a client library nobody here wrote, against kvd and etcd: the examples of its own documentation,
unchanged, and more of what they show (tests/compat/npm/etcd3.js). Both servers have to give it the same.

The library is installed once, into the build folder, in the version that tests/compat/npm/package.json names.
Without node, npm or a registry there is nothing to run: exit code 77, and the reason.
"""

import json
import os
import subprocess
import sys

import _npm
import _servers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "npm")
RUN_LIMIT_S = 300


def play(folder, member):
    """What each scene has seen, by name."""
    done = subprocess.run(["node", os.path.join(HERE, "etcd3.js"), member.endpoint], capture_output=True, text=True,
                          timeout=RUN_LIMIT_S, check=False, env={**os.environ, "NODE_PATH": os.path.join(folder, "node_modules")})
    scenes = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    if done.returncode != 0 or not scenes:
        print("node ended with %d on %s:\n%s" % (done.returncode, member.kind, done.stderr[-4000:]), flush=True)
    return scenes


def main():
    args = _servers.arguments()
    folder = _npm.install(HERE, os.path.join(args.build, "npm"))
    etcd, kvd = _servers.start_etcd(), _servers.start_kvd(args.build)
    score = _servers.Score()
    theirs, ours = play(folder, etcd.members[0]), play(folder, kvd.members[0])
    score.check(list(theirs) == list(ours) and len(ours) >= 18, "the same scenes on both", (list(theirs), list(ours)))
    for name, line in ours.items():
        score.check("failed" not in line, name, line.get("failed"))
        score.check(line.get("seen") == theirs.get(name, {}).get("seen"), name + ": as on etcd",
                    "  etcd %s\n  kvd  %s" % (theirs.get(name), line))
    score.finish()


if __name__ == "__main__":
    main()
