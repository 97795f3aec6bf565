/* SPDX-License-Identifier: MIT */
/* The I/O APIC; see the header. Called by the bus, by devices through their lines, and by the local
 * APICs when they broadcast an EOI. Pure. */
#include "dev/ioapic.h"

#include "lib/bits.h"

/* Registers of the memory window. */
#define WINDOW_INDEX 0x00
#define WINDOW_DATA  0x10
#define WINDOW_EOI   0x40

/* Registers that the index selects. */
#define REG_ID          0x00
#define REG_VERSION     0x01
#define REG_ARBITRATION 0x02
#define REG_ENTRIES     0x10 /* two registers per entry: bits 31:0, then bits 63:32 */

#define ID_WRITABLE ((uint32_t)BITS(27, 24))

/* Version 0x20 is the first one with an EOI register. */
#define VERSION ((IOAPIC_PINS - 1) << 16 | 0x20)

/* A redirection entry. Bits 14 and 12 are read-only, and bit 12 is not stored; 55:48, the extended
 * destination, reads 0. */
#define ENTRY_VECTOR      BITS(7, 0)
#define ENTRY_MODE        BITS(10, 8)
#define ENTRY_LOGICAL     BIT(11)
#define ENTRY_PENDING     BIT(12) /* delivery status */
#define ENTRY_POLARITY    BIT(13)
#define ENTRY_REMOTE_IRR  BIT(14)
#define ENTRY_LEVEL       BIT(15)
#define ENTRY_MASKED      BIT(16)
#define ENTRY_DESTINATION BITS(63, 56)
#define ENTRY_WRITABLE                                                                         \
    (ENTRY_VECTOR | ENTRY_MODE | ENTRY_LOGICAL | ENTRY_POLARITY | ENTRY_LEVEL | ENTRY_MASKED | \
     ENTRY_DESTINATION)

#define BROADCAST 0xff

void ioapic_init(struct ioapic *ioapic,
                 bool (*send)(void *context, const struct lapic_message *message, bool level),
                 void *context)
{
    *ioapic = (struct ioapic){.send = send, .context = context};
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        ioapic->entries[pin] = ENTRY_MASKED;
}

/* Sets *message to the message of a redirection entry. Returns false if it sends none. */
static bool entry_message(const struct ioapic *ioapic, uint64_t entry,
                          struct lapic_message *message)
{
    uint32_t destination = (uint32_t)field_get(entry, ENTRY_DESTINATION);
    bool logical = entry & ENTRY_LOGICAL;
    *message = (struct lapic_message){
        .mode = (uint8_t)field_get(entry, ENTRY_MODE),
        .vector = (uint8_t)field_get(entry, ENTRY_VECTOR),
        .logical = logical,
        .all = !logical && destination == BROADCAST,
        .destination = destination,
    };
    return message->mode == LAPIC_FIXED || message->mode == LAPIC_LOWEST ||
           (message->mode == LAPIC_EXTINT && ioapic->extint);
}

/* Sends the message of a redirection entry. Returns true if a local APIC accepts it. */
static bool ioapic_send(const struct ioapic *ioapic, uint64_t entry)
{
    struct lapic_message message;
    return entry_message(ioapic, entry, &message) &&
           ioapic->send(ioapic->context, &message, entry & ENTRY_LEVEL);
}

bool ioapic_message(const struct ioapic *ioapic, unsigned pin, struct lapic_message *message)
{
    uint64_t entry = READ_ONCE(ioapic->entries[pin]);
    return entry_message(ioapic, entry, message) && !(entry & ENTRY_MASKED);
}

/* Whether a level-triggered pin has a message to send: its line is asserted, its entry is not
 * masked and no EOI is outstanding (remote IRR is 0). */
static bool ioapic_level_waits(const struct ioapic *ioapic, unsigned pin)
{
    const uint64_t conditions = ENTRY_LEVEL | ENTRY_MASKED | ENTRY_REMOTE_IRR;
    return (ioapic->entries[pin] & conditions) == ENTRY_LEVEL && ioapic->asserted & BIT(pin);
}

static void ioapic_look_at_level(struct ioapic *ioapic, unsigned pin)
{
    uint64_t *entry = &ioapic->entries[pin];
    if (ioapic_level_waits(ioapic, pin) && ioapic_send(ioapic, *entry))
        *entry |= ENTRY_REMOTE_IRR;
}

void ioapic_set_line(void *context, unsigned pin, bool level)
{
    struct ioapic *ioapic = context;
    if (pin >= IOAPIC_PINS)
        return;
    uint32_t line = 1u << pin;
    spin_lock(&ioapic->lock);
    bool rises = level && !(ioapic->asserted & line);
    ioapic->asserted = level ? ioapic->asserted | line : ioapic->asserted & ~line;
    if (rises && !(ioapic->entries[pin] & (ENTRY_LEVEL | ENTRY_MASKED)))
        (void)ioapic_send(ioapic, ioapic->entries[pin]);
    ioapic_look_at_level(ioapic, pin);
    spin_unlock(&ioapic->lock);
}

