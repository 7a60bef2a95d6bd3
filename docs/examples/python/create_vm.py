#!/usr/bin/python3
"""Creates and starts a VM through a Drover coordinator.

Needs nothing but Debian's python3-grpcio and python3-protobuf: no generated code. What the
coordinator offers is asked of the coordinator itself, by gRPC reflection.

    ./create_vm.py --name web --cluster main --template debian-12 --memory-mib 512
    ./create_vm.py --address coordinator:7443 --ca ca.pem --cert me.pem --key me.key --name web ...
"""
import argparse
import sys
import time
import uuid

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


class Drover:
    """A channel whose methods are found by reflection: drover.call("drover.v1.VmService/GetVm", vm_id="web")."""

    def __init__(self, channel):
        self._channel = channel
        self._pool = descriptor_pool.DescriptorPool()
        self._loaded = set()

    def call(self, path, timeout=30, **fields):
        """One request, one answer."""
        method = self._method(path)
        stub = self._channel.unary_unary(
            "/" + path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self._class(method.output_type).FromString,
        )
        return stub(self._class(method.input_type)(**fields), timeout=timeout)

    def stream(self, path, **fields):
        """One request, many answers."""
        method = self._method(path)
        stub = self._channel.unary_stream(
            "/" + path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self._class(method.output_type).FromString,
        )
        return stub(self._class(method.input_type)(**fields))

    def message(self, name):
        """The class of a message by its full name."""
        self._load(file_containing_symbol=name)
        return self._class(self._pool.FindMessageTypeByName(name))

    def _method(self, path):
        service, name = path.split("/")
        self._load(file_containing_symbol=service)
        return self._pool.FindServiceByName(service).FindMethodByName(name)

    @staticmethod
    def _class(descriptor):
        return message_factory.MessageFactory().GetPrototype(descriptor)

    def _load(self, **question):
        """Adds the files that define a symbol, imports first."""
        key = tuple(question.items())
        if key in self._loaded:
            return
        self._loaded.add(key)
        reflect = self._channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=ReflectionResponse.FromString,
        )
        (answer,) = reflect(iter([ReflectionRequest(**question)]), timeout=30)
        if answer.HasField("error_response"):
            raise LookupError(f"{question}: {answer.error_response.error_message}")
        files = {}
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            files[file.name] = file

        def add(name):
            if name in self._loaded or name not in files:
                return
            self._loaded.add(name)
            for dependency in files[name].dependency:
                add(dependency)
            self._pool.Add(files[name])

        for name in files:
            add(name)


