#!/usr/bin/env bash
# Makes stand-ins for the two base images of deploy/Dockerfile, under the names the Dockerfile gives them, for
# machines that cannot pull images. An image that the engine already has is left alone.
#
#   tests/container/base-images.sh
#
# Needs root, debootstrap, a Docker engine and this machine's Rust (from rustup). Debian packages come from
# debootstrap's mirror, or from DEBIAN_MIRROR. Crates that cargo has on this machine are put into the builder.
set -euo pipefail
cd "$(dirname "$0")/../.."

default() { sed -n "s/^ARG $1=//p" deploy/Dockerfile; }
has() { docker image inspect "$1" >/dev/null 2>&1; }
die() { echo "base-images.sh: $*" >&2 && exit 1; }

builder=$(default BUILDER_IMAGE)
runtime=$(default RUNTIME_IMAGE)
if has "$builder" && has "$runtime"; then
    echo "$builder and $runtime are here"
    exit 0
fi
[ "$(id -u)" = 0 ] || die "debootstrap needs root"
command -v debootstrap >/dev/null || die "debootstrap is missing (apt-get install debootstrap)"
docker version >/dev/null 2>&1 || die "no Docker engine answers (docker version says why)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs"

debian() { # <folder> <debootstrap's options…>
    local folder=$1
    shift
    debootstrap --variant=minbase --cache-dir="$work/debs" "$@" bookworm "$folder" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} \
        >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2 && die "debootstrap failed"; }
    # What Debian's slim images leave out, and what debootstrap leaves behind.
    (
        cd "$folder"
        find usr/share/doc -mindepth 1 ! -type d ! -name copyright -delete
        find usr/share/doc -mindepth 1 -type d -empty -delete
        rm -rf usr/share/{man,info,lintian,linda,locale,groff}/* etc/{hostname,resolv.conf,machine-id} \
            var/lib/apt/lists/* var/cache/apt/*.bin var/cache/apt/archives/*.deb var/log/*
    )
}

import() { # <folder> <name> <changes…>
    local folder=$1 name=$2
    shift 2
    tar -C "$folder" -c . | docker import --message "a stand-in for $name" "$@" - "$name" >/dev/null
    echo "made a stand-in for $name"
}

if ! has "$runtime"; then
    debian "$work/runtime"
    import "$work/runtime" "$runtime" --change 'CMD ["bash"]'
fi

if ! has "$builder"; then
    toolchain=$(rustc --print sysroot)
    [ "$toolchain" != /usr ] || die "Rust is not from rustup; its folder cannot be copied on its own"
    debian "$work/builder" --include=ca-certificates,gcc,libc6-dev
    mkdir -p "$work/builder/usr/local/rust" "$work/builder/usr/local/cargo/registry"
    tar -C "$toolchain" --exclude ./share --exclude ./lib/rustlib/src -c . | tar -C "$work/builder/usr/local/rust" -x
    # Certificates this machine trusts: it may be behind a proxy that has its own.
    cp /etc/ssl/certs/ca-certificates.crt "$work/builder/etc/ssl/certs/"
    # Only the crates that the lock file names; the rest of what cargo keeps may be large.
    registry=${CARGO_HOME:-$HOME/.cargo}/registry
    if [ -d "$registry/cache" ] && [ -d "$registry/index" ]; then
        cp -a "$registry/index" "$work/builder/usr/local/cargo/registry/"
        sed -n 'N; s/^name = "\(.*\)"\nversion = "\(.*\)"$/\1-\2.crate/p; D' Cargo.lock | while read -r crate; do
            for file in "$registry"/cache/*/"$crate"; do
                [ -f "$file" ] || continue
                folder="$work/builder/usr/local/cargo/registry/cache/$(basename "$(dirname "$file")")"
                mkdir -p "$folder" && cp "$file" "$folder/"
            done
        done
    fi
    import "$work/builder" "$builder" --change 'ENV CARGO_HOME=/usr/local/cargo' \
        --change 'ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
fi
