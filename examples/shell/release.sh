#!/bin/sh
# From an artifact to a registry and back: release.sh ARTIFACT REGISTRY/NAME:TAG PRIVATE.pem PUBLIC.pem OUT
set -eu
artifact=$1 reference=$2 private=$3 public=$4 out=$5
syncsam-convert sign "$artifact" --key "$private"
digest=$(syncsam-convert push "$artifact" "$reference" --key "$private" --quiet)
syncsam-convert pull "${reference%:*}@$digest" -o "$out" --key "$public"
syncsam-convert manifest check "$out" --key "$public"
