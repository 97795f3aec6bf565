#!/bin/sh
# SPDX-License-Identifier: MIT
# Boots the image of `make image` as a stick in emulators, and compares how each boot ends with how
# it has to end. QEMU without KVM has no VMX, and the hypervisor has to say so; in Bochs all checks
# have to pass. A line is printed for each boot, and the status is 0 if all have ended as expected.
#
#   tools/try-image.sh [qemu-bios] [qemu-efi] [bochs-bios] [bochs-efi] [net-bios] [net-efi]
#
# Without arguments it tries the first three; bochs-efi takes a minute, and the last two boot what
# `make netboot` has made. IMAGE= and NETBOOT= are the image and the folder, BOCHS= chooses the
# version of Bochs, SMP= the number of CPUs, MEM= the RAM in MiB (256; the entry `linux` needs 512),
# and TIMEOUT= the seconds of CPU time that a boot may take (300; the entry `stress` needs more).

cd "$(dirname "$0")/.." || exit 1
image=${IMAGE:-build/eptvisor.iso}
tools/deps.sh base bochs efi qemu || exit 123
netboot=${NETBOOT:-build/netboot}
status=0

# try NAME MEDIUM MACHINE METHOD LINE: boots, and expects this last line.
try() {
    folder=build/run/${NAME:-try-image}-$1
    CMDLINE= GUESTS= NAME=${folder#build/run/} tools/run.py --medium "$2" --machine "$3" \
        --method "$4" --timeout "${TIMEOUT:-300}" >"$folder.txt" 2>&1
    got=$?
    last=$(grep '^EXIT ' "$folder.txt" | tail -n 1)
    if [ "$last" = "$5" ] && [ "$got" = "$(echo "$5" | cut -d ' ' -f 2)" ]; then
        echo "ok $1: $last"
    else
        status=1
        echo "not ok $1: status $got, ${last:-no EXIT line} instead of $5; $folder.txt says why"
    fi
}

mkdir -p build/run
for name in ${*:-qemu-bios qemu-efi bochs-bios}; do
    case $name in
    qemu-bios) try "$name" "$image" qemu-tcg grub-bios "EXIT 10 no-vmx" ;;
    qemu-efi) try "$name" "$image" qemu-tcg grub-efi "EXIT 10 no-vmx" ;;
    bochs-bios) try "$name" "$image" bochs grub-bios "EXIT 0 ok" ;;
    bochs-efi) try "$name" "$image" bochs grub-efi "EXIT 0 ok" ;;
    net-bios) try "$name" "$netboot" qemu-tcg grub-bios "EXIT 10 no-vmx" ;;
    net-efi) try "$name" "$netboot" qemu-tcg grub-efi "EXIT 10 no-vmx" ;;
    *) echo "try-image: there is no boot $name" >&2; exit 123 ;;
    esac
done
exit $status
