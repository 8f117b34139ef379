#!/bin/sh
# Compares proto/ with the last release, or with the commit before if there is none.
set -eu
cd "$(dirname "$0")/.."
base=$(git describe --tags --abbrev=0 2>/dev/null || git rev-parse -q --verify HEAD~1 || true)
if [ -z "$base" ] || ! git cat-file -e "$base:proto" 2>/dev/null; then
  echo "buf breaking: nothing to compare with yet"
  exit 0
fi
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
git archive "$base" proto buf.yaml | tar -x -C "$old"
cp -r third_party "$old/"
buf breaking --against "$old"
