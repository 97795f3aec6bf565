/* SPDX-License-Identifier: MIT */
/*
 * How a machine restarts and switches itself off by ACPI (arch/x86/acpi_power.c, rule N115): what
 * is written to which register, by FADTs of each revision, with the values that real firmware has
 * in them, and by broken ones, of which nothing is written and the reason is said.
 */
#include "tests/unit/support.h"

#include "arch/x86/acpi_power.h"
#include "arch/x86/fadt.h"
#include "arch/x86/host_pci.h"
#include "arch/x86/host_port.h"
#include "arch/x86/paging.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- A machine ------------------------------------------------------------------------------- */

#define DSDT      0x7f000000u
#define DSDT_64   0x17f000000ull
#define SSDTS     0x7f100000u /* one in each page */
#define REGISTERS 0xfea00000u /* a page in memory */
#define RAM_END   0x80000000u

static struct acpi_header *fadt_table, *dsdt_table, *dsdt_64_table, *ssdts[3];
static unsigned ssdts_read;
static bool ssdt_is_broken; /* the first one's checksum is wrong */
static struct fadt fadt;
static uint8_t registers[4096];
static uint16_t pm1a_status; /* of what is read at 16-bit ports */
static unsigned enable_reads;
static bool maps_nothing;
static char written[512];

static const struct boot_info info = {
    .range_count = 1,
    .ranges = {{.base = {0x100000}, .size = RAM_END - 0x100000, .kind = BOOT_RAM}},
};

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    size_t length = strlen(written);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(written + length, sizeof(written) - length, format, arguments);
    va_end(arguments);
}

const struct acpi_header *acpi_table(const char *signature)
{
    assert_string_equal(signature, "FACP");
    return fadt_table;
}

const struct acpi_header *acpi_table_at(hpa_t address, const char *signature)
{
    if (!strcmp(signature, "SSDT")) {
        ssdts_read++;
        unsigned number = (unsigned)(address.v - SSDTS) / 0x1000;
        return ssdt_is_broken && !number ? NULL : ssdts[number];
    }
    assert_string_equal(signature, "DSDT");
    return address.v == DSDT ? dsdt_table : address.v == DSDT_64 ? dsdt_64_table : NULL;
}

/* The FADT is listed, too, and the DSDT is not. */
void acpi_list(void (*found)(hpa_t address, const struct acpi_header *header))
{
    found(HPA(1), fadt_table);
    for (unsigned i = 0; i < ARRAY_SIZE(ssdts); i++)
        if (ssdts[i])
            found(HPA(SSDTS + i * 0x1000), ssdts[i]);
}

void *physical_map(hpa_t base, uint64_t size, enum map_type type)
{
    assert_int_equal(type, MAP_UNCACHED);
    assert_in_range(base.v, REGISTERS, REGISTERS + sizeof(registers) - size);
    return maps_nothing ? NULL : registers + (base.v - REGISTERS);
}

uint8_t host_port_read(uint16_t port)
{
    fail_msg("a byte of port %#x was read", port);
    return 0;
}

void host_port_write(uint16_t port, uint8_t value)
{
    note("port %#x = %#x; ", port, value);
    if (port == 0xb2)
        enable_reads = 3; /* SCI_EN comes later */
}

uint16_t host_port_read_16(uint16_t port)
{
    (void)port;
    if (enable_reads && !--enable_reads)
        pm1a_status |= 1;
    return pm1a_status;
}

void host_port_write_16(uint16_t port, uint16_t value)
{
    note("ports %#x = %#x; ", port, value);
}

uint32_t host_register_read(const volatile void *place, unsigned width)
{
    assert_int_equal(width, 2);
    (void)place;
    return 0x1c01;
}

void host_register_write(volatile void *place, unsigned width, uint32_t value)
{
    note("memory +%#zx, %u = %#x; ", (size_t)((volatile uint8_t *)place - registers), width, value);
}

bool host_pci_port_exists(void)
{
    return true;
}

uint32_t host_pci_port_read(uint32_t address)
{
    assert_int_equal(address, 0x8000fbac);
    return 0x44332211;
}

void host_pci_port_write(uint32_t address, uint32_t value)
{
    note("pci %#x = %#x; ", address, value);
}

