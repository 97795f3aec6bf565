/* SPDX-License-Identifier: MIT */
/* Boot information by both protocols: what is understood, and how a malformed record is named. */
#include "tests/unit/support.h"

#include "boot/boot_info.h"
#include "lib/errno.h"

#include <string.h>

static struct boot_info info;
static char *memory; /* two pages for the loader's structures */
static uint32_t address;

static int setup(void **state)
{
    (void)state;
    support_reset();
    hpa_t pages = page_alloc(1);
    memory = phys_to_virt(pages);
    memset(memory, 0, 2 * PAGE_SIZE);
    address = (uint32_t)pages.v;
    return 0;
}

/* ---- Multiboot 2 ----------------------------------------------------------------------------- */

static uint32_t used;

static void begin(void)
{
    used = 8;
}

/* Appends a tag with `size` bytes after its header, and returns their address. */
static char *tag(uint32_t type, uint32_t size)
{
    uint32_t header[2] = {type, size + 8};
    char *body = memory + used + 8;
    memcpy(memory + used, header, sizeof(header));
    used = (used + 8 + size + 7) & ~7u;
    return body;
}

static int parse2(void)
{
    memcpy(memory, &used, sizeof(used));
    return boot_info_parse(&info, MULTIBOOT2_LOADER_MAGIC, address);
}

static void map_tag(uint64_t base, uint64_t length, uint32_t kind)
{
    uint32_t sizes[2] = {24, 0};
    uint64_t range[3] = {base, length, kind};
    char *body = tag(6, 8 + 24);
    memcpy(body, sizes, sizeof(sizes));
    memcpy(body + 8, range, sizeof(range));
}

static void module_tag(uint32_t start, uint32_t end, const char *string)
{
    uint32_t range[2] = {start, end};
    char *body = tag(3, 8 + (uint32_t)strlen(string) + 1);
    memcpy(body, range, sizeof(range));
    strcpy(body + 8, string);
}

static void multiboot2(void **state)
{
    (void)state;
    begin();
    strcpy(tag(1, 9), "a=1 b=22");
    strcpy(tag(2, 5), "GRUB");
    module_tag(0x100000, 0x100123, "guest words");
    module_tag(0x200000, 0x200000, "");
    map_tag(0x1000, 0x2000, 1);
    map_tag(0x100000000, 0x4000, 77); /* unknown kinds are reserved */
    memcpy(tag(15, 36), "RSD PTR new", 11);
    memcpy(tag(14, 20), "RSD PTR old", 11); /* the newer one stays */
    tag(4711, 3);
    uint64_t efi = 0x7ff00000;
    memcpy(tag(12, 8), &efi, 8);
    tag(0, 0);
    assert_int_equal(parse2(), 0);
    assert_string_equal(info.command_line, "a=1 b=22");
    assert_string_equal(info.loader, "GRUB");
    assert_int_equal(info.module_count, 2);
    assert_int_equal(info.modules[0].base.v, 0x100000);
    assert_int_equal(info.modules[0].size, 0x123);
    assert_string_equal(info.modules[0].string, "guest words");
    assert_int_equal(info.modules[1].size, 0);
    assert_int_equal(info.range_count, 2);
    assert_int_equal(info.ranges[0].kind, BOOT_RAM);
    assert_int_equal(info.ranges[1].kind, BOOT_RESERVED);
    assert_int_equal(info.rsdp_size, 36);
    assert_memory_equal(info.rsdp, "RSD PTR new", 11);
    assert_int_equal(info.efi_system_table.v, efi);
    assert_string_equal(support_log(), "");
}

static void efi_of_32_bits(void **state)
{
    (void)state;
    uint32_t place = 0x8ff00000;
    begin();
    memcpy(tag(11, 4), &place, 4);
    map_tag(0x1000, 0x2000, 1);
    tag(0, 0);
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.efi_system_table.v, place);
}

static void framebuffer(void **state)
{
    (void)state;
    struct {
        uint64_t base;
        uint32_t pitch, width, height;
        uint8_t bits, type;
        uint16_t reserved;
        uint8_t colours[6];
    } screen = {0xe0000000, 4096, 1024, 768, 32, 1, 0, {16, 8, 9, 7, 1, 6}};
    begin();
    memcpy(tag(8, 30), &screen, 30);
    map_tag(0, 1, 1);
    tag(0, 0);
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.framebuffer.kind, BOOT_FRAMEBUFFER_RGB);
    assert_int_equal(info.framebuffer.base.v, 0xe0000000);
    assert_int_equal(info.framebuffer.pitch, 4096);
    assert_int_equal(info.framebuffer.height, 768);
    assert_int_equal(info.framebuffer.bits_per_pixel, 32);
    assert_memory_equal(&info.framebuffer.red, "\x10\x08", 2);
    assert_memory_equal(&info.framebuffer.green, "\x09\x07", 2);
    assert_memory_equal(&info.framebuffer.blue, "\x01\x06", 2);

    screen.type = 2; /* text has no colours */
    begin();
    memcpy(tag(8, 24), &screen, 24);
    map_tag(0, 1, 1);
    tag(0, 0);
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.framebuffer.kind, BOOT_FRAMEBUFFER_TEXT);
    assert_int_equal(info.framebuffer.red.size, 0);
    screen.type = 0; /* a palette, which is not supported */
    memcpy(memory + 16, &screen, 24);
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.framebuffer.kind, BOOT_FRAMEBUFFER_NONE);
    screen.type = 3;
    memcpy(memory + 16, &screen, 24);
    assert_int_equal(parse2(), 0);
    assert_int_equal(info.framebuffer.kind, BOOT_FRAMEBUFFER_NONE);

    screen.type = 1;
    begin();
    memcpy(tag(8, 29), &screen, 29);
    assert_int_equal(parse2(), -EINVAL);
    assert_int_equal(info.framebuffer.kind, BOOT_FRAMEBUFFER_NONE);
    assert_non_null(strstr(support_log(), "multiboot2: the framebuffer tag has size 37; with red, "
                                          "green and blue it has at least 38"));
}

