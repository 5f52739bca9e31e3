#!/usr/bin/python3
"""kvctl lab: lessons on real processes, scripts that are wrong, expectations that fail, the page's port, and that
nothing is left behind, whatever ends a lab."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402

LIMIT_S = 120


class Labs:
    """Labs whose folders lie in one of ours, so that what they leave can be seen."""

    def __init__(self, build):
        self.kvctl = os.path.abspath(os.path.join(build, "kvctl"))
        self.folder = tempfile.mkdtemp(prefix="kvd-test-lab-")
        self.env = dict(os.environ, TMPDIR=self.folder)

    def left(self):
        """(folders of labs, processes that run in them)"""
        pids = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % pid, "rb") as source:
                    if self.folder.encode() in source.read():
                        pids.append(int(pid))
            except OSError:
                pass  # it has ended meanwhile
        return sorted(os.listdir(self.folder)), pids

    def run(self, *args, text=None):
        return subprocess.run([self.kvctl, "lab", *args], env=self.env, input=text, capture_output=True, text=True,
                              timeout=LIMIT_S, check=False)

    def script(self, text, *args):
        path = os.path.join(self.folder, "script.lab")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        done = self.run("run", path, *args)
        os.unlink(path)
        return done

    def up(self, *args):
        return subprocess.Popen([self.kvctl, "lab", "up", *args], env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def read_until(process, pattern):
    """The match in the first line that has it; everything before is in the exception if there is none."""
    said = ""
    for line in process.stdout:
        said += line
        found = re.search(pattern, line)
        if found:
            return found
    raise AssertionError("the lab ended without %r:\n%s" % (pattern, said))


def ask(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body=body, headers=headers or {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


# ---- lessons ----

def lessons_hold(score, labs):
    listed = labs.run("lessons").stdout
    for name in ("leader-crash", "minority-leader", "lock-fencing"):
        score.check(re.search("^" + name + r"\s+\S", listed, re.M), name + " is listed", listed)
        report = os.path.join(labs.folder, "report.html")
        done = labs.run("run", "lesson:" + name, "--html", report)
        score.check(done.returncode == 0 and "FAILED" not in done.stdout, "lesson " + name, done.stdout + done.stderr)
        score.check("nothing acknowledged was lost" in done.stdout, name + " ends with a verdict", done.stdout)
        with open(report, encoding="utf-8") as source:
            page = source.read()
        data = json.loads(re.search(r"const DATA = (\{.*\});\n", page).group(1))
        score.check(data["verdicts"] and data["samples"] and data["timeline"], "the report has its data")
        score.check(not re.search(r"(src|href)=[\"']?(https?:)?//|@import|url\(", page), "and needs nothing else")
        os.unlink(report)
    score.check(labs.left() == ([], []), "nothing is left of the lessons", str(labs.left()))


def members_come_and_snapshots_are_restored(score, labs):
    done = labs.script("up 3\nwait writes\nadd learner\nwait caught-up 4\npromote 4\nexpect alive = 4\n"
                       "snapshot\nwait writes\nkill 1\ntorn 1\nrestore\nexpect writes go on at all\nexpect same data\n"
                       "expect rolled-back > 0\nexpect lost = 0\n")
    score.check(done.returncode == 0, "a learner, a snapshot, a restore", done.stdout + done.stderr)


def a_restart_waits_for_the_stop(score, labs):
    """An orderly end takes as long as the disk does. One that runs is not started again."""
    done = labs.script("up 3\nwait writes\nslow-disk 1 300ms\nstop 1\nrestart 1\ndisk-ok 1\nwait caught-up 1\n")
    told = done.stdout.find("> restart 1")
    score.check(done.returncode == 0 and 0 < done.stdout.find("m1 has ended") < told, "restart right behind stop",
                done.stdout + done.stderr)
    done = labs.script("up 3\nwait up 1\nrestart 1\n")
    score.check(done.returncode == 1 and "restart 1: m1 runs already" in done.stdout, "restart of one that runs",
                done.stdout + done.stderr)


def the_checker_bites(score, labs):
    """Disks that have lied lose what was acknowledged: the lab says so although no expectation is written down."""
    done = labs.script("up 3\nwait writes\nwait 500ms\nkill all\nforget all\nrestart all\nwait leader\nwait writes\n")
    lost = re.search(r"acknowledged and lost: (\d+)", done.stdout)
    score.check(done.returncode == 1 and lost and int(lost.group(1)) > 0, "lost writes are found", done.stdout + done.stderr)
    score.check(re.search(r"smallest history that shows it: (write \d+ of kvlab/\d/\d was acknowledged|revision \d+ was|a "
                          r"read of kvlab)", done.stdout), "and one of them is shown", done.stdout)


# ---- what goes wrong ----

def mistakes_are_told(score, labs):
    done = labs.script("up 3\nkill leader\nkil 2\n")
    score.check(done.returncode == 3 and "script.lab, line 3: kil 2: \"kil\" is no command; did you mean \"kill\"?"
                in done.stderr and done.stdout == "", "a typo", done.stdout + done.stderr)
    done = labs.script("up 3\ncut 1>4\n")
    score.check(done.returncode == 3 and "there is no member 4: they are 1 to 3" in done.stderr, "a member that is not there",
                done.stderr)
    done = labs.run("run", "lesson:leader-crsh")
    score.check(done.returncode == 128 and "did you mean \"leader-crash\"" in done.stderr, "a lesson's name", done.stderr)
    done = labs.run("run", os.path.join(labs.folder, "none"))
    score.check(done.returncode == 6 and "No such file" in done.stderr, "no such script", done.stderr)
    done = labs.run("up", "12")
    score.check(done.returncode == 128 and "1 to 9" in done.stderr, "too many members", done.stderr)
    done = labs.run("up", "--kvd", "/none/kvd")
    score.check(done.returncode == 1 and "/none/kvd cannot be run" in done.stderr, "no such kvd", done.stderr)
    with tempfile.TemporaryDirectory(prefix="kvd-test-") as folder:
        with open(os.path.join(folder, "mine"), "w", encoding="utf-8"):
            pass
        done = labs.run("up", "--dir", folder)
        score.check(done.returncode == 1 and "not of a lab" in done.stderr and os.listdir(folder) == ["mine"],
                    "a folder with something in it", done.stderr)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = labs.run("up", "3", "--port", str(taken.getsockname()[1]))
        score.check(done.returncode == 1 and "--port names another" in done.stderr, "a port that is taken", done.stderr)
    score.check(labs.left() == ([], []), "nothing is left of the mistakes", str(labs.left()))


def members_that_do_not_start_are_told(score, labs):
    """kvd refuses a flag: the lab ends with its words."""
    done = labs.script("up 3 heartbeat-interval=900\nwait writes\n")
    score.check(done.returncode == 1 and "did not start: exit code" in done.stderr and "election" in done.stderr,
                "a flag that kvd refuses", done.stdout + done.stderr)
    score.check(labs.left() == ([], []), "nothing is left of it", str(labs.left()))


def expectations_that_fail_are_told(score, labs):
    done = labs.script("up 3\nwait writes\nkill leader\nwait leader\nexpect elections = 0\nexpect writes stop for 300ms\n"
                       "expect lost = 0\npause 1\npause 9\n")
    score.check(done.returncode == 3, "all of a script is looked at first", done.stderr)
    done = labs.script("up 3\nwait writes\nkill leader\nwait leader\nexpect elections = 0\nexpect writes stop for 300ms\n"
                       "expect lost = 0\nkill old\nsay never said\n")
    failed = [line.split("] ")[1] for line in done.stdout.splitlines() if "FAILED" in line]
    score.check(done.returncode == 1 and len(failed) == 2 and "line 5: FAILED: expect elections = 0: it is 1" in failed[0]
                and "line 6: FAILED: expect writes stop" in failed[1], "expectations that fail", done.stdout)
    score.check("line 8: kill old: m" in done.stdout and "does not run" in done.stdout and "never said\n" not in
                done.stdout.split("> kill old")[0] and "] never said" not in done.stdout,
                "what cannot be done ends the script", done.stdout)


def typed_commands_are_done(score, labs):
    done = labs.run("up", "3", "--no-page", text="wait writes\nfrobnicate\nkill leader\nstatus\nwait writes\n")
    score.check(done.returncode == 1 and "\"frobnicate\" is no command" in done.stdout and "2 of 3 alive: writes go on, "
                "one more failure stops them" in done.stdout and "verdict on \"kill leader\"" in done.stdout,
                "commands from a pipe", done.stdout + done.stderr)


# ---- the port ----

def first_events(port, count):
    """The names of the first events of the stream, with their data."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
        got = b""
        while len(re.findall(rb"event: \w+\ndata: .*\n\n", got)) < count:
            more = sock.recv(65536)
            if not more:
                break
            got += more
            got = re.sub(rb"(?:\r\n)[0-9a-f]+\r\n", b"", got)  # heads of chunks
    return re.findall(rb"event: (\w+)\n", got), got