/* A table with just its length, so that the sanitizer sees who reads more. */
static struct acpi_header *new_table(const void *content, uint32_t length)
{
    struct acpi_header *table = malloc(length);
    memcpy(table, content, length);
    table->length = length;
    return table;
}

static struct acpi_header *new_dsdt(const void *aml, size_t size)
{
    static uint8_t bytes[256];
    memcpy(bytes + sizeof(struct acpi_header), aml, size);
    return new_table(bytes, (uint32_t)(sizeof(struct acpi_header) + size));
}

static int teardown(void **state)
{
    (void)state;
    free(fadt_table), free(dsdt_table), free(dsdt_64_table);
    fadt_table = dsdt_table = dsdt_64_table = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(ssdts); i++) {
        free(ssdts[i]);
        ssdts[i] = NULL;
    }
    return 0;
}

/* Name (_S5, Package () {7, 5, 0, 0}), after another name, as compilers write it. */
static const uint8_t s5_aml[] = {8,   '_', 'S',  '0', '_', 0x12, 3, 1,    0, 8, '_', 'S',
                                 '5', '_', 0x12, 8,   4,   0x0a, 7, 0x0a, 5, 0, 0};

static int setup(void **state)
{
    (void)state;
    support_reset();
    fadt = (struct fadt){.header.revision = 3, .dsdt = DSDT};
    dsdt_table = new_dsdt(s5_aml, sizeof(s5_aml));
    pm1a_status = 0x1c01;
    enable_reads = 0;
    maps_nothing = ssdt_is_broken = false;
    return 0;
}

/* What a machine with these tables writes to restart, and then to switch itself off. */
static void expect(uint32_t length, const char *writes, const char *log)
{
    free(fadt_table);
    fadt_table = new_table(&fadt, length);
    support_reset();
    acpi_power_init(&info);
    assert_string_equal(support_log(), log);
    written[0] = 0;
    bool reset = acpi_reset();
    assert_int_equal(reset, !!written[0]);
    note("| ");
    size_t before = strlen(written);
    bool off = acpi_power_off();
    assert_int_equal(off, strlen(written) > before);
    assert_string_equal(written, writes);
}

/* ---- Real tables ----------------------------------------------------------------------------- */

/* Of ACPI 1.0, as QEMU and Bochs have it: no reset register, and flags that it does not define. */
static void test_revision_1(void **state)
{
    (void)state;
    fadt.header.revision = 1;
    fadt.flags = UINT32_MAX;
    fadt.pm1a_control = 0x604;
    fadt.reset = (struct acpi_address){ACPI_IO, 8, 0, 1, 0xcf9};
    expect(116, "| ports 0x604 = 0x1c01; ports 0x604 = 0x3c01; ", "");
    expect(276, "| ports 0x604 = 0x1c01; ports 0x604 = 0x3c01; ", "");
}

/* An AMI BIOS: 132 bytes, and not yet in ACPI mode. Bits of PM1 that are none of ours stay. */
static void test_revision_2(void **state)
{
    (void)state;
    fadt.header.revision = 2;
    fadt.flags = 0x4a5;
    fadt.smi_command = 0xb2;
    fadt.acpi_enable = 0xe1;
    fadt.pm1a_control = 0x804;
    fadt.reset = (struct acpi_address){ACPI_IO, 8, 0, 0, 0xcf9};
    fadt.reset_value = 6;
    pm1a_status = 0xe204;
    expect(132,
           "port 0xcf9 = 0x6; | port 0xb2 = 0xe1; ports 0x804 = 0xde05; ports 0x804 = 0xfe05; ",
           "");
    expect(132, "port 0xcf9 = 0x6; | ports 0x804 = 0xde05; ports 0x804 = 0xfe05; ", "");
    pm1a_status = 0;
    fadt.acpi_enable = 0; /* VMware: it is always in ACPI mode */
    expect(132, "port 0xcf9 = 0x6; | ports 0x804 = 0x1c00; ports 0x804 = 0x3c00; ", "");
}

