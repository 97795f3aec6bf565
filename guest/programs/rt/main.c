/* SPDX-License-Identifier: MIT */
/*
 * The code around guest_main(): touches the program's pages, stores the boot information, and ends
 * the VM. Called by start.S.
 */
#include "guest/programs/rt/td.h"

#define MULTIBOOT_BOOT_MAGIC   0x2badb002u
#define MULTIBOOT_INFO_MEMORY  BIT(0)
#define MULTIBOOT_INFO_CMDLINE BIT(2)

struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
};

struct e820_entry {
    uint64_t base, size;
    uint32_t kind;
} __attribute__((packed));

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
        port_write(PORT_DEBUG_EXIT, value);
}

/* Writes each page of the image once, so that the hypervisor has it mapped, with A and D set. */
void touch_image(void)
{
    for (uint8_t *p = rt_image_start; p < rt_image_end; p += RT_PAGE)
        *(volatile uint8_t *)p = *(volatile uint8_t *)p;
}

static void keep_args(const char *cmdline)
{
    size_t n = 0;

    while (cmdline[n] && n < sizeof(args) - 1) {
        args[n] = cmdline[n];
        n++;
    }
}

static void read_multiboot_info(const struct multiboot_info *info)
{
    if (info->flags & MULTIBOOT_INFO_MEMORY)
        rt_ram_end = 0x100000 + (uint64_t)info->mem_upper * 1024;
    if (!(info->flags & MULTIBOOT_INFO_CMDLINE))
        return;
    /* The command line begins with the program's name. */
    const char *cmdline = (const char *)(uintptr_t)info->cmdline;
    while (*cmdline && *cmdline != ' ')
        cmdline++;
    while (*cmdline == ' ')
        cmdline++;
    keep_args(cmdline);
}

/* The zero page (Documentation/arch/x86/zero-page.rst). */
static void read_zero_page(const uint8_t *page)
{
    const struct e820_entry *map = (const void *)(page + 0x2d0);
    for (unsigned i = 0; i < page[0x1e8]; i++)
        if (map[i].base == 0x100000 && map[i].kind == 1)
            rt_ram_end = map[i].base + map[i].size;
    keep_args((const char *)(uintptr_t) * (const uint32_t *)(page + 0x228));
}

void rt_main(void)
{
    const void *info = (const void *)(uintptr_t)rt_boot_info;

    touch_image();
    td_init();
    uart_init();
    rt_traps_init();
    if (rt_boot_magic == LINUX_PROTOCOL) {
        read_zero_page(info);
    } else if (rt_boot_magic == MULTIBOOT_BOOT_MAGIC) {
        read_multiboot_info(info);
    } else {
        print("Bail out! EAX is 0x%x at entry, multiboot1 wants 0x%x\n", rt_boot_magic,
              MULTIBOOT_BOOT_MAGIC);
        debug_exit(1);
    }
    if (launched())
        use_launcher();
    guest_main();
    debug_exit(0);
}
