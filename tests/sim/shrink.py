#!/usr/bin/python3
"""A failing seed of kvsim: what it prints replays it byte for byte, and the shrinker leaves out what the failure does not
need. The failures are planted: one needs faults, one needs none."""

import argparse
import os
import re
import shlex
import subprocess
import sys


def run(words, code):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    assert done.returncode == code, "%s: exit code %d, not %d\n%s" % (words, done.returncode, code, done.stdout[-3000:])
    return done.stdout


def command(text, label):
    found = re.search("^%s: (.*)$" % label, text, re.M)
    assert found, "no line %r in\n%s" % (label, text[-3000:])
    return shlex.split(found.group(1))


def option(words, name):
    return words[words.index(name) + 1] if name in words else None


def outcome(text):
    """What the last line says of the run, with the hash of all that happened."""
    last = text.splitlines()[-1]
    assert "trace " in last, last
    return last


def promise(text):
    """What was broken: up to the colon, whichever member it was."""
    return re.sub(r"^m\d+ ", "", re.match(r"seed \d+: ([^:;]+)", text).group(1))


def shrinks(kvsim, bug):
    text = run([kvsim, "--seeds", "60", "--bug", bug], 1)
    replay = command(text, "replay")
    whole = run(replay, 1)
    assert run(replay, 1) == whole, "%s: a replay is the same byte for byte" % bug
    said = re.search("^seed %s: (.*)$" % option(replay, "--seed"), text, re.M).group(1)
    assert said in outcome(whole), "%s: the replay fails as the run did: %s" % (bug, outcome(whole))

    small = command(run(command(text, "shrink"), 0), "smallest")
    shown = run(small, 1)
    assert run(small, 1) == shown, "%s: the smallest is the same each time" % bug
    assert promise(outcome(shown)) == promise(outcome(whole)), "%s: %s" % (bug, outcome(shown))
    happened = [text.count("  fault ") for text in (shown, whole)]
    assert len(shown) < len(whole) and happened[0] <= happened[1], "%s: it is smaller: %s" % (bug, happened)
    print("%s: %d faults of %d, %d lines of %d" % (bug, *happened, shown.count("\n"), whole.count("\n")))
    return small, promise(outcome(shown))


def no_fault_can_be_spared(small, broken):
    """It is as small as leaving out one thing makes it."""
    numbers = option(small, "--only").split(",")
    assert numbers != ["none"], "this failure needs faults"
    for number in numbers:
        fewer = ",".join(n for n in numbers if n != number) or "none"
        words = [fewer if w == option(small, "--only") else w for w in small if w != "--verbose"]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=300, check=False)
        last = outcome(done.stdout)
        assert done.returncode == 0 or promise(last) != broken, "fault %s is not needed: %s" % (number, last)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    kvsim = os.path.join(parser.parse_args().build, "kvsim")
    small, broken = shrinks(kvsim, "skip-sync")
    no_fault_can_be_spared(small, broken)
    small, _ = shrinks(kvsim, "early-expiry")
    assert option(small, "--only") == "none", "a lease that ends early needs no fault: %s" % small
    run([kvsim, "--shrink", "1"], 1)  # holds: there is nothing to shrink
    for words in (["--only", "1,"], ["--only", "600"], ["--without", "losses"], ["--clients", "0"], ["--fault-ms", "20001"],
                  ["--bug", "none-such"]):
        run([kvsim, "--seed", "1", *words], 2)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
