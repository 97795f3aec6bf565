#!/bin/sh
# Prints the command that runs CBMC: the installed one, or Debian 13's, unpacked below $1 beside its
# own libraries. Nothing is installed.
set -e
root=$1
command -v cbmc && exit 0
mkdir -p "$root"
root=$(cd "$root" && pwd)
lib=$root/usr/lib/x86_64-linux-gnu
if [ ! -x "$root/usr/bin/cbmc" ]; then
    if [ -n "$NO_DEPS" ]; then
        echo "cbmc: not installed, and NO_DEPS forbids to download it" >&2
        exit 1
    fi
    apt=$root/apt
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    mirror=$(sed -n 's,^\(URIs: *\|deb \(\[[^]]*\] \)\?\)\(http[^ ]*\).*,\3,p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security | head -1)
    if [ -z "$mirror" ]; then
        echo "cbmc: apt's sources name no Debian mirror; add one, or install cbmc" >&2
        exit 1
    fi
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
        "$mirror trixie main" > "$apt/sources.list"
    set -- -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt" \
        -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o APT::Get::List-Cleanup=0
    apt-get "$@" update >&2
    cd "$apt/archives"
    apt-get "$@" download cbmc libc6 libstdc++6 libgcc-s1 minisat zlib1g >&2
    for package in *.deb; do
        dpkg-deb -x "$package" "$root"
    done
    rm -rf "$root/etc"
fi
loader=$(find "$root" -name 'ld-linux-x86-64.so.2' | head -1)
echo "$loader --library-path $lib:$root/usr/lib $root/usr/bin/cbmc"
