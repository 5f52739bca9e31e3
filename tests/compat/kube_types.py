#!/usr/bin/python3
"""kube/types/tables.[ch] are what tools/kube-types makes of Debian's Go sources. Where these are not installed
KUBE_TYPES_SOURCE can name them; else there is nothing to compare with."""

import os
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def main():
    source = os.environ.get("KUBE_TYPES_SOURCE", "/usr/share/gocode/src/k8s.io")
    if not all(os.path.isdir(os.path.join(source, part)) for part in ("api", "apimachinery", "metrics")):
        print("golang-k8s-{api,apimachinery,metrics}-dev are not in %s" % source)
        sys.exit(77)
    subprocess.run([os.path.join(ROOT, "tools", "kube-types"), "--source", source, "--check"], check=True)


if __name__ == "__main__":
    main()