/* Clears remote IRR of the entries with this vector. A pin whose line is still asserted sends its
 * message again. Called with the lock held. */
static void ioapic_end(struct ioapic *ioapic, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t *entry = &ioapic->entries[pin];
        if (!(*entry & ENTRY_REMOTE_IRR) || field_get(*entry, ENTRY_VECTOR) != vector)
            continue;
        *entry &= ~ENTRY_REMOTE_IRR;
        ioapic_look_at_level(ioapic, pin);
    }
}

void ioapic_eoi(struct ioapic *ioapic, uint8_t vector)
{
    spin_lock(&ioapic->lock);
    ioapic_end(ioapic, vector);
    spin_unlock(&ioapic->lock);
}

/* The chip keeps a message that no local APIC is able to accept, and sends it again by itself
 * (82093AA data sheet, 3.2.4, delivery status). */
void ioapic_send_again(struct ioapic *ioapic)
{
    spin_lock(&ioapic->lock);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        ioapic_look_at_level(ioapic, pin);
    spin_unlock(&ioapic->lock);
}

/* ---- Registers ------------------------------------------------------------------------------- */

/* Writes one half of an entry. Remote IRR has a meaning only for level-triggered entries, so it is
 * cleared when an entry becomes edge-triggered. */
static void ioapic_write_entry(struct ioapic *ioapic, unsigned number, uint32_t value)
{
    uint64_t *entry = &ioapic->entries[number / 2];
    unsigned shift = number % 2 * 32;
    uint64_t written = ENTRY_WRITABLE & 0xffffffffull << shift;
    *entry = (*entry & ~written) | ((uint64_t)value << shift & written);
    if (!(*entry & ENTRY_LEVEL))
        *entry &= ~ENTRY_REMOTE_IRR;
    ioapic_look_at_level(ioapic, number / 2);
}

/* An entry as it is read: the delivery status of a message that no local APIC has accepted is
 * "send pending". */
static uint64_t ioapic_read_entry(const struct ioapic *ioapic, unsigned pin)
{
    struct lapic_message message;
    uint64_t entry = ioapic->entries[pin];
    bool pending = ioapic_level_waits(ioapic, pin) && entry_message(ioapic, entry, &message);
    return entry | (pending ? ENTRY_PENDING : 0);
}

static uint32_t ioapic_read_data(const struct ioapic *ioapic)
{
    unsigned number = ioapic->index - REG_ENTRIES;
    if (ioapic->index == REG_ID || ioapic->index == REG_ARBITRATION)
        return ioapic->id;
    if (ioapic->index == REG_VERSION)
        return VERSION;
    if (number >= 2 * IOAPIC_PINS) /* true also below REG_ENTRIES, where `number` wraps around */
        return 0;
    return (uint32_t)(ioapic_read_entry(ioapic, number / 2) >> number % 2 * 32);
}

static void ioapic_write_data(struct ioapic *ioapic, uint32_t value)
{
    unsigned number = ioapic->index - REG_ENTRIES;
    if (ioapic->index == REG_ID)
        ioapic->id = value & ID_WRITABLE;
    else if (number < 2 * IOAPIC_PINS)
        ioapic_write_entry(ioapic, number, value);
}

static uint64_t ioapic_read(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size)
{
    struct ioapic *ioapic = device;
    uint32_t value = 0;
    (void)vcpu, (void)size;
    spin_lock(&ioapic->lock);
    if (align_down(offset, 4) == WINDOW_INDEX)
        value = ioapic->index;
    else if (align_down(offset, 4) == WINDOW_DATA)
        value = ioapic_read_data(ioapic);
    spin_unlock(&ioapic->lock);
    return (uint64_t)value >> 8 * (offset % 4);
}

/* The index register has 8 bits, and a write of any size sets it. The other registers are written
 * by aligned 32-bit accesses only; other writes are dropped. */
static void ioapic_write(void *device, struct mmio_vcpu *vcpu, uint64_t offset, unsigned size,
                         uint64_t value)
{
    struct ioapic *ioapic = device;
    (void)vcpu;
    spin_lock(&ioapic->lock);
    if (offset == WINDOW_INDEX)
        ioapic->index = (uint8_t)value;
    else if (size == 4 && offset == WINDOW_DATA)
        ioapic_write_data(ioapic, (uint32_t)value);
    else if (size == 4 && offset == WINDOW_EOI)
        ioapic_end(ioapic, (uint8_t)value);
    spin_unlock(&ioapic->lock);
}

const struct bus_ops ioapic_ops = {
    .name = "I/O APIC", .read = ioapic_read, .write = ioapic_write, .sizes = 1 | 2 | 4};
