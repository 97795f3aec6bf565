#!/bin/sh
# SPDX-License-Identifier: MIT
# Downloads the newest kernel of a Debian release: tools/linux/fetch.sh FOLDER RELEASE METAPACKAGE
#
# FOLDER gets the bzImage as `vmlinuz`, the kernel in it as `vmlinux`, the modules that modules.sh
# lists, and `package` with the name and version. Nothing is installed.
set -e
tools=$(cd "$(dirname "$0")/.." && pwd)
folder=$1 release=$2 meta=$3
rm -rf "$folder" "$folder.new"
mkdir -p "$folder.new"
cd "$folder.new"
APT_CONFIG=$("$tools/release.sh" apt "$release")
export APT_CONFIG
package=$(apt-cache depends "$meta" | sed -n "s/^  Depends: \(linux-image-\)/\1/p")
if [ -z "$package" ]; then
    echo "fetch: Debian $release has no kernel that $meta names" >&2
    exit 1
fi
# Since Linux 7, the image and the modules are in packages of their own.
parts=$(apt-cache depends "$package" | sed -n "s/^  Depends: \(linux-\(binary\|modules\)-\)/\1/p")
apt-get -qq download "$package" $parts >&2
dpkg-deb -f "$(find . -name "${package}_*.deb")" Package Version >package
for archive in *.deb; do
    dpkg-deb -x "$archive" tree
done
mv "$(find tree -name "vmlinuz*" -type f)" vmlinuz
"$tools/linux/modules.sh" tree .
"$tools/vmlinux.py" vmlinuz vmlinux
rm -rf apt tree ./*.deb
cd "$OLDPWD" && mv "$folder.new" "$folder"
