"""Messages for tests, made from our own .proto files when they run: python3-etcd3 knows those of 3.2 only."""

import os
import subprocess
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTO = os.path.join(os.path.dirname(__file__), "..", "..", "proto")


def load(*files):
    """A function from a message's full name to its class."""
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc-c", "--proto_path=" + PROTO, "--include_imports", "--descriptor_set_out=" + out.name,
                        *(os.path.join(PROTO, f) for f in files)], check=True)
        descriptors = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    pool = descriptor_pool.DescriptorPool()
    for file in descriptors.file:
        pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return lambda name: factory.GetPrototype(pool.FindMessageTypeByName(name))
