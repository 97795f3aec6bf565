/* SPDX-License-Identifier: MIT */
/*
 * The boot-protocol checker: a 32-bit program that prints what a multiboot2 loader handed over, one
 * line a tag, on COM1. The tests boot it by our option ROM and by GRUB, compare the two outputs,
 * and have our loader start it in a VM. With the command line `hang` or `die` it hangs or ends the
 * emulator instead. It accesses COM1 and its own memory, and nothing else.
 */
#include <stdbool.h>
#include <stdint.h>

#define MULTIBOOT2_BOOTLOADER_MAGIC 0x36d76289u
#define COM1                        0x3f8
#define CPUID_1_ECX_VMX             0x20u
#define MSR_FEATURE_CONTROL         0x3a
#define CR0_PE                      0x1u
#define CR0_PG                      0x80000000u
#define EFLAGS_IF                   0x200u

struct tag {
    uint32_t type;
    uint32_t size;
    uint32_t word[];
};

unsigned bootinfo(uint32_t magic, const uint32_t *info, uint32_t cr0, uint32_t eflags);

static const uint32_t *tag_end(const struct tag *tag)
{
    return (const uint32_t *)tag + tag->size / 4;
}

static const struct tag *tag_next(const struct tag *tag)
{
    return (const struct tag *)((const uint32_t *)tag + ((tag->size + 7) & ~7u) / 4);
}

extern uint8_t image_start[], image_end[];
/* A loader has to clear what the file does not hold. */
static uint8_t zeros[3 * 4096 + 5];
static unsigned passed, failed;

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void put(const char *text)
{
    for (; *text; text++) {
        while (!(in8(COM1 + 5) & 0x20))
            ;
        out8(COM1, (uint8_t)*text);
    }
}

static void put_number(uint32_t value, unsigned base)
{
    char text[12];
    char *at = text + sizeof(text) - 1;
    *at = 0;
    do
        *--at = "0123456789abcdef"[value % base];
    while (value /= base);
    if (base == 16)
        put("0x");
    put(at);
}

static void check(bool ok, const char *name)
{
    if (ok)
        passed++;
    else
        failed++;
    put(ok ? "ok " : "not ok ");
    put_number(passed + failed, 10);
    put(" ");
    put(name);
    put("\n");
}

static void put_words(const uint32_t *word, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        put(" ");
        put_number(word[i], 16);
    }
}

/* Size, a sum over all bytes, and the string. */
static void put_module(const struct tag *tag)
{
    uint32_t sum = 0;
    for (const uint8_t *at = (const uint8_t *)tag->word[0]; at < (uint8_t *)tag->word[1]; at++)
        sum = sum * 31 + *at;
    put(" bytes ");
    put_number(tag->word[1] - tag->word[0], 10);
    put(" sum ");
    put_number(sum, 16);
    put(" string ");
    put((const char *)&tag->word[2]);
}

/* What the firmware, or a test, left in IA32_FEATURE_CONTROL. */
static void put_feature_control(void)
{
    uint32_t a = 1, b, c, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    if (!(c & CPUID_1_ECX_VMX))
        return;
    __asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(MSR_FEATURE_CONTROL));
    put("FEATURE_CONTROL ");
    put_number(a, 16);
    put("\n");
}

/* The command line `hang` or `die`: what the harness has to notice. */
static void misbehave(const char *command_line)
{
    if (command_line[0] == 'h')
        for (;;)
            ;
    if (command_line[0] == 'd')
        out8(0x8900, 'D');
}

static void put_tag(const struct tag *tag)
{
    put("TAG ");
    put_number(tag->type, 10);
    switch (tag->type) {
    case 1: /* command line */
    case 2: /* boot loader name */
        put(" ");
        put((const char *)tag->word);
        break;
    case 3:
        put_module(tag);
        break;
    case 4: /* memory sizes */
        put_words(tag->word, 2);
        break;
    case 6: /* memory map: entry size and version, then the entries */
        for (const uint32_t *e = &tag->word[2]; e < tag_end(tag); e += tag->word[0] / 4) {
            put("\nRANGE");
            put_words(e, 5);
        }
        break;
    case 8: /* framebuffer */
        put_words(tag->word, 6);
        break;
    case 14: /* RSDP */
    case 15:
        put_words(tag->word, 5);
        break;
    default:
        break;
    }
    put("\n");
}

static bool in_ram(const struct tag *map, uint32_t start, uint32_t end)
{
    for (const uint32_t *e = &map->word[2]; e < tag_end(map); e += map->word[0] / 4) {
        if (e[4] != 1 || e[1] != 0 || e[0] > start)
            continue;
        if (e[3] != 0 || e[0] + e[2] >= end)
            return true;
    }
    return false;
}

/* Modules: page-aligned, in RAM, clear of the image, of the information and of each other. */
static void check_modules(const uint32_t *info, const struct tag *map)
{
    bool aligned = true, ram = true, apart = true;
    uint32_t info_start = (uint32_t)info, info_end = info_start + info[0];
    for (const struct tag *at = (const struct tag *)(info + 2); at->type; at = tag_next(at)) {
        if (at->type != 3)
            continue;
        uint32_t start = at->word[0], end = at->word[1];
        aligned &= (start & 0xfff) == 0;
        ram &= in_ram(map, start, end);
        apart &= end <= (uint32_t)image_start || start >= (uint32_t)image_end;
        apart &= end <= info_start || start >= info_end;
        for (const struct tag *other = tag_next(at); other->type; other = tag_next(other))
            if (other->type == 3)
                apart &= end <= other->word[0] || start >= other->word[1];
    }
    check(aligned, "modules are page-aligned");
    check(ram, "modules lie in RAM");
    check(apart, "modules overlap nothing");
}

/* Returns the number of checks that failed. */
unsigned bootinfo(uint32_t magic, const uint32_t *info, uint32_t cr0, uint32_t eflags)
{
    out8(COM1 + 3, 0x83);
    out8(COM1, 1);
    out8(COM1 + 1, 0);
    out8(COM1 + 3, 3);

    put("\n");
    check(magic == MULTIBOOT2_BOOTLOADER_MAGIC, "magic number");
    check((cr0 & (CR0_PE | CR0_PG)) == CR0_PE, "protected mode without paging");
    check(!(eflags & EFLAGS_IF), "interrupts are off");
    check(((uint32_t)info & 7) == 0 && info[1] == 0, "the information is aligned");

    bool zero = true;
    for (unsigned i = 0; i < sizeof(zeros); i++)
        zero &= ((volatile uint8_t *)zeros)[i] == 0;
    check(zero, "memory beyond the file is clear");

    put_feature_control();
    const struct tag *map = 0, *at = (const struct tag *)(info + 2);
    for (; at->type; at = tag_next(at)) {
        put_tag(at);
        if (at->type == 6)
            map = at;
        if (at->type == 1)
            misbehave((const char *)at->word);
    }
    check((uint32_t)at + 8 - (uint32_t)info == info[0], "the total size ends at the end tag");
    check(map != 0, "a memory map");
    if (map) {
        check(in_ram(map, (uint32_t)image_start, (uint32_t)image_end), "the image lies in RAM");
        check_modules(info, map);
    }
    put_number(passed, 10);
    put(" passed, ");
    put_number(failed, 10);
    put(" failed, 0 skipped\n");
    put(failed ? "EXIT 1 failed\n" : "EXIT 0 ok\n");
    while (!(in8(COM1 + 5) & 0x40)) /* an emulator that ends drops what the UART still holds */
        ;
    return failed;
}
