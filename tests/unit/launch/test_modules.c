/* SPDX-License-Identifier: MIT */
/* The places of modules: one that is not in RAM, or that overlaps another one, is refused with a
 * message. Also the names of VMs, and the words of modules that belong to a guest. */
#include "tests/unit/support.h"

#include "boot/boot_info_internal.h"
#include "launch/modules.h"
#include "lib/bits.h"
#include "lib/errno.h"

#include <stdio.h>
#include <string.h>

static struct boot_info info;
static const struct image_place image = {0x200000, 0x280000};

static void add_range(uint64_t start, uint64_t end, enum boot_memory kind)
{
    assert_int_equal(boot_add_range(&info, start, end - start, kind), 0);
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&info, 0, sizeof(info));
    add_range(0, 0x9fc00, BOOT_RAM);
    add_range(0xf0000, 0x100000, BOOT_RESERVED);
    add_range(0x100000, 0x7fe0000, BOOT_RAM);
    add_range(0x7fe0000, 0x8000000, BOOT_ACPI);
    add_range(0xfec00000, 0xff000000, BOOT_RESERVED);
    return 0;
}

static void module(uint32_t start, uint32_t end, const char *string)
{
    assert_int_equal(boot_add_module(&info, start, end, string, strlen(string) + 1), 0);
}

static void expect(enum exit_code code, const char *message)
{
    assert_int_equal(modules_check(&info, 0, info.module_count - 1, image), code);
    if (!strstr(support_log(), message))
        fail_msg("\"%s\" is not in\n%s", message, support_log());
    setup(NULL);
}

/* Modules on both sides of each border of RAM. */
static void what_is_not_in_ram_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t start, end;
        bool good;
    } rows[] = {
        {0x1000, 0x2000, true},
        {0x9f000, 0x9fc00, true},
        {0x100000, 0x100001, true},
        {0x7fdf000, 0x7fe0000, true},
        {0, 0x1000, false}, /* page 0 is the BIOS' */
        {0xfff, 0x1001, false},
        {0x9f000, 0x9fc01, false},
        {0xa0000, 0xa1000, false},
        {0xb8000, 0xb9000, false}, /* the screen */
        {0xf0000, 0xf1000, false},
        {0xfffff, 0x100001, false},
        {0x7fdf000, 0x7fe0001, false},
        {0x7fe0000, 0x7ff0000, false}, /* ACPI tables */
        {0x7000000, 0x9000000, false},
        {0x8000000, 0x8001000, false}, /* beyond RAM */
        {0xd0000000, 0xd0001000, false},
        {0xfee00000, 0xfee01000, false}, /* the local APIC */
        {0xfec00000, 0xfec01000, false},
        {0xfffff000, 0xffffffff, false}, /* the firmware */
        {0x1000, 0xffffffff, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        char message[128];
        module(rows[i].start, rows[i].end, "m");
        snprintf(message, sizeof(message),
                 "module 1 (m) at %#x to %#x is not in RAM, according to the boot loader's memory "
                 "map\n",
                 rows[i].start, rows[i].end);
        expect(rows[i].good ? EXIT_OK : EXIT_MODULE_OUTSIDE, rows[i].good ? "" : message);
    }
}

static void the_image_is_nobody_elses(void **state)
{
    (void)state;
    module(0x27ffff, 0x280001, "m");
    expect(EXIT_MODULE_OVERLAP,
           "module 1 (m) at 0x27ffff to 0x280001 overlaps the hypervisor at 0x200000 to 0x280000");
    module(0x1ff000, 0x200001, "m");
    expect(EXIT_MODULE_OVERLAP, "overlaps the hypervisor");
    module(0x100000, 0x300000, "m");
    expect(EXIT_MODULE_OVERLAP, "overlaps the hypervisor");
    module(0x1ff000, 0x200000, "m");
    module(0x280000, 0x281000, "+n");
    expect(EXIT_OK, "");
}

/* The modules that belong to the guest are checked, too. Modules of other guests are checked only
 * for overlap with this guest's. */
static void modules_may_not_overlap(void **state)
{
    (void)state;
    module(0x400000, 0x401000, "m");
    module(0x400fff, 0x402000, "+n");
    expect(EXIT_MODULE_OVERLAP, "module 1 (m) at 0x400000 to 0x401000 overlaps module 2 (+n) at "
                                "0x400fff to 0x402000");
    module(0x400000, 0x401000, "m");
    module(0xfee00000, 0xfee01000, "other");
    assert_int_equal(modules_check(&info, 0, 0, image), EXIT_OK);
    assert_int_equal(modules_check(&info, 1, 0, image), EXIT_MODULE_OUTSIDE);
    setup(state);
    module(0x400000, 0x401000, "m");
    module(0x401000, 0x402000, "+n");
    module(0xfee00000, 0xfee01000, "+p");
    expect(EXIT_MODULE_OUTSIDE, "module 3 (+p) at 0xfee00000");
}

/* An empty module occupies no memory, so it overlaps nothing. The loader of guests refuses it. */
static void an_empty_module_lies_nowhere(void **state)
{
    (void)state;
    module(0xfee00000, 0xfee00000, "m");
    expect(EXIT_OK, "");
    module(0x400000, 0x401000, "m");
    module(0x400800, 0x400800, "+n");
    module(0x200800, 0x200800, "+p");
    expect(EXIT_OK, "");
}

