#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tools/linux/selftests.sh FOLDER [RELEASE]
# Downloads the newest source of the kernel of this machine's Debian, takes the x86 selftests from
# it, and builds those programs into the folder that can be linked statically for 64 bits. Nothing
# is installed. With RELEASE, the source is that of this release, and the test of the driver
# tdx-guest is built, too. Two are left out: syscall_numbering takes hours in an emulator, and
# sysret_ss_attrs fails on Bochs without a hypervisor, too (docs/EMULATOR-GAPS.md).
set -e
tools=$(cd "$(dirname "$0")/.." && pwd)
programs="check_initial_reg_state corrupt_xstate_header fsgsbase fsgsbase_restore ioperm iopl
    ldt_gdt mov_ss_trap ptrace_syscall sigaltstack sigreturn sigtrap_loop single_step_syscall
    syscall_arg_fault syscall_nt sysret_rip test_mremap_vdso test_vsyscall"
mkdir -p "$(dirname "$1")"
folder=$(cd "$(dirname "$1")" && pwd)/$(basename "$1") new=$folder.new
rm -rf "$new" && mkdir -p "$new/tree" "$new/programs"
more_files=
if [ -n "$2" ]; then
    # Linux ends programs that use ports in a TD: their #VE becomes SIGSEGV.
    programs=$(echo $programs | sed 's/ioperm iopl //')
    more_files='*/tools/testing/selftests/tdx/*.c */include/uapi/linux/tdx-guest.h'
    APT_CONFIG=$("$tools/release.sh" "$new/apt" "$2")
    export APT_CONFIG
fi
package=$(apt-cache depends linux-source | sed -n "s/^  Depends: \(linux-source-\)/\1/p")
if [ -z "$package" ]; then
    echo "selftests: apt has no package linux-source: run apt-get update" >&2
    exit 1
fi
cd "$new/tree"
apt-get download -qq "$package" 2>apt.log || { cat apt.log >&2; exit 1; }
set -f # the patterns are for tar
dpkg-deb --fsys-tarfile "$(find . -name '*.deb')" | tar -xO --wildcards './usr/src/*.tar.xz' |
    tar -xJ --wildcards '*/tools/testing/selftests/x86/*' '*/tools/testing/selftests/*.h' \
        '*/arch/x86/include/asm/desc_defs.h' $more_files
set +f
cd ./*/tools/testing/selftests/x86
for program in $programs; do
    case $program in
    check_initial_reg_state) more=-Wl,-ereal_start ;;
    fsgsbase_restore | sysret_rip) more=$(find . -name clang_helpers_64.S) ;; # since 6.3
    *) more= ;;
    esac
    gcc -m64 -static -no-pie -O2 -std=gnu99 -pthread -w -I. -I.. -o "$new/programs/$program" \
        $program.c $more
done
if [ -n "$2" ]; then
    # The system's headers may be older than the driver; a header beside the test is found first.
    cd ../tdx
    mkdir linux && cp ../../../../include/uapi/linux/tdx-guest.h linux
    gcc -static -O2 -w -I. -I.. -o "$new/programs/tdx_guest_test" tdx_guest_test.c
fi
mv "$new/programs" "$folder"
cd /
rm -rf "$new"
