/* SPDX-License-Identifier: MIT */
/*
 * GDB's remote protocol (gdb/): frames that are good, broken, cut and repeated; each packet with
 * its answer, and broken ones with theirs; the target description, whose registers are those of the
 * packets; memory by each kind of paging; and breakpoints, which are hidden and leave no trace.
 */
#include "tests/unit/support.h"

#include "tests/unit/gdb/gdb_world.h"

#include "gdb/gdb.h"

#include <stdlib.h>

static int setup(void **state)
{
    (void)state;
    world_begin_gdb();
    return 0;
}

/* ---- Frames ---------------------------------------------------------------------------------- */

/* Receives all bytes of `text`, and returns the number of packets in it. */
static unsigned receive(const char *text, size_t size)
{
    unsigned packets = 0;
    for (size_t i = 0; i < size; i++)
        packets += wire_take(&wire, (uint8_t)text[i]) == WIRE_PACKET_COMPLETE;
    return packets;
}

static const char *sent(void)
{
    static char text[2 * WIRE_PACKET + 64];
    size_t size = 0;
    for (int byte; (byte = wire_next(&wire)) >= 0;)
        text[size++] = (char)byte;
    text[size] = 0;
    return text;
}

static void frames(void **state)
{
    static const struct {
        const char *text;
        unsigned packets;
        const char *packet, *acks;
    } rows[] = {
        {"$?#3f", 1, "?", "+"},       {"$?#3F", 1, "?", "+"},       {"+++$?#3f", 1, "?", "+"},
        {"$?#3e", 0, NULL, "-"},      {"$?#zz$?#3f", 1, "?", "-+"}, {"$?#3", 0, NULL, ""},
        {"$abc$?#3f", 1, "?", "+"},   {"$#00", 1, "", "+"},         {"x?#3f", 0, NULL, ""},
        {"$X}\x03#d8", 1, "X#", "+"}, {"$X}#d5", 0, NULL, "-"},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        memset(&wire, 0, sizeof(wire));
        assert_int_equal(receive(rows[i].text, strlen(rows[i].text)), rows[i].packets);
        if (rows[i].packet)
            assert_string_equal(wire.packet, rows[i].packet);
        assert_string_equal(sent(), rows[i].acks);
    }
    assert_int_equal(wire_take(&wire, 3), WIRE_INTERRUPT);
}

static void long_packets(void **state)
{
    static char text[WIRE_PACKET + 8];
    (void)state;
    for (unsigned more = 0; more < 2; more++) {
        size_t size = WIRE_PACKET + more;
        memset(text, 0, sizeof(text));
        text[0] = '$'; /* zeros add up to 00 */
        memcpy(text + 1 + size, "#00", 3);
        assert_int_equal(receive(text, size + 4), !more);
        assert_string_equal(sent(), more ? "-" : "+");
    }
}

static void replies(void **state)
{
    (void)state;
    wire_reply(&wire, "OK", 2);
    assert_string_equal(sent(), "$OK#9a");
    assert_int_equal(receive("-", 1), 0); /* once more */
    assert_string_equal(sent(), "$OK#9a");
    assert_int_equal(receive("$?#3f", 5), 1);
    wire_reply(&wire, "a}*#$b", 6);
    assert_string_equal(sent(), "+$a}]}\n}\x03}\x04"
                                "b#25");
    wire.no_acks = true;
    assert_int_equal(receive("$?#3f", 5), 1);
    assert_int_equal(receive("$?#00-", 6), 0);
    assert_string_equal(sent(), "");
    assert_int_equal(receive("$?#3f", 5), 1);
    wire_restart(&wire);
    wire_restart(&wire);
    assert_int_equal(receive("$?#3f", 5), 1);
    assert_string_equal(sent(), "++");
}

/* ---- Packets --------------------------------------------------------------------------------- */

static void answers(const char *packet, const char *expected)
{
    assert_int_equal(execute(packet, strlen(packet)), GDB_ANSWERED);
    if (strcmp(answer, expected))
        fail_msg("%s is answered by %s, not by %s", packet, answer, expected);
    assert_false(is_open);
}