/* A server with two halves of PM1, whose reset register is the keyboard controller's port. */
static void test_revision_3(void **state)
{
    (void)state;
    fadt.flags = 0x400;
    fadt.pm1a_control = 0x1804;
    fadt.pm1b_control = 0x1904;
    fadt.reset = (struct acpi_address){ACPI_IO, 8, 0, 1, 0x64};
    fadt.reset_value = 0xfe;
    expect(244,
           "port 0x64 = 0xfe; | ports 0x1804 = 0x1c01; ports 0x1904 = 0x1401; ports 0x1804 = "
           "0x3c01; ports 0x1904 = 0x3401; ",
           "");
}

/* QEMU's microvm: everything is in memory, and it has no PM1, whatever its fields say. */
static void test_revision_5(void **state)
{
    (void)state;
    fadt.header.revision = 5;
    fadt.flags = 0x100400;
    fadt.pm1a_control = 0x604;
    fadt.reset = (struct acpi_address){ACPI_MEMORY, 8, 0, 0, REGISTERS + 2};
    fadt.reset_value = 0x42;
    fadt.sleep_control = (struct acpi_address){ACPI_MEMORY, 8, 0, 0, REGISTERS};
    fadt.sleep_status = (struct acpi_address){ACPI_MEMORY, 8, 0, 0, REGISTERS + 1};
    expect(268, "memory +0x2, 1 = 0x42; | memory +0x1, 1 = 0x80; memory +0, 1 = 0x3c; ", "");
    expect(244, "memory +0x2, 1 = 0x42; | ",
           "ACPI: the FADT's sleep control register (space 0, address 0, bit 0) is not used: its "
           "address is 0\n");
}

/* A tablet: the addresses of 32 bits are 0, and the old DSDT is not one. */
static void test_revision_6(void **state)
{
    (void)state;
    fadt.header.revision = 6;
    fadt.flags = 0x2384a5;
    fadt.dsdt = 0;
    fadt.dsdt_64 = DSDT_64;
    dsdt_64_table = new_dsdt(s5_aml, sizeof(s5_aml));
    fadt.reset = (struct acpi_address){ACPI_IO, 8, 0, 1, 0xcf9};
    fadt.reset_value = 6;
    fadt.pm1a_control_64 = (struct acpi_address){ACPI_IO, 16, 0, 2, 0x1804};
    fadt.pm1b_control_64 = (struct acpi_address){ACPI_MEMORY, 16, 0, 2, REGISTERS + 4};
    expect(276,
           "port 0xcf9 = 0x6; | ports 0x1804 = 0x1c01; memory +0x4, 2 = 0x1401; ports 0x1804 = "
           "0x3c01; memory +0x4, 2 = 0x3401; ",
           "");
    dsdt_64_table->length = sizeof(*dsdt_64_table); /* nothing in it */
    expect(276, "port 0xcf9 = 0x6; | ", "");
}

/* ---- Registers ------------------------------------------------------------------------------- */

static void expect_reset(struct acpi_address reset, const char *writes, const char *why)
{
    char log[256] = "";
    if (why)
        snprintf(log, sizeof(log),
                 "ACPI: the FADT's reset register (space %u, address %#lx, bit %u) is not used: "
                 "%s\n",
                 reset.space, (unsigned long)reset.address, reset.bit_offset, why);
    fadt.flags = 0x400;
    fadt.reset = reset;
    fadt.reset_value = 0x99;
    expect(244, writes, log);
}

