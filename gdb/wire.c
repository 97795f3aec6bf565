/* SPDX-License-Identifier: MIT */
#include "gdb/wire.h"

#include "lib/string.h"

#define INTERRUPT 3
#define ESCAPE    '}'
#define ESCAPED   0x20

enum { BETWEEN, IN_PACKET, IN_SUM, IN_SUM_LOW };

static const char digits[] = "0123456789abcdef";

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* ---- Receiving ------------------------------------------------------------------------------- */

static void wire_put(struct wire *wire, char byte)
{
    if (wire->end < WIRE_OUT)
        wire->out[wire->end++] = byte;
}

static void wire_acknowledge(struct wire *wire, char how)
{
    if (wire->sent == wire->end)
        wire->sent = wire->end = wire->last = wire->last_end = 0;
    if (!wire->no_acks)
        wire_put(wire, how);
}

static void wire_begin(struct wire *wire)
{
    wire->state = IN_PACKET;
    wire->size = wire->sum = 0;
    wire->too_long = wire->escaped = false;
}

static void wire_add(struct wire *wire, uint8_t byte)
{
    wire->sum = (uint8_t)(wire->sum + byte);
    if (!wire->escaped && byte == ESCAPE) {
        wire->escaped = true;
        return;
    }
    if (wire->size < WIRE_PACKET)
        wire->packet[wire->size++] = (char)(wire->escaped ? byte ^ ESCAPED : byte);
    else
        wire->too_long = true;
    wire->escaped = false;
}

static enum wire_event wire_complete(struct wire *wire, int low)
{
    bool good = low >= 0 && (wire->claimed | low) == wire->sum && !wire->too_long && !wire->escaped;
    wire->state = BETWEEN;
    wire->packet[wire->size] = 0;
    wire_acknowledge(wire, good ? '+' : '-');
    return good ? WIRE_PACKET_COMPLETE : WIRE_NOTHING;
}

/* GDB asks for the last reply once more. It is still in the buffer, unless there was none. */
static void wire_repeat(struct wire *wire)
{
    if (!wire->no_acks && wire->sent == wire->end && wire->end == wire->last_end)
        wire->sent = wire->last;
}

static enum wire_event wire_between(struct wire *wire, uint8_t byte)
{
    if (byte == '$')
        wire_begin(wire);
    else if (byte == '-')
        wire_repeat(wire);
    return byte == INTERRUPT ? WIRE_INTERRUPT : WIRE_NOTHING;
}

/* A $ in a packet begins a new one: the end of the other was lost. */
enum wire_event wire_take(struct wire *wire, uint8_t byte)
{
    int digit = digit_value((char)byte);
    switch (wire->state) {
    case IN_PACKET:
        if (byte == '$')
            wire_begin(wire);
        else if (byte == '#')
            wire->state = IN_SUM;
        else
            wire_add(wire, byte);
        return WIRE_NOTHING;
    case IN_SUM:
        if (digit < 0)
            return wire_complete(wire, -1);
        wire->claimed = (uint8_t)(digit << 4);
        wire->state = IN_SUM_LOW;
        return WIRE_NOTHING;
    case IN_SUM_LOW:
        return wire_complete(wire, digit);
    default:
        return wire_between(wire, byte);
    }
}

/* The packet itself was not acknowledged in that mode. */
void wire_restart(struct wire *wire)
{
    if (!wire->no_acks)
        return;
    wire->no_acks = false;
    wire_acknowledge(wire, '+');
}

/* ---- Sending --------------------------------------------------------------------------------- */

void wire_reply(struct wire *wire, const char *data, size_t size)
{
    uint8_t sum = 0;
    if (wire->sent == wire->end)
        wire->sent = wire->end = 0;
    wire->last = wire->end;
    wire_put(wire, '$');
    for (size_t i = 0; i < size; i++) {
        char byte = data[i];
        if (byte == '$' || byte == '#' || byte == ESCAPE || byte == '*') {
            wire_put(wire, ESCAPE);
            sum = (uint8_t)(sum + ESCAPE);
            byte ^= ESCAPED;
        }
        wire_put(wire, byte);
        sum = (uint8_t)(sum + (uint8_t)byte);
    }
    wire_put(wire, '#');
    wire_put(wire, digits[sum >> 4]);
    wire_put(wire, digits[sum & 15]);
    wire->last_end = wire->end;
}

int wire_next(struct wire *wire)
{
    return wire_is_sending(wire) ? (uint8_t)wire->out[wire->sent++] : -1;
}

/* ---- Replies and numbers --------------------------------------------------------------------- */

static void reply_char(struct reply *reply, char c)
{
    if (reply->size < reply->room)
        reply->text[reply->size++] = c;
    else
        reply->full = true;
}

void reply_text(struct reply *reply, const char *text)
{
    while (*text)
        reply_char(reply, *text++);
}

void reply_hex(struct reply *reply, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = ((const uint8_t *)bytes)[i];
        reply_char(reply, digits[byte >> 4]);
        reply_char(reply, digits[byte & 15]);
    }
}

void reply_number(struct reply *reply, uint64_t number)
{
    unsigned shift = 60;
    while (shift && !(number >> shift))
        shift -= 4;
    for (;; shift -= 4) {
        reply_char(reply, digits[number >> shift & 15]);
        if (!shift)
            return;
    }
}

bool parse_number(const char **at, uint64_t *number)
{
    const char *first = *at;
    *number = 0;
    for (int digit; (digit = digit_value(**at)) >= 0; ++*at) {
        if (*number >> 60)
            return false;
        *number = *number << 4 | (unsigned)digit;
    }
    return *at != first;
}

bool parse_bytes(const char **at, void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++, *at += 2) {
        int high = digit_value((*at)[0]);
        int low = high < 0 ? -1 : digit_value((*at)[1]);
        if (low < 0)
            return false;
        ((uint8_t *)bytes)[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool parse_char(const char **at, char character)
{
    bool there = **at == character;
    *at += there;
    return there;
}
