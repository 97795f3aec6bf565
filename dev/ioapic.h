/* SPDX-License-Identifier: MIT */
/*
 * The I/O APIC of Intel's ICH chipsets (ICH9 data sheet, section 13.5): 24 pins, each with an entry
 * that says which interrupt message the pin causes.
 *
 * A pin whose entry is edge-triggered sends a message when its line rises while the entry is not
 * masked; an edge at a masked pin is lost. A level-triggered pin sends a message if its line is
 * asserted, the entry is not masked and remote IRR is 0. The message sets remote IRR, and an EOI
 * for the entry's vector clears it: the local APIC broadcasts the EOI of an interrupt that was
 * accepted as level-triggered, and the guest can write the vector to the EOI register.
 *
 * Lines carry logical levels, so the polarity bit is stored without effect. A message is sent at
 * once, so the delivery status reads 0. SMI, NMI and INIT are not sent, as on the ICH ("not
 * supported"), and neither is ExtINT, which would ask an 8259 for its vector: there is none.
 *
 * Any CPU may call these functions. The lock is held while `send` is called.
 */
#pragma once

#include "dev/lapic.h"
#include "lib/spinlock.h"
#include "mmio/bus.h"

#define IOAPIC_PINS 24
#define IOAPIC_SIZE 0x1000u /* of the region; its registers repeat nowhere in it */

struct ioapic {
    struct spinlock lock;
    /* Sends a message to the local APICs, which broadcast the EOI if it is level-triggered. Returns
     * whether any of them accepts it. */
    bool (*send)(void *context, const struct lapic_message *message, bool level);
    void *context;
    uint8_t index; /* of the register that the data window shows */
    uint32_t id;   /* as in the register, in bits 27:24 */
    uint32_t asserted;
    uint64_t entries[IOAPIC_PINS];
};

extern const struct bus_ops ioapic_ops;

/* Sets the state after reset: all entries are masked, no line is asserted. */
void ioapic_init(struct ioapic *ioapic,
                 bool (*send)(void *context, const struct lapic_message *message, bool level),
                 void *context);

/* Sets the level of a pin's line; for struct line. Pins from IOAPIC_PINS on are not connected. */
void ioapic_set_line(void *ioapic, unsigned pin, bool level);

/* A local APIC broadcasts the EOI of a level-triggered interrupt with this vector. */
void ioapic_eoi(struct ioapic *ioapic, uint8_t vector);
