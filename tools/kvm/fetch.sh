#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tools/kvm/fetch.sh FOLDER [PACKAGE]
# Downloads Debian's stock cloud kernel from the apt sources of this machine and unpacks it into the
# folder: vmlinuz, the modules of tools/linux/modules.sh, and `package` with the name and version.
# Nothing is installed.
set -e
tools=$(cd "$(dirname "$0")/.." && pwd)
folder=$1
meta=linux-image-cloud-amd64 # depends on the newest kernel package
package=${2:-$(apt-cache depends $meta | sed -n "s/^  Depends: \(linux-image-\)/\1/p")}
if [ -z "$package" ]; then
    echo "kvm: apt has no package $meta: run apt-get update, or set KERNEL= to a package" >&2
    exit 1
fi
rm -rf "$folder" && mkdir -p "$folder/tree"
cd "$folder"
apt-get download -qq "$package" 2>apt.log || { cat apt.log >&2; exit 1; }
dpkg-deb -x ./*.deb tree
dpkg-deb -f ./*.deb Package Version >package
mv tree/boot/vmlinuz-* vmlinuz
"$tools/linux/modules.sh" tree .
rm -rf tree ./*.deb
