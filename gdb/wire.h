/* SPDX-License-Identifier: MIT */
/*
 * The framing of GDB's remote protocol: `$data#checksum`, acknowledged by + or -, and the byte 03
 * that interrupts. A packet that is broken or too long is answered by -, or dropped without
 * acknowledgements; whatever arrives, the next good packet is understood. Pure.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_PACKET 4096u                  /* bytes of a packet, without the frame */
#define WIRE_OUT    (2 * WIRE_PACKET + 64) /* each byte of a reply may need an escape */

struct wire {
    uint8_t state;
    bool no_acks, too_long, escaped;
    uint8_t sum, claimed;
    char packet[WIRE_PACKET + 1]; /* ends with a zero */
    size_t size;
    char out[WIRE_OUT]; /* what is to be sent, from `sent` to `end` */
    size_t sent, end;
    size_t last, last_end; /* the last reply in it, for a repetition */
};

enum wire_event {
    WIRE_NOTHING,
    WIRE_PACKET_COMPLETE, /* it is in `packet` until the next byte */
    WIRE_INTERRUPT,
};

/* Takes a byte that was received. */
enum wire_event wire_take(struct wire *wire, uint8_t byte);

/* Ends the mode without acknowledgements, after a packet by which GDB connects anew. */
void wire_restart(struct wire *wire);

/* Queues a reply, of at most WIRE_PACKET bytes. The one before has been sent or is given up. */
void wire_reply(struct wire *wire, const char *data, size_t size);

/* Returns the next byte to send, or -1 if there is none. */
int wire_next(struct wire *wire);

/* Is there anything to send? */
static inline bool wire_is_sending(const struct wire *wire)
{
    return wire->sent != wire->end;
}

/* A reply that is being written. What does not fit is left out, and `full` is set. */
struct reply {
    char *text;
    size_t size, room;
    bool full;
};

void reply_text(struct reply *reply, const char *text);
void reply_hex(struct reply *reply, const void *bytes, size_t size);
void reply_number(struct reply *reply, uint64_t number); /* in hexadecimal digits */

/* Reads hexadecimal digits at *at, which moves behind them. Returns false if there is none, or if
 * the number has more than 64 bits. */
bool parse_number(const char **at, uint64_t *number) MUST_CHECK;

/* Reads `size` bytes of two hexadecimal digits each. */
bool parse_bytes(const char **at, void *bytes, size_t size) MUST_CHECK;

/* Moves *at behind the character if it is there. */
bool parse_char(const char **at, char character) MUST_CHECK;
