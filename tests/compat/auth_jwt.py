#!/usr/bin/python3
"""JSON Web Tokens: what etcd signs kvd takes, and the other way round, with every method that both
know; a changed token, another method and a stale auth revision are refused alike. Bad settings end
the process with a text that names the option."""

import base64
import json
import os
import subprocess
import sys
import tempfile

import grpc
from etcd3 import etcdrpc as pb

import _servers

METHODS = ["RS256", "PS384", "ES256", "ES512", "HS256"]


def expect(condition, what):
    if not condition:
        sys.exit("FAIL " + what)


def make_keys(folder):
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)

    def path(name):
        return os.path.join(folder, name)

    openssl("genrsa", "-out", path("rsa"), "2048")
    openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", path("ec256"))
    openssl("ecparam", "-genkey", "-name", "secp521r1", "-noout", "-out", path("ec512"))
    openssl("genpkey", "-algorithm", "ed25519", "-out", path("ed"))
    for name in ("rsa", "ec256", "ec512", "ed"):
        openssl("pkey", "-in", path(name), "-pubout", "-out", path(name + ".pub"))
    with open(path("secret"), "w", encoding="ascii") as secret:
        secret.write("some secret")


def setting(folder, method, ttl="60s", private=True):
    name = {"R": "rsa", "P": "rsa", "H": "secret"}.get(method[0]) or {
        "ES256": "ec256", "ES512": "ec512", "EdDSA": "ed"}[method]
    text = "jwt,sign-method=%s,ttl=%s" % (method, ttl)
    if private:
        text += ",priv-key=" + os.path.join(folder, name)
    return text if method[0] == "H" else text + ",pub-key=" + os.path.join(folder, name + ".pub")


def set_up(channel):
    auth = pb.AuthStub(channel)
    for method, request in (
            ("UserAdd", pb.AuthUserAddRequest(name="root", password="pw")),
            ("RoleAdd", pb.AuthRoleAddRequest(name="root")),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root")),
            ("UserAdd", pb.AuthUserAddRequest(name="ann", password="pw")),
            ("RoleAdd", pb.AuthRoleAddRequest(name="r")),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="ann", role="r")),
            ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="r", perm={"permType": 2, "key": b"a"})),
            ("AuthEnable", pb.AuthEnableRequest())):
        getattr(auth, method)(request, timeout=20, wait_for_ready=True)


def log_in(channel, user):
    return pb.AuthStub(channel).Authenticate(pb.AuthenticateRequest(name=user, password="pw"), timeout=20).token


def put(channel, key, token):
    try:
        pb.KVStub(channel).Put(pb.PutRequest(key=key, value=b"v"), metadata=[("token", token)], timeout=20,
                               wait_for_ready=True)
    except grpc.RpcError as error:
        return error.details()
    return "OK"


def encode(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def check(channels, method):
    """channels: of both servers; each one's token on each."""
    for channel in channels:
        set_up(channel)
    tokens = [log_in(channel, "ann") for channel in channels]
    for number, token in enumerate(tokens):
        head, body, tail = token.split(".")
        forged = json.loads(base64.urlsafe_b64decode(body + "=="))
        forged["username"] = "root"
        for channel in channels:
            what = "%s: token of %d" % (method, number)
            expect(put(channel, b"a", token) == "OK", what)
            expect(put(channel, b"b", token) == "etcdserver: permission denied", what + " for b")
            for bad in (".".join((head, encode(forged), tail)), head + "." + body + ".",
                        encode({"alg": "none"}) + "." + body + ".", encode({"alg": "none"}) + "." + encode(forged) + ".",
                        token[:-8], "x", head + "." + body):
                expect(put(channel, b"a", bad) == "etcdserver: invalid auth token", what + " taken as " + bad)
    for channel in channels:  # any change makes them stale
        root = [("token", log_in(channel, "root"))]
        pb.AuthStub(channel).RoleAdd(pb.AuthRoleAddRequest(name="s"), metadata=root, timeout=20)
    for token in tokens:
        for channel in channels:
            expect(put(channel, b"a", token) == "etcdserver: revision of auth store is old", method + ": stale")


def restarted(member, method):
    """What is signed needs no memory."""
    with member.channel() as channel:
        token = log_in(channel, "ann")
    member.kill()
    member.start()
    with member.channel() as channel:
        for _ in range(100):
            answer = put(channel, b"a", token)
            if answer in ("OK", "etcdserver: invalid auth token"):
                break
        expect(answer == "OK", "%s after a restart: %s" % (method, answer))


def bad_settings(args, folder):
    rsa = os.path.join(folder, "rsa")
    for text, part in (("jwt", "neither simple nor jwt"), ("nonsense", "neither simple nor jwt"),
                       ("jwt,priv-key=" + rsa, "sign-method"), ("jwt,sign-method=XX,priv-key=" + rsa, "XX"),
                       ("jwt,sign-method=RS256", "priv-key"), ("jwt,sign-method=RS256,priv-key=/none", "/none"),
                       ("jwt,sign-method=ES256,priv-key=" + rsa, "does not fit"),
                       ("jwt,sign-method=RS256,priv-key=" + os.path.join(folder, "secret"), "no PEM"),
                       ("jwt,sign-method=RS256,ttl=soon,priv-key=" + rsa, "ttl=soon"),
                       ("jwt,sign-method=RS256,color=red,priv-key=" + rsa, "color")):
        cluster = _servers.Cluster("kvd", os.path.join(args.build, "kvd"), 1, ["--auth-token=" + text])
        member = cluster.members[0]
        member.start()
        code = member.process.wait(30)
        expect(code != 0 and part in member.log_tail(), "%s: exit code %d, %s" % (text, code, member.log_tail()))
        cluster.close()


def main():
    args = _servers.arguments()
    with tempfile.TemporaryDirectory(prefix="kvd-test-") as folder:
        make_keys(folder)
        for method in METHODS + ["EdDSA"]:
            extra = ["--bcrypt-cost", "4", "--auth-token", setting(folder, method)]
            ours = _servers.Cluster("kvd", os.path.join(args.build, "kvd"), 1, extra).start()
            both = [ours] if method == "EdDSA" else [_servers.Cluster("etcd", "etcd", 1, extra).start(), ours]
            channels = [cluster.members[0].channel() for cluster in both]
            check(channels, method)
            for channel in channels:
                channel.close()
            restarted(ours.members[0], method)
            for cluster in both:
                cluster.close()
        bad_settings(args, folder)
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
