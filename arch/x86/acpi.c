#include "arch/x86/acpi.h"

#include "arch/x86/cpu.h"
#include "arch/x86/paging.h"
#include "lib/string.h"

#define TABLE_MAX 0x400000u

struct rsdp {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct rsdp) == 36, "ACPI 6.5, table 5.3");

struct efi_table_entry {
    uint8_t guid[16];
    uint64_t table;
};

/* Offsets in the EFI system table (UEFI 2.10, 4.3) of a 64-bit firmware. */
#define EFI_TABLE_COUNT 104
#define EFI_TABLES      112
#define EFI_TABLES_MAX  128

/* EFI_ACPI_20_TABLE_GUID, in memory order. */
static const uint8_t efi_acpi_guid[16] = {0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11,
                                          0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81};

static struct rsdp rsdp;

static bool sums_to_zero(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return !sum;
}

static bool take_rsdp(const void *candidate)
{
    if (memcmp(candidate, "RSD PTR ", 8) || !sums_to_zero(candidate, 20))
        return false;
    memcpy(&rsdp, candidate, 20);
    if (rsdp.revision >= 2 && sums_to_zero(candidate, sizeof(rsdp)))
        memcpy(&rsdp, candidate, sizeof(rsdp));
    return true;
}

static bool find_by_efi(hpa_t system_table)
{
    const uint8_t *table = physical_map(system_table, EFI_TABLES + 8, MAP_CACHED);
    uint64_t count, tables;
    if (!table)
        return false;
    memcpy(&count, table + EFI_TABLE_COUNT, sizeof(count));
    memcpy(&tables, table + EFI_TABLES, sizeof(tables));
    if (count > EFI_TABLES_MAX)
        return false;
    const struct efi_table_entry *entries =
        physical_map(HPA(tables), count * sizeof(*entries), MAP_CACHED);
    for (uint64_t i = 0; entries && i < count; i++) {
        if (memcmp(entries[i].guid, efi_acpi_guid, sizeof(efi_acpi_guid)))
            continue;
        const void *candidate = physical_map(HPA(entries[i].table), sizeof(rsdp), MAP_CACHED);
        return candidate && take_rsdp(candidate);
    }
    return false;
}

void acpi_init(const struct boot_info *info)
{
    if (info->rsdp_size && take_rsdp(info->rsdp))
        return;
    if (info->efi_system_table.v) {
        (void)find_by_efi(info->efi_system_table);
        return;
    }
    const char *bios = physical_map(HPA(0xe0000), 0x20000, MAP_CACHED);
    for (unsigned offset = 0; bios && offset < 0x20000; offset += 16)
        if (take_rsdp(bios + offset))
            return;
}

static const struct acpi_header *checked_table(hpa_t address)
{
    const struct acpi_header *header = physical_map(address, sizeof(*header), MAP_CACHED);
    if (!header || header->length < sizeof(*header) || header->length > TABLE_MAX)
        return NULL;
    header = physical_map(address, header->length, MAP_CACHED);
    return header && sums_to_zero(header, header->length) ? header : NULL;
}

const struct acpi_header *acpi_table(const char *signature)
{
    bool wide = rsdp.length && rsdp.xsdt;
    uint64_t address = wide ? rsdp.xsdt : rsdp.rsdt;
    const struct acpi_header *root = address ? checked_table(HPA(address)) : NULL;
    if (!root)
        return NULL;

    size_t step = wide ? 8 : 4;
    for (size_t at = sizeof(*root); at + step <= root->length; at += step) {
        uint64_t entry = 0;
        memcpy(&entry, (const char *)root + at, step);
        const struct acpi_header *table = checked_table(HPA(entry));
        if (table && !memcmp(table->signature, signature, 4))
            return table;
    }
    return NULL;
}

/* Offsets in the FADT (ACPI 6.5, table 5.9). */
#define FADT_DSDT       40
#define FADT_PM1A       64
#define FADT_PM1B       68
#define FADT_SIZE_MIN   116
#define PM1_SLP_TYP(t)  ((uint16_t)((t) << 10))
#define PM1_SLP_EN      ((uint16_t)BIT(13))
#define AML_PACKAGE     0x12
#define AML_BYTE_PREFIX 0x0a

/* One small integer of an AML package: 0, 1, or a byte constant. */
static const uint8_t *aml_integer(const uint8_t *at, const uint8_t *end, uint8_t *value)
{
    if (at < end && *at == AML_BYTE_PREFIX)
        at++;
    *value = at < end ? *at : 0;
    return at + 1;
}

/* Finds `Name (_S5_, Package () {a, b, …})` in the DSDT's byte code and yields a and b. */
static bool find_s5(const struct acpi_header *dsdt, uint8_t type[2])
{
    const uint8_t *end = (const uint8_t *)dsdt + dsdt->length;
    for (const uint8_t *at = (const uint8_t *)(dsdt + 1); at + 8 < end; at++) {
        if (memcmp(at, "_S5_", 4) || at[4] != AML_PACKAGE)
            continue;
        at += 5;
        at += (*at >> 6) + 2; /* the package's length and its number of elements */
        at = aml_integer(at, end, &type[0]);
        aml_integer(at, end, &type[1]);
        return true;
    }
    return false;
}

void acpi_power_off(void)
{
    const struct acpi_header *fadt = acpi_table("FACP");
    uint32_t dsdt_address, pm1a, pm1b;
    uint8_t type[2];
    if (!fadt || fadt->length < FADT_SIZE_MIN)
        return;
    memcpy(&dsdt_address, (const char *)fadt + FADT_DSDT, 4);
    memcpy(&pm1a, (const char *)fadt + FADT_PM1A, 4);
    memcpy(&pm1b, (const char *)fadt + FADT_PM1B, 4);
    const struct acpi_header *dsdt = checked_table(HPA(dsdt_address));
    if (!dsdt || !find_s5(dsdt, type))
        return;
    outw((uint16_t)pm1a, PM1_SLP_TYP(type[0]) | PM1_SLP_EN);
    if (pm1b)
        outw((uint16_t)pm1b, PM1_SLP_TYP(type[1]) | PM1_SLP_EN);
}