static void refused2(const char *message)
{
    assert_int_equal(parse2(), -EINVAL);
    if (!strstr(support_log(), message))
        fail_msg("expected \"%s\", got \"%s\"", message, support_log());
    setup(NULL);
    begin();
}

static void multiboot2_malformed(void **state)
{
    (void)state;
    begin();
    used = 12;
    refused2("multiboot2: the boot information claims 12 bytes; expected 16 to 1048576");
    map_tag(0, 1, 1);
    refused2("multiboot2: no end tag within the 48 bytes of the boot information");
    tag(1, 0xfffffff0);
    used = 64;
    refused2("multiboot2: the tag of type 1 at offset 8 has size 4294967288, with 56 bytes left");
    memset(memory + 8, 0, 8), memory[8] = 1, memory[12] = 7;
    used = 64;
    refused2("multiboot2: the tag of type 1 at offset 8 has size 7, with 56 bytes left");
    memset(tag(1, 8), 'x', 8);
    refused2("the command line has no terminating zero within its 8 bytes");
    memset(tag(1, 600), 'x', 599);
    refused2("the command line has 599 characters; at most 511 are supported");
    module_tag(0x2000, 0x1fff, "m");
    refused2("module 1 ends at 0x1fff, before its start 0x2000");
    tag(3, 8);
    refused2("multiboot2: the module tag at offset 8 has size 16; expected at least 17");
    for (unsigned i = 0; i <= BOOT_MODULES; i++)
        module_tag(0, 0, "");
    refused2("more than 96 modules");
    uint32_t sizes[2] = {20, 0};
    memcpy(tag(6, 8 + 40), sizes, 8);
    refused2("multiboot2: memory map of 40 bytes with entries of 20; expected a multiple of 8, at "
             "least 24");
    map_tag(0xfffffffffffff000, 0x2000, 1);
    refused2("memory map entry at 0xfffffffffffff000 with size 0x2000 wraps around");
    tag(0, 0);
    refused2("no memory map; the loader must pass one");
    address += 4;
    assert_int_equal(parse2(), -EINVAL);
    assert_non_null(strstr(support_log(), "is not aligned to 8"));
    assert_int_equal(boot_info_parse(&info, 0x1234, address), -EINVAL);
    assert_non_null(strstr(support_log(), "EAX = 0x1234 at entry is no multiboot magic"));
}

/* Whatever the bytes are, the parser stays inside them and answers. */
static void multiboot2_random(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252ull;
    for (unsigned round = 0; round < 20000; round++) {
        setup(NULL);
        for (unsigned at = 0; at < 512; at += 8) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            uint64_t word = random & 1 ? random % 24 | (random >> 8) % 64 << 32 : random;
            memcpy(memory + at, &word, 8);
        }
        used = 512;
        (void)!parse2();
    }
}

/* ---- Multiboot 1 ----------------------------------------------------------------------------- */

struct multiboot1 {
    uint32_t flags, lower, upper, device, command_line, module_count, modules, symbols[4];
    uint32_t map_length, map, drives[2], config, loader;
};

static void multiboot1(void **state)
{
    (void)state;
    struct multiboot1 raw = {.flags = 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9,
                             .command_line = address + 0x100,
                             .loader = address + 0x140,
                             .module_count = 1,
                             .modules = address + 0x200,
                             .map = address + 0x300,
                             .map_length = 24};
    uint32_t module[4] = {0x300000, 0x300010, address + 0x180, 0};
    uint32_t range[6] = {20, 0x100000, 0, 0x7f00000, 0, 1};
    memcpy(memory, &raw, sizeof(raw));
    strcpy(memory + 0x100, "image.elf a=1 b=2");
    strcpy(memory + 0x140, "qemu");
    strcpy(memory + 0x180, "guest");
    memcpy(memory + 0x200, module, sizeof(module));
    memcpy(memory + 0x300, range, sizeof(range));
    assert_int_equal(boot_info_parse(&info, MULTIBOOT1_LOADER_MAGIC, address), 0);
    assert_string_equal(info.command_line, "a=1 b=2");
    assert_string_equal(info.loader, "qemu");
    assert_string_equal(info.modules[0].string, "guest");
    assert_int_equal(info.modules[0].size, 16);
    assert_int_equal(info.ranges[0].base.v, 0x100000);
    assert_int_equal(info.ranges[0].size, 0x7f00000);

    range[0] = 10;
    memcpy(memory + 0x300, range, sizeof(range));
    assert_int_equal(boot_info_parse(&info, MULTIBOOT1_LOADER_MAGIC, address), -EINVAL);
    assert_non_null(
        strstr(support_log(), "multiboot1: the memory map entry at offset 0 has size 10"));
    raw.map_length = 23;
    memcpy(memory, &raw, sizeof(raw));
    assert_int_equal(boot_info_parse(&info, MULTIBOOT1_LOADER_MAGIC, address), -EINVAL);
    assert_non_null(strstr(support_log(), "ends inside the entry at offset 0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(multiboot2, setup),
        cmocka_unit_test_setup(efi_of_32_bits, setup),
        cmocka_unit_test_setup(framebuffer, setup),
        cmocka_unit_test_setup(multiboot2_malformed, setup),
        cmocka_unit_test_setup(multiboot2_random, setup),
        cmocka_unit_test_setup(multiboot1, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
