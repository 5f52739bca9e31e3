"""Packages from npm for tests: installed once, into the build folder, in the version that is asked for."""

import json
import os
import re
import shutil
import subprocess
import sys

import _servers

INSTALL_LIMIT_S = 180
UNREACHABLE = r"\b(ENOTFOUND|EAI_AGAIN|ECONN[A-Z]+|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|E50[0-9])\b"


def installed(folder, name, version):
    try:
        with open(os.path.join(folder, "node_modules", name, "package.json")) as file:
            return json.load(file)["version"] == version
    except OSError:
        return False


def install(source, folder):
    """Installs the one package that source/package.json names into folder, once; returns the folder. Without node,
    npm or a registry there is nothing to run: ends with 77 and the reason."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            _servers.skip("%s is not installed" % program)
    with open(os.path.join(source, "package.json")) as file:
        (name, version), = json.load(file)["dependencies"].items()
    folder = os.path.abspath(folder)
    if installed(folder, name, version):
        return folder
    os.makedirs(folder, exist_ok=True)
    shutil.copy(os.path.join(source, "package.json"), folder)
    try:
        done = subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"],
                              cwd=folder, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        _servers.skip("npm could not get %s %s within %d s" % (name, version, INSTALL_LIMIT_S))
    if done.returncode != 0 and re.search(UNREACHABLE, done.stderr):
        _servers.skip("the npm registry can not be reached: " + " ".join(done.stderr.split())[:200])
    if done.returncode != 0 or not installed(folder, name, version):
        sys.exit("npm could not install %s %s:\n%s" % (name, version, done.stderr[-4000:]))
    return folder
