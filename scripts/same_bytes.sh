#!/bin/sh
# One artifact's bytes, whatever computes them: same_bytes.sh PROGRAM PROGRAM_OF_ARM64. Prints a hash for each build; more than one a precision is exit 1.
# IMAGES is how many pictures calibrate: an emulated processor takes minutes for one.
set -eu
here=$1
arm=$2
dir=build/same-bytes
calib=$dir/pictures
[ "$(uname -m)" = aarch64 ] && qemu= || qemu=qemu-aarch64-static
rm -rf "$dir"
mkdir -p "$calib"
ls golden/data/calibration/*.png | head -n "${IMAGES:-1}" | while read -r picture; do cp "$picture" "$calib"; done
make_one() { # PRECISION LABEL COMMAND...
	precision=$1; label=$2; shift 2
	began=$(date +%s)
	"$@" build golden/data/syncsam-tiny-34/syncsam-tiny-34.pth -o "$dir/a" --force --precision "$precision" --calib "$calib" >/dev/null
	sum=$(cd "$dir/a" && cat manifest.json encoder.onnx decoder.onnx | sha256sum | cut -c 1-64)
	echo "$precision $label: $sum ($(($(date +%s) - began)) s)"
	echo "$sum" >>"$dir/$precision.sums"
}
precisions="fp16 int8"
[ -z "${QUICK:-}" ] || precisions=fp16
for precision in $precisions; do
	for cpu in generic avx2 avx512; do
		grep -q -w "$(echo $cpu | sed 's/generic/flags/; s/avx512/avx512f/')" /proc/cpuinfo || { echo "$precision $cpu: this processor has none"; continue; }
		for threads in 1 2; do
			make_one "$precision" "$cpu, $threads threads" env SYNCSAM_CPU=$cpu GOMAXPROCS=$threads "$here"
		done
	done
	make_one "$precision" "arm64" $qemu "$arm"
	[ "$(sort -u "$dir/$precision.sums" | wc -l)" -eq 1 ] || { echo "same-bytes: $precision builds differ"; exit 1; }
done
