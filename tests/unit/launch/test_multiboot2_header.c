/* SPDX-License-Identifier: MIT */
/* The header of a multiboot2 program: where it may lie, what it may ask for, and the message and
 * code for every bad one. */
#include "tests/unit/launch/multiboot2_world.h"

/* These tests check the plan; no memory of a guest is written. */
int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    (void)mmu, (void)gpa, (void)buffer, (void)size;
    return 0;
}

static int setup(void **state)
{
    (void)state;
    make_32();
    return 0;
}

static void expect(enum exit_code code, const char *message)
{
    refused(code, message);
    setup(NULL);
}

/* Tags that need no action, or that are optional. */
static void headers_that_are_good(void **state)
{
    (void)state;
    PUT_TAG(1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21);
    PUT_TAG(1, OPTIONAL, 9, 22, 1000);
    PUT_TAG(4, 0, 2);
    PUT_TAG(4, OPTIONAL, 3);
    PUT_TAG(5, 0, 640, 480, 32);
    put_tag(6, 0, 0, NULL);
    put_tag(7, 0, 0, NULL);
    PUT_TAG(8, 0, 0);
    PUT_TAG(9, 0, 0);
    PUT_TAG(11, OPTIONAL, 1, 2, 3);
    PUT_TAG(0x7fff, OPTIONAL, 1);
    good();
    assert_int_equal(record(LOAD_SEGMENT)->gpa, BASE);
    /* An entry address tag overrides the ELF file's entry point. */
    PUT_TAG(3, 0, BASE + 0x20);
    good();
    assert_int_equal(plan.start.entry, BASE + 0x20);
}

/* The last offset at which a header is found, and the next one, at which it is not. In an ELF32
 * file, a multiboot1 header comes first. */
static void where_a_header_lies(void **state)
{
    (void)state;
    static uint8_t large[0x9000];
    for (unsigned i = 0; i < 4; i++) {
        static const uint64_t at[] = {32768 - 24, 32768 - 16, 32768 - 8, 1004};
        setup(NULL);
        memset(large, 0, sizeof(large));
        memcpy(large, file, sizeof(file));
        memset(large + HEADER, 0, 24);
        memcpy(large + at[i], file + HEADER, 24);
        image.file = large;
        image.size = sizeof(large);
        if (i < 2)
            good();
        else
            refused(EXIT_MODULE_NOT_ELF, "no multiboot1 header in its first 8192 bytes");
        image.file = file;
        image.size = sizeof(file);
    }
    setup(NULL);
    put(0x100, 0x1badb002, 4);
    put(0x108, 0u - 0x1badb002u, 4);
    good();
    assert_int_equal(plan.start.magic, 0x2badb002);
    put(0x108, 0, 4);
    good();
    assert_int_equal(plan.start.magic, 0x36d76289);
}

