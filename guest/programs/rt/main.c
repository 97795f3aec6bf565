/* SPDX-License-Identifier: MIT */
/*
 * The code around guest_main(): touches the program's pages, stores the multiboot information, and
 * ends the VM. Called by start.S.
 */
#include "guest/programs/rt/rt.h"

#define MULTIBOOT_BOOT_MAGIC   0x2badb002u
#define MULTIBOOT_INFO_MEMORY  BIT(0)
#define MULTIBOOT_INFO_CMDLINE BIT(2)

struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
};

extern uint32_t rt_boot_magic, rt_boot_info;
extern uint8_t rt_image_start[], rt_image_end[];
void rt_main(void);

static char args[256];
const char *rt_args = args;
uint64_t rt_ram_end;

void *memset(void *to, int value, size_t size)
{
    uint8_t *p = to;
    __asm__ volatile("rep stosb" : "+D"(p), "+c"(size) : "a"(value) : "memory");
    return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
    uint8_t *p = to;
    __asm__ volatile("rep movsb" : "+D"(p), "+S"(from), "+c"(size) : : "memory");
    return to;
}

_Noreturn void debug_exit(uint8_t value)
{
    for (;;)
        outb(PORT_DEBUG_EXIT, value);
}

/* Writes each page of the image once, so that the hypervisor has it mapped, with A and D set. */
void touch_image(void)
{
    for (uint8_t *p = rt_image_start; p < rt_image_end; p += RT_PAGE)
        *(volatile uint8_t *)p = *(volatile uint8_t *)p;
}

/* The command line begins with the program's name. */
static void keep_args(const char *cmdline)
{
    size_t n = 0;

    while (*cmdline && *cmdline != ' ')
        cmdline++;
    while (*cmdline == ' ')
        cmdline++;
    while (cmdline[n] && n < sizeof(args) - 1) {
        args[n] = cmdline[n];
        n++;
    }
}

void rt_main(void)
{
    const struct multiboot_info *info = (const void *)(uintptr_t)rt_boot_info;

    touch_image();
    uart_init();
    rt_traps_init();
    if (rt_boot_magic != MULTIBOOT_BOOT_MAGIC) {
        print("Bail out! EAX is 0x%x at entry, multiboot1 wants 0x%x\n", rt_boot_magic,
              MULTIBOOT_BOOT_MAGIC);
        debug_exit(1);
    }
    if (info->flags & MULTIBOOT_INFO_MEMORY)
        rt_ram_end = 0x100000 + (uint64_t)info->mem_upper * 1024;
    if (info->flags & MULTIBOOT_INFO_CMDLINE)
        keep_args((const char *)(uintptr_t)info->cmdline);
    if (launched())
        use_launcher();
    guest_main();
    debug_exit(0);
}
