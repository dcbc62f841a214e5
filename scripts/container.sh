#!/bin/sh
# Builds the images of Containerfile with buildah or podman, offline, and tries them: container.sh PROGRAM STATIC_PROGRAM. PROGRAM has cgo, and ONNX Runtime lies in
# build/onnxruntime. Without buildah and podman it says so, and tries the same folders under chroot where it may. The images are left as localhost/syncsam-convert.
set -eu
cd "$(dirname "$0")/.."
program=$1 static=$2
context=build/container
version=$(sed -n 's/^const Version = "\(.*\)"/\1/p' internal/version/version.go)
date=$(git log -1 --format=%ct)
rm -rf "$context"
for root in static onnxruntime; do
	mkdir -p "$context/$root/usr/bin" "$context/$root/etc/ssl/certs" "$context/$root/usr/share/doc/syncsam-convert" "$context/$root/tmp" "$context/$root/work"
	chmod 1777 "$context/$root/tmp" "$context/$root/work"
	cp LICENSE "$context/$root/usr/share/doc/syncsam-convert/"
	certificates=/etc/ssl/certs/ca-certificates.crt
	[ -s $certificates ] || { echo "container: $certificates: missing, want Debian's package ca-certificates, or that of your system" >&2; exit 2; }
	cp $certificates "$context/$root/etc/ssl/certs/"
	printf 'nonroot:x:65532:65532::/work:/sbin/nologin\n' >"$context/$root/etc/passwd"
done
cp "$static" "$context/static/usr/bin/syncsam-convert"
cp "$program" "$context/onnxruntime/usr/bin/syncsam-convert"
library=$(ls build/onnxruntime/libonnxruntime.so.* | head -n 1)
mkdir -p "$context/onnxruntime/usr/build/onnxruntime"
cp "$library" "$context/onnxruntime/usr/build/onnxruntime/" # where the program looks for it: beside its own folder
{ ldd "$program"; ldd "$library"; } | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | sort -u | while read -r lib; do # with the loader
	mkdir -p "$context/onnxruntime$(dirname "$lib")"
	cp -L "$lib" "$context/onnxruntime$lib"
done

tool=
for t in buildah podman; do command -v $t >/dev/null && { tool=$t; break; }; done
for root in static onnxruntime; do
	rm -rf "$context/out"
	mkdir -p "$context/out"
	chmod 777 "$context/out"
	cp golden/data/syncsam-tiny-34/syncsam-tiny-34.pth "$context/out/model.pth"
	engine=go
	[ $root = onnxruntime ] && engine=onnxruntime
	if [ -z "$tool" ]; then
		echo "container: there is neither buildah nor podman: no image of $root was built"
		if [ "$(id -u)" -eq 0 ]; then
			cp "$context/out/model.pth" "$context/$root/work/"
			chroot "$context/$root" /usr/bin/syncsam-convert doctor --engine $engine
			chroot "$context/$root" /usr/bin/syncsam-convert build /work/model.pth -o /work/artifact
			rm -rf "$context/$root/work/model.pth" "$context/$root/work/artifact"
			echo "container: the folder of $root was tried under chroot"
		fi
		continue
	fi
	tag=localhost/syncsam-convert:$version
	[ $root = static ] || tag=$tag-$root
	$tool build --isolation chroot --timestamp "$date" --build-arg ROOT=$root -t "$tag" -f Containerfile "$context"
	case $tool in
	buildah)
		made=$(buildah from "$tag")
		trap 'buildah rm "$made" >/dev/null 2>&1 || true' EXIT
		inside() { buildah run --isolation chroot -v "$PWD/$context/out:/work" "$made" -- /usr/bin/syncsam-convert "$@"; }
		;;
	podman) inside() { podman run --rm --network none -v "$PWD/$context/out:/work" "$tag" "$@"; } ;;
	esac
	inside doctor --engine $engine
	inside build model.pth -o artifact
	test -s "$context/out/artifact/manifest.json"
	[ $tool = podman ] || { buildah rm "$made" >/dev/null; trap - EXIT; }
	$tool images "$tag"
done
echo "container: done"
