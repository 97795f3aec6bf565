/* SPDX-License-Identifier: MIT */
#include "gdb/command.h"

#include "arch/x86/regs.h"
#include "gdb/target.h"
#include "lib/bits.h"
#include "lib/string.h"

static bool starts_with(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

bool gdb_needs_vcpu(const char *packet)
{
    return (packet[0] && strchr("gGpPmMXZzDk", packet[0])) || starts_with(packet, "qRcmd,");
}

/* ---- Registers ------------------------------------------------------------------------------- */

static void read_registers(struct gdb *gdb, struct vcpu *vcpu, struct reply *reply)
{
    struct gdb_register which;
    uint8_t bytes[GDB_REGISTER_MAX];
    target_open(vcpu);
    for (unsigned i = 0; gdb_register(gdb->description, gdb->avx, i, &which); i++) {
        target_get(vcpu, &which, bytes);
        reply_hex(reply, bytes, which.size);
    }
    target_close(vcpu);
}

/* Sets all registers that can be set. The others keep their values, with which GDB sends them. */
static void write_registers(struct gdb *gdb, struct vcpu *vcpu, const char *at, struct reply *reply)
{
    struct gdb_register which;
    uint8_t bytes[GDB_REGISTER_MAX];
    bool good = true;
    target_open(vcpu);
    for (unsigned i = 0; good && gdb_register(gdb->description, gdb->avx, i, &which); i++) {
        good = parse_bytes(&at, bytes, which.size);
        if (good)
            (void)target_set(vcpu, &which, bytes);
    }
    target_close(vcpu);
    reply_text(reply, good ? "OK" : GDB_BROKEN);
}

/* p and P: one register by its number. */
static void one_register(struct gdb *gdb, struct vcpu *vcpu, const char *packet,
                         struct reply *reply)
{
    struct gdb_register which;
    uint8_t bytes[GDB_REGISTER_MAX];
    const char *at = packet + 1;
    uint64_t number;
    bool write = packet[0] == 'P';
    if (!parse_number(&at, &number) || number > UINT16_MAX ||
        !gdb_register(gdb->description, gdb->avx, (unsigned)number, &which) ||
        (write && (!parse_char(&at, '=') || !parse_bytes(&at, bytes, which.size))) || *at) {
        reply_text(reply, GDB_BROKEN);
        return;
    }
    target_open(vcpu);
    if (write) {
        reply_text(reply, target_set(vcpu, &which, bytes) ? "OK" : GDB_FIXED);
    } else {
        target_get(vcpu, &which, bytes);
        reply_hex(reply, bytes, which.size);
    }
    target_close(vcpu);
}

/* Names the watchpoint, by the number after Z, and what was accessed. */
static void say_watch(unsigned kind, uint64_t linear, struct reply *reply)
{
    static const char *const names[] = {"", "", "watch:", "rwatch:", "awatch:"};
    reply_text(reply, names[kind]);
    reply_number(reply, linear);
    reply_text(reply, ";");
}

void gdb_say_stop(const struct gdb *gdb, const struct stop *stop, bool by_gdb, struct reply *reply)
{
    reply_text(reply, by_gdb ? "T02thread:" : "T05thread:");
    reply_number(reply, gdb->thread + 1);
    reply_text(reply, ";");
    if (stop->why == DEBUGGER_BREAKPOINT)
        reply_text(reply, "swbreak:;");
    else if (stop->why == DEBUGGER_HARDWARE && stop->kind == 1)
        reply_text(reply, "hwbreak:;");
    else if (stop->why == DEBUGGER_HARDWARE)
        say_watch(stop->kind, stop->linear, reply);
    else if (stop->why == DEBUGGER_WRITTEN)
        say_watch(2, stop->linear, reply);
}

/* The instruction pointer, the stack pointer, the frame pointer and the flags. */
void gdb_tell(struct gdb *gdb, struct vcpu *vcpu, struct reply *reply)
{
    struct gdb_register which;
    uint8_t bytes[GDB_REGISTER_MAX];
    for (unsigned i = 0; gdb_register(gdb->description, gdb->avx, i, &which); i++) {
        bool told = which.kind == GDB_GPR ? which.index == GPR_RBP
                                          : which.kind == GDB_CPU_REG && which.index <= REG_RFLAGS;
        if (!told)
            continue;
        target_get(vcpu, &which, bytes);
        reply_number(reply, i);
        reply_text(reply, ":");
        reply_hex(reply, bytes, which.size);
        reply_text(reply, ";");
    }
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* Reads the number of a thread, which is that of its vCPU + 1; 0 and -1 mean any and all. Returns
 * false if it is none of these. */
static bool parse_thread(const struct gdb *gdb, const char **at, int *thread)
{
    uint64_t number;
    *thread = -1;
    if (parse_char(at, '-'))
        return parse_char(at, '1');
    if (!parse_number(at, &number) || number > GDB_THREADS ||
        (number && !(gdb->threads & BIT(number - 1))))
        return false;
    *thread = (int)number;
    return true;
}

static unsigned first_thread(const struct gdb *gdb)
{
    return gdb->threads ? (unsigned)__builtin_ctzll(gdb->threads) : 0;
}

/* H: the thread of the packets that follow. */
static void choose_thread(struct gdb *gdb, const char *packet, struct reply *reply)
{
    const char *at = packet + 2;
    int thread;
    if ((packet[1] != 'g' && packet[1] != 'c') || !parse_thread(gdb, &at, &thread) || *at) {
        reply_text(reply, GDB_BROKEN);
        return;
    }
    if (packet[1] == 'g' && thread > 0)
        gdb->thread = (unsigned)thread - 1;
    else if (packet[1] == 'g' && !(gdb->threads & BIT(gdb->thread)))
        gdb->thread = first_thread(gdb);
    reply_text(reply, "OK");
}

static void list_threads(const struct gdb *gdb, struct reply *reply)
{
    const char *before = "m";
    for (uint64_t left = gdb->threads; left; left &= left - 1) {
        reply_text(reply, before);
        reply_number(reply, (unsigned)__builtin_ctzll(left) + 1);
        before = ",";
    }
    if (!gdb->threads)
        reply_text(reply, "l");
}

static void thread_alive(const struct gdb *gdb, const char *at, struct reply *reply)
{
    int thread;
    bool alive = parse_thread(gdb, &at, &thread) && thread > 0 && !*at;
    reply_text(reply, alive ? "OK" : GDB_BROKEN);
}

static void thread_info(const struct gdb *gdb, const char *at, struct reply *reply)
{
    char text[24];
    int thread;
    if (!parse_thread(gdb, &at, &thread) || thread <= 0 || *at) {
        reply_text(reply, GDB_BROKEN);
        return;
    }
    snprintf(text, sizeof(text), "vCPU %d", thread - 1);
    reply_hex(reply, text, strlen(text));
}

/* ---- Resuming -------------------------------------------------------------------------------- */

static void act(struct gdb *gdb, int thread, enum gdb_action action)
{
    for (unsigned i = 0; i < GDB_THREADS; i++)
        if ((thread < 0 || i + 1 == (unsigned)thread) && gdb->actions[i] == GDB_STAY)
            gdb->actions[i] = action;
}

/* c and s, as GDB sends them if it knows no vCont: all go on, or one makes a step. An address is
 * not accepted; GDB sets the register instead. */
static enum gdb_outcome resume_plainly(struct gdb *gdb, const char *packet, struct reply *reply)
{
    memset(gdb->actions, 0, sizeof(gdb->actions));
    if (packet[1]) {
        reply_text(reply, GDB_BROKEN);
        return GDB_ANSWERED;
    }
    if (packet[0] == 's')
        act(gdb, (int)gdb->thread + 1, GDB_STEP);
    else
        act(gdb, -1, GDB_GO);
    return GDB_RESUMES;
}

/* vCont;ACTION[:THREAD]... For each thread the first action that names it counts. Signals have no
 * meaning for a vCPU. An action without a thread is for all others. */
static enum gdb_outcome resume(struct gdb *gdb, const char *at, struct reply *reply)
{
    memset(gdb->actions, 0, sizeof(gdb->actions));
    bool good = *at;
    while (good && *at) {
        uint64_t signal;
        int thread = -1;
        good = parse_char(&at, ';');
        char letter = *at;
        good = good && (letter == 'c' || letter == 's' || letter == 'C' || letter == 'S');
        at += good;
        if (good && (letter == 'C' || letter == 'S'))
            good = parse_number(&at, &signal);
        if (good && parse_char(&at, ':'))
            good = parse_thread(gdb, &at, &thread);
        if (good)
            act(gdb, thread ? thread : (int)gdb->thread + 1,
                (letter | 0x20) == 's' ? GDB_STEP : GDB_GO);
    }
    if (!good) {
        reply_text(reply, GDB_BROKEN);
        return GDB_ANSWERED;
    }
    return GDB_RESUMES;
}

/* ---- Queries --------------------------------------------------------------------------------- */

/* qXfer:features:read:target.xml:OFFSET,LENGTH */
static void read_description(const struct gdb *gdb, const char *at, struct reply *reply)
{
    uint64_t offset, length;
    if (!parse_number(&at, &offset) || !parse_char(&at, ',') || !parse_number(&at, &length) ||
        *at || !length) {
        reply_text(reply, GDB_BROKEN);
        return;
    }
    size_t room = (reply->room - reply->size) / 2 - 1;
    size_t most = length < room ? length : room;
    char *text = reply->text + reply->size;
    size_t size = gdb_describe(gdb->description, gdb->avx, offset, text + 1, most);
    text[0] = size < most ? 'l' : 'm';
    reply->size += 1 + size;
}

static const char help[] =
    "help                show this\n"
    "phys ADDRESS N      show N bytes (hexadecimal) of guest-physical memory\n";

static enum gdb_outcome monitor(struct gdb *gdb, struct vcpu *vcpu, const char *at,
                                struct reply *reply)
{
    char *line = gdb->line;
    size_t size = strlen(at) / 2;
    if (size >= sizeof(gdb->line) || !parse_bytes(&at, line, size) || *at) {
        reply_text(reply, GDB_BROKEN);
        return GDB_ANSWERED;
    }
    line[size] = 0;
    if (!strcmp(line, "help")) {
        reply_hex(reply, help, sizeof(help) - 1);
        gdb_monitor_help(reply);
    } else if (!strcmp(line, "phys") || starts_with(line, "phys ")) {
        gdb_physical(vcpu, line + strlen("phys"), reply);
    } else {
        return GDB_MONITORS;
    }
    return GDB_ANSWERED;
}

static enum gdb_outcome query(struct gdb *gdb, struct vcpu *vcpu, const char *packet,
                              struct reply *reply)
{
    static const char description[] = "qXfer:features:read:target.xml:";
    if (starts_with(packet, "qSupported")) {
        reply_text(reply, "PacketSize=1000;QStartNoAckMode+;qXfer:features:read+;swbreak+;hwbreak+;"
                          "vContSupported+");
    } else if (starts_with(packet, description)) {
        read_description(gdb, packet + strlen(description), reply);
    } else if (starts_with(packet, "qXfer:features:read:")) {
        reply_text(reply, "E00");
    } else if (!strcmp(packet, "qfThreadInfo")) {
        list_threads(gdb, reply);
    } else if (!strcmp(packet, "qsThreadInfo")) {
        reply_text(reply, "l");
    } else if (starts_with(packet, "qThreadExtraInfo,")) {
        thread_info(gdb, packet + strlen("qThreadExtraInfo,"), reply);
    } else if (!strcmp(packet, "qC")) {
        reply_text(reply, "QC");
        reply_number(reply, gdb->thread + 1);
    } else if (starts_with(packet, "qAttached")) {
        reply_text(reply, "1");
    } else if (starts_with(packet, "qRcmd,")) {
        return monitor(gdb, vcpu, packet + strlen("qRcmd,"), reply);
    }
    return GDB_ANSWERED;
}

/* ---- All packets ----------------------------------------------------------------------------- */

static enum gdb_outcome execute_other(struct gdb *gdb, const char *packet, struct reply *reply)
{
    switch (packet[0]) {
    case 'H':
        choose_thread(gdb, packet, reply);
        return GDB_ANSWERED;
    case 'T':
        thread_alive(gdb, packet + 1, reply);
        return GDB_ANSWERED;
    case 'Q':
        if (!strcmp(packet, "QStartNoAckMode")) {
            gdb->no_acks = true;
            reply_text(reply, "OK");
        }
        return GDB_ANSWERED;
    case 'v':
        if (!strcmp(packet, "vCont?"))
            reply_text(reply, "vCont;c;C;s;S");
        else if (starts_with(packet, "vCont;"))
            return resume(gdb, packet + strlen("vCont"), reply);
        return GDB_ANSWERED;
    case 'c':
    case 's':
        return resume_plainly(gdb, packet, reply);
    case '?':
        return GDB_ASKS_WHY;
    case 'k':
        return GDB_KILLS;
    default: /* not known: an empty answer */
        return GDB_ANSWERED;
    }
}

enum gdb_outcome gdb_execute(struct gdb *gdb, struct vcpu *vcpu, const char *packet, size_t size,
                             struct reply *reply)
{
    switch (packet[0]) {
    case 'g':
        read_registers(gdb, vcpu, reply);
        return GDB_ANSWERED;
    case 'G':
        write_registers(gdb, vcpu, packet + 1, reply);
        return GDB_ANSWERED;
    case 'p':
    case 'P':
        one_register(gdb, vcpu, packet, reply);
        return GDB_ANSWERED;
    case 'm':
        gdb_read_memory(gdb, vcpu, packet + 1, reply);
        return GDB_ANSWERED;
    case 'M':
    case 'X':
        gdb_write_memory(gdb, vcpu, packet, size, reply);
        return GDB_ANSWERED;
    case 'Z':
    case 'z':
        return gdb_point(gdb, vcpu, packet, reply);
    case 'q':
        return query(gdb, vcpu, packet, reply);
    case 'D':
        if (!gdb_forget(gdb, vcpu))
            return GDB_GOES_ON;
        reply_text(reply, "OK");
        return GDB_DETACHES;
    default:
        return execute_other(gdb, packet, reply);
    }
}
