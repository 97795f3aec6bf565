/* SPDX-License-Identifier: MIT */
/*
 * The firmware's tables under libFuzzer: an input is the memory of a machine, with whatever its
 * firmware left there. Its first byte chooses what is repaired: checksums and signatures, which no
 * fuzzer would find, at places that the input names. Then everything that reads such tables runs:
 * ACPI's root tables, the MADT, SPCR, DBG2, the FADT with its DSDT and SSDT, the DMAR, the SRAT,
 * the MCFG, SMBIOS and EFI's system table, each of which may get no byte more than it has asked
 * for, and whose results are within their limits. The machine then ends by what the tables say, and
 * no RAM is written.
 */
#include "arch/x86/acpi.h"
#include "arch/x86/acpi_power.h"
#include "arch/x86/dmar.h"
#include "arch/x86/efi.h"
#include "arch/x86/host_pci.h"
#include "arch/x86/host_port.h"
#include "arch/x86/madt.h"
#include "arch/x86/mcfg.h"
#include "arch/x86/paging.h"
#include "arch/x86/pc_parts.h"
#include "arch/x86/smbios.h"
#include "arch/x86/spcr.h"
#include "arch/x86/srat.h"
#include "lib/bits.h"
#include "lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_BASE 0x100000u
#define RAM_END  0x70000000u

static void check(bool good)
{
    if (!good)
        abort();
}

/* The input is at two places, so that each way to the first table finds one in it. */
#define BIOS       0xe0000u
#define LOW        0xf0000u
#define HIGH       0x7f000000u
#define INPUT_SIZE 0x1000u

static uint8_t memory[INPUT_SIZE], bios[0x20000];
static void *copies[1024];
static unsigned copy_count;

/* A copy of just the bytes asked for, so that the sanitizer sees who reads more. */
void *physical_map(hpa_t base, uint64_t size, enum map_type type)
{
    /* Of a unit that remaps DMA, which has a page, registers are read only. */
    check(type == MAP_CACHED || size == 0x1000 || base.v >= RAM_END || base.v + size <= RAM_BASE);
    if (size >= HOST_PCI_BUS_SIZE && type == MAP_UNCACHED)
        return bios; /* nobody reads it */
    if (base.v >= BIOS && base.v < BIOS + sizeof(bios) && size == BIOS + sizeof(bios) - base.v)
        return bios + (base.v - BIOS); /* up to the array's end, so that no copy is needed */
    if (base.v < HIGH || base.v - HIGH > INPUT_SIZE || size > INPUT_SIZE - (base.v - HIGH) ||
        copy_count == ARRAY_SIZE(copies))
        return NULL;
    void *copy = malloc(size);
    copies[copy_count++] = copy;
    return memcpy(copy, memory + (base.v - HIGH), size);
}

/* A text of the log is formatted, so that what it points to is read. VERBOSE=1 prints it. */
void log_line(enum log_level level, const char *format, ...)
{
    char line[LOG_LINE_MAX];
    va_list arguments;
    (void)level;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (getenv("VERBOSE"))
        puts(line);
}

/* Registers of the machine, at which it ends. */
uint8_t host_port_read(uint16_t port)
{
    return (uint8_t)port;
}

void host_port_write(uint16_t port, uint8_t value)
{
    (void)value;
    check(port);
}

uint16_t host_port_read_16(uint16_t port)
{
    return port | 1; /* in ACPI mode, for which the machine waits */
}

void host_port_write_16(uint16_t port, uint16_t value)
{
    (void)value;
    check(port && port != UINT16_MAX);
}

uint32_t host_register_read(const volatile void *place, unsigned width)
{
    return width == 2 ? *(const volatile uint16_t *)place : *(const volatile uint8_t *)place;
}

void host_register_write(volatile void *place, unsigned width, uint32_t value)
{
    memcpy((void *)(uintptr_t)place, &value, width);
}

uint32_t host_pci_read(struct host_pci_function at, unsigned offset)
{
    check(!at.bus && at.device < 32 && at.function < 8 && offset < 256 && !(offset % 4));
    return offset;
}

void host_pci_write(struct host_pci_function at, unsigned offset, uint32_t value)
{
    (void)value;
    (void)host_pci_read(at, offset);
}

