/* SPDX-License-Identifier: MIT */
/* Counts the nodes of the SRAT; see the header. Pure. */
#include "arch/x86/srat.h"

#include "lib/bits.h"
#include "lib/log.h"
#include "lib/string.h"

#define ENTRIES 48u /* offset of the first one (ACPI 6.5, table 5.61) */

#define TYPE_LAPIC  0
#define TYPE_MEMORY 1
#define TYPE_X2APIC 2
#define ENABLED     1u

/* Where an entry has its domain and its flags (ACPI 6.5, tables 5.62 to 5.64). The domain of a
 * local APIC is split: one byte, and three at another place. */
static const struct {
    uint8_t size, domain, flags;
} kinds[] = {
    [TYPE_LAPIC] = {16, 2, 4},
    [TYPE_MEMORY] = {40, 2, 28},
    [TYPE_X2APIC] = {24, 4, 12},
};
#define LAPIC_DOMAIN_HIGH 9u

static uint32_t read_32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static void srat_add(struct srat *srat, uint32_t domain, bool memory)
{
    unsigned i = 0;
    while (i < srat->nodes && srat->ids[i] != domain)
        i++;
    if (i == SRAT_NODES) {
        srat->more = true;
        return;
    }
    if (i == srat->nodes)
        srat->ids[srat->nodes++] = domain;
    if (memory)
        srat->has_memory |= BIT(i);
}

/* Revision 1 of the table has domains of 8 bits, and what it has above them is reserved. */
static uint32_t domain_of(const uint8_t *entry, unsigned revision)
{
    if (entry[0] != TYPE_LAPIC)
        return revision < 2 ? entry[kinds[entry[0]].domain]
                            : read_32(entry + kinds[entry[0]].domain);
    uint32_t high = 0;
    memcpy(&high, entry + LAPIC_DOMAIN_HIGH, 3);
    return entry[kinds[TYPE_LAPIC].domain] | (revision < 2 ? 0 : high << 8);
}

void srat_parse(const struct acpi_header *table, struct srat *srat)
{
    memset(srat, 0, sizeof(*srat));
    const uint8_t *bytes = (const uint8_t *)table;
    for (size_t at = ENTRIES; table && at < table->length; at += bytes[at + 1]) {
        size_t room = table->length - at;
        unsigned type = bytes[at], length = room < 2 ? 0 : bytes[at + 1];
        unsigned least = type < ARRAY_SIZE(kinds) ? kinds[type].size : 2;
        if (length < least || length > room) {
            log_error("SRAT: the entry at offset %zu, of type %u and length %u, does not fit into "
                      "the %zu bytes that are left; the nodes are not counted",
                      at, type, length, room);
            memset(srat, 0, sizeof(*srat));
            return;
        }
        if (type < ARRAY_SIZE(kinds) && read_32(bytes + at + kinds[type].flags) & ENABLED)
            srat_add(srat, domain_of(bytes + at, table->revision), type == TYPE_MEMORY);
    }
    for (unsigned i = 0; i < srat->nodes; i++)
        srat->without_memory += !(srat->has_memory >> i & 1);
}

void srat_log(const struct srat *srat)
{
    if (srat->nodes > 1)
        log_info("numa: %s%u nodes by ACPI's SRAT, %u of them without memory; memory of all is "
                 "used alike",
                 srat->more ? "more than " : "", srat->nodes, srat->without_memory);
}
