/* The life of the hypervisor, from the boot loader to the last line. */
#include "arch/x86/acpi.h"
#include "arch/x86/cpu.h"
#include "arch/x86/descriptors.h"
#include "arch/x86/memory.h"
#include "arch/x86/power.h"
#include "arch/x86/tsc.h"
#include "arch/x86/uart.h"
#include "arch/x86/vga.h"
#include "boot/boot_info.h"
#include "lib/log.h"

/* Called by boot/start.S with what the loader left in EAX and EBX. */
NORETURN void boot_main(uint32_t magic, uint32_t address);

static struct boot_info info;

void boot_main(uint32_t magic, uint32_t address)
{
    uart_init();
    log_add_console(uart_write);
    descriptors_init();
    log_info("eptvisor");
    if (boot_info_parse(&info, magic, address))
        machine_exit(EXIT_BAD_BOOT_INFO);
    vga_init(&info);
    if (memory_init(&info))
        machine_exit(EXIT_NO_MEMORY);
    acpi_init(&info);
    tsc_calibrate();
    log_info("boot: %s by %s, %u modules, %lu MiB free of %lu MiB", info.protocol, info.loader,
             info.module_count, memory_free_pages() >> 8, memory_total_pages() >> 8);
    log_info("TSC %lu kHz, ACPI %s", tsc_khz(), acpi_table("FACP") ? "found" : "not found");
    machine_exit(EXIT_OK);
}
