/* SPDX-License-Identifier: MIT */
/* The end of a run; see the header. */
#include "arch/x86/power.h"

#include "arch/x86/acpi_power.h"
#include "arch/x86/cpu.h"
#include "arch/x86/cpu_facts.h"
#include "arch/x86/emulator.h"
#include "arch/x86/guarded.h"
#include "arch/x86/host_pci.h"
#include "arch/x86/kept_log.h"
#include "arch/x86/keyboard.h"
#include "arch/x86/kick.h"
#include "arch/x86/pc_parts.h"
#include "arch/x86/qr_log.h"
#include "arch/x86/screen.h"
#include "arch/x86/serial.h"
#include "arch/x86/serial_port.h"
#include "arch/x86/tsc.h"
#include "lib/log.h"
#include "lib/log_sum.h"
#include "lib/string.h"

#define BOCHS_DEBUG_PORT 0x8900 /* Bochs: 'D' returns to the debugger, which quits */
#define QEMU_DEBUG_EXIT  0xf4   /* QEMU's isa-debug-exit: the exit status is 2 * value + 1 */

/* The reset control register of chipsets that have PCI. */
#define RESET_PORT       0xcf9
#define RESET_NOT_YET    0x02 /* a hard reset, but of RAM: it keeps the log */
#define RESET_NOW        0x06
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_FULL    BIT(1)
#define KEYBOARD_PULSE   0xfe /* pulses the line that resets the CPUs */
#define KEYBOARD_READS   10000u

#define OBEY_MS    500u /* a machine that has been told to end has ended after this time */
#define TEXT_OF(x) #x
#define AS_TEXT(x) TEXT_OF(x)

static enum on_exit on_exit;
static bool pause;
static char results[MACHINE_RESULTS_MAX];

void machine_set_on_exit(enum on_exit action)
{
    on_exit = action;
}

void machine_set_pause(bool on)
{
    pause = on;
}

void machine_set_results(const char *text)
{
    snprintf(results, sizeof(results), "%s", text);
}

/* Waits for a key on the keyboard or the serial line, but no longer than a reader may need. */
static void wait_for_key(void)
{
    uint64_t start = rdtsc(), ticks = tsc_ticks(MACHINE_HOLD_SECONDS * 1000ull);
    (void)keyboard_pressed(); /* what came before */
    for (unsigned i = 0; i < SERIAL_FIFO && serial_read() >= 0; i++)
        ;
    while (rdtsc() - start < ticks && !keyboard_pressed() && serial_read() < 0)
        __builtin_ia32_pause();
}

/* An exception in machine_exit() leads there again. Whatever the screen shows may be its cause, so
 * nothing is shown there then. */
static bool again;

static void show_verdict(enum exit_code code, const char *next)
{
    char headline[40];
    if (again)
        return;
    snprintf(headline, sizeof(headline), "EXIT %d %s", code, exit_name(code));
    const struct verdict_text text = {.verdict = code == EXIT_OK ? VERDICT_GOOD : VERDICT_BAD,
                                      .headline = headline,
                                      .reason = results[0] ? results : log_last_error(),
                                      .next = next};
    screen_verdict(&text);
}

/* Returns whether there was something to show. */
static bool show_qr(bool for_ever)
{
    return !again && qr_log_show(wait_for_key, for_ever);
}

static void wait_to_end(void)
{
    uint64_t start = rdtsc(), ticks = tsc_ticks(OBEY_MS);
    while (rdtsc() - start < ticks)
        __builtin_ia32_pause();
}

static void power_off(enum exit_code code)
{
    if (emulator_has_ports(cpu_facts()->below != HYPERVISOR_NONE)) {
        outb(BOCHS_DEBUG_PORT, 'D');
        outb(QEMU_DEBUG_EXIT, (uint8_t)code);
    }
    if (!show_qr(false) && screen_is_used())
        wait_for_key();
    if (acpi_power_off())
        wait_to_end();
    show_verdict(code, "This machine can't power off by itself; switch it off.");
}

static void reset_by_keyboard_controller(void)
{
    for (unsigned i = 0; i < KEYBOARD_READS && inb(KEYBOARD_COMMAND) & KEYBOARD_FULL; i++)
        ;
    outb(KEYBOARD_COMMAND, KEYBOARD_PULSE);
}

/* A CPU that can deliver no exception, not even a double fault, shuts down, and the machine resets
 * it (SDM 3, 6.15). */
static void triple_fault(void)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) none;
    __asm__ volatile("lidt %0; ud2" : : "m"(none));
}

/* Restarts the machine: as its tables say, then as PCs do it. Whatever has no effect costs half a
 * second, and so does a CPU that does not stop. Any of these ways may end in INIT, which is blocked
 * in VMX operation (SDM 3, 24.8), so no CPU is left in it (rule N130). */
static void restart(void)
{
    cpus_wait_stopped(OBEY_MS);
    (void)vmxoff_safe();
    serial_leave();
    if (acpi_reset())
        wait_to_end();
    if (host_pci_port_exists()) {
        outb(RESET_PORT, RESET_NOT_YET);
        outb(RESET_PORT, RESET_NOW);
        wait_to_end();
    }
    if (pc_has(PC_I8042)) {
        reset_by_keyboard_controller();
        wait_to_end();
    }
    triple_fault();
}

void machine_exit(enum exit_code code)
{
    static const char *const next[] = {
        [ON_EXIT_POWEROFF] = "Power goes off in " AS_TEXT(
            MACHINE_HOLD_SECONDS) " seconds or at a key; on_exit=halt keeps it on.",
        [ON_EXIT_REBOOT] = "The machine restarts.",
        [ON_EXIT_HALT] = "The machine has stopped; switch it off."};
    static bool ending; /* only this CPU is left that can be here */
    cpus_stop_others();
    again = ending;
    ending = true;
    serial_last_resort();
    log_divert(NULL);
    show_verdict(code, next[on_exit]);
    log_sum_print();
    log_info("EXIT %d %s", code, exit_name(code));
    kept_log_end(code);
    serial_drain();
    if (pause && !again)
        screen_show_pages(wait_for_key);
    if (on_exit == ON_EXIT_POWEROFF) {
        power_off(code);
    } else if (on_exit == ON_EXIT_REBOOT) {
        (void)show_qr(false);
        restart();
    }
    (void)show_qr(true);
    for (;;)
        __asm__ volatile("cli; hlt");
}
