/* SPDX-License-Identifier: MIT */
#include "launch/td_lazy.h"

#include "launch/linux_boot.h"
#include "lib/assert.h"
#include "lib/bits.h"

#define UNIT     (2ull << 20)
#define TOP      (GUEST_HIGH + GUEST_RAM_MAX) /* no RAM lies at or above this address */
#define UNITS    (TOP / UNIT)
#define EFI_PAGE 4096ull

/* The system table (UEFI 2.10, 4.3). */
struct efi_system_table {
    uint64_t signature;
    uint32_t revision, header_size, crc, reserved;
    uint64_t vendor;
    uint32_t vendor_revision, unused;
    uint64_t consoles[6], runtime_services, boot_services;
    uint64_t table_count, tables;
} __attribute__((packed));
_Static_assert(sizeof(struct efi_system_table) == 120, "UEFI 2.10, 4.3");
#define EFI_SIGNATURE 0x5453595320494249ull /* "IBI SYST" */
#define EFI_REVISION  0x20046u              /* 2.70 */

/* A descriptor of the memory map (UEFI 2.10, 7.2). */
struct efi_memory {
    uint32_t kind, unused;
    uint64_t base, virtual_base, pages, attributes;
};
#define EFI_CONVENTIONAL   7u
#define EFI_WRITE_BACK     8u
#define EFI_MEMORY_VERSION 1u

/* Linux' table of unaccepted memory: efi_unaccepted_memory of include/linux/efi.h. */
struct efi_unaccepted {
    uint32_t version, unit;
    uint64_t base, size; /* size: of the bitmap in bytes */
    uint64_t bitmap[UNITS / 64];
};

struct efi_tables {
    struct efi_system_table system;
    struct {
        uint8_t guid[16];
        uint64_t table;
    } configuration;
    struct efi_memory map;
    uint16_t vendor[12];
    struct efi_unaccepted unaccepted;
};
_Static_assert(sizeof(struct efi_tables) <= LINUX_SPARE, "room in the boot parameters");
_Static_assert(UNITS % 64 == 0, "whole words");

/* d5d1de3c-105c-44f9-9ea9-bcef98120031 */
static const uint8_t unaccepted_guid[16] = {0x3c, 0xde, 0xd1, 0xd5, 0x5c, 0x10, 0xf9, 0x44,
                                            0x9e, 0xa9, 0xbc, 0xef, 0x98, 0x12, 0x00, 0x31};

/* ---- The unaccepted ranges ------------------------------------------------------------------- */

static void td_unaccepted_add(struct td_unaccepted *unaccepted, uint64_t base, uint64_t end)
{
    base = align_up(base, UNIT);
    end = align_down(end, UNIT);
    if (base >= end)
        return;
    BUG_ON(unaccepted->count == TD_UNACCEPTED);
    unaccepted->ranges[unaccepted->count++] = (struct shim_range){base, end - base};
}

/* Removes the pages of a record from the ranges. Beyond the kernel only an initrd is a record, so
 * at most one range is cut in two. */
static void td_unaccepted_cut(struct td_unaccepted *unaccepted, const struct load_record *record)
{
    const struct td_unaccepted before = *unaccepted;
    const uint64_t end = record->gpa + record->extent;
    unaccepted->count = 0;
    for (unsigned i = 0; i < before.count; i++) {
        const struct shim_range *r = &before.ranges[i];
        const uint64_t range_end = r->base + r->size;
        if (record->gpa >= range_end || end <= r->base) {
            td_unaccepted_add(unaccepted, r->base, range_end);
            continue;
        }
        td_unaccepted_add(unaccepted, r->base, record->gpa);
        td_unaccepted_add(unaccepted, end, range_end);
    }
}

void td_find_unaccepted(struct td_unaccepted *unaccepted, const struct load_plan *plan,
                        const struct guest_image *image)
{
    const uint64_t kernel_end = linux_kernel_end(plan);
    unaccepted->count = 0;
    for (unsigned i = 1; i < GUEST_RAM_PIECES; i++) {
        const struct guest_range *ram = &image->ram[i];
        td_unaccepted_add(unaccepted, ram->base.v > kernel_end ? ram->base.v : kernel_end,
                          ram->base.v + ram->size);
    }
    for (unsigned i = 0; i < plan->count; i++)
        if (plan->records[i].extent)
            td_unaccepted_cut(unaccepted, &plan->records[i]);
}

/* ---- The tables ------------------------------------------------------------------------------ */

static void bitmap_set_range(uint64_t *bitmap, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end;) {
        uint64_t count = 64 - i % 64;
        if (count > end - i)
            count = end - i;
        bitmap[i / 64] |= BITS(i % 64 + count - 1, i % 64);
        i += count;
    }
}

struct shim_range td_lazy_tables(struct load_plan *plan, const struct guest_image *image,
                                 const struct td_unaccepted *unaccepted)
{
    static const char vendor[] = "eptvisor";
    uint64_t gpa;
    struct efi_tables *tables = linux_spare(plan, &gpa);
#define ADDRESS_OF(member) (gpa + offsetof(struct efi_tables, member))
    memset(tables, 0, sizeof(*tables));
    tables->system = (struct efi_system_table){.signature = EFI_SIGNATURE,
                                               .revision = EFI_REVISION,
                                               .header_size = sizeof(tables->system),
                                               .vendor = ADDRESS_OF(vendor),
                                               .table_count = 1,
                                               .tables = ADDRESS_OF(configuration)};
    memcpy(tables->configuration.guid, unaccepted_guid, sizeof(unaccepted_guid));
    tables->configuration.table = ADDRESS_OF(unaccepted);
    /* A kernel with KASLR chooses its address from this map. */
    tables->map = (struct efi_memory){.kind = EFI_CONVENTIONAL,
                                      .base = image->ram[1].base.v,
                                      .pages = image->ram[1].size / EFI_PAGE,
                                      .attributes = EFI_WRITE_BACK};
    for (unsigned i = 0; i < sizeof(vendor); i++)
        tables->vendor[i] = (uint16_t)vendor[i];
    struct efi_unaccepted *table = &tables->unaccepted;
    table->version = 1;
    table->unit = UNIT;
    table->size = sizeof(table->bitmap);
    for (unsigned i = 0; i < unaccepted->count; i++)
        bitmap_set_range(table->bitmap, unaccepted->ranges[i].base / UNIT,
                         (unaccepted->ranges[i].base + unaccepted->ranges[i].size) / UNIT);
    linux_set_efi(plan, &(struct linux_efi){.system_table = ADDRESS_OF(system),
                                            .map = ADDRESS_OF(map),
                                            .map_size = sizeof(tables->map),
                                            .descriptor_size = sizeof(tables->map),
                                            .descriptor_version = EFI_MEMORY_VERSION});
    return (struct shim_range){.base = gpa, .size = sizeof(*tables)};
}
