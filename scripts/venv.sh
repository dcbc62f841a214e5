#!/bin/sh
# Makes build/venv with the Python packages that the peers' checks need: venv.sh PACKAGE...
set -eu
cd "$(dirname "$0")/.."
[ -x build/venv/bin/python ] || python3 -m venv build/venv
build/venv/bin/python -m pip install -q --disable-pip-version-check "$@"
