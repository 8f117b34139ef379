#!/bin/sh
# Installs the pinned generators and linters into $GOBIN, once each.
set -eu
stamp="$GOBIN/.versions"
mkdir -p "$GOBIN"
touch "$stamp"
for tool in \
  github.com/bufbuild/buf/cmd/buf@v1.75.0 \
  google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12 \
  google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2 \
  github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway@v2.32.0 \
  honnef.co/go/tools/cmd/staticcheck@v0.7.0
do
  grep -qxF "$tool" "$stamp" && continue
  echo "installing $tool"
  # From outside the module: the tools' own dependencies are not ours.
  (cd / && go install "$tool")
  echo "$tool" >> "$stamp"
done
