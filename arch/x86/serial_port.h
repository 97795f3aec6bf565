/* SPDX-License-Identifier: MIT */
/*
 * A serial port that is compatible with the 16550 (National Semiconductor PC16550D), at I/O ports
 * or in memory.
 *
 * Pure. What is thought to be a port may be something else, so it has to prove that it is a UART
 * before it is programmed. No function waits without a limit.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

#define SERIAL_CLOCK      1843200u /* Hz; a PC's, by which the divisor 1 is 115200 baud */
#define SERIAL_BAUD       115200u
#define SERIAL_REGISTERS  8u
#define SERIAL_BAUD_ERROR 3u /* percent by which a rate may be wrong: two in ten bits are not */

/* Where a port is said to be. */
struct serial_place {
    bool memory;
    uint64_t address; /* of the first register: an I/O port, or in memory */
    unsigned stride;  /* bytes from a register to the next one: 1 with I/O ports */
    unsigned width;   /* bytes of an access: 1, 2 or 4 */
    uint32_t clock;   /* Hz; 0: not known */
    uint32_t baud;    /* 0: the firmware has set it, and it is to stay */
};

struct serial_port {
    struct serial_place at;
    volatile void *memory; /* where the registers are mapped; NULL: they are I/O ports */
};

/* The divisor for the port's rate, or 0 if its clock can't make it (or one of them is unknown). */
unsigned serial_port_divisor(const struct serial_port *port);

/* Returns NULL if there is a UART: its scratch register keeps what is written to it, and its modem
 * status shows the modem control when it is looped back. Else returns why it is none, to continue
 * "there is no UART at 0x3f8: ". Nothing is written where all bits of the line status are 1, as
 * they are where nothing answers. The registers are afterwards as before. */
const char *serial_port_prove(const struct serial_port *port) MUST_CHECK;

/* Programs the port completely: its rate, 8N1, no interrupts, FIFOs on. Emulators garble the text
 * if only a part is programmed. */
void serial_port_program(const struct serial_port *port);

/* Switches the FIFOs off. */
void serial_port_leave(const struct serial_port *port);

/* Is there room for a FIFO of 16 characters; has the last one been sent; and one character. */
bool serial_port_has_room(const struct serial_port *port) MUST_CHECK;
bool serial_port_is_idle(const struct serial_port *port) MUST_CHECK;
void serial_port_put(const struct serial_port *port, uint8_t byte);

/* Returns the next byte that was received, or -1 if there is none. */
int serial_port_get(const struct serial_port *port);