def the_port_answers(score, labs):
    process = labs.up("3")
    try:
        port = int(read_until(process, r"page: http://127\.0\.0\.1:(\d+)/").group(1))
        read_until(process, "3 of 3 alive")
        status, page = ask(port, "GET", "/")
        score.check(status == 200 and "<title>kvd lab</title>" in page and "/*DATA*/null" in page, "the page", page[:300])
        state = json.loads(ask(port, "GET", "/state")[1])
        score.check(len(state["members"]) == 3 and state["words"].startswith("3 of 3 alive") and state["leader"] in (1, 2, 3)
                    and all("hears" in link for m in state["members"] for link in m["from"].values()), "/state", str(state)[:600])
        status, said = ask(port, "POST", "/do", "cut leader>follower")
        score.check((status, json.loads(said)) == (200, {"did": "cut leader>follower", "queued": False}), "/do", said)
        state = json.loads(ask(port, "GET", "/state")[1])
        cuts = [(n, m["n"]) for m in state["members"] for n, link in m["from"].items() if link["cut"]]
        score.check(len(cuts) == 1 and cuts[0][0] == str(state["leader"]) and state["experiment"]["fault"] ==
                    "cut leader>follower", "has cut one direction of one link", str(cuts))
        status, said = ask(port, "POST", "/do", "kil 1")
        score.check(status == 400 and "did you mean" in said, "a typo is refused", said)
        status, said = ask(port, "POST", "/do", "kill 7")
        score.check(status == 409 and "there is no member 7" in said, "and a member that is not there", said)
        score.check(ask(port, "POST", "/do", "x" * 5000)[0] in (400, 413), "and what is too long")
        score.check(ask(port, "GET", "/do")[0] == 405 and ask(port, "GET", "/none")[0] == 404, "and other ways")
        for headers in ({"Host": "evil.example:%d" % port}, {"Origin": "http://evil.example"}):
            score.check(ask(port, "POST", "/do", "quit", headers)[0] == 403, "pages of elsewhere are refused", str(headers))
        names, raw = first_events(port, 2)
        score.check(names[:1] == [b"history"] and b"state" in names, "/events", raw[:300].decode())
        status, report = ask(port, "GET", "/report")
        score.check(status == 200 and "const DATA = {" in report, "/report", report[:100])
        score.check(ask(port, "POST", "/do", "quit")[0] == 200 and process.wait(20) == 0, "quit")
    finally:
        process.kill()
        process.wait()
    score.check(labs.left() == ([], []), "nothing is left of it", str(labs.left()))


