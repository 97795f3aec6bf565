/* SPDX-License-Identifier: MIT */
/* Reads SMBIOS; see the header. Pure. */
#include "arch/x86/smbios.h"

#include "arch/x86/efi.h"
#include "arch/x86/paging.h"
#include "lib/bits.h"
#include "lib/log.h"
#include "lib/string.h"

/* DSP0134 3.7, 5.2.1: of 32 bits, from version 2.1 on. */
struct entry_2 {
    char anchor[4];
    uint8_t checksum, length, major, minor;
    uint16_t largest;
    uint8_t revision, formatted[5];
    char middle[5];
    uint8_t middle_checksum;
    uint16_t table_size;
    uint32_t table;
    uint16_t count;
    uint8_t bcd;
} __attribute__((packed));
_Static_assert(sizeof(struct entry_2) == 31, "DSP0134, 5.2.1");

/* 5.2.2: of 64 bits, from version 3.0 on. */
struct entry_3 {
    char anchor[5];
    uint8_t checksum, length, major, minor, docrev, revision, reserved;
    uint32_t table_max;
    uint64_t table;
} __attribute__((packed));
_Static_assert(sizeof(struct entry_3) == 24, "DSP0134, 5.2.2");

#define ANCHOR_2         "_SM_"
#define ANCHOR_3         "_SM3_"
#define ENTRY_2_OLD      30u /* the length that version 2.1 of the specification says by mistake */
#define ENTRY_MAX        32u
#define TABLE_MAX        0x100000u /* more is not read: the names are near the start */
#define BIOS_AREA        HPA(0xf0000)
#define BIOS_SIZE        0x10000u
#define STRUCTURE_BIOS   0
#define STRUCTURE_SYSTEM 1
#define STRUCTURE_END    127

/* In memory order: EB9D2D31-2D88-11D3-9A16-0090273FC14D and
 * F2FD1544-9794-4A2C-992E-E5BBCF20E394. */
static const uint8_t guid_2[EFI_GUID_SIZE] = {0x31, 0x2d, 0x9d, 0xeb, 0x88, 0x2d, 0xd3, 0x11,
                                              0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d};
static const uint8_t guid_3[EFI_GUID_SIZE] = {0x44, 0x15, 0xfd, 0xf2, 0x94, 0x97, 0x2c, 0x4a,
                                              0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20, 0xe3, 0x94};

static struct smbios_names names;

struct smbios_table {
    hpa_t address;
    uint64_t size;
    unsigned count; /* at most so many structures */
};

static bool sums_to_0(const uint8_t *bytes, size_t size)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return !sum;
}

/* Reads an entry point, of which `room` bytes can be read. */
static bool take_entry_3(const uint8_t *bytes, size_t room, struct smbios_table *table)
{
    struct entry_3 entry;
    if (room < sizeof(entry) || memcmp(bytes, ANCHOR_3, strlen(ANCHOR_3)))
        return false;
    memcpy(&entry, bytes, sizeof(entry));
    if (entry.length < sizeof(entry) || entry.length > room || !sums_to_0(bytes, entry.length))
        return false;
    *table = (struct smbios_table){HPA(entry.table), entry.table_max, UINT32_MAX};
    return true;
}

static bool take_entry_2(const uint8_t *bytes, size_t room, struct smbios_table *table)
{
    struct entry_2 entry;
    if (room < sizeof(entry) || memcmp(bytes, ANCHOR_2, strlen(ANCHOR_2)))
        return false;
    memcpy(&entry, bytes, sizeof(entry));
    size_t length = entry.length == ENTRY_2_OLD ? sizeof(entry) : entry.length;
    if (length < sizeof(entry) || length > room || !sums_to_0(bytes, length))
        return false;
    *table = (struct smbios_table){HPA(entry.table), entry.table_size, entry.count};
    return true;
}

static bool find_by_efi(hpa_t system_table, struct smbios_table *table)
{
    hpa_t at;
    const uint8_t *bytes = NULL;
    if (efi_find_table(system_table, guid_3, NULL, &at))
        bytes = physical_map(at, ENTRY_MAX, MAP_CACHED);
    if (bytes && take_entry_3(bytes, ENTRY_MAX, table))
        return true;
    bytes = NULL;
    if (efi_find_table(system_table, guid_2, NULL, &at))
        bytes = physical_map(at, ENTRY_MAX, MAP_CACHED);
    return bytes && take_entry_2(bytes, ENTRY_MAX, table);
}

