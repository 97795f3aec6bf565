/* SPDX-License-Identifier: MIT */
/* Implements rt/acpi.h. Offsets are those of ACPI 6.5, chapter 5.2. */
#include "guest/programs/rt/acpi.h"

#define RSDP_SIZE     36
#define RSDP_XSDT     24
#define TABLE_LENGTH  4
#define TABLE_ENTRIES 36
#define MADT_ENTRIES  44

#define MADT_LAPIC  0 /* APIC ID at 3, flags at 4 */
#define MADT_X2APIC 9 /* APIC ID at 4, flags at 8 */

static bool sums_to_0(uint64_t address, uint64_t size)
{
    uint8_t sum = 0;
    for (uint64_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + read8(address + i));
    return !sum;
}

static bool says(uint64_t address, const char *text)
{
    for (; *text; text++, address++)
        if (read8(address) != (uint8_t)*text)
            return false;
    return true;
}

uint64_t acpi_rsdp(void)
{
    for (uint64_t at = BIOS_AREA; at < BIOS_AREA_END; at += 16)
        if (says(at, "RSD PTR ") && sums_to_0(at, RSDP_SIZE))
            return at;
    return 0;
}

uint64_t acpi_table(const char *signature)
{
    uint64_t rsdp = acpi_rsdp(), xsdt = rsdp ? read64(rsdp + RSDP_XSDT) : 0;
    if (!xsdt || !says(xsdt, "XSDT") || !sums_to_0(xsdt, read32(xsdt + TABLE_LENGTH)))
        return 0;
    for (uint64_t at = TABLE_ENTRIES; at < read32(xsdt + TABLE_LENGTH); at += 8) {
        uint64_t table = read64(xsdt + at);
        if (says(table, signature) && sums_to_0(table, read32(table + TABLE_LENGTH)))
            return table;
    }
    return 0;
}

unsigned madt_cpus(uint32_t *ids, unsigned max)
{
    uint64_t madt = acpi_table("APIC");
    uint64_t end = madt ? madt + read32(madt + TABLE_LENGTH) : 0;
    unsigned count = 0;
    for (uint64_t at = madt + MADT_ENTRIES; at < end && read8(at + 1); at += read8(at + 1)) {
        unsigned type = read8(at);
        bool x2apic = type == MADT_X2APIC;
        if ((type != MADT_LAPIC && !x2apic) || !(read32(at + (x2apic ? 8 : 4)) & 1))
            continue;
        if (count < max)
            ids[count] = x2apic ? read32(at + 4) : read8(at + 3);
        count++;
    }
    return count;
}