static void a_guest_has_so_many(void **state)
{
    (void)state;
    module(0x400000, 0x401000, "m");
    for (uint32_t i = 0; i < GUEST_MODULES; i++)
        module(0x500000 + i * 0x1000, 0x501000 + i * 0x1000, "+n");
    assert_int_equal(modules_check(&info, 0, GUEST_MODULES, image), EXIT_OK);
    module(0x600000, 0x601000, "+n");
    expect(EXIT_MODULE_WORDS,
           "module 1 (m) is followed by 17 modules that belong to it (+NAME); a guest can have at "
           "most 16");
    assert_true(module_belongs_to_guest(&(struct boot_module){.string = "+n"}));
    assert_false(module_belongs_to_guest(&(struct boot_module){.string = "n+"}));
}

static void module_words(const char *string, enum guest_module_kind kind, const char *text)
{
    struct guest_module file = {0};
    assert_int_equal(module_words_parse("g", string, &file), 0);
    assert_int_equal(file.kind, kind);
    assert_string_equal(file.string, text);
}

static void module_words_bad(const char *string, const char *message)
{
    struct guest_module file = {0};
    assert_int_equal(module_words_parse("g", string, &file), -EINVAL);
    if (!strstr(support_log(), message))
        fail_msg("\"%s\" is not in\n%s", message, support_log());
    setup(NULL);
}

/* The name of a VM, which each message about it has, from the path that the boot loader gives. */
static void vms_have_names(void **state)
{
    (void)state;
    static const struct {
        const char *string, *name, *rest;
    } rows[] = {
        {"hello", "hello", ""},
        {"hello mem=2M -- x", "hello", " mem=2M -- x"},
        {"  /boot/guests/hello.elf mem=2M", "hello", " mem=2M"},
        {"./vmlinuz-6.1 -- a/b", "vmlinuz-6.1", " -- a/b"},
        {".elf", ".elf", ""},
        {"a.elf.elf", "a.elf", ""},
        {"", "unnamed", ""},
        {"boot/ pc", "unnamed", " pc"},
        {"a234567890123456789012345678901234567890 pc", "a234567890123456789012345678901", " pc"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct boot_module its = {0};
        char name[VM_NAME_SIZE];
        strcpy(its.string, rows[i].string);
        assert_string_equal(module_name(&its, name), rows[i].rest);
        assert_string_equal(name, rows[i].name);
    }
}

/* The kind of a file, by its words, and the string that the guest gets. */
static void files_say_what_they_are(void **state)
{
    (void)state;
    module_words("+env", GUEST_MODULE_FILE, "env");
    module_words("+env file", GUEST_MODULE_FILE, "env");
    module_words("+boot/initrd.img   initrd", GUEST_MODULE_INITRD, "boot/initrd.img");
    module_words("+env -- a b", GUEST_MODULE_FILE, "env a b");
    module_words("+env initrd -- a", GUEST_MODULE_INITRD, "env a");
    module_words("+image disk", GUEST_MODULE_DISK, "image");
    module_words("+image disk=ro", GUEST_MODULE_DISK_READ_ONLY, "image");
    module_words("+", GUEST_MODULE_FILE, "");
    module_words("+0123456789012345678901234567890123456789012345678901234567890123456789",
                 GUEST_MODULE_FILE,
                 "012345678901234567890123456789012345678901234567890123456789012");
    /* A name is shortened, but a text that the guest acts on is not. */
    module_words("+01234567890123456789 -- 012345678901234567890123456789012345678901",
                 GUEST_MODULE_FILE,
                 "01234567890123456789 012345678901234567890123456789012345678901");
    module_words_bad("+01234567890123456789 -- 0123456789012345678901234567890123456789012",
                     "its name and its text have 64 characters; the guest can get 63");
    module_words_bad("+env initrt",
                     "guest g, its module env: unknown word \"initrt\"; allowed: disk file initrd");
    module_words_bad("+env file initrd",
                     "guest g, its module env: file, initrd and disk exclude each other");
    module_words_bad("+env disk initrd",
                     "guest g, its module env: file, initrd and disk exclude each other");
    module_words_bad("+env disk=rw", "guest g, its module env: bad value in \"disk=rw\"; allowed: "
                                     "disk, disk=ro");
    module_words_bad("+env disk disk=ro", "guest g, its module env: \"disk\" is given twice");
    module_words_bad("+env file file", "guest g, its module env: \"file\" is given twice");
    module_words_bad("+env file=1", "guest g, its module env: bad value in \"file=1\"");
}

/* The value of tests= and trace_vm=: a pattern that matches nothing is an error. */
static void a_pattern_matches_a_guest(void **state)
{
    (void)state;
    assert_true(modules_have_name(&info, "tests", "nobody")); /* that there is none is said later */
    module(0x100000, 0x101000, "/boot/hello.elf testctl");
    module(0x101000, 0x102000, "+nobody file");
    module(0x102000, 0x103000, "mmio");
    assert_true(modules_have_name(&info, "tests", "h*o"));
    assert_true(modules_have_name(&info, "tests", "mmi?"));
    assert_string_equal(support_log(), "");
    assert_false(modules_have_name(&info, "tests", "nobody"));
    assert_non_null(strstr(support_log(), "command line: tests=nobody: no guest has such a name; "
                                          "there are: hello, mmio\n"));
    assert_false(modules_have_name(&info, "trace_vm", "hell"));
    assert_non_null(strstr(support_log(), "command line: trace_vm=hell: no guest"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_not_in_ram_is_refused, setup),
        cmocka_unit_test_setup(the_image_is_nobody_elses, setup),
        cmocka_unit_test_setup(modules_may_not_overlap, setup),
        cmocka_unit_test_setup(an_empty_module_lies_nowhere, setup),
        cmocka_unit_test_setup(a_guest_has_so_many, setup),
        cmocka_unit_test_setup(files_say_what_they_are, setup),
        cmocka_unit_test_setup(vms_have_names, setup),
        cmocka_unit_test_setup(a_pattern_matches_a_guest, setup),
    };
    return cmocka_run_group_tests_name("places of modules", tests, NULL, NULL);
}
