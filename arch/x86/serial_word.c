/* SPDX-License-Identifier: MIT */
/* The parser of serial=; see the header. Pure. */
#include "arch/x86/serial_word.h"

#include "arch/x86/serial_port.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "lib/words.h"

#define WORD       "serial="
#define WORDS_END  "--"
#define BAUD_MIN   300u
#define BAUD_MAX   4000000u
#define PORT_MAX   (0x10000u - SERIAL_REGISTERS)
#define CARD_PORTS 32u
#define STRIDE_MAX 256u

static int piece_length(const char *text)
{
    const char *end = strchr(text, ',');
    return (int)(end ? (size_t)(end - text) : strlen(text));
}

/* Reads a hexadecimal number of one to `digits` digits that `end` follows ('\0': a comma, or the
 * end of the text), and advances *text behind it. */
static bool take_hex(const char **text, unsigned digits, char end, uint16_t *value)
{
    const char *start = *text;
    for (*value = 0; *text < start + digits; (*text)++) {
        char c = **text, lower = (char)(c | 0x20);
        bool decimal = c >= '0' && c <= '9';
        if (!decimal && !(lower >= 'a' && lower <= 'f'))
            break;
        *value = (uint16_t)(*value << 4 | (decimal ? c - '0' : lower - 'a' + 10));
    }
    if (*text == start || (end ? **text != end : **text && **text != ','))
        return false;
    *text += !!end;
    return true;
}

static const char *parse_pci(const char *text, struct serial_wish *wish)
{
    uint16_t segment = 0, bus, device, function;
    const char *next = strchr(text, ':');
    wish->where = SERIAL_PCI;
    bool good = !next || !strchr(next + 1, ':') || take_hex(&text, 4, ':', &segment);
    if (!good || !take_hex(&text, 2, ':', &bus) || !take_hex(&text, 2, '.', &device) ||
        !take_hex(&text, 1, 0, &function) || device > 31 || function > 7)
        return "it names no PCI function, as pci:00:04.0 does";
    wish->pci = (struct host_pci_function){.segment = segment,
                                           .bus = (uint8_t)bus,
                                           .device = (uint8_t)device,
                                           .function = (uint8_t)function};
    return NULL;
}

static const char *parse_place(const char *text, struct serial_wish *wish)
{
    int length = piece_length(text);
    if (length == 4 && !strncmp(text, "auto", 4))
        return NULL;
    if (length == 3 && !strncmp(text, "off", 3)) {
        wish->where = SERIAL_OFF;
        return NULL;
    }
    if (!strncmp(text, "pci:", 4))
        return parse_pci(text + 4, wish);
    if (!strncmp(text, "mmio:", 5)) {
        wish->where = SERIAL_MEMORY;
        wish->stride = 1;
        return word_number(text + 5, length - 5, &wish->address) && wish->address
                   ? NULL
                   : "it names no address, as mmio:0xfe030000 does";
    }
    wish->where = SERIAL_IO;
    if (!word_number(text, length, &wish->address))
        return "it names no place";
    return wish->address && wish->address <= PORT_MAX ? NULL : "there is no such I/O port";
}

/* What follows a comma. */
static const char *parse_detail(const char *text, struct serial_wish *wish)
{
    static const char *const twice = "a number of it is one too many";
    uint64_t value;
    if (!word_number(text, piece_length(text), &value))
        return "a comma is followed by no number";
    if (value >= BAUD_MIN) {
        if (wish->baud || wish->where == SERIAL_OFF)
            return twice;
        wish->baud = (uint32_t)value;
        return value <= BAUD_MAX ? NULL : "its rate is above 4000000 baud";
    }
    if (wish->baud) /* the rate comes last */
        return twice;
    if (wish->where == SERIAL_PCI && !wish->number) {
        wish->number = (unsigned)value;
        return value < CARD_PORTS ? NULL : "no card has so many ports";
    }
    if (wish->where == SERIAL_MEMORY && wish->stride == 1) {
        wish->stride = (unsigned)value;
        return value && value <= STRIDE_MAX && !(value & (value - 1))
                   ? NULL
                   : "the distance of its registers is no power of 2 up to 256";
    }
    return twice;
}

const char *serial_word_parse(const char *text, struct serial_wish *wish)
{
    *wish = (struct serial_wish){.where = SERIAL_AUTO};
    const char *problem = parse_place(text, wish);
    for (const char *comma = strchr(text, ','); !problem && comma; comma = strchr(comma + 1, ','))
        problem = parse_detail(comma + 1, wish);
    if (!problem && wish->where == SERIAL_MEMORY && wish->address > UINT64_MAX - 0x1000)
        problem = "it names no address, as mmio:0xfe030000 does";
    if (problem)
        *wish = (struct serial_wish){.where = SERIAL_AUTO};
    return problem;
}

bool serial_word_find(const char *command_line, char *value, size_t size)
{
    for (const char *at = command_line; *at;) {
        const char *end = strchr(at, ' ');
        size_t length = end ? (size_t)(end - at) : strlen(at);
        if (length == strlen(WORDS_END) && !strncmp(at, WORDS_END, length))
            return false;
        if (!strncmp(at, WORD, strlen(WORD))) {
            length -= strlen(WORD);
            if (length >= size)
                return false;
            memcpy(value, at + strlen(WORD), length);
            value[length] = 0;
            return true;
        }
        at += length + !!end;
    }
    return false;
}