static const char *const packets[][2] = {
    {"", ""},
    {"!", ""},
    {"vMustReplyEmpty", ""},
    {"vCont?", "vCont;c;C;s;S"},
    {"QStartNoAckMode", "OK"},
    {"QSomething", ""},
    {"qC", "QC1"},
    {"qfThreadInfo", "m1,2"},
    {"qsThreadInfo", "l"},
    {"qThreadExtraInfo,2", "764350552031"}, /* vCPU 1 */
    {"qThreadExtraInfo,3", "E01"},
    {"qAttached", "1"},
    {"qXfer:features:read:other.xml:0,10", "E00"},
    {"qXfer:features:read:target.xml:0,5", "m<?xml"},
    {"qXfer:features:read:target.xml:ffff,5", "l"},
    {"qXfer:features:read:target.xml:0", "E01"},
    {"qXfer:features:read:target.xml:0,0", "E01"},
    {"T1", "OK"},
    {"T2", "OK"},
    {"T3", "E01"},
    {"T0", "E01"},
    {"T", "E01"},
    {"T1x", "E01"},
    {"Hg2", "OK"},
    {"Hg0", "OK"},
    {"Hc-1", "OK"},
    {"Hg-2", "E01"},
    {"Hg", "E01"},
    {"Hx1", "E01"},
    {"Hg3", "E01"},
    {"Hg1;", "E01"},
    {"Hg11111111111111111", "E01"},
    {"p0", "0000000000000000"},
    {"p11", "00000000"},
    {"pffff", "E01"},
    {"p", "E01"},
    {"p0x", "E01"},
    {"P0=1100000000000022", "OK"},
    {"p0", "1100000000000022"},
    {"P0=11", "E01"},
    {"P0", "E01"},
    {"P0=11000000000000220", "E01"},
    {"P0=zz", "E01"},
    {"m0,4", "90909090"},
    {"m0,0", ""},
    {"mfffe,4", "9090"},
    {"m10000,4", "E0e"},
    {"m0", "E01"},
    {"m0,ffffff", "E01"},
    {"m0,4;", "E01"},
    {"m,4", "E01"},
    {"m100000000,1", "E0e"},
    {"m11111111111111111,1", "E01"},
    {"M10,2:abcd", "OK"},
    {"m10,2", "abcd"},
    {"M10,2:ab", "E01"},
    {"M10,2:abcdef", "E01"},
    {"M10,1:zz", "E01"},
    {"M10000,1:00", "E0e"},
    {"M10,ffffffffffffffff:", "E01"},
    {"X10,2:zz", "OK"},
    {"m10,2", "7a7a"},
    {"X10,0:", "OK"},
    {"X10,3:zz", "E01"},
    {"Z5,0,1", ""},
    {"Z0,0", "E01"},
    {"Z0,0,1;", "E01"},
    {"Z0,10000,1", "E0e"},
    {"Z3,1001,2", "E16"},
    {"Z4,1000,3", "E16"},
    {"Z2,1000,0", "E16"},
    {"Z3,1000,10", "E16"},
    {"c1000", "E01"},
    {"s1000", "E01"},
    {"vCont;", "E01"},
    {"vCont;x", "E01"},
    {"vCont;c:3", "E01"},
    {"vCont;c;", "E01"},
    {"vCont;Czz", "E01"},
    {"vCont;s:1x", "E01"},
    {"qRcmd,7a", NULL},
    {"qRcmd,7", "E01"},
    {"qRcmd,zz", "E01"},
    {"G00", "E01"},
};

static void each_packet(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(packets); i++)
        if (packets[i][1])
            answers(packets[i][0], packets[i][1]);
    assert_true(gdb.no_acks);
    assert_int_equal(execute("qRcmd,7a", 8), GDB_MONITORS);
    assert_int_equal(execute("?", 1), GDB_ASKS_WHY);
    assert_int_equal(execute("k", 1), GDB_KILLS);
    assert_int_equal(execute("D", 1), GDB_DETACHES);
    assert_string_equal(answer, "OK");
}

static void who_goes_on(void **state)
{
    static const struct {
        const char *packet;
        enum gdb_action actions[3];
    } rows[] = {
        {"c", {GDB_GO, GDB_GO, GDB_GO}},
        {"s", {GDB_STAY, GDB_STEP, GDB_STAY}},
        {"vCont;c", {GDB_GO, GDB_GO, GDB_GO}},
        {"vCont;s:1", {GDB_STEP, GDB_STAY, GDB_STAY}},
        {"vCont;s:2;c", {GDB_GO, GDB_STEP, GDB_GO}},
        {"vCont;s:2;c:-1", {GDB_GO, GDB_STEP, GDB_GO}},
        {"vCont;S05:1;C0a:2", {GDB_STEP, GDB_GO, GDB_STAY}},
        {"vCont;s:1;c:1", {GDB_STEP, GDB_STAY, GDB_STAY}},
        {"vCont;s:0", {GDB_STAY, GDB_STEP, GDB_STAY}},
    };
    (void)state;
    gdb.thread = 1;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(execute(rows[i].packet, strlen(rows[i].packet)), GDB_RESUMES);
        assert_memory_equal(gdb.actions, rows[i].actions, sizeof(rows[i].actions));
    }
}

