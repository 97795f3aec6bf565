/* SPDX-License-Identifier: MIT */
/*
 * GDB's remote protocol with libFuzzer as GDB: a first byte that is odd sends the input as it is,
 * an even one frames each of its lines as a good packet, so that the packets behind the checksum
 * are reached. No access leaves the guest's RAM, an answer fits its packet, breakpoints are hidden
 * from reads, and when GDB leaves, none is left.
 */
#include "tests/unit/gdb/gdb_world.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
    if (!condition)
        abort();
}

static void check_breakpoints(void)
{
    for (unsigned i = 0; i < GDB_BREAKPOINTS; i++) {
        const struct gdb_breakpoint *b = &gdb.breakpoints[i];
        struct reply reply = {.text = answer, .room = WIRE_PACKET};
        char request[32];
        if (!b->used || paging.cr0 || ram[b->gpa.v] != 0xcc)
            continue;
        snprintf(request, sizeof(request), "%lx,1", (unsigned long)b->linear);
        gdb_read_memory(&gdb, NULL, request, &reply);
        unsigned long shown = strtoul((answer[2] = 0, answer), NULL, 16);
        check(reply.size == 2 && shown == b->byte);
    }
}

static void take(uint8_t byte)
{
    if (wire_take(&wire, byte) != WIRE_PACKET_COMPLETE)
        return;
    static char packet[WIRE_PACKET + 1];
    size_t size = wire.size;
    memcpy(packet, wire.packet, size + 1);
    struct reply reply = {.text = answer, .room = WIRE_PACKET};
    enum gdb_outcome outcome;
    while ((outcome = gdb_execute(&gdb, NULL, packet, size, &reply)) == GDB_GOES_ON)
        check(!reply.size);
    check(reply.size <= WIRE_PACKET && !is_open);
    check(!(packet[0] && strchr("gGpPmMXZzDk", packet[0])) || gdb_needs_vcpu(packet));
    if (outcome == GDB_RESUMES)
        check(!reply.size);
    wire_reply(&wire, reply.text, reply.full ? 0 : reply.size);
    while (wire_next(&wire) >= 0)
        ;
}

static void frame(const uint8_t *line, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t sum = 0;
    take('$');
    for (size_t i = 0; i < size; i++) {
        if (line[i] == '$' || line[i] == '#' || line[i] == '}')
            continue;
        take(line[i]);
        sum = (uint8_t)(sum + line[i]);
    }
    take('#');
    take((uint8_t)digits[sum >> 4]);
    take((uint8_t)digits[sum & 15]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    world_begin_gdb();
    gdb.description = data[0] & 2 ? &gdb_i386 : &gdb_x86_64;
    if (data[0] & 4) { /* tables that are themselves code that GDB writes to */
        paging = (struct gdb_paging){.cr0 = CR0_PG, .cr3 = 0x1000, .cr4 = CR4_PSE};
        memset(ram + 0x1000, 0x01, 0x1000);
    }
    for (size_t at = 1; at < size && data[0] & 1; at++)
        take(data[at]);
    for (size_t at = 1; at < size && !(data[0] & 1);) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t length = end ? (size_t)(end - data) - at : size - at;
        frame(data + at, length);
        check_breakpoints();
        at += length + 1;
    }
    while (execute("D", 1) == GDB_GOES_ON)
        ;
    check(!gdb.debugger.software && !gdb.debugger.dr7 && !gdb.debugger.watches);
    for (unsigned i = 0; i < RAM_SIZE >> 12; i++)
        check(!tracked[i]);
    return 0;
}
