/* SPDX-License-Identifier: MIT */
#include "launch/firmware.h"

#include "arch/x86/madt.h"
#include "vm/layout.h"
#include "lib/assert.h"
#include "lib/string.h"

/* The page that holds the tables. The RSDP is first, because it must be 16-byte aligned; the other
 * tables may lie anywhere. */
struct firmware {
    struct acpi_rsdp rsdp;
    struct xsdt {
        struct acpi_header header;
        uint32_t madt[2]; /* 64-bit address; two halves, because its offset is no multiple of 8 */
    } xsdt;
    struct {
        struct madt_header header;
        struct madt_lapic cpus[VCPUS_MAX];
    } madt;
};
_Static_assert(sizeof(struct xsdt) == 44, "ACPI 6.5, table 5.8, with one entry");
_Static_assert(sizeof(struct firmware) <= PAGE_SIZE, "one page");

/* An APIC ID of 255 or more would need an x2APIC entry (ACPI 6.5, 5.2.12.12). */
_Static_assert(VCPUS_MAX <= 255, "IDs of 8 bits");

#define OEM       "EPTVIS"
#define OEM_TABLE "EPTVISOR"
#define CREATOR   "EPTV"

/* The byte that makes the sum of all bytes of a table 0. */
static uint8_t acpi_checksum(const void *table, size_t size)
{
    const uint8_t *bytes = table;
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return (uint8_t)-sum;
}

static void acpi_table_finish(struct acpi_header *header, const char signature[4], uint8_t revision,
                              size_t length)
{
    memcpy(header->signature, signature, sizeof(header->signature));
    memcpy(header->oem, OEM, sizeof(header->oem));
    memcpy(header->oem_table, OEM_TABLE, sizeof(header->oem_table));
    memcpy(header->creator, CREATOR, sizeof(header->creator));
    header->oem_revision = header->creator_revision = 1;
    header->revision = revision;
    header->length = (uint32_t)length;
    header->checksum = acpi_checksum(header, length);
}

static uint32_t firmware_address(size_t offset)
{
    return (uint32_t)(GUEST_FIRMWARE + offset);
}

static void firmware_build(struct firmware *firmware, unsigned cpus)
{
    struct acpi_rsdp *rsdp = &firmware->rsdp;

    for (unsigned i = 0; i < cpus; i++)
        firmware->madt.cpus[i] = (struct madt_lapic){.type = MADT_LAPIC,
                                                     .length = sizeof(struct madt_lapic),
                                                     .processor = (uint8_t)i,
                                                     .apic_id = (uint8_t)i,
                                                     .flags = MADT_ENABLED};
    firmware->madt.header.lapic = GUEST_LAPIC;
    acpi_table_finish(&firmware->madt.header.acpi, "APIC", 5,
                      sizeof(struct madt_header) + cpus * sizeof(struct madt_lapic));

    firmware->xsdt.madt[0] = firmware_address(offsetof(struct firmware, madt));
    acpi_table_finish(&firmware->xsdt.header, "XSDT", 1, sizeof(firmware->xsdt));

    memcpy(rsdp->signature, ACPI_RSDP, sizeof(rsdp->signature));
    memcpy(rsdp->oem, OEM, sizeof(rsdp->oem));
    rsdp->revision = 2;
    rsdp->length = sizeof(*rsdp);
    rsdp->xsdt = firmware_address(offsetof(struct firmware, xsdt));
    rsdp->checksum = acpi_checksum(rsdp, ACPI_RSDP_SIZE_1);
    rsdp->extended_checksum = acpi_checksum(rsdp, sizeof(*rsdp));
}

int firmware_add(struct mmu *mmu, unsigned cpus)
{
    struct firmware firmware = {0};
    BUG_ON(cpus > VCPUS_MAX);
    firmware_build(&firmware, cpus);
    int error =
        mmu_slot_add(mmu, GUEST_FIRMWARE_SLOT, GPA(GUEST_FIRMWARE), 1, (uint32_t)MEMSLOT_READONLY);
    return error ? error : guest_load(mmu, GPA(GUEST_FIRMWARE), &firmware, sizeof(firmware));
}
