#!/bin/sh
# Generates gen/, and the description of the REST API, from proto/. Google's API
# annotations are copied from a pinned, checksummed module into an ignored folder:
# third-party files are not committed.
set -eu
cd "$(dirname "$0")/.."
dir=$(go mod download -json github.com/google/gnostic@v0.7.1 | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
mkdir -p third_party/proto/google/api
for f in annotations http; do
  install -m 644 "$dir/cmd/protoc-gen-openapi/examples/google/api/$f.proto" third_party/proto/google/api/
done
buf format -w proto
buf generate

# The comments of proto/ are not in gen/, so the description has its own way.
image=$(mktemp -d)
trap 'rm -rf "$image"' EXIT
buf build -o "$image/proto.binpb"
go run ./gateway/docs/generate < "$image/proto.binpb" > "$image/openapi.json"
cp "$image/openapi.json" gateway/docs/openapi.json
