/* SPDX-License-Identifier: MIT */
/* The end of a run; see the header. */
#include "arch/x86/power.h"

#include "arch/x86/acpi.h"
#include "arch/x86/cpu.h"
#include "arch/x86/emulator.h"
#include "arch/x86/kick.h"
#include "arch/x86/serial.h"
#include "lib/log.h"

#define BOCHS_DEBUG_PORT 0x8900 /* Bochs: 'D' returns to the debugger, which quits */
#define QEMU_DEBUG_EXIT  0xf4   /* QEMU's isa-debug-exit: the exit status is 2 * value + 1 */
#define RESET_PORT       0xcf9

#define CPUID1_ECX_HYPERVISOR BIT(31)

static enum on_exit on_exit;

void machine_set_on_exit(enum on_exit action)
{
    on_exit = action;
}

static const char *exit_name(enum exit_code code)
{
    switch (code) {
#define X(name, number, text) \
    case EXIT_##name:         \
        return text;
        EXIT_CODES(X)
#undef X
    }
    return "?";
}

void machine_exit(enum exit_code code)
{
    cpus_stop_others();
    serial_last_resort();
    log_divert(NULL);
    log_info("EXIT %d %s", code, exit_name(code));
    serial_drain();
    if (on_exit == ON_EXIT_POWEROFF) {
        if (emulator_has_ports(cpuid(1, 0).ecx & CPUID1_ECX_HYPERVISOR)) {
            outb(BOCHS_DEBUG_PORT, 'D');
            outb(QEMU_DEBUG_EXIT, (uint8_t)code);
        }
        acpi_power_off();
    } else if (on_exit == ON_EXIT_REBOOT) {
        outb(RESET_PORT, 0x02);
        outb(RESET_PORT, 0x06);
    }
    for (;;)
        __asm__ volatile("cli; hlt");
}
