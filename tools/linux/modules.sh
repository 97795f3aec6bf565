#!/bin/sh
# SPDX-License-Identifier: MIT
# Takes modules from an unpacked kernel package: tools/linux/modules.sh TREE FOLDER
#
# The modules are KVM's, the drivers of virtio devices, and those by which a TD asks for its
# reports. They are written to FOLDER uncompressed and without debugging information. A module that
# is missing is built into this kernel, or the kernel does not have it yet.
set -e
for module in irqbypass kvm kvm-intel \
    virtio_ring virtio virtio_mmio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci \
    virtio_blk failover net_failover virtio_net virtio_console rng-core virtio-rng \
    configfs tsm tsm_report tdx-guest; do
    file=$(find "$1" -name "$module.ko*" | head -1)
    case $file in
    "") continue ;;
    *.xz) xz -dc "$file" >"$2/$module.ko" ;;
    *) cp "$file" "$2/$module.ko" ;;
    esac
    strip -g -R .BTF "$2/$module.ko"
done
