/* SPDX-License-Identifier: MIT */
/* Which VM is GDB's, and whether it may be. */
#include "arch/x86/serial.h"
#include "boot/boot_info.h"
#include "gdb/gdb.h"
#include "gdb/session.h"
#include "launch/modules.h"
#include "lib/log.h"
#include "lib/name_list.h"
#include "vm/vm.h"

static unsigned number; /* of the VM; 0: there is none */

enum exit_code gdb_start(const char *which, const struct boot_info *info)
{
    if (!*which)
        return EXIT_OK;
    number = module_find_guest(info, which);
    if (!number) {
        char names[NAME_LIST_MAX + 20];
        modules_list_guests(info, names, sizeof(names));
        log_error("command line: gdb=%s: no guest has this number or name; there are: %s", which,
                  names);
        return EXIT_BAD_COMMAND_LINE;
    }
    if (!serial2_init()) {
        log_error("command line: gdb=%s: this machine has no second serial port (COM2, at 0x2f8), "
                  "on which GDB would be; leave the word out",
                  which);
        return EXIT_BAD_COMMAND_LINE;
    }
    session_start(number);
    return EXIT_OK;
}

void gdb_offer(struct vm *vm)
{
    if (!number || vm->number != number)
        return;
    if (!vm->td || vm->words.tdx == TDX_DEBUG) {
        session_offer(vm);
        return;
    }
    log_error("gdb: VM %u, %s, is a TD whose state is its own; only one with tdx=debug can be "
              "debugged",
              vm->number, vm->name);
    session_refuse();
}
