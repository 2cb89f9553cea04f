#!/usr/bin/env bash
# Make a machine ready for pxOS: system packages (by apt, where it exists) and the virtual environment .venv.
#
# Runs again at no cost: nothing is done where a stamp says that this very set-up already stands. The stamp is
# written last, so an interrupted set-up is done again. Exit status 2, with one line, when it cannot be done.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    printf 'setup: %s\n' "$1" >&2
    exit 2
}

say() { printf 'setup: %s\n' "$1" >&2; }

# program or file -> Debian/Ubuntu package. A file is tested with -e, a program with command -v.
readonly NEEDS=(
    qemu-system-x86_64:qemu-system-x86
    /usr/share/qemu/qboot.rom:qemu-system-data
    grub-mkrescue:grub-common
    /usr/lib/grub/i386-pc/boot.img:grub-pc-bin
    /usr/lib/grub/x86_64-efi/moddep.lst:grub-efi-amd64-bin
    xorriso:xorriso
    mformat:mtools
    /usr/share/OVMF:ovmf
    /usr/share/misc/pci.ids:pci.ids
    as:binutils
    ld:binutils
    gdb:gdb
    bwrap:bubblewrap
    gcc:gcc
    nasm:nasm
    /usr/lib/x86_64-linux-gnu/libvulkan.so.1:libvulkan1
    /usr/lib/x86_64-linux-gnu/libvulkan_lvp.so:mesa-vulkan-drivers
)

last_error() { # log: the last line in it that says "error" as apt and pip do, for the end of a line of ours
    local line
    line=$(grep -E '^(E:|ERROR:)' "$1" | tail -n 1) || true
    [ -z "$line" ] || printf ': %s' "$line"
}

missing_packages() {
    local need what
    for need in "${NEEDS[@]}"; do
        what=${need%%:*}
        case $what in
        /*) [ -e "$what" ] || echo "${need##*:}" ;;
        *) command -v "$what" >/dev/null 2>&1 || echo "${need##*:}" ;;
        esac
    done | sort -u | tr '\n' ' '
}

apt_install() { # package ...
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || fail "not root and no sudo: install these packages yourself: $*"
        sudo=(sudo)
    fi
    say "installing system packages: $*"
    local log
    log=$(mktemp "${TMPDIR:-/tmp}/pxos-apt-XXXXXX.log")
    if ! { "${sudo[@]}" apt-get update -q &&
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; } \
        >"$log" 2>&1 </dev/null; then
        fail "apt-get could not install: $*$(last_error "$log") (details in $log)"
    fi
    rm -f "$log"
}

system_packages() {
    local packages
    packages=$(missing_packages)
    [ -n "$packages" ] || return 0
    command -v apt-get >/dev/null 2>&1 || fail "missing, and there is no apt here: install by hand: $packages"
    # shellcheck disable=SC2086 # a list of package names
    apt_install $packages
    packages=$(missing_packages)
    [ -z "$packages" ] || fail "still missing after apt-get install: $packages"
}

# The first interpreter of a supported version; PYTHON names one explicitly.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            echo "$candidate"
            return 0
        fi
    done
    fail "Python 3.11 or 3.12 is needed, found $(python3 --version 2>/dev/null || echo none): install one, or name it with PYTHON=/path/to/python3.12"
}

virtual_environment() {
    local python=$1 version
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        command -v apt-get >/dev/null 2>&1 || fail "$python lacks ensurepip: install python$version-venv"
        apt_install "python$version-venv"
    fi
    say "making the virtual environment .venv with $("$python" --version)"
    local log=build/setup.log
    { rm -rf .venv && "$python" -m venv .venv; } >"$log" 2>&1 ||
        fail "cannot make the virtual environment .venv with $python (details in $PWD/$log)"
    say "installing the locked Python packages"
    if ! { .venv/bin/python -m pip install -q --require-hashes --only-binary :all: -r requirements.lock &&
        .venv/bin/python -m pip install -q --no-deps --no-build-isolation --editable .; } >"$log" 2>&1; then
        fail "pip could not install requirements.lock$(last_error "$log") (details in $PWD/$log)"
    fi
}

# Ctrl-C is held back until pxos is there to take it: in its first 50 ms Python would answer with a traceback. Not
# where env cannot hold signals back (before coreutils 8.31), nor where a path is long or has a character that it reads.
hold_ctrl_c() {
    local script=.venv/bin/pxos first
    /usr/bin/env -S --block-signal=INT true 2>/dev/null || return 0
    IFS= read -r first <"$script"
    if [ "${#first}" -lt 90 ] && [[ $first =~ ^#!/[A-Za-z0-9_./+-]+$ ]]; then
        sed -i '1s|^#!|#!/usr/bin/env -S --block-signal=INT |' "$script"
    fi
}

fingerprint() { # of all that the environment depends on; the path too: an editable install names it
    { pwd && cat requirements.lock pyproject.toml scripts/setup.sh && "$1" --version; } | sha256sum | cut -d' ' -f1
}

main() {
    # Two makes at once: the second waits for the first.
    { mkdir -p build && : >>build/.setup.lock; } 2>/dev/null || fail "cannot write to $PWD/build"
    exec 9>>build/.setup.lock
    if command -v flock >/dev/null 2>&1; then flock 9; fi
    system_packages
    local python stamp=.venv/.pxos-setup
    python=$(find_python)
    if [ "$(cat "$stamp" 2>/dev/null || true)" != "$(fingerprint "$python")" ] || [ ! -x .venv/bin/python ]; then
        virtual_environment "$python"
        hold_ctrl_c
        # Compiled once here: where PYTHONDONTWRITEBYTECODE is set, every command would compile its modules anew.
        .venv/bin/python -m compileall -q scripts architect pixelvm
        fingerprint "$python" >"$stamp"
        say "ready"
    fi
}

main
