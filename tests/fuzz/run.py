#!/usr/bin/python3
"""Fuzzes what reads bytes of kvapi's clients: builds tests/fuzz/fuzz_*.c with clang's libFuzzer under
ASan and UBSan and runs each for some seconds, from seeds out of the golden file and from what earlier
runs found (build/fuzz/corpus). The seed of the random numbers is printed. A finding's input is kept
and named; exit code 1. Without libFuzzer: 77 and why.
  tests/fuzz/run.py [--seconds 20] [--seed N] [name ...]"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
GOLDEN = ROOT / "tests" / "compat" / "apiserver-golden.ndjson"
SANITIZE = "address,undefined"

JSON_SEEDS = ['{"a":[1,-2.5e+3,true,false,null,"\\u0041\\n\\ud83d\\ude00é"],"a":{}}', '"\\ud800x"',
              "[" * 50 + "]" * 50]
YAML_SEEDS = ["a: &x {k: 1, l: [2]}\nb: *x\nc:\n  <<: *x\n  l: 0x1F\n", "- |+\n  a\n\n- >-\n  b\n  c\n- 'd'\n",
              "? a\n: !!str 1\n? 1.5e7\n: !!binary aGk=\n", "%YAML 1.1\n---\nx: 2001-01-01\n...\n",
              "{y: no, ~: .inf, 1:30: 0b11, 'q': \"\\x41\\u00e9\"}"]
SELECTOR_SEEDS = ["a in (1,,2),!b, c notin (),d!=x,e==y,f>1,g<2,h", "metadata.name=x,spec.nodeName!=a\\,b\\=",
                  "spec.unschedulable=false"]
POD = {"metadata": {"labels": {"a": "1"}, "finalizers": ["x", "y"]},
       "spec": {"containers": [{"name": "a", "env": [{"name": "E", "value": "1"}]}, {"name": "b"}],
                "volumes": [{"name": "v", "emptyDir": {}}]}}
PATCH_SEEDS = [
    {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
              "containers": [{"name": "c", "image": "i"}, {"name": "a", "$patch": "delete"}]}},
    {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"], "$setElementOrder/finalizers": ["z", "y"],
                  "finalizers": ["z"], "labels": {"$patch": "replace", "b": "2"}}},
    {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}},
    [{"op": "test", "path": "/metadata/labels/a", "value": "1"}, {"op": "move", "from": "/spec/volumes/0",
     "path": "/spec/volumes/-"}, {"op": "copy", "from": "/spec", "path": "/x~1y"},
     {"op": "remove", "path": "/spec/containers/-1"}],
]


def field(number, payload):
    """A length-delimited field of protobuf."""
    size = bytearray()
    length = len(payload)
    while length >= 0x80:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes([number << 3 | 2]) + bytes(size) + payload


def protobuf_seeds():
    labels = field(11, field(1, b"app") + field(2, b"web"))
    meta = field(1, field(1, b"web") + field(3, b"default") + labels)
    container = field(2, field(1, b"c") + field(2, b"nginx:1") + field(6, b"\x18\x50" + field(4, b"TCP")))
    pod = meta + field(2, container + b"\x20\x1e")
    deployment = meta + field(2, b"\x08\x03" + field(3, pod))
    envelope = b"k8s\0" + field(1, field(1, b"apps/v1") + field(2, b"Deployment")) + field(2, deployment)
    return [pod, envelope]


def seeds():
    """By the fuzzer's name: the inputs it starts from."""
    out = {"json": [s.encode() for s in JSON_SEEDS], "yaml": [s.encode() for s in YAML_SEEDS],
           "selector": [s.encode() for s in SELECTOR_SEEDS], "protobuf": protobuf_seeds(),
           "patch": [json.dumps(POD).encode() + b"\0" + json.dumps(p).encode() for p in PATCH_SEEDS], "check": []}
    for line in GOLDEN.read_text().splitlines() if GOLDEN.exists() else []:
        case = json.loads(line)
        body = case.get("body")
        text = body if isinstance(body, str) else json.dumps(body)
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(case["path"]).query)
        for name in ("labelSelector", "fieldSelector"):
            out["selector"] += [value.encode() for value in query.get(name, [])]
        if isinstance(case.get("resp"), dict) and "metadata" in case["resp"]:
            answer = json.dumps(case["resp"]).replace("<time>", "2026-01-01T00:00:00Z").encode()
            out["check"].append(case["resp"]["kind"].encode() + b"\0" + answer + b"\0" + answer)
        if body is None:
            continue
        out["json"].append(text.encode())
        out["yaml"].append(text.encode())
        if "patch" in case.get("contentType", ""):
            out["patch"].append(json.dumps(case["resp"]).encode() + b"\0" + text.encode())
    return out


def has_libfuzzer():
    source = "int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n){(void)d;(void)n;return 0;}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(["clang", "-x", "c", "-", f"-fsanitize=fuzzer,{SANITIZE}", "-o", f"{folder}/probe"],
                                  input=source, text=True, capture_output=True)
        except FileNotFoundError:
            return False
    return done.returncode == 0


def build(names):
    subprocess.run(["make", "-s", "-j2", "-C", str(ROOT), f"BUILD={BUILD}", "CC=clang", "OPT=-O1",
                    f"SAN=-fsanitize=fuzzer-no-link,{SANITIZE} -fno-sanitize-recover=undefined"]
                   + [str(BUILD / f"fuzz_{name}") for name in names], check=True)


def fuzz(name, inputs, seconds, seed):
    """True if nothing was found."""
    corpus = BUILD / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for i, data in enumerate(inputs):
            pathlib.Path(folder, str(i)).write_bytes(data)
        done = subprocess.run([str(BUILD / f"fuzz_{name}"), f"-max_total_time={seconds}", f"-seed={seed}", "-timeout=10",
                               "-rss_limit_mb=1500", "-max_len=8192", "-print_final_stats=1",
                               f"-artifact_prefix={corpus}-found-", str(corpus), folder],
                              text=True, errors="replace", capture_output=True)
    runs = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    if done.returncode == 0:
        print(f"ok    fuzz {name:<10} {runs[0] if runs else '?'} inputs", flush=True)
        return True
    print(f"FAIL  fuzz {name}\n" + "\n".join("      " + line for line in done.stderr.splitlines()[-60:]), flush=True)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20, help="per fuzzer")
    parser.add_argument("--seed", type=int, default=random.randrange(1, 1 << 31))
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    if not has_libfuzzer():
        print("clang has no libFuzzer here: install clang and libclang-rt-14-dev")
        return 77
    starts = seeds()
    names = args.names or sorted(starts)
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1")
    build(names)
    print(f"seed {args.seed}", flush=True)
    results = [fuzz(name, starts[name], args.seconds, args.seed) for name in names]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
