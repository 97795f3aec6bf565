/* SPDX-License-Identifier: MIT */
/* Finds and checks ACPI tables; see the header. Pure. */
#include "arch/x86/acpi.h"

#include "arch/x86/efi.h"
#include "arch/x86/paging.h"
#include "lib/log.h"
#include "lib/string.h"

#define TABLE_MAX 0x400000u

/* The places where a BIOS puts the RSDP, at a multiple of 16 (ACPI 6.5, 5.2.5.1): the BIOS area, or
 * the first KiB of the extended BIOS data area, whose real-mode segment the BIOS stores at 40eh. */
#define EBDA_SEGMENT HPA(0x40e)
#define EBDA_LOWEST  0x400u
#define EBDA_SIZE    0x400u
#define BIOS_AREA    HPA(0xe0000)
#define BIOS_SIZE    0x20000u

/* EFI_ACPI_20_TABLE_GUID, in memory order. */
static const uint8_t efi_acpi_guid[16] = {0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11,
                                          0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81};

static struct acpi_rsdp rsdp;
static bool complained; /* messages about the root tables and their entries are printed only once */

static uint8_t byte_sum(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return sum;
}

/* Uses a candidate of at most `room` bytes if its checksum is correct. Only the first part of an
 * RSDP of ACPI 1.0 exists. */
static bool take_rsdp(const void *candidate, size_t room, const char *where)
{
    if (room < ACPI_RSDP_SIZE_1 || memcmp(candidate, ACPI_RSDP, sizeof(rsdp.signature)))
        return false;
    uint8_t sum = byte_sum(candidate, ACPI_RSDP_SIZE_1);
    if (sum) {
        log_error("ACPI: the RSDP from %s is not used: its %u bytes sum to %#x, not to 0", where,
                  ACPI_RSDP_SIZE_1, sum);
        return false;
    }
    memset(&rsdp, 0, sizeof(rsdp));
    memcpy(&rsdp, candidate, ACPI_RSDP_SIZE_1);
    if (rsdp.revision < 2)
        return true;
    if (room < sizeof(rsdp)) {
        log_error("ACPI: the RSDP from %s is of revision %u but has no more than %zu bytes; only "
                  "its older half is used",
                  where, rsdp.revision, room);
        return true;
    }
    sum = byte_sum(candidate, sizeof(rsdp));
    if (!sum)
        memcpy(&rsdp, candidate, sizeof(rsdp));
    else
        log_error("ACPI: the RSDP from %s: its %zu bytes sum to %#x, not to 0; only its older half "
                  "is used",
                  where, sizeof(rsdp), sum);
    return true;
}

static bool find_by_efi(hpa_t system_table)
{
    hpa_t address;
    if (!efi_find_table(system_table, efi_acpi_guid, "ACPI", &address))
        return false;
    const void *candidate = physical_map(address, sizeof(rsdp), MAP_CACHED);
    return candidate && take_rsdp(candidate, sizeof(rsdp), "the EFI system table");
}

static bool find_in_area(hpa_t area, size_t size, const char *where)
{
    const char *bytes = physical_map(area, size, MAP_CACHED);
    for (size_t offset = 0; bytes && offset < size; offset += 16)
        if (take_rsdp(bytes + offset, size - offset, where))
            return true;
    return false;
}

static bool find_in_ebda(void)
{
    const void *noted = physical_map(EBDA_SEGMENT, sizeof(uint16_t), MAP_CACHED);
    uint16_t segment = 0;
    if (noted)
        memcpy(&segment, noted, sizeof(segment));
    uint64_t area = (uint64_t)segment << 4; /* a segment's address is below 1 MiB */
    return area >= EBDA_LOWEST && find_in_area(HPA(area), EBDA_SIZE, "the EBDA");
}

void acpi_init(const struct boot_info *info)
{
    memset(&rsdp, 0, sizeof(rsdp));
    complained = false;
    if (take_rsdp(info->rsdp, info->rsdp_size, "the loader"))
        return;
    if (info->efi_system_table.v) {
        (void)find_by_efi(info->efi_system_table);
        return;
    }
    if (!find_in_area(BIOS_AREA, BIOS_SIZE, "the BIOS area"))
        (void)find_in_ebda();
}

static const struct acpi_header *header_at(hpa_t address, bool quiet)
{
    const struct acpi_header *header = physical_map(address, sizeof(*header), MAP_CACHED);
    if (!header && !quiet)
        log_error("ACPI: the address of a table, %#lx, cannot be one of memory", address.v);
    return header;
}

static const struct acpi_header *table_at(hpa_t address, const char *signature, bool quiet)
{
    const struct acpi_header *header = header_at(address, quiet);
    if (!header || memcmp(header->signature, signature, sizeof(header->signature)))
        return NULL;
    uint32_t length = header->length;
    if (length < sizeof(*header) || length > TABLE_MAX) {
        if (!quiet)
            log_error("ACPI: the table %s at %#lx is not used: its length is %u; %zu to %u are "
                      "possible",
                      signature, address.v, length, sizeof(*header), TABLE_MAX);
        return NULL;
    }
    header = physical_map(address, length, MAP_CACHED);
    if (header && !byte_sum(header, length))
        return header;
    if (!quiet)
        log_error("ACPI: the table %s at %#lx is not used: its %u bytes %s", signature, address.v,
                  length, header ? "do not sum to 0" : "reach beyond physical memory");
    return NULL;
}

const struct acpi_header *acpi_table_at(hpa_t address, const char *signature)
{
    return table_at(address, signature, false);
}

/* The XSDT, or else the RSDT, whose entries are narrower. */
static const struct acpi_header *root_table(size_t *entry_size)
{
    const struct acpi_header *root =
        rsdp.xsdt ? table_at(HPA(rsdp.xsdt), "XSDT", complained) : NULL;
    *entry_size = root ? sizeof(uint64_t) : sizeof(uint32_t);
    if (!root && rsdp.rsdt)
        root = table_at(HPA(rsdp.rsdt), "RSDT", complained);
    return root;
}

const struct acpi_header *acpi_table(const char *signature)
{
    size_t step;
    const struct acpi_header *root = root_table(&step), *found = NULL;
    for (size_t at = sizeof(*root); root && !found && at + step <= root->length; at += step) {
        uint64_t entry = 0;
        memcpy(&entry, (const char *)root + at, step);
        if (entry && header_at(HPA(entry), complained))
            found = table_at(HPA(entry), signature, false);
    }
    complained = true;
    return found;
}

void acpi_list(void (*found)(hpa_t address, const struct acpi_header *header))
{
    size_t step;
    const struct acpi_header *root = root_table(&step), *header;
    if (root)
        found(HPA(step == sizeof(uint64_t) ? rsdp.xsdt : rsdp.rsdt), root);
    for (size_t at = sizeof(*root); root && at + step <= root->length; at += step) {
        uint64_t entry = 0;
        memcpy(&entry, (const char *)root + at, step);
        header = entry ? header_at(HPA(entry), true) : NULL;
        if (header)
            found(HPA(entry), header);
    }
}
