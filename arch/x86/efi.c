/* SPDX-License-Identifier: MIT */
/* Reads EFI's configuration table; see the header. Pure. */
#include "arch/x86/efi.h"

#include "arch/x86/paging.h"
#include "lib/log.h"
#include "lib/string.h"

/* The table of 32-bit firmware has the same header, and then pointers and numbers of 4 bytes; so
 * its size tells it apart from the other one. */
struct efi_system_table {
    uint64_t signature;
    uint32_t revision, size, crc32, reserved;
    union {
        struct {
            uint64_t other[10];
            uint64_t count, tables;
        } wide;
        struct {
            uint32_t other[10];
            uint32_t count, tables;
        } narrow;
    };
} __attribute__((packed));
_Static_assert(offsetof(struct efi_system_table, wide.count) == 104, "UEFI 2.10, 4.3");
_Static_assert(offsetof(struct efi_system_table, narrow.count) == 64, "UEFI 2.10, 4.3");
#define EFI_SIGNATURE   0x5453595320494249ull /* "IBI SYST" */
#define EFI_SIZE_NARROW 72u
#define EFI_SIZE_MAX    0x1000u
#define EFI_TABLES_MAX  128

/* An entry of the configuration table: a GUID, and a pointer. */
#define ENTRY_SIZE(pointer) (EFI_GUID_SIZE + (pointer))

/* The configuration table. */
struct efi_list {
    uint64_t count, tables;
    unsigned pointer; /* its size */
};

static struct efi_list list_of(const struct efi_system_table *efi)
{
    if (efi->size < sizeof(*efi))
        return (struct efi_list){efi->narrow.count, efi->narrow.tables, sizeof(uint32_t)};
    return (struct efi_list){efi->wide.count, efi->wide.tables, sizeof(uint64_t)};
}

/* The CRC-32 of IEEE 802.3, reflected. `skip` is the offset of the stored CRC, which counts as
 * 0. */
static uint32_t crc32(const void *data, size_t size, size_t skip)
{
    const uint8_t *bytes = data;
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= i - skip < sizeof(crc) ? 0 : bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* Returns false if the table cannot be used. */
static bool checked_efi(hpa_t address, const char *who, struct efi_list *list)
{
    const struct efi_system_table *efi = physical_map(address, EFI_SIZE_NARROW, MAP_CACHED);
    if (!efi || efi->signature != EFI_SIGNATURE || efi->size < EFI_SIZE_NARROW ||
        efi->size > EFI_SIZE_MAX) {
        if (who)
            log_error("%s: there is no EFI system table at %#lx, where the loader says it is", who,
                      address.v);
        return false;
    }
    efi = physical_map(address, efi->size, MAP_CACHED);
    uint32_t crc = efi ? crc32(efi, efi->size, offsetof(struct efi_system_table, crc32)) : 0;
    *list = efi ? list_of(efi) : (struct efi_list){0};
    if (efi && crc == efi->crc32 && list->count <= EFI_TABLES_MAX)
        return true;
    if (who)
        log_error("%s: the EFI system table at %#lx is not used: its CRC is %#x where it says %#x, "
                  "and it lists %lu tables",
                  who, address.v, crc, efi ? efi->crc32 : 0, list->count);
    return false;
}

bool efi_find_table(hpa_t system_table, const uint8_t guid[EFI_GUID_SIZE], const char *who,
                    hpa_t *table)
{
    struct efi_list list;
    if (!checked_efi(system_table, who, &list) || !list.count)
        return false;
    const size_t size = ENTRY_SIZE(list.pointer);
    const uint8_t *entries = physical_map(HPA(list.tables), list.count * size, MAP_CACHED);
    for (uint64_t i = 0; entries && i < list.count; i++) {
        uint64_t found = 0;
        if (memcmp(entries + i * size, guid, EFI_GUID_SIZE))
            continue;
        memcpy(&found, entries + i * size + EFI_GUID_SIZE, list.pointer);
        *table = HPA(found);
        return true;
    }
    return false;
}
