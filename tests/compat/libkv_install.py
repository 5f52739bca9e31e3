#!/usr/bin/python3
"""make install, as users and packagers call it: the program in docs/libkv.md is compiled outside of the repository,
with what pkg-config says, and talks to the installed kvd."""

import os
import re
import subprocess
import tempfile

import _servers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILES = ["bin/kvd", "bin/kvctl", "bin/kvbench", "lib/libkv.a", "lib/pkgconfig/libkv.pc", "include/kvd/kv.h",
         "include/kvd/proto/rpc.pb-c.h"]


def make(build, *words):
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(["make", "-s", "-C", ROOT, "BUILD=" + build, *words], capture_output=True, text=True, env=env,
                          timeout=600, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def program(score, prefix, folder):
    with open(os.path.join(ROOT, "docs", "libkv.md"), encoding="utf-8") as doc:
        code = re.search(r"```c\n(.*?)```", doc.read(), re.S).group(1)
    # Helpers of ours that a program may have too: the library must not mind.
    for name, text in (("hello.c", code), ("own.c", "int buf_append(void); int buf_append(void) { return 7; }\n"
                                                  "int list_init; int net_sock_write, arena_alloc;\n")):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
            out.write(text)
    env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(prefix, "lib", "pkgconfig"))
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libkv"], env=env, capture_output=True, text=True,
                           timeout=20, check=False)
    score.check(flags.returncode == 0, "pkg-config knows libkv", flags.stderr)
    for std in ("-std=gnu11", "-std=gnu17"):
        done = subprocess.run(["cc", std, "-Wall", "-Wextra", "-Werror", "-o", "hello", "hello.c", "own.c",
                               *flags.stdout.split()], cwd=folder, capture_output=True, text=True, timeout=120,
                              check=False)
        score.check(done.returncode == 0, "docs/libkv.md compiles with " + std, done.stderr)
    return os.path.join(folder, "hello")


def main():
    args = _servers.arguments()
    score = _servers.Score()
    build = os.path.relpath(os.path.abspath(args.build), ROOT)
    with tempfile.TemporaryDirectory(prefix="kvd-test-") as folder:
        prefix = os.path.join(folder, "usr")
        ok, said = make(build, "install", "PREFIX=" + prefix)
        score.check(ok and all(os.path.exists(os.path.join(prefix, f)) for f in FILES), "make install", said)
        hello = program(score, prefix, folder)
        member = _servers.start_kvd(os.path.join(prefix, "bin")).members[0]
        done = subprocess.run([hello, member.endpoint], capture_output=True, text=True, timeout=60, check=False)
        score.check(done.returncode == 0 and done.stdout == "get: world\nwatch: revision 2, world\n", "and it runs",
                    done.stdout + done.stderr)
        member.stop()
        done = subprocess.run([hello, member.endpoint], capture_output=True, text=True, timeout=60, check=False)
        score.check(done.returncode == 1 and member.endpoint in done.stderr, "without a server it says why", done.stderr)
        done = subprocess.run([os.path.join(prefix, "bin", "kvctl"), "version"], capture_output=True, text=True,
                              timeout=20, check=False)
        score.check(done.returncode == 0 and "kvctl version" in done.stdout, "kvctl is there", done.stderr)

        stage = os.path.join(folder, "stage")
        ok, said = make(build, "install", "DESTDIR=" + stage, "PREFIX=/opt/kvd")
        score.check(ok and all(os.path.exists(os.path.join(stage, "opt/kvd", f)) for f in FILES), "DESTDIR", said)
        with open(os.path.join(stage, "opt/kvd/lib/pkgconfig/libkv.pc"), encoding="utf-8") as text:
            score.check(stage not in text.read(), "DESTDIR is in no file")
        ok, said = make(build, "uninstall", "PREFIX=" + prefix)
        left = [f for _, _, names in os.walk(prefix) for f in names]
        score.check(ok and left == [], "make uninstall leaves no file", said + str(left))
    score.finish()


if __name__ == "__main__":
    main()
