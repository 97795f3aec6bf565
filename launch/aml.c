/* SPDX-License-Identifier: MIT */
#include "launch/aml.h"

#include "lib/assert.h"
#include "lib/string.h"

/* Opcodes and prefixes (ACPI 6.5, table 20.1). */
#define AML_NAME    0x08u
#define AML_BYTE    0x0au
#define AML_DWORD   0x0cu
#define AML_STRING  0x0du
#define AML_SCOPE   0x10u
#define AML_BUFFER  0x11u
#define AML_PACKAGE 0x12u
#define AML_METHOD  0x14u
#define AML_EXT     0x5bu
#define AML_ARG_3   0x6bu
#define AML_DEVICE  0x82u
#define AML_RETURN  0xa4u

#define NAME_LENGTH 4u
/* The encodings of a package length (ACPI 6.5, 20.2.4): the greatest length of the one-byte and of
 * the two-byte encoding, and the mark of the latter. */
#define LENGTH_SHORT 0x3fu
#define LENGTH_LONG  0xfffu
#define LENGTH_TWO   0x40u /* in the first byte: one more byte follows */

/* Resource descriptors (ACPI 6.5, 6.4.2 and 6.4.3). */
#define IO_PORTS          0x47u
#define IO_DECODES_16     0x01u
#define MEMORY            0x86u /* fixed, with a 32-bit address */
#define MEMORY_SIZE       9u
#define MEMORY_WRITABLE   0x01u
#define WINDOW            0x87u /* a range that a bridge forwards, with 32-bit addresses */
#define WINDOW_SIZE       23u
#define WINDOW_BUSES      0x88u /* likewise, of bus numbers of 16 bits */
#define WINDOW_BUSES_SIZE 13u
#define WINDOW_OF_MEMORY  0u
#define WINDOW_OF_BUSES   2u
#define WINDOW_FIXED      0x0cu /* neither end can be moved */
#define INTERRUPT         0x89u
#define INTERRUPT_SIZE    6u
#define INTERRUPT_CONSUME 0x01u
#define INTERRUPT_EDGE    0x02u
#define END_TAG           0x79u

static void aml_put(struct aml *aml, uint8_t byte)
{
    BUG_ON(aml->used == aml->size);
    aml->bytes[aml->used++] = byte;
}

static void aml_put_number(struct aml *aml, uint64_t value, unsigned bytes)
{
    for (; bytes; bytes--, value >>= 8)
        aml_put(aml, (uint8_t)value);
}

static void aml_put_text(struct aml *aml, const char *text)
{
    while (*text)
        aml_put(aml, (uint8_t)*text++);
}

/* Reserves two bytes for a package length, which aml_end() fills in, and returns their offset. The
 * length includes its own bytes. */
static size_t aml_begin(struct aml *aml)
{
    size_t begin = aml->used;
    aml_put_number(aml, 0, 2);
    return begin;
}

void aml_end(struct aml *aml, size_t begin)
{
    size_t length = aml->used - begin;
    if (length - 1 <= LENGTH_SHORT) {
        memmove(&aml->bytes[begin + 1], &aml->bytes[begin + 2], length - 2);
        aml->bytes[begin] = (uint8_t)(length - 1);
        aml->used--;
        return;
    }
    BUG_ON(length > LENGTH_LONG);
    aml->bytes[begin] = (uint8_t)(LENGTH_TWO | (length & 0xf));
    aml->bytes[begin + 1] = (uint8_t)(length >> 4);
}

size_t aml_scope(struct aml *aml, const char *path)
{
    aml_put(aml, AML_SCOPE);
    size_t begin = aml_begin(aml);
    aml_put_text(aml, path);
    return begin;
}

size_t aml_device(struct aml *aml, const char *name)
{
    BUG_ON(strlen(name) != NAME_LENGTH);
    aml_put(aml, AML_EXT);
    aml_put(aml, AML_DEVICE);
    size_t begin = aml_begin(aml);
    aml_put_text(aml, name);
    return begin;
}

static void aml_name(struct aml *aml, const char *name)
{
    BUG_ON(strlen(name) != NAME_LENGTH);
    aml_put(aml, AML_NAME);
    aml_put_text(aml, name);
}

/* Writes an integer, in one byte if it is 0 or 1: these have opcodes of their own (ZeroOp and
 * OneOp), whose values are 0 and 1. */
static void aml_put_integer(struct aml *aml, uint8_t value)
{
    if (value > 1)
        aml_put(aml, AML_BYTE);
    aml_put(aml, value);
}

void aml_name_integer(struct aml *aml, const char *name, uint8_t value)
{
    aml_name(aml, name);
    aml_put_integer(aml, value);
}

void aml_name_string(struct aml *aml, const char *name, const char *text)
{
    aml_name(aml, name);
    aml_put(aml, AML_STRING);
    aml_put_text(aml, text);
    aml_put(aml, 0);
}

/* An EISA ID is encoded in 32 bits as three letters of 5 bits and four hexadecimal digits, most
 * significant byte first (ACPI 6.5, 19.3.4). */
