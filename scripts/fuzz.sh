#!/usr/bin/env bash
# Runs each fuzz target for so many seconds (60 by default) and prints executions and findings in one table.
# What is found lies in fuzz/artifacts/<target>; `cargo +nightly fuzz run <target> <file>` plays it again.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
targets=(frames handshake reconciliation peers recovery)
if ! cargo +nightly --version >/dev/null 2>&1 || ! cargo fuzz --version >/dev/null 2>&1; then
    echo "this needs: rustup toolchain install nightly && cargo install cargo-fuzz" >&2
    exit 1
fi

# The file of the store is written for each execution: in memory, where there is such a folder.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi
# No unsafe code of ours is in them, and the address sanitizer makes them several times slower.
cargo +nightly fuzz build --sanitizer none >&2

# New inputs go to a folder of their own: fuzz/corpus is kept in the repository and small.
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
failed=0
printf '%-16s %10s %14s %10s %10s\n' target seconds executions 'per s' findings
for target in "${targets[@]}"; do
    mkdir -p "$found/$target" "fuzz/corpus/$target"
    log=$found/$target.log
    result=0
    cargo +nightly fuzz run --sanitizer none "$target" "$found/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -max_len=4096 -print_final_stats=1 >"$log" 2>&1 || result=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log" | tail -1)
    printf '%-16s %10s %14s %10s %10s\n' "$target" "$seconds" "${executions:-?}" "${rate:-?}" "$((result != 0))"
    if [ "$result" != 0 ]; then
        failed=1
        tail -40 "$log" >&2
    fi
done
exit "$failed"
