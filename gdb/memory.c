/* SPDX-License-Identifier: MIT */
/* Memory, and the breakpoints in it. A byte with a breakpoint reads as what was there before, and a
 * write changes that. */
#include "gdb/command.h"
#include "gdb/target.h"
#include "lib/bits.h"
#include "lib/errno.h"
#include "lib/page.h"
#include "lib/string.h"

#define INT3  0xcc
#define PIECE 256u /* bytes that are copied at a time */

bool gdb_owns(const struct gdb *gdb, uint64_t linear)
{
    for (unsigned i = 0; i < GDB_BREAKPOINTS; i++)
        if (gdb->breakpoints[i].used && gdb->breakpoints[i].linear == linear)
            return true;
    return false;
}

/* The breakpoint at a guest-physical address, whose byte still is INT3. */
static struct gdb_breakpoint *breakpoint_at(struct gdb *gdb, struct vcpu *vcpu, gpa_t gpa)
{
    for (unsigned i = 0; i < GDB_BREAKPOINTS; i++) {
        struct gdb_breakpoint *b = &gdb->breakpoints[i];
        uint8_t now;
        if (b->used && b->gpa.v == gpa.v && !target_read(vcpu, gpa, &now, 1) && now == INT3)
            return b;
    }
    return NULL;
}

/* Translates `linear`, and limits *size to what lies behind it in the page. */
static bool locate(struct vcpu *vcpu, uint64_t linear, gpa_t *gpa, size_t *size)
{
    struct gdb_paging paging;
    size_t room = PAGE_SIZE - (linear & (PAGE_SIZE - 1));
    target_paging(vcpu, &paging);
    *size = *size < PIECE ? *size : PIECE;
    *size = *size < room ? *size : room;
    return gdb_translate(vcpu, &paging, linear, gpa);
}

/* Replaces the INT3s of breakpoints by what was there. */
static void hide_breakpoints(const struct gdb *gdb, gpa_t gpa, uint8_t *bytes, size_t size)
{
    for (unsigned i = 0; i < GDB_BREAKPOINTS; i++) {
        const struct gdb_breakpoint *b = &gdb->breakpoints[i];
        uint64_t at = b->gpa.v - gpa.v;
        if (b->used && at < size && bytes[at] == INT3)
            bytes[at] = b->byte;
    }
}

/* Memory that is not there ends the answer; none at all is an error. */
void gdb_read_memory(struct gdb *gdb, struct vcpu *vcpu, const char *at, struct reply *reply)
{
    uint64_t address, length;
    uint8_t bytes[PIECE];
    size_t begin = reply->size;
    if (!parse_number(&at, &address) || !parse_char(&at, ',') || !parse_number(&at, &length) ||
        *at || length > (reply->room - reply->size) / 2) {
        reply_text(reply, GDB_BROKEN);
        return;
    }
    for (size_t done = 0, size; done < length; done += size) {
        gpa_t gpa;
        size = length - done;
        if (!locate(vcpu, address + done, &gpa, &size) || target_read(vcpu, gpa, bytes, size))
            break;
        hide_breakpoints(gdb, gpa, bytes, size);
        reply_hex(reply, bytes, size);
    }
    if (length && reply->size == begin)
        reply_text(reply, GDB_NO_RAM);
}

/* Where a breakpoint is, its INT3 stays. Several ones may be at a byte, which has several linear
 * addresses. */
static bool write_piece(struct gdb *gdb, struct vcpu *vcpu, gpa_t gpa, const uint8_t *data,
                        size_t size)
{
    uint8_t now[PIECE], bytes[PIECE];
    if (target_read(vcpu, gpa, now, size))
        return false;
    memcpy(bytes, data, size);
    for (unsigned i = 0; i < GDB_BREAKPOINTS; i++) {
        struct gdb_breakpoint *b = &gdb->breakpoints[i];
        uint64_t at = b->gpa.v - gpa.v;
        if (!b->used || at >= size || now[at] != INT3)
            continue;
        b->byte = data[at];
        bytes[at] = INT3;
    }
    return !target_write(vcpu, gpa, bytes, size);
}

