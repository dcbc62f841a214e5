#!/bin/sh
# Generates onnx.pb.go from onnx.proto with pinned tools, in a private environment under build/. Needs python3 and go.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p build/generate/bin
[ -x build/generate/venv/bin/python ] || python3 -m venv build/generate/venv
build/generate/venv/bin/python -m pip install -q grpcio-tools==1.85.1
GOBIN="$PWD/build/generate/bin" go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
build/generate/venv/bin/python -m grpc_tools.protoc -I internal/onnxpb \
  --plugin=protoc-gen-go=build/generate/bin/protoc-gen-go \
  --go_out=internal/onnxpb --go_opt=paths=source_relative internal/onnxpb/onnx.proto