static void test_reset_registers(void **state)
{
    (void)state;
    /* 1f:05, function 7, offset 0xad. */
    expect_reset((struct acpi_address){ACPI_PCI, 8, 0, 1, 0x1f000300adull},
                 "pci 0x8000fbac = 0x44339911; | ", NULL);
    expect_reset((struct acpi_address){ACPI_PCI, 8, 0, 1, 0x20000300adull}, "| ",
                 "there is no such register of a PCI function");
    expect_reset((struct acpi_address){ACPI_PCI, 8, 0, 1, 0x1f000800adull}, "| ",
                 "there is no such register of a PCI function");
    expect_reset((struct acpi_address){ACPI_PCI, 8, 0, 1, 0x1f00030100ull}, "| ",
                 "there is no such register of a PCI function");
    expect_reset((struct acpi_address){ACPI_IO, 8, 0, 1, 0xffff}, "port 0xffff = 0x99; | ", NULL);
    expect_reset((struct acpi_address){ACPI_IO, 8, 0, 1, 0x10000}, "| ",
                 "there is no such I/O port");
    expect_reset((struct acpi_address){ACPI_MEMORY, 8, 0, 1, RAM_END - 1}, "| ", "there is RAM");
    expect_reset((struct acpi_address){ACPI_MEMORY, 8, 0, 1, 0}, "| ", "its address is 0");
    expect_reset((struct acpi_address){0x7f, 8, 0, 1, 0xcf9}, "| ",
                 "it is neither in memory, nor at an I/O port, nor in PCI's configuration space");
    maps_nothing = true;
    expect_reset((struct acpi_address){ACPI_MEMORY, 8, 0, 1, REGISTERS}, "| ",
                 "it cannot be mapped");
}

/* It has always eight bits, whatever the table says; but not somewhere inside of a byte. */
static void test_odd_widths(void **state)
{
    (void)state;
    expect_reset((struct acpi_address){ACPI_IO, 0, 0, 9, 0xcf9}, "port 0xcf9 = 0x99; | ", NULL);
    expect_reset((struct acpi_address){ACPI_IO, 32, 0, 3, 0xcf9}, "port 0xcf9 = 0x99; | ", NULL);
    expect_reset((struct acpi_address){ACPI_MEMORY, 64, 0, 4, REGISTERS + 3},
                 "memory +0x3, 1 = 0x99; | ", NULL);
    expect_reset((struct acpi_address){ACPI_IO, 8, 2, 1, 0xcf9}, "| ",
                 "it does not begin at bit 0");
    fadt.flags = 0;
    expect(244, "| ", ""); /* as bhyve's: without the flag, there is no reset register */
}

static void test_pm1_registers(void **state)
{
    (void)state;
    fadt.pm1a_control = 0xffff; /* 16 bits do not fit */
    expect(244, "| ",
           "ACPI: the FADT's PM1a control register (space 1, address 0xffff, bit 0) is not used: "
           "there is no such I/O port\n");
    fadt.pm1a_control = 0;
    fadt.pm1a_control_64 = (struct acpi_address){ACPI_MEMORY, 16, 0, 2, REGISTERS + 5};
    expect(244, "| ",
           "ACPI: the FADT's PM1a control register (space 0, address 0xfea00005, bit 0) is not "
           "used: its address is no multiple of its size\n");
    fadt.pm1a_control_64 = (struct acpi_address){ACPI_PCI, 16, 0, 2, 0x1f00030040ull};
    expect(244, "| ", "");
}

static void test_short_tables(void **state)
{
    (void)state;
    fadt.flags = 0x400;
    fadt.reset = (struct acpi_address){ACPI_IO, 8, 0, 1, 0xcf9};
    fadt.reset_value = 6;
    expect(129, "port 0xcf9 = 0x6; | ", "");
    expect(128, "| ",
           "ACPI: the FADT says that there is a reset register (flags 0x400, bit 10), but has only "
           "128 bytes; 129 would be needed for it\n");
    expect(115, "| ", "");
    free(fadt_table);
    fadt_table = NULL;
    acpi_power_init(&info);
    assert_false(acpi_reset() || acpi_power_off());
}

/* ---- _S5_ ------------------------------------------------------------------------------------ */

static void expect_s5(const void *aml, size_t size, bool found, unsigned type)
{
    char writes[128] = "| ";
    if (found)
        snprintf(writes, sizeof(writes), "| ports 0x604 = %#x; ports 0x604 = %#x; ", type << 10 | 1,
                 type << 10 | 0x2001);
    free(dsdt_table);
    dsdt_table = new_dsdt(aml, size);
    fadt.pm1a_control = 0x604;
    expect(244, writes, "");
}

#define EXPECT_S5(found, type, ...) \
    expect_s5((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), found, type)