void aml_name_eisa_id(struct aml *aml, const char *name, const char *id)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 3; i++)
        value = value << 5 | (uint32_t)(id[i] - '@');
    for (unsigned i = 3; i < 7; i++)
        value = value << 4 | (uint32_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
    aml_name(aml, name);
    aml_put(aml, AML_DWORD);
    aml_put_number(aml, __builtin_bswap32(value), 4);
}

void aml_name_package(struct aml *aml, const char *name, const uint8_t *values, uint8_t count)
{
    aml_name(aml, name);
    aml_put(aml, AML_PACKAGE);
    size_t begin = aml_begin(aml);
    aml_put(aml, count);
    for (unsigned i = 0; i < count; i++)
        aml_put_integer(aml, values[i]);
    aml_end(aml, begin);
}

void aml_grant_control(struct aml *aml)
{
    aml_put(aml, AML_METHOD);
    size_t begin = aml_begin(aml);
    aml_put_text(aml, "_OSC");
    aml_put(aml, 4); /* number of arguments */
    aml_put(aml, AML_RETURN);
    aml_put(aml, AML_ARG_3);
    aml_end(aml, begin);
}

/* An element names no link device: its third part is 0, and its last one the pin. */
void aml_name_routing(struct aml *aml, unsigned devices, unsigned line, unsigned lines)
{
    aml_name(aml, "_PRT");
    aml_put(aml, AML_PACKAGE);
    size_t package = aml_begin(aml);
    aml_put(aml, (uint8_t)devices);
    for (unsigned device = 1; device <= devices; device++) {
        aml_put(aml, AML_PACKAGE);
        size_t element = aml_begin(aml);
        aml_put(aml, 4);
        aml_put(aml, AML_DWORD);
        aml_put_number(aml, device << 16 | 0xffff, 4); /* any function of the device */
        aml_put_integer(aml, 0);
        aml_put_integer(aml, 0);
        aml_put_integer(aml, (uint8_t)(line + device % lines));
        aml_end(aml, element);
    }
    aml_end(aml, package);
}

/* Granularity, first and last address, translation, length; each has this size. */
static void put_window(struct aml *aml, uint32_t first, uint32_t size, unsigned bytes)
{
    aml_put_number(aml, 0, bytes);
    aml_put_number(aml, first, bytes);
    aml_put_number(aml, first + size - 1, bytes);
    aml_put_number(aml, 0, bytes);
    aml_put_number(aml, size, bytes);
}

static void put_bridge(struct aml *aml, const struct aml_resources *resources)
{
    aml_put(aml, WINDOW_BUSES);
    aml_put_number(aml, WINDOW_BUSES_SIZE, 2);
    aml_put(aml, WINDOW_OF_BUSES);
    aml_put(aml, WINDOW_FIXED);
    aml_put(aml, 0); /* nothing specific to bus numbers */
    put_window(aml, 0, 1, 2);
    aml_put(aml, WINDOW);
    aml_put_number(aml, WINDOW_SIZE, 2);
    aml_put(aml, WINDOW_OF_MEMORY);
    aml_put(aml, WINDOW_FIXED);
    aml_put(aml, MEMORY_WRITABLE); /* and not cacheable */
    put_window(aml, resources->window, resources->window_size, 4);
}

void aml_name_resources(struct aml *aml, const struct aml_resources *resources)
{
    aml_name(aml, "_CRS");
    aml_put(aml, AML_BUFFER);
    size_t begin = aml_begin(aml);
    aml_put(aml, AML_BYTE);
    size_t size_at = aml->used;
    aml_put(aml, 0);
    if (resources->ports) {
        aml_put(aml, IO_PORTS);
        aml_put(aml, IO_DECODES_16);
        aml_put_number(aml, resources->port, 2); /* lowest base address, then highest */
        aml_put_number(aml, resources->port, 2);
        aml_put(aml, 1); /* alignment */
        aml_put(aml, resources->ports);
    }
    if (resources->memory_size) {
        aml_put(aml, MEMORY);
        aml_put_number(aml, MEMORY_SIZE, 2);
        aml_put(aml, MEMORY_WRITABLE);
        aml_put_number(aml, resources->memory, 4);
        aml_put_number(aml, resources->memory_size, 4);
    }
    if (resources->window_size)
        put_bridge(aml, resources);
    if (resources->has_line) {
        aml_put(aml, INTERRUPT);
        aml_put_number(aml, INTERRUPT_SIZE, 2);
        aml_put(aml, INTERRUPT_CONSUME | (resources->level ? 0 : INTERRUPT_EDGE));
        aml_put(aml, 1); /* number of interrupts that follow */
        aml_put_number(aml, resources->line, 4);
    }
    aml_put_number(aml, END_TAG, 2); /* a checksum of 0 means that there is none */
    aml->bytes[size_at] = (uint8_t)(aml->used - size_at - 1);
    aml_end(aml, begin);
}
