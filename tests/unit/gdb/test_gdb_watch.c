/* SPDX-License-Identifier: MIT */
/*
 * Watchpoints of GDB on write-tracked pages (gdb/written.c): when they take the place of the debug
 * registers, that packets go on where the slots were busy, what counts as a change, and that each
 * page is tracked as often as it is watched, and no longer. And writes to memory of a whole packet,
 * with breakpoints in it.
 */
#include "tests/unit/support.h"

#include "tests/unit/gdb/gdb_world.h"

static int setup_world(void **state)
{
    (void)state;
    world_begin_gdb();
    return 0;
}

/* Executes the packet until it has an answer. Returns the number of visits. */
static unsigned answers(const char *packet, const char *expected)
{
    unsigned visits = 1;
    while (execute(packet, strlen(packet)) == GDB_GOES_ON) {
        assert_string_equal(answer, "");
        assert_in_range(++visits, 2, 2000);
    }
    assert_string_equal(answer, expected);
    return visits;
}

static unsigned all_tracked(void)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < RAM_SIZE >> 12; i++)
        sum += tracked[i];
    return sum;
}

static uint64_t changed(void)
{
    uint64_t linear = 0;
    return gdb_watch_changed(&gdb, NULL, &linear) ? linear : 0;
}

static void after_the_debug_registers(void **state)
{
    (void)state;
    answers("Z2,2000,8", "OK");
    answers("Z2,2008,8", "OK");
    answers("Z2,2010,8", "OK");
    answers("Z2,2018,8", "OK");
    assert_int_equal(all_tracked(), 0);
    answers("Z2,2020,8", "OK"); /* no further register */
    assert_int_equal(tracked[2], 1);
    assert_int_equal(gdb.debugger.watches, 1);
    answers("Z3,2028,8", "E1c"); /* reads are not noticed */
    answers("Z4,2028,8", "E1c");
    answers("Z1,2028,1", "E1c");
    answers("z2,2000,8", "OK");
    answers("Z2,2003,4", "OK"); /* not aligned */
    assert_int_equal(tracked[2], 2);
    guest_debugs = true;
    answers("Z2,3000,4", "OK");
    assert_int_equal(tracked[3], 1);
    answers("Z2,7000,4", "E1c"); /* no memory for it */
    answers("Z2,20000,3", "E0e");
    answers("Z2,3000,0", "E16");
    is_td = true;
    answers("Z2,3010,3", "E.only the debug registers watch a TD");
    is_td = false;
    while (execute("D", 1) == GDB_GOES_ON)
        ;
    assert_string_equal(answer, "OK");
    assert_int_equal(all_tracked(), 0);
    assert_int_equal(gdb.debugger.watches, 0);
}

static void long_ranges(void **state)
{
    (void)state;
    unsigned visits = answers("Z2,1ffd,106", "OK"); /* 3 bytes, 256 and 3 */
    assert_in_range(visits, 4, 200);                /* by 16 pieces at most */
    assert_int_equal(tracked[1], 1);
    assert_int_equal(tracked[2], 33);
    assert_int_equal(changed(), 0);
    ram[0x2102] = 1;
    assert_int_equal(changed(), 0x2100);
    assert_int_equal(changed(), 0);
    ram[0x2103] = 1; /* behind it */
    assert_int_equal(changed(), 0);
    ram[0x1ffc] = 1; /* before it */
    assert_int_equal(changed(), 0);
    answers("Z2,3000,1001", "E1c");
    answers("Z2,3000,1000", "E1c"); /* GDB does not remove what was refused */
    assert_int_equal(all_tracked(), 34);
    assert_int_equal(gdb.debugger.watches, 34);
    answers("Z2,1fff0,20", "E0e"); /* its second half is no RAM */
    assert_int_equal(all_tracked(), 34);
    answers("Z2,3000,8", "OK"); /* the next packet is not refused */
    answers("z2,3000,8", "OK");
    answers("z2,1ffd,106", "OK");
    assert_int_equal(all_tracked(), 0);
    ram[0x2000] = 1;
    assert_int_equal(changed(), 0);
}

static void a_change_is_told_once(void **state)
{
    struct reply reply = {.text = answer, .room = WIRE_PACKET};
    (void)state;
    guest_debugs = true;
    answers("Z2,4000,4", "OK");
    answers("Z2,4004,4", "OK");
    ram[0x4001] = 5;
    ram[0x4004] = 5;
    assert_int_equal(changed(), 0x4000); /* a stop for both: GDB compares all */
    assert_int_equal(changed(), 0);
    ram[0x4001] = 6;
    ram[0x4001] = 5;
    assert_int_equal(changed(), 0);
    gdb_say_stop(&gdb, &(struct stop){DEBUGGER_WRITTEN, 0, 0x4004}, false, &reply);
    answer[reply.size] = 0;
    assert_string_equal(answer, "T05thread:1;watch:4004;");
}

/* ---- N100: watchpoints that overlap ---------------------------------------------------------- */

static void one_register_each(void **state)
{
    (void)state;
    answers("Z2,2000,4", "OK");
    answers("Z2,2000,8", "OK");
    answers("Z4,2000,4", "OK");
    answers("Z2,2000,8", "OK"); /* once more, which changes nothing */
    assert_int_equal(gdb.slot_kind[3], 0);
    assert_int_equal(gdb.debugger.dr7, 0xf9d002a);
    answers("z2,2000,4", "OK");
    assert_int_equal(gdb.debugger.dr7 & 0xff, 0x28);
    assert_int_equal(gdb.debugger.address[1], 0x2000);
    answers("z4,2000,8", "OK"); /* there is none of this length */
    assert_int_equal(gdb.debugger.dr7 & 0xff, 0x28);
    assert_int_equal(all_tracked(), 0);
}

