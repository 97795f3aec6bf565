/* SPDX-License-Identifier: MIT */
/* Reads the DMAR and its units; see the header. Pure. */
#include "arch/x86/dmar.h"

#include "arch/x86/paging.h"
#include "lib/bits.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"

/* VT-d 4.1, 8.1 and 8.3. */
struct dmar_header {
    struct acpi_header acpi;
    uint8_t address_width, flags, reserved[10];
} __attribute__((packed));
_Static_assert(sizeof(struct dmar_header) == 48, "VT-d 4.1, 8.1");
#define FLAG_INTERRUPTS BIT(0)
#define FLAG_NO_X2APIC  BIT(1)

struct dmar_entry {
    uint16_t type, length;
} __attribute__((packed));
#define TYPE_UNIT 0

struct dmar_unit_entry {
    struct dmar_entry entry;
    uint8_t flags, size;
    uint16_t segment;
    uint64_t base;
} __attribute__((packed));
_Static_assert(sizeof(struct dmar_unit_entry) == 16, "VT-d 4.1, 8.3");

/* Registers, as indexes of 32-bit words (VT-d 4.1, 11.4). */
#define CAP    (0x08 / 4)
#define ECAP   (0x10 / 4)
#define STATUS (0x1c / 4)

#define CAP_WIDTHS      BITS(12, 8) /* SAGAW: bit 1 is 39 bits, bit 2 is 48, bit 3 is 57 */
#define ECAP_INTERRUPTS BIT(3)

#define SHOWN 3u /* addresses in a line */

static uint64_t read_64(const volatile uint32_t *registers, unsigned index)
{
    uint64_t low = registers[index];
    return low | (uint64_t)registers[index + 1] << 32;
}

/* Registers that are not there read as ones; CAP of a unit has reserved bits, so it never does. */
static void unit_read(struct dmar_unit *unit)
{
    const volatile uint32_t *registers = NULL;
    if (unit->base && !(unit->base & (PAGE_SIZE - 1)))
        registers = physical_map(HPA(unit->base), PAGE_SIZE, MAP_UNCACHED);
    if (!registers)
        return;
    unit->can = read_64(registers, CAP);
    unit->can_more = read_64(registers, ECAP);
    unit->status = registers[STATUS];
    unit->answers = unit->can && unit->can != ~0ull;
}

static void dmar_add(struct dmar *dmar, uint64_t base)
{
    if (dmar->count++ >= DMAR_UNITS)
        return;
    struct dmar_unit *unit = &dmar->units[dmar->count - 1];
    unit->base = base;
    unit_read(unit);
    dmar->silent += !unit->answers;
    if (!unit->answers)
        return;
    dmar->can |= unit->can;
    dmar->can_more |= unit->can_more;
    dmar->status |= unit->status;
}

void dmar_read(const struct acpi_header *table, struct dmar *dmar)
{
    struct dmar_header header;
    struct dmar_unit_entry unit;

    memset(dmar, 0, sizeof(*dmar));
    if (!table || table->length < sizeof(header))
        return;
    memcpy(&header, table, sizeof(header));
    dmar->no_x2apic =
        (header.flags & (FLAG_INTERRUPTS | FLAG_NO_X2APIC)) == (FLAG_INTERRUPTS | FLAG_NO_X2APIC);
    const uint8_t *bytes = (const uint8_t *)table;
    for (size_t at = sizeof(header); at < table->length; at += unit.entry.length) {
        size_t room = table->length - at;
        memset(&unit, 0, sizeof(unit));
        memcpy(&unit, bytes + at, room < sizeof(unit) ? room : sizeof(unit));
        size_t least = unit.entry.type == TYPE_UNIT ? sizeof(unit) : sizeof(unit.entry);
        if (room < sizeof(unit.entry) || unit.entry.length < least || unit.entry.length > room) {
            log_error("DMAR: the entry at offset %zu, of type %u and length %u, does not fit into "
                      "the %zu bytes that are left; it and all further ones are ignored",
                      at, unit.entry.type, unit.entry.length, room);
            return;
        }
        if (unit.entry.type == TYPE_UNIT)
            dmar_add(dmar, unit.base);
    }
}

/* The widest address that some unit could translate. */
static const char *dmar_width(const struct dmar *dmar)
{
    uint64_t widths = field_get(dmar->can, CAP_WIDTHS);
    return widths & BIT(3) ? "57" : widths & BIT(2) ? "48" : widths & BIT(1) ? "39" : "no";
}

static void log_translating(const struct dmar_unit *unit)
{
    log_error("DMA remapping was left on by the firmware: GSTS of the unit at %#lx is %#x, bit 31 "
              "(TES) is 1. Devices reach memory by the firmware's tables, which may be in memory "
              "that is in use for something else now",
              unit->base, unit->status);
    log_error("  it is not switched off here; if the machine hangs or memory changes, switch off "
              "\"Pre-boot DMA Protection\", \"Kernel DMA Protection\" or \"VT-d\" in the "
              "firmware's setup: guests have no devices and need none of them");
}

void dmar_log(const struct dmar *dmar)
{
    char where[96] = "";
    int used = 0;
    if (!dmar->count)
        return;
    for (unsigned i = 0; i < dmar->count && i < SHOWN; i++)
        used += snprintf(where + used, sizeof(where) - (size_t)used, "%s%#lx", i ? ", " : "",
                         dmar->units[i].base);
    log_info("iommu: %u by ACPI's DMAR, at %s%s; could translate %s bits%s; translation is %s, "
             "interrupt remapping %s; guests have no devices, so none is used",
             dmar->count, where, dmar->count > SHOWN ? ", ..." : "", dmar_width(dmar),
             dmar->can_more & ECAP_INTERRUPTS ? " and remap interrupts" : "",
             dmar->status & DMAR_TRANSLATES ? "ON" : "off",
             dmar->status & DMAR_INTERRUPTS ? "ON" : "off");
    if (dmar->silent)
        log_error("DMAR: %u of these units do not answer at their addresses", dmar->silent);
    if (dmar->no_x2apic)
        log_info("iommu: the firmware asks not to switch x2APIC mode on (DMAR flags, bit 1)");
    for (unsigned i = 0; i < dmar->count && i < DMAR_UNITS; i++)
        if (dmar->units[i].status & DMAR_TRANSLATES && dmar->units[i].answers)
            log_translating(&dmar->units[i]);
}
