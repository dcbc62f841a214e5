#!/bin/sh
# The whole way of a release, each step a plain command: build, verify, sign, push, pull by digest, check, verify again; then a regression that must be
# caught. pipeline.sh PROGRAM. The registry is $REGISTRY, else docker-registry where it is installed, else one in memory that Go runs. Keys are made anew.
set -eu
program=$1
dir=build/pipeline
checkpoint=golden/data/syncsam-tiny-34/syncsam-tiny-34.pth
golden=golden/data/syncsam-tiny-34
calib=golden/data/calibration
started=$(date +%s)
rm -rf "$dir"
mkdir -p "$dir"
step() { printf '\n== %s (%d s)\n' "$1" $(($(date +%s) - started)); }
must_fail() { # CODE COMMAND...
	want=$1; shift
	code=0; "$@" || code=$?
	[ "$code" -eq "$want" ] || { echo "pipeline: exit status $code, want $want: $*"; exit 1; }
}

if [ -z "${REGISTRY:-}" ]; then
	port=${PORT:-5917}
	if command -v docker-registry >/dev/null; then
		printf 'version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: 127.0.0.1:%s}\n' "$PWD/$dir/store" "$port" >"$dir/registry.yml"
		docker-registry serve "$dir/registry.yml" >"$dir/registry.log" 2>&1 &
	else
		${GO:-go} build -o "$dir/registry" github.com/google/go-containerregistry/cmd/registry
		"$dir/registry" -port "$port" >"$dir/registry.log" 2>&1 &
	fi
	server=$!
	trap 'kill $server 2>/dev/null || true' EXIT
	REGISTRY=127.0.0.1:$port
	sleep 2
fi
name=$REGISTRY/pipeline/syncsam-tiny

step "keys"
openssl ecparam -name prime256v1 -genkey -noout -out "$dir/key.pem"
openssl ec -in "$dir/key.pem" -pubout -out "$dir/pub.pem" 2>/dev/null

step "the machine"
"$program" doctor

step "calibration statistics, in a file that is named by the hashes of what they come from, and made once"
hash() { "$program" inspect "$checkpoint" --calib "$calib" --json | sed -n "s/^ \"$1\": \"\([0-9a-f]*\)\".*/\1/p"; }
sum=$(hash sha256)
data=$(hash calibration_sha256)
[ ${#sum} -eq 64 ] && [ ${#data} -eq 64 ] || { echo "pipeline: inspect --json gives no hashes"; exit 1; }
statistics=$dir/statistics-$sum-$data.safetensors
test -f "$statistics" || "$program" calibrate "$checkpoint" --calib "$calib" -o "$statistics"

step "build: checkpoint to INT8, held against its golden results before it is published"
"$program" build "$checkpoint" -o "$dir/artifact" --precision int8 --calib "$calib" --golden "$golden"

step "verify"
"$program" verify "$dir/artifact" --golden "$golden" --prompts box,point1 --json "$dir/report.json" --junit "$dir/report.xml"

step "sign, and check the signature"
"$program" sign "$dir/artifact" --key "$dir/key.pem"
"$program" manifest check "$dir/artifact" --key "$dir/pub.pem"

step "a model repository for Triton"
"$program" export triton "$dir/artifact" -o "$dir/repository"

step "push, with signed provenance"
"$program" push "$dir/artifact" "$name:candidate" --plain-http --key "$dir/key.pem"
digest=$("$program" push "$dir/artifact" "$name:candidate" --plain-http --key "$dir/key.pem" --quiet | tail -n 1)

step "pull $digest, and check signature and provenance"
"$program" pull "$name@$digest" -o "$dir/pulled" --plain-http --key "$dir/pub.pem"
"$program" manifest check "$dir/pulled" --key "$dir/pub.pem"
"$program" manifest provenance "$dir/pulled" >"$dir/provenance.json"

step "verify the pulled artifact"
"$program" verify "oci://$name@$digest" --plain-http --key "$dir/pub.pem" --golden "$golden" --prompts box

step "a regression: a plan whose ranges clip nearly everything must be caught"
"$program" build "$checkpoint" -o "$dir/plain" --precision int8 --calib "$statistics" --plan-out "$dir/plan.txt" >/dev/null
sed -E 's/ max=[0-9.e+-]+/ max=0.25/' "$dir/plan.txt" >"$dir/regression.txt"
"$program" build "$checkpoint" -o "$dir/regression" --precision int8 --plan "$dir/regression.txt" >/dev/null
must_fail 1 "$program" verify "$dir/regression" --golden "$golden" --prompts box --junit "$dir/regression.xml"
grep -q '<failure' "$dir/regression.xml" || { echo "pipeline: $dir/regression.xml has no failing case"; exit 1; }

step "a byte that is not what was signed must be caught"
printf 'x' | dd of="$dir/pulled/decoder.onnx" bs=1 seek=1000 conv=notrunc 2>/dev/null
must_fail 1 "$program" manifest check "$dir/pulled" --key "$dir/pub.pem"

step "done: $name@$digest"
