/* SPDX-License-Identifier: MIT */
/*
 * A PC's pair of interrupt controllers (Intel's 8259A), the slave of which is cascaded into IR2 of
 * the master. IRQs 0 to 7 are the master's inputs, and IRQs 8 to 15 the slave's. Ports 0x20, 0x21
 * and 0xa0, 0xa1 are those of the two chips, and 0x4d0 and 0x4d1 are the edge/level control
 * registers of a PC's chipset, which replace the LTIM bit of ICW1 (ICH9 data sheet, 13.4).
 *
 * A request of an edge-triggered input (IRR) is set when its line rises and lasts until it is
 * acknowledged or the line falls. That of a level-triggered input is the level of the line. The
 * output INT is asserted while a request that is not masked has a higher priority than everything
 * in service. The CPU then fetches the vector by an interrupt acknowledge, pic_acknowledge(). So
 * the vector is that of the highest request at that time, and, if the request has vanished in the
 * meantime, that of IR7: a spurious interrupt, which is not in service.
 *
 * Everything that a chip can do in 8086 mode is there: automatic EOI, rotation, the special mask
 * mode, the special fully nested mode of the master, and polling. A chip requests nothing while it
 * is being initialized. Buffered mode and the cascade's wiring (ICW3) are without effect, because a
 * PC wires them; the MCS-80 mode is not there.
 *
 * Any CPU may call these functions. The lock is held while `interrupt` is called.
 */
#pragma once

#include "lib/spinlock.h"
#include "mmio/bus.h"

#define PIC_PORTS   2u /* of a chip, and of the edge/level control registers */
#define PIC_IRQS    16u
#define PIC_CASCADE 2u /* the master's input for the slave */

/* One chip. In the sets, bit n stands for input n. */
struct pic_chip {
    uint8_t lines; /* levels of the inputs */
    uint8_t edges; /* inputs that have risen since they were acknowledged, and have not fallen */
    uint8_t level; /* inputs that are level-triggered (ELCR) */
    uint8_t in_service, masked;
    uint8_t base;   /* vector of input 0 */
    uint8_t lowest; /* input of the lowest priority */
    uint8_t step;   /* number of the ICW that is expected next; 0: the chip is initialized */
    bool single, wants_icw4;
    bool reads_service; /* port 0 reads ISR instead of IRR */
    bool polled;        /* the next read is an acknowledge */
    bool special_mask, special_nested;
    bool auto_eoi, auto_rotate;
};

struct pic {
    struct spinlock lock;
    void (*interrupt)(void *context, bool level); /* the master's output has changed */
    void *context;
    bool output;
    struct pic_chip chips[2]; /* master, slave */
};

/* The two ports of each chip, and the edge/level control registers. The device of all three is the
 * pair. */
extern const struct bus_ops pic_master_ops, pic_slave_ops, pic_elcr_ops;

/* Initializes both chips as after a reset. They are not initialized by ICWs yet, so they request
 * nothing. */
void pic_init(struct pic *pic, void (*interrupt)(void *context, bool level), void *context);

/* Sets the level of an IRQ's line; the type fits `set` of struct line. IRQ 2 is the cascade, so its
 * line and those from PIC_IRQS on are not connected. */
void pic_set_line(void *pic, unsigned irq, bool level);

/* Acknowledges an interrupt, as a CPU does, and returns its vector. */
uint8_t pic_acknowledge(struct pic *pic);

/* Returns true if another rise of an IRQ's line would be noticed: the IRQ is not masked and not
 * requested already. */
bool pic_hears(struct pic *pic, unsigned irq);
