/* SPDX-License-Identifier: MIT */
/* Reads EFI's configuration table; see the header. Pure. */
#include "arch/x86/efi.h"

#include "arch/x86/paging.h"
#include "lib/log.h"
#include "lib/string.h"

struct efi_system_table {
    uint64_t signature;
    uint32_t revision, size, crc32, reserved;
    uint64_t other[10];
    uint64_t count, tables;
} __attribute__((packed));
_Static_assert(offsetof(struct efi_system_table, count) == 104, "UEFI 2.10, 4.3");
#define EFI_SIGNATURE  0x5453595320494249ull /* "IBI SYST" */
#define EFI_SIZE_MAX   0x1000u
#define EFI_TABLES_MAX 128

struct efi_table_entry {
    uint8_t guid[EFI_GUID_SIZE];
    uint64_t table;
} __attribute__((packed));

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

static const struct efi_system_table *checked_efi(hpa_t address, const char *who)
{
    const struct efi_system_table *efi = physical_map(address, sizeof(*efi), MAP_CACHED);
    if (!efi || efi->signature != EFI_SIGNATURE || efi->size < sizeof(*efi) ||
        efi->size > EFI_SIZE_MAX) {
        if (who)
            log_error("%s: there is no EFI system table at %#lx, where the loader says it is", who,
                      address.v);
        return NULL;
    }
    efi = physical_map(address, efi->size, MAP_CACHED);
    uint32_t crc = efi ? crc32(efi, efi->size, offsetof(struct efi_system_table, crc32)) : 0;
    if (efi && crc == efi->crc32 && efi->count <= EFI_TABLES_MAX)
        return efi;
    if (who)
        log_error("%s: the EFI system table at %#lx is not used: its CRC is %#x where it says %#x, "
                  "and it lists %lu tables",
                  who, address.v, crc, efi ? efi->crc32 : 0, efi ? efi->count : 0);
    return NULL;
}

bool efi_find_table(hpa_t system_table, const uint8_t guid[EFI_GUID_SIZE], const char *who,
                    hpa_t *table)
{
    const struct efi_system_table *efi = checked_efi(system_table, who);
    if (!efi || !efi->count)
        return false;
    const struct efi_table_entry *entries =
        physical_map(HPA(efi->tables), efi->count * sizeof(*entries), MAP_CACHED);
    for (uint64_t i = 0; entries && i < efi->count; i++)
        if (!memcmp(entries[i].guid, guid, EFI_GUID_SIZE)) {
            *table = HPA(entries[i].table);
            return true;
        }
    return false;
}
