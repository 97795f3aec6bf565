#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tools/kvm/fetch.sh FOLDER [PACKAGE]
# Downloads Debian's stock cloud kernel from the apt sources of this machine and unpacks it into the
# folder: vmlinuz, the modules that are listed below, and `package` with the name and version.
# Nothing is installed.
set -e
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
for module in irqbypass kvm kvm-intel \
    virtio_ring virtio virtio_mmio virtio_blk failover net_failover virtio_net; do
    file=$(find tree -name "$module.ko*" | head -1)
    case $file in
    "") continue ;; # it is a part of this kernel
    *.xz) xz -dc "$file" >"$module.ko" ;;
    *) mv "$file" "$module.ko" ;;
    esac
    strip -g -R .BTF "$module.ko"
done
rm -rf tree ./*.deb
