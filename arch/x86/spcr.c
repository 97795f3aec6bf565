/* SPDX-License-Identifier: MIT */
/* Reads SPCR and DBG2; see the header. Pure. */
#include "arch/x86/spcr.h"

#include "arch/x86/fadt.h"
#include "lib/bits.h"
#include "lib/string.h"

/* ACPI 6.5, 5.2.3.2. */
struct spcr {
    struct acpi_header acpi;
    uint8_t type, reserved[3];
    struct acpi_address base;
    uint8_t interrupt_type, irq;
    uint32_t gsi;
    uint8_t baud, parity, stop_bits, flow_control, terminal, language;
    uint16_t pci_device, pci_vendor;
    uint8_t pci_bus, pci_device_number, pci_function;
    uint32_t pci_flags;
    uint8_t pci_segment;
    uint32_t clock;        /* from revision 3 on */
    uint32_t precise_baud; /* from revision 4 on */
} __attribute__((packed));
_Static_assert(offsetof(struct spcr, baud) == 58 && sizeof(struct spcr) == 84, "SPCR");
#define SPCR_SIZE_MIN       offsetof(struct spcr, clock) + 4
#define SPCR_REVISION_TYPES 2 /* from this revision on, the types are DBG2's */
#define SPCR_REVISION_CLOCK 3
#define SPCR_REVISION_BAUD  4

struct dbg2 {
    struct acpi_header acpi;
    uint32_t devices, count;
} __attribute__((packed));

struct dbg2_device {
    uint8_t revision;
    uint16_t length;
    uint8_t addresses;
    uint16_t name_length, name, oem_length, oem, type, subtype, reserved;
    uint16_t base, sizes; /* offsets of the addresses and their sizes in this structure */
} __attribute__((packed));
_Static_assert(sizeof(struct dbg2_device) == 22, "DBG2");
#define DBG2_SERIAL 0x8000u

/* Subtypes of serial ports that are 16550s. */
#define TYPE_16550      0x00u
#define TYPE_16450      0x01u /* a subset, with the same registers at the same places */
#define TYPE_16550_GAS  0x12u /* the registers are where the generic address says */
#define TYPE_INTEL_LPSS 0x14u

static bool type_is_known(unsigned type)
{
    return type == TYPE_16550 || type == TYPE_16450 || type == TYPE_16550_GAS ||
           type == TYPE_INTEL_LPSS;
}

static const char *take_address(const struct acpi_address *base, struct serial_place *place)
{
    unsigned bytes = base->bits / 8;
    if (!base->address)
        return "it says that the port is not used (its address is 0)";
    if (base->space != ACPI_MEMORY && base->space != ACPI_IO)
        return "its port is neither in memory nor at I/O ports";
    place->memory = base->space == ACPI_MEMORY;
    place->address = base->address;
    if (!place->memory) {
        place->stride = place->width = 1;
        return base->address <= 0x10000u - SERIAL_REGISTERS ? NULL : "there is no such I/O port";
    }
    if (base->access > ACPI_ACCESS_MAX || bytes > sizeof(uint32_t) || (bytes & (bytes - 1)))
        return "its registers have an impossible width";
    /* Some tables say only one of the two, and some that a register is narrower than an access. */
    place->width = base->access ? 1u << (base->access - 1) : bytes == sizeof(uint32_t) ? 4 : 1;
    place->stride = bytes > place->width ? bytes : place->width;
    return base->address % place->width ? "its address is no multiple of the width of an access"
                                        : NULL;
}

static uint32_t spcr_rate(const struct spcr *table)
{
    static const uint32_t rates[] = {[3] = 9600, [4] = 19200, [6] = 57600, [7] = 115200};
    if (table->acpi.revision >= SPCR_REVISION_BAUD && table->acpi.length >= sizeof(*table) &&
        table->precise_baud)
        return table->precise_baud;
    return table->baud < ARRAY_SIZE(rates) ? rates[table->baud] : 0;
}

const char *spcr_parse(const struct acpi_header *header, struct serial_place *place)
{
    const struct spcr *table = (const struct spcr *)header;
    *place = (struct serial_place){0};
    if (header->length < SPCR_SIZE_MIN)
        return "it is too short";
    unsigned types = header->revision < SPCR_REVISION_TYPES ? TYPE_16450 : UINT8_MAX;
    if (table->type > types || !type_is_known(table->type))
        return "its port is not compatible with the 16550";
    const char *problem = take_address(&table->base, place);
    if (problem)
        return problem;
    if (header->revision >= SPCR_REVISION_CLOCK)
        place->clock = table->clock;
    /* A port of the PC has the PC's clock. One in memory has its own, so it keeps its rate. */
    if (!place->clock && !place->memory)
        place->clock = SERIAL_CLOCK;
    place->baud = spcr_rate(table);
    return NULL;
}

static const char *dbg2_take(const struct dbg2_device *device, struct serial_place *place)
{
    const char *at = (const char *)device;
    struct acpi_address base;
    if (!device->addresses || device->base < sizeof(*device) ||
        device->base + sizeof(base) > device->length)
        return "its serial port has no address";
    memcpy(&base, at + device->base, sizeof(base));
    const char *problem = take_address(&base, place);
    if (!problem && !place->memory) {
        place->clock = SERIAL_CLOCK;
        place->baud = SERIAL_BAUD;
    }
    return problem;
}

const char *dbg2_parse(const struct acpi_header *header, struct serial_place *place)
{
    const struct dbg2 *table = (const struct dbg2 *)header;
    const char *problem = "it lists no serial port that is compatible with the 16550";
    *place = (struct serial_place){0};
    if (header->length < sizeof(*table) || table->devices < sizeof(*table))
        return "it is too short";
    uint64_t at = table->devices;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct dbg2_device *device = (const struct dbg2_device *)((const char *)table + at);
        if (at + sizeof(*device) > header->length || device->length < sizeof(*device) ||
            at + device->length > header->length)
            return "a device of it does not fit into it";
        if (device->type == DBG2_SERIAL && type_is_known(device->subtype)) {
            problem = dbg2_take(device, place);
            if (!problem)
                return NULL;
        }
        at += device->length;
    }
    return problem;
}
