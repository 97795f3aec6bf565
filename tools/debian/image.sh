#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes a small Debian with systemd for `make debian`: tools/debian/image.sh FOLDER RELEASE
#
# FOLDER gets `root.img`, an ext4 file system; `vmlinuz` and `initrd.img`, the kernel and the
# initramfs as Debian's packages have put them into /boot; and `package` with the kernel's name and
# version. Packages are installed in a chroot, for which this has to be root.
set -e
SIZE=384   # MiB of root.img
NEEDS=1500 # MiB of disk while it is made
INCLUDE=systemd-sysv,udev,kmod,zstd,initramfs-tools,linux-image-cloud-amd64
tools=$(cd "$(dirname "$0")/.." && pwd)
folder=$1 release=$2

fail() {
    echo "debian: $1" >&2
    exit 1
}

case $release in
bookworm | trixie) ;;
*) fail "RELEASE=$release: choose from bookworm and trixie" ;;
esac
mkdir -p "$(dirname "$folder")"
free=$(df -m --output=avail "$(dirname "$folder")" | tail -n 1 | tr -d " ")
[ "$free" -ge $NEEDS ] ||
    fail "to make its image takes $NEEDS MiB of disk, and $(dirname "$folder") has $free MiB left"
if [ "$(id -u)" != 0 ]; then
    [ -z "$NO_DEPS" ] && command -v sudo >/dev/null ||
        fail "its image can only be made by root; as root, type: $0 $folder $release"
    exec sudo "$0" "$folder" "$release"
fi
# The chroot's file systems are mounted for this process alone, so that none outlives it.
[ -n "$DEBIAN_UNSHARED" ] || DEBIAN_UNSHARED=1 exec unshare --mount "$0" "$folder" "$release"
"$tools/deps.sh" debian
mirror=$("$tools/mirror.sh")
echo "debian: makes the image of Debian $release, once. It downloads some 100 MB, and takes two" \
    "minutes and $SIZE MB of disk, in $folder/" >&2

new=$folder.new tree=$folder.new/tree
rm -rf --one-file-system "$new"
mkdir -p "$new"
set --
for left_out in man doc info locale; do
    set -- "$@" --dpkgopt="path-exclude=/usr/share/$left_out/*"
done
mmdebstrap --quiet --mode=root --variant=minbase --include=$INCLUDE "$@" "$release" "$tree" \
    "$mirror" >"$new.log" 2>&1 || {
    tail -n 20 "$new.log" >&2
    fail "the packages of Debian $release could not be installed; all messages are in $new.log"
}

# systemd gives up a device after 90 seconds, and with it the login at ttyS0. An emulator on a busy
# computer takes longer.
mkdir -p "$tree/etc/systemd/system.conf.d"
printf '[Manager]\nDefaultDeviceTimeoutSec=infinity\nDefaultTimeoutStartSec=infinity\n' \
    >"$tree/etc/systemd/system.conf.d/slow.conf"
# A VM has no virtual terminals, no LVM, and maybe no network.
for unit in getty-static.service getty@tty1.service e2scrub_reap.service apt-daily.timer \
    apt-daily-upgrade.timer; do
    ln -s /dev/null "$tree/etc/systemd/system/$unit"
done
# With PCI=1 what is typed goes to hvc0, whose driver Debian 12 loads after systemd has looked for
# consoles, so that nobody could log in there.
mkdir -p "$tree/etc/udev/rules.d"
echo 'KERNEL=="hvc0", ENV{SYSTEMD_WANTS}+="serial-getty@hvc0.service"' \
    >"$tree/etc/udev/rules.d/hvc0.rules"
# Root logs in without a password.
chroot "$tree" passwd --quiet --delete root
echo debian >"$tree/etc/hostname"
echo "127.0.0.1 localhost debian" >"$tree/etc/hosts"
echo "/dev/vda / ext4 errors=remount-ro 0 1" >"$tree/etc/fstab"
sed 's,^#!.*,#!/bin/bash,' "$tools/linux/resize" >"$tree/usr/local/bin/resize"
chmod 755 "$tree/usr/local/bin/resize"

dpkg-query --admindir="$tree/var/lib/dpkg" --show 'linux-image-[0-9]*-amd64' >"$new/package"
cp "$tree"/boot/vmlinuz-* "$new/vmlinuz"
cp "$tree"/boot/initrd.img-* "$new/initrd.img"
truncate -s ${SIZE}M "$new/root.img"
mke2fs -q -F -t ext4 -b 4096 -L root -m 1 -J size=4 -d "$tree" "$new/root.img"
rm -rf --one-file-system "$tree" "$new.log"
chown -R --reference="$(dirname "$folder")" "$new"
rm -rf "$folder"
mv "$new" "$folder"