/* The registers of the description, in order, are those of the packet g. */
static void descriptions(void **state)
{
    static char text[16384];
    static const struct {
        const struct gdb_description *description;
        bool avx;
        unsigned registers;
    } rows[] = {
        {&gdb_x86_64, true, 24 + 16 + 17 + 2 + 10 + 16},
        {&gdb_x86_64, false, 24 + 16 + 17 + 2 + 10},
        {&gdb_i386, true, 16 + 16 + 9 + 10 + 8},
        {&gdb_i386, false, 16 + 16 + 9 + 10},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        size_t whole = gdb_describe(rows[i].description, rows[i].avx, 0, text, sizeof(text) - 1);
        unsigned number = 0;
        struct gdb_register which;
        text[whole] = 0;
        for (char *at = text; (at = strstr(at, "<reg name=\"")); at++, number++) {
            assert_true(gdb_register(rows[i].description, rows[i].avx, number, &which));
            assert_int_equal(atoi(strstr(at, "bitsize=\"") + 9), which.size * 8);
        }
        assert_int_equal(number, rows[i].registers);
        assert_false(gdb_register(rows[i].description, rows[i].avx, number, &which));
        for (size_t offset = 0; offset <= whole; offset += 101) { /* in pieces */
            char piece[101];
            size_t size = gdb_describe(rows[i].description, rows[i].avx, offset, piece, 101);
            assert_int_equal(size, whole - offset < 101 ? whole - offset : 101);
            assert_memory_equal(piece, text + offset, size);
        }
    }
}

