#!/bin/sh
# Puts ONNX Runtime's shared library into build/onnxruntime: from the Python wheel, or from the npm package where there is no pip.
set -eu
cd "$(dirname "$0")/.."
wheel_version=1.32.0
npm_version=1.30.0
dir=build/onnxruntime
if ls "$dir"/libonnxruntime.* >/dev/null 2>&1; then
	exit 0
fi
tmp=build/onnxruntime.tmp
rm -rf "$tmp"
mkdir -p "$tmp" "$dir"
trap 'rm -rf "$tmp"' EXIT
if python3 -m pip --version >/dev/null 2>&1 &&
	python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: -d "$tmp" "onnxruntime==$wheel_version"; then
	python3 -c 'import glob, sys, zipfile; zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0]).extractall(sys.argv[1])' "$tmp"
	lib=$(find "$tmp" -name 'libonnxruntime.so.*' -o -name 'libonnxruntime.*.dylib' | head -n 1)
elif npm --version >/dev/null 2>&1; then
	(cd "$tmp" && npm pack --silent "onnxruntime-node@$npm_version" >/dev/null && tar -xzf onnxruntime-node-*.tgz)
	case "$(uname -s)-$(uname -m)" in
	Linux-x86_64) part=linux/x64 ;;
	Linux-aarch64) part=linux/arm64 ;;
	Darwin-arm64) part=darwin/arm64 ;;
	*) echo "onnxruntime: no npm package for $(uname -s) $(uname -m)" >&2; exit 2 ;;
	esac
	lib=$(find "$tmp" -path "*/$part/libonnxruntime*" | head -n 1)
else
	echo "onnxruntime: needs python3 with pip, or npm" >&2
	exit 2
fi
[ -n "$lib" ] || { echo "onnxruntime: the package holds no library for this system" >&2; exit 2; }
cp "$lib" "$dir/"
ls -l "$dir"
