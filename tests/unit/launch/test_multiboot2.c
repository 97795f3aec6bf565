/* SPDX-License-Identifier: MIT */
/* The loader of multiboot2 programs: where it puts a program and its modules, and what the boot
 * information contains. The header is in test_multiboot2_header.c. */
#include "tests/unit/launch/multiboot2_world.h"

#include "arch/x86/acpi.h"

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

/* ---- The boot information -------------------------------------------------------------------- */

/* The contents of the only tag of this type, or NULL. */
static const uint8_t *find_tag(uint32_t type, uint32_t *size)
{
    const struct load_record *block = record(LOAD_PARAMETERS);
    const uint8_t *info = block->bytes, *found = NULL;
    const uint64_t total = get(info, 0, 4);
    assert_int_equal(block->gpa, plan.start.info);
    assert_int_equal(block->size, total);
    assert_int_equal(get(info, 4, 4), 0);
    for (uint64_t at = 8;;) {
        assert_true(at + 8 <= total);
        const uint64_t length = get(info, at + 4, 4);
        assert_true(length >= 8 && at + length <= total);
        if (get(info, at, 4) == type && !found) {
            found = info + at + 8;
            *size = (uint32_t)length - 8;
        }
        if (!get(info, at, 4)) {
            assert_int_equal(at + 8, total);
            return found;
        }
        at += (length + 7) & ~7ull;
    }
}

static const uint8_t *tag_of(uint32_t type, uint32_t size)
{
    uint32_t got;
    const uint8_t *tag = find_tag(type, &got);
    assert_non_null(tag);
    assert_int_equal(got, size);
    return tag;
}

static void check_program(uint64_t base)
{
    const struct load_record *program = record(LOAD_SEGMENT);
    assert_int_equal(program->gpa, base);
    assert_ptr_equal(program->bytes, file + TEXT);
    assert_int_equal(program->size, SIZE / 2);
    assert_int_equal(program->extent, SIZE);
    assert_int_equal(plan.start.entry, base + (ENTRY - BASE));
    assert_int_equal(plan.start.magic, 0x36d76289);
    assert_false(plan.start.long_mode);
    assert_int_equal(get(tag_of(21, 4), 0, 4), base);
}

static void a_good_program(void **state)
{
    (void)state;
    uint32_t size;
    for (unsigned wide = 0; wide < 2; wide++) {
        if (wide)
            make_64();
        assert_false(load_is_linux(file, sizeof(file)));
        good();
        check_program(BASE);
        assert_int_equal(plan.start.info, BASE + SIZE); /* the page after its end */
        assert_string_equal((const char *)tag_of(1, 20), "console=ttyS0 quiet");
        assert_string_equal((const char *)tag_of(2, 9), "eptvisor");
        const uint8_t *module = tag_of(3, 8 + 3);
        assert_int_equal(get(module, 0, 4), record(LOAD_MODULE)->gpa);
        assert_int_equal(get(module, 4, 4) - get(module, 0, 4), sizeof(INITRD));
        assert_int_equal(get(module, 0, 4) % 4096, 0);
        assert_string_equal((const char *)module + 8, "rd");
        assert_int_equal(get(tag_of(4, 8), 0, 4), 640);
        assert_int_equal(get(tag_of(4, 8), 4, 4), (RAM >> 10) - 1024);
        const uint8_t *map = find_tag(6, &size);
        assert_int_equal(get(map, 0, 4), 24);
        assert_int_equal(get(map, 4, 4), 0);
        assert_int_equal((size - 8) % 24, 0);
        check_e820(map + 8, (size - 8) / 24, 24);
        /* The RSDP is a copy of that in the BIOS area. */
        assert_memory_equal(tag_of(15, sizeof(struct acpi_rsdp)), record(LOAD_FIRMWARE)->bytes,
                            sizeof(struct acpi_rsdp));
        assert_null(find_tag(14, &size));
    }
    image.module_count = 0;
    good();
    assert_null(find_tag(3, &size));
}

/* ---- Where a program lies -------------------------------------------------------------------- */

