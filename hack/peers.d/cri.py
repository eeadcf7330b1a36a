#!/usr/bin/env python3
# One call of containerd's CRI: cri.py SERVICE METHOD REQUEST, in JSON; prints the answer in JSON.
import sys

import grpc
from google.protobuf import json_format

sys.path.insert(0, "/tmp/cri")
import cri_pb2  # by protoc, from the definition in Debian's package

service, method, request = sys.argv[1:]
types = cri_pb2.DESCRIPTOR.services_by_name[service].methods_by_name[method]
Request, Answer = (getattr(cri_pb2, kind.name) for kind in (types.input_type, types.output_type))
with grpc.insecure_channel("unix:/run/containerd/containerd.sock") as channel:
    call = channel.unary_unary(f"/runtime.v1.{service}/{method}", Request.SerializeToString, Answer.FromString)
    try:
        answer = call(json_format.Parse(request, Request()), timeout=60)
    except grpc.RpcError as error:
        sys.exit(f"{method}: {error.code().name}: {error.details()}")
print(json_format.MessageToJson(answer, preserving_proto_field_name=True))