static bool find_in_bios(struct smbios_table *table)
{
    const uint8_t *bytes = physical_map(BIOS_AREA, BIOS_SIZE, MAP_CACHED);
    for (size_t at = 0; bytes && at < BIOS_SIZE; at += 16)
        if (take_entry_3(bytes + at, BIOS_SIZE - at, table))
            return true;
    for (size_t at = 0; bytes && at < BIOS_SIZE; at += 16)
        if (take_entry_2(bytes + at, BIOS_SIZE - at, table))
            return true;
    return false;
}

/* ---- Structures ------------------------------------------------------------------------------ */

/* A header, formatted bytes, and a set of strings, which ends with an empty one. */
struct structure {
    const uint8_t *bytes, *strings, *end; /* `end` is behind the set's last zero */
};

/* Finds the end of the structure at `at`. Returns false if it is not within the table. */
static bool measure(const uint8_t *at, const uint8_t *table_end, struct structure *structure)
{
    size_t left = (size_t)(table_end - at);
    if (left < 4 || at[1] < 4 || at[1] > left)
        return false;
    structure->bytes = at;
    structure->strings = at + at[1];
    for (const uint8_t *end = structure->strings; table_end - end >= 2; end++)
        if (!end[0] && !end[1]) {
            structure->end = end + 2;
            return true;
        }
    return false;
}

/* Copies the string whose number is in the byte at `offset`; spaces at its end are left out. */
static void take_name(const struct structure *structure, unsigned offset, char *name)
{
    if (offset >= structure->bytes[1])
        return;
    const char *at = (const char *)structure->strings, *end = (const char *)structure->end - 1;
    for (unsigned number = structure->bytes[offset]; number > 1 && at < end; number--)
        at += strlen(at) + 1;
    if (!structure->bytes[offset] || at >= end)
        return;
    size_t length = strlen(at);
    length = length < SMBIOS_NAME_MAX ? length : SMBIOS_NAME_MAX - 1;
    while (length && at[length - 1] == ' ')
        length--;
    memcpy(name, at, length);
    name[length] = 0;
}

static void take_structure(const struct structure *structure)
{
    if (structure->bytes[0] == STRUCTURE_BIOS) {
        take_name(structure, 4, names.bios_vendor);
        take_name(structure, 5, names.bios_version);
        take_name(structure, 8, names.bios_date);
    } else if (structure->bytes[0] == STRUCTURE_SYSTEM) {
        take_name(structure, 4, names.vendor);
        take_name(structure, 5, names.product);
        take_name(structure, 6, names.version);
    }
}

static void read_structures(const struct smbios_table *table)
{
    uint64_t size = table->size < TABLE_MAX ? table->size : TABLE_MAX;
    const uint8_t *at = size ? physical_map(table->address, size, MAP_CACHED) : NULL;
    const uint8_t *end = at ? at + size : NULL;
    struct structure structure;
    for (unsigned i = 0; at && i < table->count && measure(at, end, &structure); i++) {
        take_structure(&structure);
        at = structure.bytes[0] == STRUCTURE_END ? NULL : structure.end;
    }
}

/* The names that are known, with spaces between them. */
static void join(char *text, size_t size, const char *const parts[], unsigned count)
{
    size_t length = 0;
    text[0] = 0;
    for (unsigned i = 0; i < count; i++)
        if (parts[i][0])
            length +=
                (size_t)snprintf(text + length, size - length, "%s%s", length ? " " : "", parts[i]);
}

void smbios_init(const struct boot_info *info)
{
    const char *const parts[] = {names.vendor, names.product, names.version};
    char name[3 * SMBIOS_NAME_MAX];
    struct smbios_table table;
    memset(&names, 0, sizeof(names));
    bool found = info->efi_system_table.v ? find_by_efi(info->efi_system_table, &table)
                                          : find_in_bios(&table);
    if (found)
        read_structures(&table);
    join(name, sizeof(name), parts, ARRAY_SIZE(parts));
    if (!name[0] && !names.bios_version[0]) {
        log_info("machine: its firmware does not name it (%s)",
                 found ? "SMBIOS has no names" : "there is no SMBIOS");
        return;
    }
    log_info(
        "machine: %s, firmware %s of %s by %s", name[0] ? name : "its firmware does not name it",
        names.bios_version[0] ? names.bios_version : "?",
        names.bios_date[0] ? names.bios_date : "?", names.bios_vendor[0] ? names.bios_vendor : "?");
}

const struct smbios_names *smbios_names(void)
{
    return &names;
}
