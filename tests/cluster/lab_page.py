#!/usr/bin/python3
"""The lab's page in a browser: headless Chromium, driven through ChromeDriver (W3C WebDriver over HTTP). Buttons
break a cluster, the page shows it, and the report shows the same without a lab."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))
import _servers  # noqa: E402

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
CHROMIUM_ARGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--disable-dev-shm-usage", "--window-size=1400,1500"]
WAIT_MS = 30000


class Browser:
    """One Chromium with one page."""

    def __init__(self, chromium, driver, folder):
        self.process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                self.base = "http://127.0.0.1:%s" % found.group(1)
                break
        options = {"binary": chromium, "args": CHROMIUM_ARGS + ["--user-data-dir=" + os.path.join(folder, "profile")]}
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}, "timeouts": {"script": WAIT_MS}}
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.base += "/session/" + session["sessionId"]

    def call(self, method, path, body=None):
        request = urllib.request.Request(self.base + path, method=method,
                                         data=None if body is None else json.dumps(body).encode())
        try:
            with OPENER.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()[:600]) from None

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *args):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def wait(self, condition):
        """Until the expression is true in the page, looked at whenever the page draws."""
        script = ("const done = arguments[0]; const look = () => { let is = false; try { is = !!(%s); } catch {} "
                  "if (is) done(true); else requestAnimationFrame(look); }; look();" % condition)
        try:
            return self.call("POST", "/execute/async", {"script": script, "args": []})
        except AssertionError as error:
            print("waited in vain for", condition, str(error)[:200], flush=True)
            return False

    def click(self, selector):
        element = self.call("POST", "/element", {"using": "css selector", "value": selector})
        self.call("POST", "/element/%s/click" % next(iter(element.values())), {})

    def complaints(self):
        """What the page's script has said on the console."""
        return [e["message"] for e in self.call("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path):
        with open(path, "wb") as out:
            out.write(base64.b64decode(self.call("GET", "/screenshot")))

    def close(self):
        try:
            self.call("DELETE", "")
        finally:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process.stdout.close()


def text(browser, selector):
    return browser.run("return document.querySelector(arguments[0]).textContent", selector)


def a_lab_is_broken_by_clicks(score, browser, url):
    browser.open(url)
    score.check(browser.wait("/^3 of 3 alive: writes go on/.test(words.textContent)"), "the page says how the quorum stands",
                text(browser, "#words"))
    score.check(browser.wait("document.querySelectorAll('#plot rect').length > 20 && state.writes.ok > 50"), "and plots")
    browser.click('button[data-command="kill leader"]')
    score.check(browser.wait("/^2 of 3 alive: writes go on, one more failure stops them$/.test(words.textContent)"),
                "a click has killed the leader", text(browser, "#words"))
    score.check(browser.wait("document.querySelector('.badge.down') && document.querySelector('.badge.leader')"),
                "one member is down, another one leads")
    score.check(browser.wait("new Set([...document.querySelectorAll('#legend span')].map(s => s.textContent)"
                             ".filter(t => t.startsWith('term'))).size > 1"), "there is another term in the plot")
    browser.click('button[data-command="restart dead"]')
    score.check(browser.wait("document.querySelector('.verdict.good')"), "when all is well again there is a verdict")
    score.check("kill leader: nothing acknowledged was lost" in text(browser, "#verdicts"), "with a good end",
                text(browser, "#verdicts"))
    browser.click('#matrix button[data-command="cut 1>2"]')
    score.check(browser.wait("document.querySelector('#matrix button[data-command=\"heal 1>2\"]').textContent === 'cut'"),
                "a click on the matrix cuts one direction")
    browser.run("document.getElementById('command').value = 'pause 3 lnog'")
    browser.click("#form button")
    score.check(browser.wait("said.className === 'no' && said.textContent.includes('is no duration')"),
                "a mistake is told in words", text(browser, "#said"))
    score.check(browser.complaints() == [] or all("/do" in m and "400" in m for m in browser.complaints()),
                "the page's script has no error", str(browser.complaints()))


def the_report_shows_the_same(score, browser, url, folder):
    path = os.path.join(folder, "report.html")
    with OPENER.open(url + "report", timeout=20) as answer, open(path, "wb") as out:
        out.write(answer.read())
    browser.open("file://" + path)
    score.check(browser.wait("document.querySelectorAll('#plot rect').length > 20 && "
                             "document.querySelectorAll('#logs rect').length >= 3"), "the report has its plots")
    score.check("kill leader: nothing acknowledged was lost" in text(browser, "#verdicts"), "and the verdict")
    score.check(not browser.run("return [...document.querySelectorAll('button')].some(b => b.offsetParent)"),
                "and no buttons")
    score.check(browser.complaints() == [], "and no error", str(browser.complaints()))


def main():
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        print("no Chromium with ChromeDriver: apt-get install chromium chromium-driver")
        sys.exit(77)
    args = _servers.arguments(screenshot="")
    score = _servers.Score()
    folder = tempfile.mkdtemp(prefix="kvd-test-page-")
    lab = subprocess.Popen([os.path.join(args.build, "kvctl"), "lab", "up", "3"], stdin=subprocess.DEVNULL,
                           env=dict(os.environ, TMPDIR=folder), stdout=subprocess.PIPE, text=True)
    browser = None
    try:
        url = re.search("http://.*", lab.stdout.readline()).group(0)
        browser = Browser(chromium, driver, folder)
        a_lab_is_broken_by_clicks(score, browser, url)
        if args.screenshot:
            browser.screenshot(args.screenshot)
        the_report_shows_the_same(score, browser, url, folder)
    finally:
        if browser is not None:
            browser.close()
        lab.send_signal(signal.SIGTERM)
        lab.communicate(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)
    score.finish()


if __name__ == "__main__":
    main()