static void pieces_of_their_own(void **state)
{
    static const char *const packets[] = {"Z2,3000,8", "Z2,3000,4", "Z2,3000,10", "Z2,3008,8"};
    (void)state;
    guest_debugs = true;
    for (unsigned i = 0; i < 8; i++)
        answers(packets[i % 4], "OK");
    assert_int_equal(tracked[3], 5);
    answers("z2,3000,10", "OK");
    assert_int_equal(tracked[3], 3);
    ram[0x3008] = 1;
    assert_int_equal(changed(), 0x3008);
    answers("z2,3000,8", "OK");
    ram[0x3001] = 1;
    assert_int_equal(changed(), 0x3000);
    answers("z2,3000,4", "OK");
    answers("z2,3008,8", "OK");
    assert_int_equal(all_tracked(), 0);
    assert_int_equal(gdb.debugger.watches, 0);
}

/* ---- N101: the slot of watched memory changes ------------------------------------------------ */

static uint64_t follows(void)
{
    bool changed = false;
    uint64_t linear = 0;
    unsigned visits = 1;
    while (!gdb_watch_follow(&gdb, NULL, &changed, &linear))
        assert_in_range(++visits, 2, 2000);
    return changed ? linear : 0;
}

static void loses(unsigned frame)
{
    memory_at[frame] = (struct mmu_memory){0};
    tracked[frame] = 0;
}

static void memory_comes_back(void **state)
{
    (void)state;
    guest_debugs = true;
    answers("Z2,2ffc,108", "OK"); /* 34 pieces, of which the first is in frame 2 */
    loses(3);
    assert_int_equal(follows(), 0);
    assert_int_equal(all_tracked(), 1);
    assert_int_equal(follows(), 0); /* there still is none */
    memory_at[3] = (struct mmu_memory){2, 0};
    assert_int_equal(follows(), 0); /* it has what was there before */
    assert_int_equal(tracked[3], 33);
    assert_int_equal(follows(), 0);
    assert_int_equal(tracked[3], 33);
    ram[0x3009] = 1;
    assert_int_equal(changed(), 0x3008);
    loses(3);
    memory_at[3] = (struct mmu_memory){3, 0};
    ram[0x3100] = 2;
    assert_int_equal(follows(), 0x3100); /* another content is a change, which is told once */
    assert_int_equal(follows(), 0);
    assert_int_equal(changed(), 0);
    loses(3);
    answers("z2,2ffc,108", "OK");
    assert_int_equal(all_tracked(), 0);
    assert_int_equal(gdb.debugger.watches, 0);
}

/* The counts of tracking move with the memory. What is watched is what is at the address. */
static void memory_moves(void **state)
{
    (void)state;
    guest_debugs = true;
    answers("Z2,3000,8", "OK");
    memory_at[9] = memory_at[3];
    tracked[9] = tracked[3];
    loses(3);
    assert_int_equal(follows(), 0);
    assert_int_equal(tracked[9], 0);
    memory_at[3] = memory_at[4];
    loses(4);
    assert_int_equal(follows(), 0);
    assert_int_equal(tracked[3], 1);
    tracked[3] = 0; /* the guest has ended the tracking of a page once too often */
    assert_int_equal(follows(), 0);
    assert_int_equal(tracked[3], 1);
}

/* GDB inserts the watchpoint again when it has been told of the stop, and is told why it cannot. */
static void memory_that_cannot_be_tracked(void **state)
{
    (void)state;
    guest_debugs = true;
    answers("Z2,6ff8,10", "E1c"); /* frame 7 */
    memory_at[6] = (struct mmu_memory){1, 7};
    memory_at[7] = (struct mmu_memory){1, 6};
    answers("Z2,6ff8,8", "OK");
    gdb.watches[0].gpa = GPA(0x7000);
    assert_int_equal(follows(), 0x6ff8);
    assert_int_equal(all_tracked(), 0);
}

/* A packet of memory as long as one can be: all of it arrives, but where breakpoints are. */
static void much_memory(void **state)
{
    static char packet[WIRE_PACKET + 1];
    (void)state;
    answers("Z0,8005,1", "OK");
    answers("Z0,8ffe,1", "OK");
    unsigned length = 0xf00;
    int head = snprintf(packet, sizeof(packet), "X8003,%x:", length);
    for (unsigned i = 0; i < length; i++)
        packet[(unsigned)head + i] = (char)(i * 7);
    assert_int_equal(execute(packet, (unsigned)head + length), GDB_ANSWERED);
    assert_string_equal(answer, "OK");
    for (unsigned i = 0; i < length; i++)
        assert_int_equal(ram[0x8003 + i], i == 2 ? 0xcc : (uint8_t)(i * 7));
    answers("z0,8005,1", "OK");
    assert_int_equal(ram[0x8005], 14);
    answers("m8003,4", "00070e15");
    answers("Mfffe,3:010203", "E0e");
    answers("M9000,2:01zz", "E01");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(after_the_debug_registers, setup_world),
        cmocka_unit_test_setup(long_ranges, setup_world),
        cmocka_unit_test_setup(a_change_is_told_once, setup_world),
        cmocka_unit_test_setup(one_register_each, setup_world),
        cmocka_unit_test_setup(pieces_of_their_own, setup_world),
        cmocka_unit_test_setup(memory_comes_back, setup_world),
        cmocka_unit_test_setup(memory_moves, setup_world),
        cmocka_unit_test_setup(memory_that_cannot_be_tracked, setup_world),
        cmocka_unit_test_setup(much_memory, setup_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
