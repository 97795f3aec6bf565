#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a program of another Debian release: tools/unpack.sh RELEASE FOLDER PROGRAM PACKAGE...
#
# Downloads the packages and the libraries that they depend on with an apt state of its own, unpacks
# them below FOLDER, and prints the command that runs PROGRAM with that release's loader and
# libraries. Nothing is installed. What FOLDER already holds is not downloaded again.
set -e
release=$1 folder=$2 program=$3
shift 3

fail() {
    echo "unpack: $program of Debian $release: $1" >&2
    exit 1
}

# The named packages and libraries; other packages that they depend on are not needed to run them.
choose() {
    apt-get -qq --no-install-recommends --print-uris install $packages |
        sed -n "s/^'[^']*' \([^_]*\)_.*/\1/p" | while read -r name; do
        case " $packages " in *" $name "*) echo "$name" && continue ;; esac
        case $name in *-dev) ;; lib*) echo "$name" ;; esac
    done
}

download() {
    rm -rf "$new"
    APT_CONFIG=$("$tools/release.sh" "$new/apt" "$release") || fail "apt-get update failed"
    export APT_CONFIG
    names=$(choose)
    [ -n "$names" ] || fail "apt finds no such packages: $packages"
    cd "$new/apt/archives"
    apt-get -qq download $names >&2 || fail "apt-get download failed"
    for package in *.deb; do
        dpkg-deb -x "$package" "$new"
    done
    rm -rf "$new/apt" "$new/etc" "$new/var"
    mv "$new" "$folder"
}

packages=$*
tools=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$(dirname "$folder")"
folder=$(cd "$(dirname "$folder")" && pwd)/$(basename "$folder")
new=$folder.new
# Two processes that unpack the same package wait for each other.
exec 9>"$folder.lock"
flock 9
if [ ! -d "$folder" ]; then
    [ -z "$NO_DEPS" ] || fail "not installed, and NO_DEPS forbids to download it"
    echo "unpack: $program of Debian $release, into $folder (NO_DEPS=1 turns this off)" >&2
    (download)
fi
# Older releases have the loader and libc outside of usr/; some packages put libraries in usr/lib/.
lib=$folder/usr/lib/x86_64-linux-gnu
loader=$(find "$folder/" -name ld-linux-x86-64.so.2 | head -1)
echo "$loader --library-path $folder/lib/x86_64-linux-gnu:$lib:$lib/pulseaudio:$folder/usr/lib" \
    "$folder/usr/bin/$program"
