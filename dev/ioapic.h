/* SPDX-License-Identifier: MIT */
/*
 * The I/O APIC of Intel's ICH chipsets (ICH9 data sheet, section 13.5): 24 pins, each with a
 * redirection entry that selects the interrupt message that the pin sends.
 *
 * An edge-triggered pin sends a message when its line rises while the entry is not masked; an edge
 * at a masked pin is lost. A level-triggered pin sends a message if its line is asserted, the entry
 * is not masked and remote IRR is 0. The message sets remote IRR, and an EOI for the entry's vector
 * clears it. Such an EOI comes either from a local APIC, which broadcasts the EOI of an interrupt
 * that it accepted as level-triggered, or from the guest, which can write the vector to the EOI
 * register.
 *
 * The arbitration register, which only older I/O APICs have (82093AA data sheet, section 3.2.3),
 * reads as the ID: there is no bus to arbitrate for.
 *
 * Lines carry logical levels, so the polarity bit is stored without effect. A message reaches the
 * local APICs immediately. If none of them accepts a level-triggered message, the delivery status
 * of its pin reads "send pending" until ioapic_send_again() has sent it; otherwise it reads "idle".
 * SMI, NMI and INIT are not sent, because the ICH does not support them. ExtINT, whose vector comes
 * from an 8259, is sent if the VM has one.
 *
 * Any CPU may call these functions. The lock is held while `send` is called.
 */
#pragma once

#include "dev/lapic.h"
#include "lib/spinlock.h"
#include "mmio/bus.h"

#define IOAPIC_PINS 24
#define IOAPIC_SIZE 0x1000u /* size of the memory region; its registers are not aliased */

struct ioapic {
    struct spinlock lock;
    /* Sends a message to the local APICs, which broadcast its EOI if it is level-triggered. Returns
     * true if any of them accepts it. */
    bool (*send)(void *context, const struct lapic_message *message, bool level);
    void *context;
    bool extint;   /* sends ExtINT, too; set after ioapic_init() */
    uint8_t index; /* number of the register that the data window shows */
    uint32_t id;   /* as in the register, in bits 27:24 */
    uint32_t asserted;
    uint64_t entries[IOAPIC_PINS];
};

extern const struct bus_ops ioapic_ops;

/* Initializes the I/O APIC to its state after reset: all entries masked, no line asserted. */
void ioapic_init(struct ioapic *ioapic,
                 bool (*send)(void *context, const struct lapic_message *message, bool level),
                 void *context);

/* Sets the level of a pin's line; the type fits `set` of struct line. Pins from IOAPIC_PINS on are
 * not connected, so their lines are ignored. */
void ioapic_set_line(void *ioapic, unsigned pin, bool level);

/* Sets *message to what a pin, which must exist, sends when its line is asserted. Returns false if
 * it sends nothing. Takes no lock: if the guest changes the entry meanwhile, the message may be
 * the one before the change. */
bool ioapic_message(const struct ioapic *ioapic, unsigned pin,
                    struct lapic_message *message) MUST_CHECK;

/* Handles the EOI of a level-triggered interrupt with this vector, as broadcast by a local APIC. */
void ioapic_eoi(struct ioapic *ioapic, uint8_t vector);

/* Sends the messages of level-triggered pins again that no local APIC has accepted. Called when a
 * local APIC may accept what it did not accept before. */
void ioapic_send_again(struct ioapic *ioapic);