/* The fields of the relocatable tag, and the resulting address of the program. */
static void where_a_relocatable_program_goes(void **state)
{
    (void)state;
    static const struct {
        uint32_t lowest, highest, alignment, preference;
        uint64_t base; /* 0: refused */
    } rows[] = {
        {0, ~0u, 1, 0, BASE},
        {0, ~0u, 0x1000, 1, 0x100000},
        {0x100001, ~0u, 0x1000, 1, 0x101000},
        {0x100001, ~0u, 1, 1, 0x100001},
        {0, ~0u, 0x200000, 1, 0x200000},
        {0, ~0u, 0x400000, 0, 0x400000},
        {BASE + 1, ~0u, 0x1000, 0, BASE + 0x1000},
        {0, BASE + SIZE - 1, 0x1000, 0, BASE},
        {0, BASE + SIZE - 2, 0x1000, 0, 0x100000},
        {0, ~0u, 0x1000, 2, RAM - SIZE},
        {0, ~0u, 0x10000, 2, RAM - 0x10000},
        {0, RAM - 1, 1, 2, RAM - SIZE},
        {0, 0x1000000, 1, 2, 0x1000001 - SIZE},
        {0, 0x1000000, 0x1000, 2, 0x1000000 - SIZE},
        {RAM - SIZE, ~0u, 0x1000, 2, RAM - SIZE},
        {RAM - SIZE + 1, ~0u, 0x1000, 2, 0},
        {RAM - SIZE + 1, ~0u, 0x1000, 1, 0},
        {0x100000, 0x100000 + SIZE - 1, 0x1000, 1, 0x100000},
        {0x100000, 0x100000 + SIZE - 2, 0x1000, 1, 0},
        {0, 0x9ffff, 0x1000, 2, 0},
        {0, 0, 1, 2, 0},
        {0, ~0u, 0x80000000, 1, 0},
        {0, ~0u, 0x80000000, 2, 0},
        {~0u, ~0u, 1, 1, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        for (unsigned wide = 0; wide < 2; wide++) {
            setup(NULL);
            if (wide)
                make_64();
            PUT_TAG(10, 0, rows[i].lowest, rows[i].highest, rows[i].alignment, rows[i].preference);
            if (rows[i].base) {
                good();
                check_program(rows[i].base);
            } else {
                refused(EXIT_GUEST_TOO_LARGE, "no room for its 12288 bytes, which its multiboot2 "
                                              "header requires aligned to ");
            }
        }
    }
}

/* The information and the modules lie after the program, or before it if there is no room. */
static void where_the_information_goes(void **state)
{
    (void)state;
    const uint64_t behind = RAM - (BASE + SIZE), before = BASE - MIB;
    uint64_t most = 0;
    /* The largest module that still fits after the program. */
    for (image.modules[0].size = behind; !most; image.modules[0].size -= 4096) {
        assert_true(image.modules[0].size > behind - 5 * 4096);
        most = load_plan(&plan, &image) == EXIT_OK ? image.modules[0].size : 0;
    }
    assert_int_equal(plan.start.info, BASE + SIZE);
    check_records();
    const uint64_t room = behind - most; /* of the information */
    PUT_TAG(10, 0, 0, ~0u, 0x1000, 2);
    image.modules[0].size = RAM - MIB - SIZE - room;
    support_reset();
    good();
    assert_int_equal(plan.start.info, MIB);
    assert_int_equal(record(LOAD_MODULE)->gpa, MIB + room);
    image.modules[0].size++;
    refused(EXIT_GUEST_TOO_LARGE, "no room for the multiboot2 information and its modules, ");
    /* There is no room after a program that ends at the end of RAM, and hardly any before it. */
    setup(NULL);
    guest_layout(BASE + SIZE, image.ram);
    image.modules[0].size = before - room;
    assert_int_equal(load_plan(&plan, &image), EXIT_OK);
    assert_int_equal(plan.start.info, MIB);
    image.modules[0].size++;
    refused(EXIT_GUEST_TOO_LARGE,
            "after its end at 0x203000 or before its beginning at 0x200000; give it more RAM with "
            "mem=");
}

static void put_program(uint32_t header, uint32_t load, uint32_t load_end, uint32_t bss_end)
{
    setup(NULL);
    PUT_TAG(2, 0, header, load, load_end, bss_end);
    PUT_TAG(3, 0, ENTRY);
}

/* A program with an address tag is loaded as the tag says, whether or not it is an ELF file. */
static void programs_with_an_address_tag(void **state)
{
    (void)state;
    static const struct {
        uint32_t header, load, load_end, bss_end;
        uint64_t base, offset, size, extent;
    } rows[] = {
        {BASE, BASE, BASE + 0x100, BASE + 0x200, BASE, HEADER, 0x100, 0x200},
        {BASE, BASE, BASE + 0x100, 0, BASE, HEADER, 0x100, 0x100},
        {BASE, BASE, 0, 0, BASE, HEADER, sizeof(file) - HEADER, sizeof(file) - HEADER},
        {BASE, BASE - HEADER, BASE + 0x100, 0, BASE - HEADER, 0, 0x300, 0x300},
        {BASE + 0x80, BASE, BASE + 0x100, BASE + 0x100, BASE, HEADER - 0x80, 0x100, 0x100},
        {BASE, ~0u, 0, BASE + SIZE + 0x4000, BASE - HEADER, 0, sizeof(file),
         SIZE + 0x4000 + HEADER},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        for (unsigned elf = 0; elf < 2; elf++) {
            put_program(rows[i].header, rows[i].load, rows[i].load_end, rows[i].bss_end);
            if (!elf)
                memset(file, 'x', HEADER);
            good();
            const struct load_record *program = record(LOAD_SEGMENT);
            assert_int_equal(program->gpa, rows[i].base);
            assert_ptr_equal(program->bytes, file + rows[i].offset);
            assert_int_equal(program->size, rows[i].size);
            assert_int_equal(program->extent, rows[i].extent);
            assert_int_equal(plan.start.entry, ENTRY);
        }
    }
    /* It can be relocated, with its entry point. */
    put_program(BASE, BASE, BASE + 0x100, 0);
    PUT_TAG(10, 0, 0, ~0u, 0x1000, 1);
    good();
    assert_int_equal(record(LOAD_SEGMENT)->gpa, MIB);
    assert_int_equal(plan.start.entry, MIB + 0x10);
}

static void bad_address_tags(void **state)
{
    (void)state;
    static const struct {
        uint32_t header, load, load_end, bss_end;
        enum exit_code code;
        const char *message;
    } rows[] = {
        {BASE, BASE + 1, 0, 0, EXIT_MODULE_NOT_ELF,
         "the address tag of its multiboot2 header has header_addr 0x200000 and load_addr "
         "0x200001, but the header lies at 0x200 in the file"},
        {BASE, BASE - HEADER - 1, 0, 0, EXIT_MODULE_NOT_ELF, "load_addr 0x1ffdff, but the header"},
        {HEADER - 1, ~0u, 0, 0, EXIT_MODULE_NOT_ELF, "header_addr 0x1ff and load_addr 0xffffffff"},
        {BASE, BASE, BASE - 1, 0, EXIT_MODULE_NOT_ELF,
         "has load_addr 0x200000, load_end_addr 0x1fffff and bss_end_addr 0x1fffff, which must "
         "ascend"},
        {BASE, BASE, BASE + 2, BASE + 1, EXIT_MODULE_NOT_ELF,
         "load_end_addr 0x200002 and bss_end_addr 0x200001, which must ascend"},
        {BASE, BASE, BASE, 0, EXIT_MODULE_NOT_ELF, "it has no contents to load"},
        {BASE, BASE, BASE + sizeof(file) - HEADER + 1, 0, EXIT_MODULE_TRUNCATED,
         "its multiboot2 header needs bytes 0x200 to 0x4001 of the file, which ends at 0x4000"},
        {BASE, BASE, BASE + 0x10, 0, EXIT_MODULE_NOT_ELF,
         "its entry point 0x200010 is outside of the loaded program"},
        {BASE, BASE, BASE + 0x100, (uint32_t)RAM + 1, EXIT_GUEST_TOO_LARGE,
         "its program, 0x200000 to 0x10000001, does not fit into its RAM, which ends at "
         "0x10000000; give it more with mem="},
        {0xa0000, 0xa0000, 0xa0100, 0, EXIT_GUEST_TOO_LARGE, "its program, 0xa0000 to 0xa0100"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        put_program(rows[i].header, rows[i].load, rows[i].load_end, rows[i].bss_end);
        refused(rows[i].code, rows[i].message);
    }
    setup(NULL);
    PUT_TAG(2, 0, BASE, BASE, 0, 0);
    refused(EXIT_MODULE_NOT_ELF,
            "its multiboot2 header has an address tag but no entry address tag");
}

static void a_long_command_line(void **state)
{
    (void)state;
    static char line[1025];
    memset(line, 'a', 1024);
    image.arguments = line;
    refused(EXIT_MODULE_WORDS, "its command line has 1024 characters; at most 1023 are supported");
    image.arguments = line + 1;
    assert_int_equal(load_plan(&plan, &image), EXIT_OK);
    assert_string_equal((const char *)tag_of(1, 1024), line + 1);
}

static void a_program_above_4_gib(void **state)
{
    (void)state;
    make_64();
    guest_layout(8ull << 30, image.ram);
    put(88, 1ull << 32, 8);
    refused(EXIT_GUEST_TOO_LARGE, "its program ends at 0x100003000, above 4 GiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_good_program, setup),
        cmocka_unit_test_setup(where_a_relocatable_program_goes, setup),
        cmocka_unit_test_setup(where_the_information_goes, setup),
        cmocka_unit_test_setup(programs_with_an_address_tag, setup),
        cmocka_unit_test_setup(bad_address_tags, setup),
        cmocka_unit_test_setup(a_long_command_line, setup),
        cmocka_unit_test_setup(a_program_above_4_gib, setup),
    };
    return cmocka_run_group_tests_name("multiboot2", tests, NULL, NULL);
}