static bool has_ports;

bool host_pci_port_exists(void)
{
    return has_ports;
}

const char *host_pci_area_problem(const struct host_pci_area *area)
{
    return area->first_bus == 7 ? "it is the seventh" : NULL;
}

void host_pci_add_area(const struct host_pci_area *area)
{
    check(area->registers && area->first_bus <= area->last_bus && area->first_bus != 7);
    check(area->segment || !has_ports);
}

void host_pci_forget_areas(void)
{
}

void bug(const char *file, int line, const char *what)
{
    (void)file, (void)line, (void)what;
    abort();
}

static void fix_sum(uint8_t *bytes, size_t size, size_t sum_at)
{
    bytes[sum_at] = 0;
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + bytes[i]);
    bytes[sum_at] = (uint8_t)-sum;
}

static uint32_t crc32(const uint8_t *bytes, size_t size)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* Makes a table with this signature and this many bytes of the input; returns its address. */
static uint64_t make_table(unsigned offset, const char *signature, uint32_t length)
{
    uint8_t *at = memory + offset;
    if (length < 36)
        length = 36;
    if (length > sizeof(memory) - offset)
        length = (uint32_t)sizeof(memory) - offset;
    memcpy(at, signature, 4);
    memcpy(at + 4, &length, 4);
    fix_sum(at, length, 9);
    return HIGH + offset;
}

static void put(uint8_t *at, uint64_t value, size_t size)
{
    memcpy(at, &value, size);
}

/* Where the parts are: each has a fixed place, so that the fuzzer learns what is where. */
#define AT_RSDP  0x000u
#define AT_XSDT  0x040u /* 36 bytes, and eight entries */
#define AT_EFI   0x0c0u /* 120 bytes, and 16 entries of 24 bytes */
#define AT_LIST  0x140u
#define AT_SM3   0x2c0u
#define AT_SM2   0x2e0u
#define AT_NAMES 0x300u
#define AT_MADT  0x500u
#define AT_SPCR  0x700u
#define AT_DBG2  0x800u
#define AT_FADT  0xa00u
#define AT_MCFG  0xb40u
#define AT_DSDT  0xc00u
#define AT_DMAR  0xd00u
#define AT_SRAT  0xe80u
#define AT_SSDT  0xf80u

static const uint8_t guids[3][16] = {
    {0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11, 0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88,
     0x81},
    {0x44, 0x15, 0xfd, 0xf2, 0x94, 0x97, 0x2c, 0x4a, 0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20, 0xe3,
     0x94},
    {0x31, 0x2d, 0x9d, 0xeb, 0x88, 0x2d, 0xd3, 0x11, 0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1,
     0x4d},
};

/* Each bit of `repairs` makes something good that the input has only the details of. The lengths of
 * tables come from their own length fields. */
static uint32_t length_at(unsigned offset)
{
    return (uint32_t)(memory[offset + 4] | memory[offset + 5] << 8) % 0x300;
}