static void all_registers(void **state)
{
    static char packet[WIRE_PACKET + 2] = "G";
    (void)state;
    for (unsigned i = 0; i < REG_COUNT; i++)
        memset(cpu_registers[i], (int)i, GDB_REGISTER_MAX);
    for (unsigned i = 0; i < 64; i++)
        memset(registers[GDB_XMM][i], 0x40 + (int)i, GDB_REGISTER_MAX);
    assert_int_equal(execute("g", 1), GDB_ANSWERED);
    memcpy(packet + 1, answer, sizeof(answer));
    memset(cpu_registers, 0, sizeof(cpu_registers));
    memset(registers, 0, sizeof(registers));
    answers(packet, "OK");
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(registers[GDB_XMM][i][15], 0x40 + i);
    assert_int_equal(cpu_registers[REG_RIP][7], REG_RIP);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void put(unsigned at, uint64_t value, unsigned size)
{
    memcpy(ram + at, &value, size);
}

/* Frame 5 is at each of these addresses, and nothing is at the page behind it; no table changes. */
static void each_paging(void **state)
{
    static uint8_t before[RAM_SIZE];
    (void)state;
    memset(ram, 0, sizeof(ram));
    memcpy(ram + 0x5678, "\x12\x34", 2);
    paging.cr3 = 0x1000; /* 4 levels */
    paging.cr0 = CR0_PG;
    paging.cr4 = CR4_PAE;
    paging.efer = EFER_LMA;
    put(0x1000 + 511 * 8, 0x2001, 8);
    put(0x2000, 0x3001, 8);
    put(0x2000 + 8, 0x81, 8); /* 1 GiB at 0 */
    put(0x3000, 0x4001, 8);
    put(0x3000 + 8, 0x81, 8); /* 2 MiB at 0 */
    put(0x4000, BIT(63) | 0x5001, 8);
    memcpy(before, ram, sizeof(ram));
    answers("mffffff8000000678,2", "1234");
    answers("mffffff8000001000,1", "E0e");
    answers("mffffff8000205678,2", "1234");
    answers("mffffff8040005678,2", "1234");
    answers("m7f8000000678,2", "E0e"); /* not mapped */
    answers("mff8000000678,2", "E0e"); /* not canonical */
    paging.efer = 0;                   /* PAE */
    paging.pdpte[3] = 0x3001;
    answers("mc0000678,2", "1234");
    answers("mc0205678,2", "1234");
    answers("m40000678,2", "E0e");
    answers("m1c0000678,2", "E0e");
    assert_memory_equal(before, ram, sizeof(ram));
    memset(ram, 0, 0x5000);
    paging.cr4 = CR4_PSE; /* 32-bit */
    put(0x1000 + 4 * 0x300, 0x4001, 4);
    put(0x1000 + 4 * 0x301, 0x81, 4);
    put(0x4000, 0x5001, 4);
    answers("mc0000678,2", "1234");
    answers("mc0405678,2", "1234");
    answers("mc0001678,2", "E0e");
    paging.cr0 = 0;
    answers("m5678,2", "1234");
}

static void breakpoints_are_hidden(void **state)
{
    (void)state;
    ram[0x100] = 0xcc; /* the guest's own */
    answers("Z0,200,1", "OK");
    answers("Z0,200,1", "OK");
    answers("Z0,100,1", "OK");
    assert_int_equal(ram[0x200], 0xcc);
    assert_true(gdb.debugger.software && gdb_owns(&gdb, 0x200) && !gdb_owns(&gdb, 0x201));
    answers("m1ff,3", "909090");
    answers("m100,1", "cc");
    answers("M200,1:55", "OK"); /* what will be there */
    assert_int_equal(ram[0x200], 0xcc);
    answers("m200,1", "55");
    answers("z0,200,1", "OK");
    assert_int_equal(ram[0x200], 0x55);
    answers("Z0,300,1", "OK");
    ram[0x300] = 0x77; /* by the guest */
    answers("m300,1", "77");
    answers("z0,300,1", "OK");
    assert_int_equal(ram[0x300], 0x77);
    answers("z0,100,1", "OK");
    assert_int_equal(ram[0x100], 0xcc);
    assert_false(gdb.debugger.software);
    for (unsigned i = 0; i <= GDB_BREAKPOINTS; i++) {
        char packet[32];
        snprintf(packet, sizeof(packet), "Z0,%x,1", 0x1000 + i);
        answers(packet, i < GDB_BREAKPOINTS ? "OK" : "E1c");
    }
    assert_int_equal(execute("D", 1), GDB_DETACHES);
    for (unsigned i = 0; i <= GDB_BREAKPOINTS; i++)
        assert_int_equal(ram[0x1000 + i], 0x90);
}

static void debug_registers(void **state)
{
    (void)state;
    answers("Z1,1000,1", "OK");
    assert_int_equal(gdb.debugger.dr7, 0x2);
    answers("Z2,2004,4", "OK");
    assert_int_equal(gdb.debugger.dr7, 0xd0000a);
    answers("Z3,3000,8", "OK");
    assert_int_equal(gdb.debugger.dr7, 0xbd0002a);
    answers("Z4,4000,1", "OK");
    assert_int_equal(gdb.debugger.dr7, 0x3bd000aa);
    answers("Z4,5000,1", "E1c");
    answers("z2,2004,4", "OK");
    assert_int_equal(gdb.debugger.dr7, 0x3b0000a2);
    answers("Z2,6000,2", "OK");
    assert_int_equal(gdb.debugger.dr7, 0x3b5000aa);
    assert_int_equal(gdb.debugger.address[1], 0x6000);
    guest_debugs = true;
    answers("Z1,1000,1", "E.the guest uses its debug registers itself");
    assert_int_equal(execute("D", 1), GDB_DETACHES);
    assert_int_equal(gdb.debugger.dr7, 0);
}

static void stops(void **state)
{
    static const struct {
        struct stop stop;
        bool by_gdb;
        const char *text;
    } rows[] = {
        {{DEBUGGER_NO_STOP, 0, 0}, true, "T02thread:2;"},
        {{DEBUGGER_NO_STOP, 0, 0}, false, "T05thread:2;"},
        {{DEBUGGER_STEPPED, 0, 0}, false, "T05thread:2;"},
        {{DEBUGGER_BREAKPOINT, 0, 0}, false, "T05thread:2;swbreak:;"},
        {{DEBUGGER_HARDWARE, 1, 0x1000}, false, "T05thread:2;hwbreak:;"},
        {{DEBUGGER_HARDWARE, 2, 0x2004}, false, "T05thread:2;watch:2004;"},
        {{DEBUGGER_HARDWARE, 3, ~0x7effffffull}, false, "T05thread:2;rwatch:ffffffff81000000;"},
        {{DEBUGGER_HARDWARE, 4, 0}, false, "T05thread:2;awatch:0;"},
        {{DEBUGGER_WRITTEN, 0, 0x4004}, false, "T05thread:2;watch:4004;"},
    };
    (void)state;
    gdb.thread = 1;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct reply reply = {.text = answer, .room = WIRE_PACKET};
        gdb_say_stop(&gdb, &rows[i].stop, rows[i].by_gdb, &reply);
        answer[reply.size] = 0;
        assert_string_equal(answer, rows[i].text);
    }
    struct reply reply = {.text = answer, .room = WIRE_PACKET};
    cpu_registers[REG_RIP][0] = 0x34;
    gdb_tell(&gdb, NULL, &reply);
    answer[reply.size] = 0;
    assert_string_equal(answer, "6:0000000000000000;7:0000000000000000;10:3400000000000000;"
                                "11:00000000;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(frames, setup),
        cmocka_unit_test_setup(long_packets, setup),
        cmocka_unit_test_setup(replies, setup),
        cmocka_unit_test_setup(each_packet, setup),
        cmocka_unit_test_setup(who_goes_on, setup),
        cmocka_unit_test_setup(descriptions, setup),
        cmocka_unit_test_setup(all_registers, setup),
        cmocka_unit_test_setup(each_paging, setup),
        cmocka_unit_test_setup(breakpoints_are_hidden, setup),
        cmocka_unit_test_setup(debug_registers, setup),
        cmocka_unit_test_setup(stops, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