/* M has the bytes in hexadecimal digits, and X as they are. */
void gdb_write_memory(struct gdb *gdb, struct vcpu *vcpu, const char *packet, size_t size,
                      struct reply *reply)
{
    const char *at = packet + 1, *end = packet + size;
    uint64_t address, length;
    bool binary = packet[0] == 'X';
    if (!parse_number(&at, &address) || !parse_char(&at, ',') || !parse_number(&at, &length) ||
        !parse_char(&at, ':') || length > size ||
        (uint64_t)(end - at) != (binary ? length : 2 * length)) {
        reply_text(reply, GDB_BROKEN);
        return;
    }
    gdb->debugger.generation++;
    const char *answer = "OK";
    for (size_t done = 0, piece; done < length && answer[0] == 'O'; done += piece) {
        uint8_t data[PIECE];
        gpa_t gpa;
        piece = length - done;
        bool found = locate(vcpu, address + done, &gpa, &piece);
        if (binary)
            memcpy(data, at + done, piece);
        if (!binary && !parse_bytes(&at, data, piece))
            answer = GDB_BROKEN;
        else if (!found || !write_piece(gdb, vcpu, gpa, data, piece))
            answer = GDB_NO_RAM;
    }
    reply_text(reply, answer);
}

/* A word of `phys`, with or without 0x. */
static bool parse_word(const char **words, uint64_t *number)
{
    const char *before = *words;
    while (parse_char(words, ' '))
        ;
    bool apart = *words != before;
    if ((*words)[0] == '0' && (*words)[1] == 'x')
        *words += 2;
    return apart && parse_number(words, number);
}

void gdb_physical(struct vcpu *vcpu, const char *words, struct reply *reply)
{
    uint64_t address, length;
    uint8_t bytes[16];
    char line[96];
    if (!parse_word(&words, &address) || !parse_word(&words, &length) || *words || length > 256) {
        static const char text[] =
            "phys ADDRESS N: both are hexadecimal numbers, N is at most 100\n";
        reply_hex(reply, text, sizeof(text) - 1);
        return;
    }
    for (uint64_t done = 0; done < length; done += sizeof(bytes)) {
        size_t size = length - done < sizeof(bytes) ? length - done : sizeof(bytes);
        bool ram = !target_read(vcpu, GPA(address + done), bytes, size);
        int used = snprintf(line, sizeof(line), "%#lx:%s", (unsigned long)(address + done),
                            ram ? "" : " no RAM");
        for (unsigned i = 0; ram && i < size; i++)
            used += snprintf(line + used, sizeof(line) - (size_t)used, " %02x", bytes[i]);
        reply_hex(reply, line, (size_t)used);
        reply_hex(reply, "\n", 1);
    }
}

/* ---- Breakpoints ----------------------------------------------------------------------------- */

static const char *insert_software(struct gdb *gdb, struct vcpu *vcpu, uint64_t linear)
{
    static const uint8_t int3 = INT3;
    struct gdb_breakpoint *b = gdb->breakpoints;
    size_t size = 1;
    if (gdb_owns(gdb, linear))
        return "OK";
    while (b < gdb->breakpoints + GDB_BREAKPOINTS && b->used)
        b++;
    if (b == gdb->breakpoints + GDB_BREAKPOINTS)
        return GDB_NO_ROOM;
    b->linear = linear;
    if (!locate(vcpu, linear, &b->gpa, &size) || target_read(vcpu, b->gpa, &b->byte, 1) ||
        target_write(vcpu, b->gpa, &int3, 1))
        return GDB_NO_RAM;
    const struct gdb_breakpoint *other = breakpoint_at(gdb, vcpu, b->gpa);
    if (other)
        b->byte = other->byte;
    b->used = true;
    return "OK";
}

/* If the guest has written to the byte meanwhile, its value stays. The last breakpoint at the byte
 * takes the INT3 away. */
static void remove_breakpoint(struct gdb *gdb, struct vcpu *vcpu, struct gdb_breakpoint *b)
{
    bool is_there = breakpoint_at(gdb, vcpu, b->gpa);
    b->used = false;
    if (is_there && !breakpoint_at(gdb, vcpu, b->gpa))
        (void)target_write(vcpu, b->gpa, &b->byte, 1);
}

static const char *remove_software(struct gdb *gdb, struct vcpu *vcpu, uint64_t linear)
{
    for (unsigned i = 0; i < GDB_BREAKPOINTS; i++)
        if (gdb->breakpoints[i].used && gdb->breakpoints[i].linear == linear)
            remove_breakpoint(gdb, vcpu, &gdb->breakpoints[i]);
    return "OK";
}

/* DR7: an enabling bit, and the kind of access and the length of each register. A task switch of
 * the guest clears the local enabling bits, and not the global ones. No kind of access is "read"
 * alone, so Z3 stops at writes, too. */
static uint64_t slot_bits(unsigned slot, unsigned kind, uint64_t length)
{
    static const uint8_t access[] = {0, 0, 1, 3, 3};
    uint64_t code = length == 8 ? 2 : length - 1;
    return BIT(2 * slot + 1) | (access[kind] | (kind == 1 ? 0 : code << 2)) << (16 + 4 * slot);
}