def nothing_outlives_a_lab(score, labs):
    """SIGTERM ends all in order; after SIGKILL the members are gone too, and the next lab removes the folder."""
    process = labs.up("3", "--no-page")
    read_until(process, "3 of 3 alive")
    process.send_signal(signal.SIGTERM)
    score.check(process.wait(20) == 0 and labs.left() == ([], []), "after SIGTERM nothing is left", str(labs.left()))
    process = labs.up("3", "--no-page")
    read_until(process, "3 of 3 alive")
    members = labs.left()[1]
    ends = [os.pidfd_open(pid) for pid in members if pid != process.pid]
    score.check(len(ends) == 3, "three members run", str(members))
    process.kill()
    process.wait()
    for end in ends:
        os.set_blocking(end, True)
        wait_readable(end)
        os.close(end)
    folders, pids = labs.left()
    score.check(len(folders) == 1 and not pids, "after SIGKILL no member runs", "%s %s" % (folders, pids))
    done = labs.run("up", "1", "--no-page", text="wait writes\n")
    score.check("left by a lab that died" in done.stdout and labs.left() == ([], []), "the next lab removes what is left",
                done.stdout + done.stderr)


def wait_readable(fd):
    import select
    ready = select.select([fd], [], [], 20)[0]
    if not ready:
        raise AssertionError("a member outlives its lab")


def main():
    args = _servers.arguments()
    score = _servers.Score()
    labs = Labs(args.build)
    try:
        lessons_hold(score, labs)
        members_come_and_snapshots_are_restored(score, labs)
        a_restart_waits_for_the_stop(score, labs)
        the_checker_bites(score, labs)
        mistakes_are_told(score, labs)
        members_that_do_not_start_are_told(score, labs)
        expectations_that_fail_are_told(score, labs)
        typed_commands_are_done(score, labs)
        the_port_answers(score, labs)
        nothing_outlives_a_lab(score, labs)
    finally:
        labs.close()
    score.finish()


if __name__ == "__main__":
    main()
