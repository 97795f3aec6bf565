/* SPDX-License-Identifier: MIT */
/*
 * The commands of GDB's `monitor` (gdb/monitor.c): those of the stub with good and bad words, and
 * those of somebody else, whose answers come in pieces.
 */
#include "tests/unit/support.h"

#include "tests/unit/gdb/gdb_world.h"

#include "gdb/gdb.h"

static int setup_gdb(void **state)
{
    (void)state;
    world_begin_gdb();
    return 0;
}

/* Executes a line of `monitor`, and returns the text of the answer, or NULL if it is for somebody
 * else. */
static const char *monitors(const char *line)
{
    static char text[512];
    char packet[200] = "qRcmd,";
    const char *at = answer;
    size_t size = strlen(packet);
    for (; *line; line++)
        size += (size_t)snprintf(packet + size, sizeof(packet) - size, "%02x", *line);
    if (execute(packet, size) != GDB_ANSWERED)
        return NULL;
    assert_true(parse_bytes(&at, text, strlen(answer) / 2));
    text[strlen(answer) / 2] = 0;
    return text;
}

static void monitor_commands(void **state)
{
    static const char *const wrong[] = {"phys",        "phys 20",   "phys 20 300", "phys 20 0x101",
                                        "phys 20 1 1", "phys x 1",  "phys 20 -1",  "phys 0x 1",
                                        "phys  ",      "phys 20 1 "};
    (void)state;
    ram[0] = 0x5a;
    ram[0x20] = 0x5b;
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_string_equal(monitors(wrong[i]),
                            "phys ADDRESS N: both are hexadecimal numbers, N is at most 100\n");
    assert_memory_equal(monitors("phys 0x20 10"), "0x20: 5b 90 90", 14);
    assert_string_equal(monitors("phys 20 0x1"), "0x20: 5b\n");
    assert_string_equal(monitors("phys  020 1"), "0x20: 5b\n");
    assert_string_equal(monitors("phys 0 1"), "0: 5a\n");
    assert_null(monitors("physics 0 1"));
}

static unsigned pieces;
static bool begin_command(const char *line)
{
    pieces = 0;
    return !strcmp(line, "z");
}

static bool next_piece(char *text, size_t room, size_t *size)
{
    *size = (size_t)snprintf(text, room, "%u", pieces);
    return ++pieces < 3;
}

/* Commands of somebody else, whose answer comes in pieces. */
static void other_commands(void **state)
{
    static const struct gdb_monitor other = {begin_command, next_piece, "z  counts\n"};
    struct reply reply = {.text = answer, .room = WIRE_PACKET};
    (void)state;
    assert_int_equal(execute("qRcmd,7a", 8), GDB_MONITORS);
    assert_false(gdb_ask_monitor(&gdb, &reply)); /* there are none */
    assert_memory_equal(answer, "7468657265206973206e6f20", 24);
    gdb_set_monitor(&other);
    reply.size = 0;
    while (gdb_ask_monitor(&gdb, &reply))
        ;
    assert_memory_equal(answer, "303132", 6);
    assert_int_equal(reply.size, 6);
    assert_int_equal(execute("qRcmd,68656c70", 14), GDB_ANSWERED);
    assert_non_null(strstr(answer, "7a2020636f756e74730a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(monitor_commands, setup_gdb),
        cmocka_unit_test_setup(other_commands, setup_gdb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
