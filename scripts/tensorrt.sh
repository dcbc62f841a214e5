#!/bin/sh
# Puts the real libnvinfer 8.6.1 (linux, x86-64) into build/tensorrt: 0.8 GB are downloaded, 0.2 GB kept. Needs Maven and python3.
set -eu
cd "$(dirname "$0")/.."
dir=build/tensorrt
[ -f "$dir/libnvinfer.so.8" ] && exit 0
command -v mvn >/dev/null || { echo "tensorrt: needs Maven (mvn)" >&2; exit 2; }
tmp=build/tensorrt.tmp
rm -rf "$tmp"
mkdir -p "$tmp" "$dir"
trap 'rm -rf "$tmp"' EXIT
mvn -q -B dependency:copy -Dartifact=org.bytedeco:tensorrt:8.6-1.5.9:jar:linux-x86_64-redist -DoutputDirectory="$(pwd)/$tmp"
python3 - "$tmp" <<'PY'
import glob, sys, zipfile
jar = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.jar")[0])
name = next(n for n in jar.namelist() if n.endswith("/libnvinfer.so.8"))
with jar.open(name) as src, open(sys.argv[1] + "/libnvinfer.so.8", "wb") as dst:
    while chunk := src.read(1 << 20):
        dst.write(chunk)
PY
mv "$tmp/libnvinfer.so.8" "$dir/"
ls -l "$dir"