static void repair(uint8_t repairs)
{
    static const struct {
        unsigned at;
        const char *signature;
    } tables[] = {{AT_MADT, "APIC"}, {AT_SPCR, "SPCR"}, {AT_DBG2, "DBG2"}, {AT_FADT, "FACP"},
                  {AT_DMAR, "DMAR"}, {AT_SRAT, "SRAT"}, {AT_MCFG, "MCFG"}, {AT_SSDT, "SSDT"}};
    if (repairs & 1) {
        put(memory + AT_FADT + 40, make_table(AT_DSDT, "DSDT", length_at(AT_DSDT) % 0x100), 4);
        for (unsigned i = 0; i < ARRAY_SIZE(tables); i++)
            put(memory + AT_XSDT + 36 + 8 * i,
                make_table(tables[i].at, tables[i].signature, length_at(tables[i].at)), 8);
    }
    if (repairs & 2) {
        put(memory + AT_RSDP + 24, make_table(AT_XSDT, "XSDT", 36 + length_at(AT_XSDT) % 92), 8);
        memcpy(memory + AT_RSDP, "RSD PTR ", 8);
        fix_sum(memory + AT_RSDP, 20, 8);
        fix_sum(memory + AT_RSDP, 36, 32);
    }
    if (repairs & 4) {
        memcpy(memory + AT_SM3, "_SM3_", 5);
        put(memory + AT_SM3 + 16, HIGH + AT_NAMES, 8);
        fix_sum(memory + AT_SM3, memory[AT_SM3 + 6], 5);
    }
    if (repairs & 8) {
        memcpy(memory + AT_SM2, "_SM_", 4);
        put(memory + AT_SM2 + 24, HIGH + AT_NAMES, 4);
        fix_sum(memory + AT_SM2, memory[AT_SM2 + 5], 4);
    }
    if (repairs & 16) {
        static const unsigned parts[] = {AT_RSDP, AT_SM3, AT_SM2};
        for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
            memcpy(memory + AT_LIST + 24 * i, guids[i], 16);
            put(memory + AT_LIST + 24 * i + 16, HIGH + parts[i], 8);
        }
        put(memory + AT_EFI + 112, HIGH + AT_LIST, 8);
    }
    if (repairs & 32) {
        memcpy(memory + AT_EFI, "IBI SYST", 8);
        uint32_t size = 120;
        put(memory + AT_EFI + 12, size, 4);
        put(memory + AT_EFI + 16, 0, 4);
        put(memory + AT_EFI + 16, crc32(memory + AT_EFI, size), 4);
    }
}

static void check_place(const char *problem, const struct serial_place *place)
{
    if (problem)
        return;
    check(place->width == 1 || place->width == 2 || place->width == 4);
    check(place->stride >= place->width && place->stride <= 4 && place->address);
    check(place->memory ? place->address % place->width == 0 : place->address <= 0xfff8);
}

static void check_name(const char *name)
{
    check(memchr(name, 0, SMBIOS_NAME_MAX));
}

static void read_everything(const struct boot_info *info)
{
    static struct madt madt;
    static struct dmar dmar;
    static struct srat srat;
    struct serial_place place;
    acpi_init(info);
    int error = madt_parse(acpi_table("APIC"), 0, &madt);
    check(madt.count >= 1 && madt.count <= CPUS_MAX && (!error || madt.count == 1));
    const struct acpi_header *table = acpi_table("SPCR");
    if (table)
        check_place(spcr_parse(table, &place), &place);
    table = acpi_table("DBG2");
    if (table)
        check_place(dbg2_parse(table, &place), &place);
    dmar_read(acpi_table("DMAR"), &dmar);
    dmar_log(&dmar);
    check(dmar.silent <= dmar.count && dmar.silent <= DMAR_UNITS);
    srat_parse(acpi_table("SRAT"), &srat);
    srat_log(&srat);
    check(srat.nodes <= SRAT_NODES && srat.without_memory <= srat.nodes);
    pc_parts_init();
    mcfg_init(info);
    acpi_power_init(info);
    (void)acpi_reset();
    (void)acpi_power_off();
    smbios_init(info);
    const struct smbios_names *names = smbios_names();
    check_name(names->vendor), check_name(names->product), check_name(names->version);
    check_name(names->bios_vendor), check_name(names->bios_version), check_name(names->bios_date);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct boot_info info;
    if (!size)
        return 0;
    memset(memory, 0, sizeof(memory));
    size_t used = size - 1 < sizeof(memory) ? size - 1 : sizeof(memory);
    memcpy(memory, data + 1, used);
    has_ports = !(memory[AT_MCFG] & 1); /* where the signature will be */
    repair(data[0]);
    memcpy(bios + (LOW - BIOS), memory, sizeof(memory));
    /* By EFI, or from the BIOS area; and the loader may have passed the RSDP. */
    info.efi_system_table = HPA(data[0] & 64 ? HIGH + AT_EFI : 0);
    info.rsdp_size = data[0] & 128 ? sizeof(info.rsdp) : 0;
    info.range_count = 1;
    info.ranges[0] = (struct boot_range){HPA(RAM_BASE), RAM_END - RAM_BASE, BOOT_RAM};
    memcpy(info.rsdp, memory + AT_RSDP, sizeof(info.rsdp));
    read_everything(&info);
    while (copy_count)
        free(copies[--copy_count]);
    return 0;
}