static void test_s5(void **state)
{
    (void)state;
    EXPECT_S5(true, 0, 8, '_', 'S', '5', '_', 0x12, 6, 4, 0, 0, 0, 0);
    EXPECT_S5(true, 1, 8, '\\', '_', 'S', '5', '_', 0x12, 4, 2, 1, 1);
    EXPECT_S5(true, 5, 8, '_', 'S', '5', '_', 0x12, 0x47, 0, 2, 0x0a, 5, 0x0a, 5);
    EXPECT_S5(false, 0, 0x14, 9, '_', 'S', '5', '_', 0, 0xa4, 0x12, 4, 2, 1, 1); /* a method */
    EXPECT_S5(false, 0, 0x70, '_', 'S', '5', '_', 0x12, 4, 2, 1, 1);       /* a mention alone */
    EXPECT_S5(false, 0, 8, '_', 'S', '5', '_', 0x12, 4, 1, 1, 1);          /* one element */
    EXPECT_S5(false, 0, 8, '_', 'S', '5', '_', 0x12, 6, 2, 0x0a, 8, 0, 0); /* three bits hold 7 */
    EXPECT_S5(false, 0, 8, '_', 'S', '5', '_', 0x12, 6, 2, 0x0b, 7, 0, 0); /* a word */
    EXPECT_S5(false, 0, 8, '_', 'S', '5', '_', 0x12, 6, 2, 'A', 'B', 'C', 'D');
    EXPECT_S5(true, 7, 8, '_', 'S', '5', '_', 0x12, 4, 1, 1, 1, /* the second one is right */
              8, '_', 'S', '5', '_', 0x12, 6, 2, 0x0a, 7, 0x0a, 7);
}

static void test_s5_that_is_cut_off(void **state)
{
    (void)state;
    for (size_t size = 0; size < sizeof(s5_aml) - 2; size++)
        expect_s5(s5_aml, size, false, 0);
    expect_s5(s5_aml, sizeof(s5_aml) - 2, true, 7);
    EXPECT_S5(false, 0, 8, '_', 'S', '5', '_', 0x12, 0xc0, 1); /* a length of four bytes */
}

static void put_ssdt(unsigned number, const void *aml, size_t size)
{
    free(ssdts[number]);
    ssdts[number] = new_dsdt(aml, size);
    memcpy(ssdts[number]->signature, "SSDT", 4);
}

/* The DSDT decides where it has the name; else the first SSDT that has it and is sound (N129). */
static void test_s5_in_an_ssdt(void **state)
{
    (void)state;
    static const uint8_t other[] = {8, '_', 'S', '4', '_', 0x12, 6, 4, 1, 1, 0, 0},
                         two[] = {8, '_', 'S', '5', '_', 0x12, 6, 2, 0x0a, 2, 0x0a, 2},
                         three[] = {8, '_', 'S', '5', '_', 0x12, 6, 2, 0x0a, 3, 0x0a, 3};
    put_ssdt(0, two, sizeof(two));
    ssdts_read = 0;
    expect_s5(s5_aml, sizeof(s5_aml), true, 7);
    assert_int_equal(ssdts_read, 0);
    expect_s5(other, sizeof(other), true, 2);
    put_ssdt(1, three, sizeof(three));
    expect_s5(other, sizeof(other), true, 2);
    ssdt_is_broken = true;
    expect_s5(other, sizeof(other), true, 3);
    put_ssdt(1, other, sizeof(other));
    put_ssdt(2, three, sizeof(three));
    ssdts_read = 0;
    expect_s5(other, sizeof(other), true, 3);
    assert_int_equal(ssdts_read, 3);
    fadt.dsdt = 0; /* there is no DSDT */
    expect_s5(s5_aml, sizeof(s5_aml), true, 3);
    memcpy(ssdts[2]->signature, "OEM1", 4);
    expect_s5(other, sizeof(other), false, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_revision_1, setup, teardown),
        cmocka_unit_test_setup_teardown(test_revision_2, setup, teardown),
        cmocka_unit_test_setup_teardown(test_revision_3, setup, teardown),
        cmocka_unit_test_setup_teardown(test_revision_5, setup, teardown),
        cmocka_unit_test_setup_teardown(test_revision_6, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_odd_widths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pm1_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_short_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_s5, setup, teardown),
        cmocka_unit_test_setup_teardown(test_s5_that_is_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_s5_in_an_ssdt, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