def reflection_messages():
    """The two messages of grpc.reflection.v1 that are needed before anything can be asked."""
    file = descriptor_pb2.FileDescriptorProto(name="reflection.proto", package="grpc.reflection.v1", syntax="proto3")
    kind = descriptor_pb2.FieldDescriptorProto

    def message(name, *fields):
        added = file.message_type.add(name=name)
        for field_name, number, type_, label, type_name in fields:
            added.field.add(name=field_name, number=number, type=type_, label=label, type_name=type_name)

    one, many = kind.LABEL_OPTIONAL, kind.LABEL_REPEATED
    message("ServerReflectionRequest", ("file_containing_symbol", 4, kind.TYPE_STRING, one, None))
    message("FileDescriptorResponse", ("file_descriptor_proto", 1, kind.TYPE_BYTES, many, None))
    message(
        "ErrorResponse",
        ("error_code", 1, kind.TYPE_INT32, one, None),
        ("error_message", 2, kind.TYPE_STRING, one, None),
    )
    message(
        "ServerReflectionResponse",
        ("file_descriptor_response", 4, kind.TYPE_MESSAGE, one, ".grpc.reflection.v1.FileDescriptorResponse"),
        ("error_response", 7, kind.TYPE_MESSAGE, one, ".grpc.reflection.v1.ErrorResponse"),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory = message_factory.MessageFactory()
    return [
        factory.GetPrototype(pool.FindMessageTypeByName("grpc.reflection.v1." + name))
        for name in ("ServerReflectionRequest", "ServerReflectionResponse")
    ]


ReflectionRequest, ReflectionResponse = reflection_messages()


def follow(drover, job):
    """Prints the progress of a job and returns it when it is over."""
    for job in drover.stream("drover.v1.JobService/WatchJob", job_id=job.job_id):
        print(f"  {job.kind} {job.progress.percent} % {job.progress.phase}", flush=True)
    state = job.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[job.state].name
    if state != "JOB_STATE_SUCCEEDED":
        sys.exit(f"job {job.job_id} failed: {job.failure.message}\nNext: {job.failure.next_step}")
    return job


def explain(drover, error):
    """A failed call in words: the reason, each wrong field, and the next step."""
    print(f"{error.code().name}: {error.details()}", file=sys.stderr)
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        status = drover.message("google.rpc.Status").FromString(value)
        for any_ in status.details:
            detail = drover.message(any_.type_url.split("/")[-1])()
            any_.Unpack(detail)
            print(f"  {detail.DESCRIPTOR.name}: {detail}".rstrip(), file=sys.stderr)


def open_channel(options):
    if not options.ca:
        return grpc.insecure_channel(options.address)  # the unix socket: whoever may open it is the administrator
    read = lambda path: open(path, "rb").read() if path else None
    credentials = grpc.ssl_channel_credentials(read(options.ca), read(options.key), read(options.cert))
    name = [("grpc.ssl_target_name_override", options.server_name)] if options.server_name else []
    return grpc.secure_channel(options.address, credentials, options=name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="unix:/run/drover/coordinator.sock")
    parser.add_argument("--ca", help="CA certificate of the installation, PEM")
    parser.add_argument("--cert", help="your certificate, PEM")
    parser.add_argument("--key", help="your private key, PEM")
    parser.add_argument("--server-name", help="host name in the coordinator's certificate, where --address has another")
    parser.add_argument("--name", required=True)
    parser.add_argument("--cluster", required=True)
    parser.add_argument("--template", required=True)
    parser.add_argument("--memory-mib", type=int, default=512)
    parser.add_argument("--ha", action="store_true", help="restart it when its host dies")
    parser.add_argument("--wait-guest", type=int, default=0, help="seconds to wait for the guest agent's first report")
    options = parser.parse_args()

    with open_channel(options) as channel:
        drover = Drover(channel)
        try:
            create_and_start(drover, options)
        except grpc.RpcError as error:
            explain(drover, error)
            sys.exit(1)


def create_and_start(drover, options):
    cluster = drover.call("drover.v1.ClusterService/GetCluster", cluster_id=options.cluster)
    template = drover.call("drover.v1.TemplateService/GetTemplate", template_id=options.template)

    print(f"creating VM {options.name}")
    job = drover.call(
        "drover.v1.VmService/CreateVm",
        request_id=str(uuid.uuid4()),
        template_id=template.template_id,
        vm={
            "name": options.name,
            "cluster_id": cluster.cluster_id,
            "vcpus": 1,
            "memory_bytes": options.memory_mib * 2**20,
            "ha": {"enabled": options.ha},
        },
    )
    vm_id = follow(drover, job).objects["vm"]

    print(f"starting VM {options.name}")
    follow(drover, drover.call("drover.v1.VmService/StartVm", request_id=str(uuid.uuid4()), vm_id=vm_id))

    vm = drover.call("drover.v1.VmService/GetVm", vm_id=vm_id)
    end = time.monotonic() + options.wait_guest
    while not vm.guest.connected and time.monotonic() < end:
        time.sleep(1)
        vm = drover.call("drover.v1.VmService/GetVm", vm_id=vm_id)
    status = vm.DESCRIPTOR.fields_by_name["status"].enum_type.values_by_number[vm.status].name
    addresses = [address for interface in vm.guest.interfaces for address in interface.addresses]
    print(f"VM {vm.name} {vm.vm_id} {status} on host {vm.host_id} {' '.join(addresses)}".rstrip())


if __name__ == "__main__":
    main()
