# Sourced by the scripts beside it and by initramfs/build: where things are,
# and how a long step reports itself. Knows nothing of what the steps do.
# shellcheck shell=bash

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${XGET_BUILD:-$REPO/build}
# Where `make install` put this there is nothing to build.
[ -n "${XGET_BUILD:-}" ] || [ -e "$REPO/Cargo.toml" ] || BUILD=/var/cache/xget
TARGET=x86_64-unknown-linux-musl
# Tools like ip, tc and modprobe are outside an ordinary user's PATH on Debian.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:$HOME/.cargo/bin"

say() { printf '%s: %s\n' "${0##*/}" "$*"; }
warn() { printf '%s: warning: %s\n' "${0##*/}" "$*" >&2; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# where_binary: the path of the static release binary.
where_binary() { printf '%s\n' "${CARGO_TARGET_DIR:-$REPO/target}/$TARGET/release/xget"; }

# where_agent: the path of what the initramfs carries of it.
where_agent() { printf '%s-init\n' "$(where_binary)"; }

# oldest_rust: the oldest compiler that is promised, `rust-version` in Cargo.toml.
oldest_rust() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$REPO/Cargo.toml"; }

# has_toolchain VERSION: whether rustup has it here, without fetching it.
has_toolchain() { RUSTUP_AUTO_INSTALL=0 cargo "+$1" --version >/dev/null 2>&1; }

# logged NAME COMMAND...: run a step with its output in build/NAME.log; the
# terminal gets one line, and the end of the log if the step fails.
logged() {
    local log=$BUILD/$1.log
    shift
    mkdir -p "$BUILD"
    say "  (output in ${log#"$REPO"/})"
    if ! "$@" >"$log" 2>&1; then
        tail -n 25 "$log" >&2
        die "failed: $* (whole output in $log)"
    fi
}

# as_root COMMAND...: run it as root, directly or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this step needs root: run it as root or install sudo: $*"
    fi
}

# refresh_lists: apt knows what its mirror has now.
refresh_lists() {
    say "refreshing apt's package lists"
    logged apt-lists as_root apt-get -o DPkg::Lock::Timeout=120 update
}
