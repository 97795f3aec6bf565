/* SPDX-License-Identifier: MIT */
/*
 * What connects the chips that PCs had before ACPI (the word `legacy`) to the vCPUs: the pair of
 * 8259s (dev/pic.h) and the timer that interrupts through it (dev/pit.h).
 *
 * The output of the 8259s is INTR of LINT0 of the first vCPU, and pin 0 of the I/O APIC. A vCPU
 * takes an interrupt of the 8259s as vcpu->external, whose vector it fetches by an interrupt
 * acknowledge when the interrupt is delivered. Other vCPUs and devices change the output at any
 * time, so they send mail to the vCPU (vm/ipi.h), which looks at the output then.
 */
#pragma once

#include "mmio/bus.h"

struct lapic;
struct vm;

/* Initializes the chips of a VM with `legacy`. */
void legacy_init(struct vm *vm);

/* The ports of the master, and the registers of the I/O APIC, in a VM with `legacy`. The device is
 * the struct vm. */
extern const struct bus_ops legacy_master_ops, legacy_ioapic_ops;

/* Sets the level of an IRQ's line, at the 8259s and at the I/O APIC, where IRQ 0 has pin LINE_PIT.
 * `vm` is a struct vm; the type fits `set` of struct line. Any CPU may call this. */
void legacy_set_line(void *vm, unsigned irq, bool level);

/* Puts the first vCPU's APIC into virtual wire mode, in which a PC's firmware leaves it: LINT0
 * passes the interrupts of the 8259s on (MultiProcessor Specification 1.4, 3.6.2.2). */
void legacy_wire(struct lapic *lapic);
