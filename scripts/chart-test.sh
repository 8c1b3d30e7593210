#!/usr/bin/env bash
# Renders the Helm chart with Helm's own engine and checks what comes out; no cluster is needed.
#
#   scripts/chart-test.sh            compare with deploy/golden
#   scripts/chart-test.sh --update   write deploy/golden anew
#
# Needs Python 3.10 or newer with venv; installs the rest below target/.
set -euo pipefail
cd "$(dirname "$0")/.."

venv="${CARGO_TARGET_DIR:-target}/chart-venv"
packages=(helm-python-sdk==0.2.2 kubernetes-validate==1.37.0)

if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "chart-test: needs Python 3.10 or newer with venv (Debian: apt-get install python3-venv)" >&2
    exit 1
fi
if [ "$(cat "$venv/packages" 2>/dev/null)" != "${packages[*]}" ]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
    echo "${packages[*]}" >"$venv/packages"
fi
# Helm's engine writes a line to stderr for each mistake that the chart finds; the checks print what matters of it.
"$venv/bin/python" tests/chart/check.py "$@" 2> >(grep -v 'funcMap fail' >&2)
