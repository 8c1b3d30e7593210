# shellcheck shell=bash
# What the scripts that try a cluster say and how they wait. To be sourced.

note() { printf -- '-- %s (%ss)\n' "$*" "$SECONDS"; }
ok() { printf 'OK: %s\n' "$*"; }
fail() {
    printf 'FAIL: %s\n' "$*" >&2
    exit 1
}

# eventually SECONDS COMMAND…: whether the command succeeds within that time.
eventually() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 1
    done
}
