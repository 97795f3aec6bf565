#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tools/linux/selftests.sh FOLDER
# Downloads Debian's newest source of the kernel from the apt sources of this machine, takes the x86
# selftests from it, and builds those programs into the folder that can be linked statically for 64
# bits. Nothing is installed. Two are left out: syscall_numbering takes hours in an emulator, and
# sysret_ss_attrs fails on Bochs without a hypervisor, too (docs/EMULATOR-GAPS.md).
set -e
programs="check_initial_reg_state corrupt_xstate_header fsgsbase fsgsbase_restore ioperm iopl
    ldt_gdt mov_ss_trap ptrace_syscall sigaltstack sigreturn sigtrap_loop single_step_syscall
    syscall_arg_fault syscall_nt sysret_rip test_mremap_vdso test_vsyscall"
mkdir -p "$(dirname "$1")"
folder=$(cd "$(dirname "$1")" && pwd)/$(basename "$1") new=$folder.new
package=$(apt-cache depends linux-source | sed -n "s/^  Depends: \(linux-source-\)/\1/p")
if [ -z "$package" ]; then
    echo "selftests: apt has no package linux-source: run apt-get update" >&2
    exit 1
fi
rm -rf "$new" && mkdir -p "$new/tree" "$new/programs"
cd "$new/tree"
apt-get download -qq "$package" 2>apt.log || { cat apt.log >&2; exit 1; }
dpkg-deb --fsys-tarfile ./*.deb | tar -xO --wildcards './usr/src/*.tar.xz' |
    tar -xJ --wildcards '*/tools/testing/selftests/x86/*' '*/tools/testing/selftests/*.h' \
        '*/arch/x86/include/asm/desc_defs.h'
cd ./*/tools/testing/selftests/x86
for program in $programs; do
    case $program in
    check_initial_reg_state) more=-Wl,-ereal_start ;;
    *) more= ;;
    esac
    gcc -m64 -static -no-pie -O2 -std=gnu99 -pthread -w -I. -I.. -o "$new/programs/$program" \
        $program.c $more
done
mv "$new/programs" "$folder"
cd /
rm -rf "$new"
