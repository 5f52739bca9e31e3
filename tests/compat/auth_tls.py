#!/usr/bin/python3
"""Who a client is, over TLS: the common name of its certificate (directly, never through the JSON
gateway), and python3-etcd3 with user and password, which wants an encrypted connection."""

import base64
import json
import os
import subprocess
import sys
import tempfile

import etcd3
import grpc
from etcd3 import etcdrpc as pb

import _servers
import tls


def expect(condition, what):
    if not condition:
        sys.exit("FAIL " + what)


def secure_channel(certs, member, name):
    def read(file):
        with open(certs.path(file), "rb") as source:
            return source.read()

    return grpc.secure_channel(member.endpoint, grpc.ssl_channel_credentials(
        read("ca.crt"), read(name + ".key"), read(name + ".crt")))


def set_up(auth):
    """root by certificate; client may write a; library has a password and may write b."""
    for method, request in (
            ("UserAdd", pb.AuthUserAddRequest(name="root", password="pw")),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root")),
            ("UserAdd", pb.AuthUserAddRequest.FromString(
                pb.AuthUserAddRequest(name="client").SerializeToString() + b"\x1a\x02\x08\x01")),
            ("UserAdd", pb.AuthUserAddRequest(name="library", password="pw-library")),
            ("RoleAdd", pb.AuthRoleAddRequest(name="a")),
            ("RoleAdd", pb.AuthRoleAddRequest(name="b")),
            ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(
                name="a", perm={"permType": 2, "key": b"a"})),
            ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(
                name="b", perm={"permType": 2, "key": b"b"})),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="client", role="a")),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="library", role="b")),
            ("AuthEnable", pb.AuthEnableRequest())):
        getattr(auth, method)(request, timeout=20)


def tool(name, member, certs, cert, *words):
    done = subprocess.run(
        [name, "--endpoints", "https://" + member.endpoint, "--cacert=" + certs.path("ca.crt"),
         *certs.flags(cert), *words], capture_output=True, text=True, timeout=60, check=False,
        env=dict(os.environ, ETCDCTL_API="3"))
    return done.returncode, done.stdout, done.stderr


def names_are_users(args, certs, member):
    for program in ("etcdctl", os.path.join(args.build, "kvctl")):
        code, out, err = tool(program, member, certs, "client", "put", "a", program)
        expect((code, out) == (0, "OK\n"), "%s puts a as client: %s" % (program, err))
        code, out, err = tool(program, member, certs, "client", "put", "b", "1")
        expect(code == 1 and "permission denied" in err, "%s does not put b as client: %s" % (program, err))
        code, out, err = tool(program, member, certs, "stranger", "put", "a", "1")
        expect(code == 1 and "permission denied" in err, "a name that is no user may nothing: " + err)
        code, out, err = tool(program, member, certs, "root", "user", "list")
        expect((code, out) == (0, "client\nlibrary\nroot\n"), "%s is root: %s" % (program, err))
        # A token counts before the certificate.
        code, out, err = tool(program, member, certs, "root", "--user=library:pw-library", "user", "list")
        expect(code == 1 and "permission denied" in err, "%s is library: %s" % (program, err))


def not_through_the_gateway(certs, member):
    key = base64.b64encode(b"a").decode()
    done = subprocess.run(
        ["curl", "-s", "--cacert", certs.path("ca.crt"), "--cert", certs.path("root.crt"), "--key",
         certs.path("root.key"), "https://%s/v3/kv/range" % member.endpoint, "-d", json.dumps({"key": key})],
        capture_output=True, timeout=30, check=True)
    expect(json.loads(done.stdout)["message"] == "etcdserver: user name is empty",
           "the gateway goes by no certificate: %r" % done.stdout)


def library_logs_in(certs, member):
    client = etcd3.client(host="127.0.0.1", port=member.client_port, ca_cert=certs.path("ca.crt"),
                          cert_cert=certs.path("stranger.crt"), cert_key=certs.path("stranger.key"),
                          user="library", password="pw-library")
    client.put("b", "1")
    expect(client.get("b")[0] == b"1", "python3-etcd3 reads what it wrote")
    try:
        client.put("a", "1")
        expect(False, "python3-etcd3 may not write a")
    except grpc.RpcError as error:
        expect(error.details() == "etcdserver: permission denied", error.details())
    client.close()


def main():
    args = _servers.arguments()
    with tempfile.TemporaryDirectory(prefix="kvd-test-") as folder:
        certs = tls.Certs(folder)
        certs.ca("ca")
        for name in ("server", "root", "client", "stranger"):
            certs.sign(name)
        member = tls.start(args, certs, 1, tls.server_flags(certs, "server") + ["--bcrypt-cost=4"])[0]
        try:
            with secure_channel(certs, member, "root") as channel:
                set_up(pb.AuthStub(channel))
            names_are_users(args, certs, member)
            not_through_the_gateway(certs, member)
            library_logs_in(certs, member)
        finally:
            member.kill()
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