/* The register of this breakpoint; DEBUGGER_SLOTS if it has none. Those of two breakpoints that
 * overlap are two (rule N100). */
static unsigned slot_of(const struct gdb *gdb, unsigned kind, uint64_t linear, uint64_t length)
{
    unsigned i = 0;
    while (i < DEBUGGER_SLOTS &&
           !(gdb->slot_kind[i] == kind && gdb->debugger.address[i] == linear &&
             gdb->slot_length[i] == length))
        i++;
    return i;
}

static const char *insert_hardware(struct gdb *gdb, struct vcpu *vcpu, unsigned kind,
                                   uint64_t linear, uint64_t length)
{
    struct debugger *debugger = &gdb->debugger;
    bool fits = kind == 1 || ((length == 1 || length == 2 || length == 4 || length == 8) &&
                              !(linear & (length - 1)));
    if (!fits)
        return GDB_FIXED;
    if (target_guest_debugs(vcpu))
        return "E.the guest uses its debug registers itself";
    if (slot_of(gdb, kind, linear, length) < DEBUGGER_SLOTS)
        return "OK";
    for (unsigned i = 0; i < DEBUGGER_SLOTS; i++) {
        if (gdb->slot_kind[i])
            continue;
        gdb->slot_kind[i] = (uint8_t)kind;
        gdb->slot_length[i] = length;
        debugger->address[i] = linear;
        debugger->dr7 |= slot_bits(i, kind, length);
        return "OK";
    }
    return GDB_NO_ROOM;
}

static const char *answer_to(int error)
{
    return !error                                 ? "OK"
           : error == -EACCES                     ? "E.only the debug registers watch a TD"
           : error == -ENOSPC || error == -ENOMEM ? GDB_NO_ROOM
                                                  : GDB_NO_RAM;
}

static const char *remove_hardware(struct gdb *gdb, unsigned kind, uint64_t linear, uint64_t length)
{
    unsigned i = slot_of(gdb, kind, linear, length);
    if (i < DEBUGGER_SLOTS) {
        gdb->slot_kind[i] = 0;
        gdb->debugger.dr7 &= ~(BIT(2 * i + 1) | 0xfull << (16 + 4 * i));
    }
    return "OK";
}

static void update(struct gdb *gdb)
{
    gdb->debugger.software = false;
    for (unsigned i = 0; i < GDB_BREAKPOINTS; i++)
        gdb->debugger.software |= gdb->breakpoints[i].used;
    gdb->debugger.generation++;
}

/* What the debug registers cannot watch, tracked pages can, if writes alone are to stop the VM. */
enum gdb_outcome gdb_point(struct gdb *gdb, struct vcpu *vcpu, const char *packet,
                           struct reply *reply)
{
    const char *at = packet + 1, *answer;
    uint64_t kind, linear, length;
    int error = 0;
    bool insert = packet[0] == 'Z';
    if (!parse_number(&at, &kind) || !parse_char(&at, ',') || !parse_number(&at, &linear) ||
        !parse_char(&at, ',') || !parse_number(&at, &length) || *at) {
        reply_text(reply, GDB_BROKEN);
        return GDB_ANSWERED;
    }
    if (kind > 4)
        return GDB_ANSWERED;
    if (kind == 0)
        answer = insert ? insert_software(gdb, vcpu, linear) : remove_software(gdb, vcpu, linear);
    else
        answer = insert ? insert_hardware(gdb, vcpu, (unsigned)kind, linear, length)
                        : remove_hardware(gdb, (unsigned)kind, linear, length);
    if (kind == 2 && !insert) {
        error = gdb_watch_remove(gdb, vcpu, linear, length);
    } else if (kind == 2 && length && answer[0] != 'O') {
        error = gdb_watch_insert(gdb, vcpu, linear, length);
        answer = answer_to(error);
    }
    if (error == -EINPROGRESS)
        return GDB_GOES_ON;
    update(gdb);
    reply_text(reply, answer);
    return GDB_ANSWERED;
}

bool gdb_forget(struct gdb *gdb, struct vcpu *vcpu)
{
    for (unsigned i = 0; i < GDB_BREAKPOINTS; i++)
        if (gdb->breakpoints[i].used)
            remove_breakpoint(gdb, vcpu, &gdb->breakpoints[i]);
    memset(gdb->slot_kind, 0, sizeof(gdb->slot_kind));
    gdb->debugger.dr7 = 0;
    update(gdb);
    return gdb_watch_forget(gdb, vcpu);
}
