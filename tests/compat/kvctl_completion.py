#!/usr/bin/python3
"""kvctl completion: bash completes what the table of commands has, as typed by people; the other shells read their
script without complaint where they are installed."""

import os
import re
import shutil
import subprocess

import _servers

CASES = [  # the words so far, what may come, what must not
    (["kvctl", ""], {"get", "put", "lease", "endpoint", "completion"}, {"grant", "--endpoints"}),
    (["kvctl", "ge"], {"get"}, {"put"}),
    (["kvctl", "lease", ""], {"grant", "revoke", "keep-alive", "timetolive", "list"}, {"get", "lease"}),
    (["kvctl", "lease", "re"], {"revoke"}, {"grant"}),
    (["kvctl", "completion", ""], {"bash", "fish", "zsh"}, set()),
    (["kvctl", "get", "--pre"], {"--prefix"}, {"--prev-kv"}),
    (["kvctl", "get", "a", "--"], {"--prefix", "--endpoints", "--write-out"}, {"--lease", "--load"}),
    (["kvctl", "lease", "grant", "-"], {"--endpoints"}, {"--prefix"}),
    (["kvctl", "-w", ""], {"json", "table", "fields", "simple", "protobuf"}, {"get"}),
    (["kvctl", "--write-out", "=", "js"], {"json"}, {"table"}),
    (["kvctl", "--write-out", "="], {"json", "table"}, {"get"}),
    (["kvctl", "--endpoints", "a:1", "endpoint", "h"], {"health", "hashkv"}, {"status"}),
    (["kvctl", "--endpoints", "=", "a:1", "member", ""], {"list"}, {"get"}),
    (["kvctl", "--hex", "get", "--pre"], {"--prefix"}, set()),
    (["kvctl", "--cacert", ""], set(), {"get", "lease"}),
    (["kvctl", "get", ""], set(), {"get", "lease"}),
]


def completed(script, words):
    quoted = " ".join("'%s'" % w for w in words)
    code = "%s\nCOMP_WORDS=(%s)\nCOMP_CWORD=%d\n_kvctl\nprintf '%%s\\n' \"${COMPREPLY[@]}\"\n" % (
        script, quoted, len(words) - 1)
    done = subprocess.run(["bash", "--norc", "-u", "-c", code], capture_output=True, text=True, timeout=20, check=False)
    return set(done.stdout.split()), done.stderr


def main():
    args = _servers.arguments()
    score = _servers.Score()
    kvctl = os.path.join(args.build, "kvctl")

    def run(*words):
        done = subprocess.run([kvctl, *words], capture_output=True, text=True, timeout=20, check=False)
        return done.returncode, done.stdout, done.stderr

    code, bash, err = run("completion", "bash")
    score.check(code == 0 and err == "", "completion bash", err)
    for words, may, must_not in CASES:
        got, err = completed(bash, words)
        score.check(err == "" and may <= got and not must_not & got, "bash after %s" % words, "%s\n%s" % (got, err))
    done = subprocess.run(["bash", "--norc", "-c", bash + "\ncomplete -p kvctl"], capture_output=True, text=True,
                          timeout=20, check=False)
    score.check("-F _kvctl" in done.stdout, "bash knows whom to ask", done.stdout + done.stderr)

    listed = re.findall(r"^  ([a-z-]+(?: [a-z-]+)?)  +\S", run("help")[1].split("COMMANDS:")[1].split("OPTIONS:")[0], re.M)
    score.check(len(listed) > 30, "help lists the commands", str(listed))
    for name in listed:
        words = ["kvctl", *name.split()]
        got, _ = completed(bash, words)
        score.check(words[-1] in got, "bash completes " + name, str(got))
        own = run(*name.split(), "--help")[1].split("\nGLOBAL OPTIONS:")[0].partition("\nOPTIONS:")[2]
        flags = re.findall(r"--([a-z-]+)", own)
        got, _ = completed(bash, [*words, "--"])
        score.check({"--" + f for f in flags} <= got, "bash completes the flags of " + name, "%s %s" % (flags, got))
    for shell in ("zsh", "fish"):
        code, script, err = run("completion", shell)
        score.check(code == 0 and err == "" and all(name.split()[-1] in script for name in listed), "completion " + shell)
        if shutil.which(shell) is not None:
            done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, timeout=20, check=False)
            score.check(done.returncode == 0 and done.stderr == "", shell + " reads it", done.stderr)
    code, _, err = run("completion", "csh")
    score.check(code != 0 and "csh" in err, "a shell that is not known is named", err)
    score.finish()


if __name__ == "__main__":
    main()
