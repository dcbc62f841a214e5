#!/bin/sh
# Looks into the archives of a release and tries the one of this machine: check_release.sh FOLDER VERSION
set -eu
dir=$1 version=$2
fail() { echo "check_release: $*" >&2; exit 1; }
(cd "$dir" && sha256sum -c --quiet SHA256SUMS) || fail "SHA256SUMS do not hold"
for target in linux_amd64 linux_arm64 darwin_amd64 darwin_arm64 windows_amd64; do
	name=syncsam-convert_$version-snapshot_$target
	case $target in
	windows*) archive=$dir/$name.zip; list=$(unzip -Z1 "$archive"); program=syncsam-convert.exe ;;
	*) archive=$dir/$name.tar.gz; list=$(tar -tzf "$archive"); program=syncsam-convert ;;
	esac
	for file in $program LICENSE README.md docs/install.md examples/ci/action.yml examples/shell/first-steps.sh schemas/manifest.schema.json man/man1/syncsam-convert-build.1 \
		completions/syncsam-convert.bash completions/_syncsam-convert completions/syncsam-convert.fish completions/syncsam-convert.ps1; do
		echo "$list" | grep -qx "$name/$file" || fail "$archive: $file is missing"
	done
	grep -q " $(basename "$archive")\$" "$dir/SHA256SUMS" || fail "$archive is not in SHA256SUMS"
	sbom=$dir/$name.cdx.json
	grep -q '"bomFormat": "CycloneDX"' "$sbom" || fail "$sbom is no CycloneDX"
	rm -rf "$dir/try"
	mkdir -p "$dir/try"
	case $archive in
	*.zip) unzip -q -o -j "$archive" "*/$program" -d "$dir/try" ;;
	*) tar -xzf "$archive" -C "$dir/try" --strip-components 1 "$name/$program" ;;
	esac
	for module in $(${GO:-go} version -m "$dir/try/$program" | awk '$1 == "dep" {print $2 "@" $3}'); do # what the program was linked of
		grep -q "pkg:golang/$module?" "$sbom" || fail "$sbom does not name $module"
	done
	echo "$archive: $(echo "$list" | wc -l) files, $(wc -c <"$archive") bytes; $(grep -c '"purl"' "$sbom") modules in its bill of materials"
done

machine=linux_amd64
[ "$(uname -m)" = aarch64 ] && machine=linux_arm64
[ "$(uname -s)" = Linux ] || { echo "check_release: no archive was tried: this machine runs $(uname -s)"; exit 0; }
rm -rf "$dir/try"
mkdir -p "$dir/try"
tar -xzf "$dir/syncsam-convert_$version-snapshot_$machine.tar.gz" -C "$dir/try" --strip-components 1
if ldd "$dir/try/syncsam-convert" >/dev/null 2>&1; then fail "the program needs shared libraries"; fi
"$dir/try/syncsam-convert" --version | grep -q "$version" || fail "have $("$dir/try/syncsam-convert" --version), want $version"
code=0
"$dir/try/syncsam-convert" doctor --engine onnxruntime >/dev/null 2>"$dir/try/error" || code=$?
[ $code -eq 2 ] && grep -q 'built without cgo' "$dir/try/error" || fail "doctor --engine onnxruntime: exit status $code, want 2 and the reason"
bash -n "$dir/try/completions/syncsam-convert.bash"
PATH=$(cd "$dir/try" && pwd):$PATH sh "$dir/try/examples/shell/first-steps.sh" golden/data/syncsam-tiny-34/syncsam-tiny-34.pth golden/data/syncsam-tiny-34 golden/data/calibration \
	golden/data/dataset/images/amos_0004_75.png 289,203,316,230 "$dir/try/out"
test -s "$dir/try/out/mask.png"
if [ $machine = linux_amd64 ] && command -v qemu-aarch64-static >/dev/null; then
	tar -xzf "$dir/syncsam-convert_$version-snapshot_linux_arm64.tar.gz" -C "$dir/try" --strip-components 1 "syncsam-convert_$version-snapshot_linux_arm64/syncsam-convert"
	qemu-aarch64-static "$dir/try/syncsam-convert" doctor
else
	echo "check_release: the program for arm64 was not started: there is no qemu-aarch64-static"
fi
echo "check_release: done"