static void bad_headers(void **state)
{
    (void)state;
    finish_header(4);
    expect(EXIT_MODULE_NOT_ELF,
           "guest g: its multiboot2 header is for architecture 4; expected 0, the 386");
    next_tag = sizeof(file) + 1;
    finish_header(0);
    expect(EXIT_MODULE_TRUNCATED,
           "its multiboot2 header at 0x200 has 15873 bytes, and the file ends at 0x4000");
    next_tag = HEADER + 15;
    finish_header(0);
    expect(EXIT_MODULE_TRUNCATED, "its multiboot2 header at 0x200 has 15 bytes");
    next_tag = TAGS;
    finish_header(0);
    expect(EXIT_MODULE_NOT_ELF, "the tags of its multiboot2 header have no end tag");
    PUT_TAG(11, 0, 1);
    expect(EXIT_MODULE_NOT_ELF, "its multiboot2 header requires tag 11, which is not supported");
    static const uint32_t information[] = {9, 22, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(information); i++) {
        char message[96];
        PUT_TAG(1, 0, 1, 6, information[i]);
        snprintf(message, sizeof(message),
                 "its multiboot2 header requires information of type %u, which is not supported",
                 information[i]);
        expect(EXIT_MODULE_NOT_ELF, message);
    }
    PUT_TAG(4, 0, 1);
    expect(EXIT_MODULE_NOT_ELF, "its multiboot2 header requires a text console or a framebuffer; a "
                                "VM has only a serial port");
    static const uint32_t alignments[] = {0, 3, 0x3000};
    for (unsigned i = 0; i < ARRAY_SIZE(alignments); i++) {
        PUT_TAG(10, 0, 0, ~0u, alignments[i], 0);
        expect(EXIT_MODULE_NOT_ELF, "which is no power of two");
    }
    PUT_TAG(10, 0, 0, ~0u, 0x1000, 3);
    expect(EXIT_MODULE_NOT_ELF, "has preference 3; expected 0, 1 or 2");
    PUT_TAG(3, 0, BASE + SIZE);
    expect(EXIT_MODULE_NOT_ELF, "its entry point 0x203000 is outside of the loaded program");
    memset(file, 'x', HEADER);
    expect(EXIT_MODULE_NOT_ELF,
           "its multiboot2 header has no address tag, and it is not an ELF file");
    put(44, 0, 2);
    expect(EXIT_MODULE_NOT_ELF, "it has no contents to load");
    put(52 + 12, 0xa0000, 4);
    expect(EXIT_GUEST_TOO_LARGE, "its segment 0xa0000 to 0xa3000 does not fit into its RAM");
}

/* Every tag whose contents are read is refused if it is too short, and every tag that extends
 * beyond the header. */
static void tags_of_bad_size(void **state)
{
    (void)state;
    static const struct {
        uint32_t type, least;
    } rows[] = {{0, 8}, {1, 8}, {2, 24}, {3, 12}, {4, 12}, {6, 8}, {10, 24}, {99, 8}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        for (unsigned large = 0; large < 2; large++) {
            char message[96];
            const uint32_t words[4] = {0, ~0u, 1, 0};
            setup(NULL);
            put_tag(rows[i].type, OPTIONAL, 4, words);
            const uint32_t size = large ? 33 : rows[i].least - 1;
            put(TAGS + 4, size, 4);
            snprintf(message, sizeof(message),
                     "tag %u of its multiboot2 header has %u bytes; expected %u to 32",
                     rows[i].type, size, rows[i].least);
            refused(EXIT_MODULE_NOT_ELF, message);
        }
    }
}

static void make(void)
{
    make_32();
    PUT_TAG(1, 0, 1, 6);
    PUT_TAG(2, 0, BASE, BASE, BASE + 0x100, BASE + 0x200);
    PUT_TAG(3, 0, ENTRY);
    PUT_TAG(10, 0, 0, ~0u, 0x1000, 1);
}

static void make_elf(void)
{
    make_32();
    PUT_TAG(10, 0, 0, ~0u, 0x1000, 2);
}

/* The checksum does not cover the tags, so the loader reads each changed one. */
static void headers_that_are_spoilt(void **state)
{
    (void)state;
    check_spoilt(make);
    check_spoilt(make_elf);
    for (uint64_t at = TAGS; at < TAGS + 0x70; at++) {
        for (unsigned value = (unsigned)at % support_step(); value < 256; value += support_step()) {
            make();
            file[at] = (uint8_t)value;
            if (load_plan(&plan, &image) == EXIT_OK)
                check_records();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(headers_that_are_good, setup),
        cmocka_unit_test_setup(where_a_header_lies, setup),
        cmocka_unit_test_setup(bad_headers, setup),
        cmocka_unit_test_setup(tags_of_bad_size, setup),
        cmocka_unit_test_setup(headers_that_are_spoilt, setup),
    };
    return cmocka_run_group_tests_name("multiboot2_header", tests, NULL, NULL);
}
