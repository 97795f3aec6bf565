/* SPDX-License-Identifier: MIT */
/* The end of a run; see the header. */
#include "arch/x86/power.h"

#include "arch/x86/acpi.h"
#include "arch/x86/cpu.h"
#include "arch/x86/kept_log.h"
#include "arch/x86/kick.h"
#include "arch/x86/qr_log.h"
#include "arch/x86/serial.h"
#include "arch/x86/tsc.h"
#include "lib/log.h"

#define BOCHS_DEBUG_PORT 0x8900 /* Bochs: 'D' returns to the debugger, which quits */
#define QEMU_DEBUG_EXIT  0xf4   /* QEMU's isa-debug-exit: the exit status is 2 * value + 1 */
#define RESET_PORT       0xcf9

static enum on_exit on_exit;

void machine_set_on_exit(enum on_exit action)
{
    on_exit = action;
}

static void wait_for_reader(void)
{
    uint64_t khz = tsc_khz() ? tsc_khz() : 3000000, start = rdtsc();
    while (rdtsc() - start < 30000 * khz)
        __builtin_ia32_pause();
}

void machine_exit(enum exit_code code)
{
    cpus_stop_others();
    log_divert(NULL);
    log_info("EXIT %d %s", code, exit_name(code));
    kept_log_end(code);
    serial_drain();
    qr_log_show(wait_for_reader, on_exit == ON_EXIT_HALT);
    if (on_exit == ON_EXIT_POWEROFF) {
        outb(BOCHS_DEBUG_PORT, 'D');
        outb(QEMU_DEBUG_EXIT, (uint8_t)code);
        acpi_power_off();
    } else if (on_exit == ON_EXIT_REBOOT) {
        outb(RESET_PORT, 0x02);
        outb(RESET_PORT, 0x06);
    }
    for (;;)
        __asm__ volatile("cli; hlt");
}
