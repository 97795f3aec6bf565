/* SPDX-License-Identifier: MIT */
/* Parses the MADT; see the header. Pure. */
#include "arch/x86/madt.h"

#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

#define TYPE_X2APIC 9

/* The broadcast IDs, which are not the ID of any CPU. */
#define LAPIC_BROADCAST  0xffu
#define X2APIC_BROADCAST 0xffffffffu

struct x2apic_entry {
    uint8_t type, length;
    uint16_t reserved;
    uint32_t apic_id, flags, processor;
};
_Static_assert(sizeof(struct x2apic_entry) == 16, "ACPI 6.5, table 5.34");

static int madt_refuse(struct madt *madt, size_t at, const char *why, unsigned value)
{
    log_error("MADT: the entry at offset %zu %s %u; only the boot CPU is used", at, why, value);
    madt->count = 1;
    madt->unused = madt->unused_spans = 0;
    return -EINVAL;
}

static void madt_add_unused(struct madt *madt, uint32_t apic_id)
{
    struct madt_span *spans = madt->unused_ids;
    for (unsigned i = 0; i < madt->unused_spans; i++)
        if (apic_id >= spans[i].first && apic_id <= spans[i].last)
            return;
    madt->unused++;
    if (madt->unused_spans && spans[madt->unused_spans - 1].last + 1 == apic_id)
        spans[madt->unused_spans - 1].last++;
    else if (madt->unused_spans < MADT_SPANS)
        spans[madt->unused_spans++] = (struct madt_span){apic_id, apic_id};
}

/* A CPU that the firmware lists twice, with either type of entry, counts once. */
static void madt_add(struct madt *madt, uint32_t apic_id)
{
    for (unsigned i = 0; i < madt->count; i++)
        if (madt->apic_id[i] == apic_id)
            return;
    if (madt->count == CPUS_MAX)
        madt_add_unused(madt, apic_id);
    else
        madt->apic_id[madt->count++] = apic_id;
}

static void madt_log_unused(const struct madt *madt)
{
    char text[160];
    int used = 0;
    for (unsigned i = 0; i < madt->unused_spans && used < (int)sizeof(text); i++) {
        const struct madt_span *span = &madt->unused_ids[i];
        used +=
            snprintf(text + used, sizeof(text) - (size_t)used, "%s%u", i ? ", " : "", span->first);
        if (span->last != span->first && used < (int)sizeof(text))
            used += snprintf(text + used, sizeof(text) - (size_t)used, "-%u", span->last);
    }
    bool all = madt->unused_spans < MADT_SPANS && used < (int)sizeof(text);
    if (madt->unused)
        log_info("MADT: %u CPUs are left out, because at most %u are used; their APIC IDs: %s%s",
                 madt->unused, CPUS_MAX, text, all ? "" : ", ...");
}

static int madt_parse_entry(struct madt *madt, const uint8_t *entry, size_t at)
{
    struct madt_lapic lapic;
    struct x2apic_entry x2apic;

    if (entry[0] == MADT_LAPIC) {
        if (entry[1] < sizeof(lapic))
            return madt_refuse(madt, at, "is a local APIC of length", entry[1]);
        memcpy(&lapic, entry, sizeof(lapic));
        if (lapic.flags & MADT_ENABLED && lapic.apic_id != LAPIC_BROADCAST)
            madt_add(madt, lapic.apic_id);
    } else if (entry[0] == TYPE_X2APIC) {
        if (entry[1] < sizeof(x2apic))
            return madt_refuse(madt, at, "is a local x2APIC of length", entry[1]);
        memcpy(&x2apic, entry, sizeof(x2apic));
        if (x2apic.flags & MADT_ENABLED && x2apic.apic_id != X2APIC_BROADCAST)
            madt_add(madt, x2apic.apic_id);
    }
    return 0;
}

int madt_parse(const struct acpi_header *table, uint32_t boot_id, struct madt *madt)
{
    *madt = (struct madt){.apic_id = {boot_id}, .count = 1};
    if (!table || table->length < sizeof(struct madt_header)) {
        log_info("MADT: ACPI has no usable table of CPUs; only the boot CPU is used");
        return -EINVAL;
    }
    const uint8_t *bytes = (const uint8_t *)table;
    for (size_t at = sizeof(struct madt_header); at < table->length; at += bytes[at + 1]) {
        size_t room = table->length - at;
        if (room < 2)
            return madt_refuse(madt, at, "is cut off: bytes left:", (unsigned)room);
        if (bytes[at + 1] < 2 || bytes[at + 1] > room)
            return madt_refuse(madt, at, "does not fit into the table: its length is",
                               bytes[at + 1]);
        int error = madt_parse_entry(madt, bytes + at, at);
        if (error)
            return error;
    }
    madt_log_unused(madt);
    return 0;
}
