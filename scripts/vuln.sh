#!/bin/sh
# Runs govulncheck. Where the vulnerability database cannot be reached that is said, and is no failure.
set -u
cd "$(dirname "$0")/.."
out=$(go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./... 2>&1)
code=$?
printf '%s\n' "$out"
case "$out" in
*"no such host"* | *"connection refused"* | *"i/o timeout"* | *"network is unreachable"*)
	echo "vuln: the vulnerability database cannot be reached from here; nothing was checked"
	exit 0
	;;
esac
exit $code
