#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the packages that a target lacks: tools/deps.sh GROUP... (`all` for everything). It is
# fast when nothing is missing, because it only checks one file of each package. With NO_DEPS=1
# nothing is installed.

table='
base   python3              /usr/bin/python3
base   grub-common          /usr/share/grub/unicode.pf2
base   linux-libc-dev       /usr/include/linux/virtio_ring.h
unit   libc6-dev            /usr/include/stdio.h
unit   libcmocka-dev        /usr/include/cmocka.h
unit   libzydis-dev         /usr/include/Zydis/Zydis.h
unit   openssl              /usr/bin/openssl
bochs  bochs                /usr/bin/bochs-bin
bochs  bochsbios            /usr/share/bochs/BIOS-bochs-latest
bochs  vgabios              /usr/share/vgabios/vgabios.bin
bochs  seabios              /usr/share/seabios/bios.bin
grub   grub-common          /usr/bin/grub-mkrescue
grub   grub-pc-bin          /usr/lib/grub/i386-pc/multiboot2.mod
grub   xorriso              /usr/bin/xorriso
grub   mtools               /usr/bin/mformat
efi    grub-efi-amd64-bin   /usr/lib/grub/x86_64-efi/multiboot2.mod
efi    ovmf                 /usr/share/ovmf/OVMF.fd
image  grub-efi-ia32-bin    /usr/lib/grub/i386-efi/multiboot2.mod
qemu   qemu-system-x86      /usr/bin/qemu-system-x86_64
pytest python3-pytest       /usr/lib/python3/dist-packages/pytest
pytest python3-pytest-xdist /usr/lib/python3/dist-packages/xdist
pytest ovmf-ia32            /usr/share/OVMF/OVMF32_CODE_4M.secboot.fd
pytest grub-efi-ia32-bin    /usr/lib/grub/i386-efi/multiboot2.mod
pytest acpica-tools         /usr/bin/iasl
pytest zbar-tools           /usr/bin/zbarimg
ui     chromium             /usr/bin/chromium
ui     chromium-driver      /usr/bin/chromedriver
ui     python3-selenium     /usr/lib/python3/dist-packages/selenium
pytest gdb                  /usr/bin/gdb
gdb    gdb                  /usr/bin/gdb
kvm    xz-utils             /usr/bin/xz
kernels lz4                 /usr/bin/lz4
kernels zstd                /usr/bin/zstd
spin   spin                 /usr/bin/spin
lint   clang                /usr/bin/clang
lint   cppcheck             /usr/bin/cppcheck
fresh  debootstrap          /usr/sbin/debootstrap
debian mmdebstrap           /usr/bin/mmdebstrap
debian e2fsprogs            /usr/sbin/mke2fs
bench  python3-matplotlib   /usr/lib/python3/dist-packages/matplotlib
fuzz   libclang-rt-dev      /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-x86_64.a
'

# Whether a file exists, or the first match of a pattern that the shell has expanded.
exists() {
    [ -e "$1" ]
}

groups=" $* "
missing=
while read -r group package file; do
    [ -n "$group" ] && ! exists $file || continue
    case $groups in
    *" $group "* | *" all "*) missing="$missing $package" ;;
    esac
done <<TABLE
$table
TABLE
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
if [ -n "$NO_DEPS" ]; then
    echo "deps: missing:$missing. Type: $install" >&2
    exit 1
elif [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
else
    echo "deps: missing:$missing. As root, type: $install" >&2
    exit 1
fi
echo "deps: installing$missing (NO_DEPS=1 turns this off)" >&2

$as_root apt-get update -qq &&
    $as_root env DEBIAN_FRONTEND=noninteractive $install -qq >/dev/null
