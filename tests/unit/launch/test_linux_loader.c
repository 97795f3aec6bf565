/* SPDX-License-Identifier: MIT */
/*
 * The loader of bzImages: the records of a good file, each choice of a place at its limits, the
 * state at the entry point, and the message and code for every bad file. test_vmlinux_loader.c has
 * kernels that are ELF files.
 */
#include "tests/unit/launch/linux_world.h"

/* These tests check the plan; no memory of a guest is written. */
int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    (void)mmu, (void)gpa, (void)buffer, (void)size;
    return 0;
}

static int setup(void **state)
{
    (void)state;
    put_bzimage();
    return 0;
}

static void expect(enum exit_code code, const char *message)
{
    refused(code, message);
    setup(NULL);
}

static void a_good_bzimage(void **state)
{
    (void)state;
    good();
    const struct load_record *kernel = record(LOAD_SEGMENT), *initrd = record(LOAD_INITRD);
    assert_int_equal(kernel->gpa, PREFERRED);
    assert_int_equal(kernel->size, KERNEL);
    assert_ptr_equal(kernel->bytes, file + SETUP);
    assert_int_equal(initrd->gpa, RAM - 0x1000); /* the last page that it fits into */
    assert_ptr_equal(initrd->bytes, image.modules[0].file);
    check_start(PREFERRED + 0x200);
    const uint8_t *zero_page = record(LOAD_PARAMETERS)->bytes;
    check_zero_page(zero_page);
    /* The fields of the header that the loader does not fill in are copied from the kernel. */
    assert_int_equal(get(zero_page, VERSION, 2), 0x20f);
    assert_int_equal(get(zero_page, ALIGNMENT, 4), 2 * MIB);
    assert_int_equal(get(zero_page, INIT_SIZE, 4), NEEDS);
    /* Nothing that follows the header in the file is copied. */
    for (unsigned i = 0x26c; i < 0x2d0; i++)
        assert_int_equal(zero_page[i], 0);

    /* A kernel without an initrd, and one with an empty initrd. */
    for (unsigned empty = 0; empty < 2; empty++) {
        image.module_count = empty;
        image.modules[0].size = 0;
        good();
        zero_page = record(LOAD_PARAMETERS)->bytes;
        assert_int_equal(get(zero_page, RAMDISK_SIZE, 4), 0);
        assert_int_equal(plan.count, 3);
    }
}

/* A header with fields that later protocols add is copied as far as the zero page has room. */
static void a_longer_header(void **state)
{
    (void)state;
    put(JUMP, 0xffeb, 2);
    memset(file + 0x264, 0x55, 0x301 - 0x264);
    good();
    const uint8_t *zero_page = record(LOAD_PARAMETERS)->bytes;
    assert_int_equal(zero_page[0x264], 0x55);
    assert_int_equal(zero_page[0x28f], 0x55);
    assert_int_equal(zero_page[0x290], 0);
}

/* The oldest protocol; a kernel with a signature after it, and without; and a size that is rounded
 * up. */
static void files_that_are_just_good(void **state)
{
    (void)state;
    put(VERSION, 0x20c, 2);
    put(JUMP, 0x62eb, 2);
    good();
    setup(NULL);
    put(SETUP_SECTS, 0, 1); /* means 4 */
    good();
    assert_int_equal(record(LOAD_SEGMENT)->size, KERNEL);
    setup(NULL);
    image.size += 100;
    good();
    assert_int_equal(record(LOAD_SEGMENT)->size, KERNEL);
    setup(NULL);
    image.size -= 15;
    good();
    assert_int_equal(record(LOAD_SEGMENT)->size, KERNEL - 15);
}

/* The kernel is loaded at its preferred address, or, if that is not possible and it is relocatable,
 * at the lowest aligned address. The initrd is placed above it. */
static const struct {
    uint64_t ram, preferred, needs, alignment;
    bool relocatable;
    uint64_t last, initrd; /* initrd_addr_max, size of the initrd */
    uint64_t kernel_at, initrd_at;
    const char *message;
} places[] = {
    {64 * MIB, 16 * MIB, 48 * MIB - 0x1000, 2 * MIB, false, 0x7fffffff, 1, 16 * MIB,
     64 * MIB - 0x1000, NULL},
    {64 * MIB, 16 * MIB, 48 * MIB, 2 * MIB, false, 0x7fffffff, 1, 0, 0,
     "its initrd rd of 1 bytes does not fit between the end of its kernel, 0x4000000, and "
     "0x4000000; give it more RAM with mem="},
    {64 * MIB, 16 * MIB, 48 * MIB + 1, 2 * MIB, false, 0x7fffffff, 1, 0, 0,
     "no room for its kernel, which needs 50331649 bytes from 0x1000000 on; its RAM ends at "
     "0x4000000; give it more with mem="},
    {64 * MIB, 16 * MIB, 48 * MIB + 1, 2 * MIB, true, 0x7fffffff, 4096, 2 * MIB, 64 * MIB - 0x1000,
     NULL},
    {64 * MIB, 16 * MIB, 63 * MIB, 1 * MIB, true, 0x7fffffff, 1, 0, 0,
     "does not fit between the end of its kernel, 0x4000000"},
    {64 * MIB, 16 * MIB, 62 * MIB + 1, 2 * MIB, true, 0x7fffffff, 1, 0, 0,
     "no room for its kernel, which needs 65011713 bytes from 0x200000 on"},
    {256 * MIB, 16 * MIB, 48 * MIB, 2 * MIB, true, 0x7ffffff, 0x1001, 16 * MIB, 128 * MIB - 0x2000,
     NULL},
    {256 * MIB, 16 * MIB, 48 * MIB, 2 * MIB, true, 0x4001000 - 2, 1, 16 * MIB, 0x4000000, NULL},
    {256 * MIB, 16 * MIB, 48 * MIB, 2 * MIB, true, 0x4000fff, 0x1001, 0, 0,
     "its initrd rd of 4097 bytes does not fit between the end of its kernel, 0x4000000, and "
     "0x4001000"},
    {256 * MIB, 16 * MIB, 48 * MIB, 2 * MIB, true, 0, 1, 0, 0, "does not fit between"},
    /* A kernel does not lie below 1 MiB, above 1 GiB, or outside of RAM. */
    {256 * MIB, 0x20000, 0x10000, 2 * MIB, true, 0x7fffffff, 1, 2 * MIB, 256 * MIB - 0x1000, NULL},
    {256 * MIB, 0x20000, 0x10000, 2 * MIB, false, 0x7fffffff, 1, 0, 0, "no room for its kernel"},
    {2048 * MIB, 1024 * MIB - 0x10000, 0x10001, 2 * MIB, false, 0x7fffffff, 1, 0, 0,
     "no room for its kernel"},
    {2048 * MIB, 1024 * MIB - 0x10000, 0x10000, 2 * MIB, false, 0x7fffffff, 1, 1024 * MIB - 0x10000,
     2048 * MIB - 0x1000, NULL},
    {256 * MIB, ~0ull, 0x10000, 2 * MIB, false, 0x7fffffff, 1, 0, 0, "no room for its kernel"},
    {256 * MIB, ~0ull, 0x10000, 0x80000000, true, 0x7fffffff, 1, 0, 0,
     "needs 65536 bytes from 0x80000000 on"},
    /* A kernel needs at least as much memory as it has in the file. */
    {64 * MIB, 64 * MIB - KERNEL, 1, 2 * MIB, false, 0x7fffffff, 1, 0, 0,
     "its initrd rd of 1 bytes does not fit"},
    {64 * MIB, 64 * MIB - KERNEL + 0x1000, 1, 2 * MIB, false, 0x7fffffff, 1, 0, 0,
     "no room for its kernel, which needs 12288 bytes"},
    /* An initrd does not lie in the RAM that follows the first 3 GiB. */
    {4096 * MIB, 16 * MIB, 48 * MIB, 2 * MIB, true, 0xffffffff, 1, 16 * MIB, 3072 * MIB - 0x1000,
     NULL},
};

static void where_it_goes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        setup(NULL);
        guest_layout(places[i].ram, image.ram);
        put(PREF_ADDRESS, places[i].preferred, 8);
        put(INIT_SIZE, places[i].needs, 4);
        put(ALIGNMENT, places[i].alignment, 4);
        put(RELOCATABLE, places[i].relocatable, 1);
        put(INITRD_ADDR_MAX, places[i].last, 4);
        image.modules[0].size = places[i].initrd;
        if (places[i].message) {
            expect(EXIT_GUEST_TOO_LARGE, places[i].message);
            continue;
        }
        good();
        assert_int_equal(record(LOAD_SEGMENT)->gpa, places[i].kernel_at);
        assert_int_equal(plan.start.entry, places[i].kernel_at + 0x200);
        assert_int_equal(record(LOAD_INITRD)->gpa, places[i].initrd_at);
    }
}

static void bad_bzimages(void **state)
{
    (void)state;
    image.size = 0x205;
    expect(EXIT_MODULE_NOT_ELF, "guest g: not an ELF file, nor a bzImage; a guest is an ELF32 file "
                                "with a multiboot1 header, or a Linux kernel (bzImage or vmlinux)");
    image.size = 0x206;
    expect(EXIT_MODULE_TRUNCATED, "guest g: a bzImage of 518 bytes, which ends in its header");
    image.size = 0x26b;
    expect(EXIT_MODULE_TRUNCATED, "guest g: a bzImage of 619 bytes, which ends in its header");
    put(VERSION, 0x20b, 2);
    expect(EXIT_MODULE_BAD_KERNEL, "its kernel has boot protocol 2.11; 2.12, of Linux 3.8, is the "
                                   "oldest that is supported");
    put(JUMP, 0x61eb, 2);
    expect(EXIT_MODULE_BAD_KERNEL,
           "the header of its kernel has 114 bytes; boot protocol 2.12 has at least 115");
    put(BOOT_FLAG, 0x1234, 2);
    expect(EXIT_MODULE_BAD_KERNEL, "the boot flag of its kernel is 0x1234; expected 0xaa55");
    put(XLOADFLAGS, 0x7e, 2);
    expect(EXIT_MODULE_BAD_KERNEL, "a 32-bit kernel (its xloadflags are 0x7e, without bit 0); only "
                                   "64-bit kernels can be started");
    put(LOADFLAGS, 0x80, 1);
    expect(EXIT_MODULE_BAD_KERNEL, "a zImage, which is loaded below 1 MiB (its loadflags are 0x80, "
                                   "without bit 0); build a bzImage");
    put(ALIGNMENT, 0x300000, 4);
    expect(EXIT_MODULE_BAD_KERNEL,
           "the alignment of its kernel is 0x300000, which is no power of two");
    put(ALIGNMENT, 0, 4);
    expect(EXIT_MODULE_BAD_KERNEL, "the alignment of its kernel is 0, which is no power of two");
    image.size -= 16;
    expect(EXIT_MODULE_TRUNCATED,
           "its kernel needs 12288 bytes of the file from 0xa00 on, which ends at 0x39f0");
    put(SETUP_SECTS, 0xff, 1);
    expect(EXIT_MODULE_TRUNCATED, "of the file from 0x20000 on, which ends at 0x3a00");
    put(SYSSIZE, 0xffffffff, 4);
    expect(EXIT_MODULE_TRUNCATED, "its kernel needs 68719476720 bytes of the file");
    put(SYSSIZE, 0x20, 4);
    expect(EXIT_MODULE_BAD_KERNEL,
           "its kernel has 512 bytes, and its 64-bit entry point would be at 0x200");
    put(CMDLINE_SIZE, 18, 4);
    expect(EXIT_MODULE_WORDS, "its command line has 19 characters; its kernel takes at most 18");
    image.entry = GUEST_ENTRY_PVH; /* N135 */
    expect(EXIT_MODULE_WORDS, "guest g: entry=pvh, but a bzImage has no PVH entry point; give the "
                              "vmlinux that it contains");
    image.entry = GUEST_ENTRY_64;
    good();
    image.entry = GUEST_ENTRY_AUTO;
    put(CMDLINE_SIZE, 19, 4);
    good();
    image.modules[0].kind = GUEST_MODULE_FILE;
    expect(EXIT_MODULE_WORDS, "its module rd is a plain file, which Linux has no use for; an "
                              "initrd has the word initrd");
    image.modules[1] = (struct guest_module){INITRD, 1, GUEST_MODULE_INITRD, "more"};
    image.module_count = 2;
    expect(EXIT_MODULE_WORDS, "rd and more: Linux takes one initrd; join them into one file");
}

static void a_long_command_line(void **state)
{
    (void)state;
    static char line[2049];
    memset(line, 'a', 2048);
    put(CMDLINE_SIZE, 0xffffffff, 4);
    image.arguments = line;
    expect(EXIT_MODULE_WORDS, "has 2048 characters; its kernel takes at most 2047");
    put(CMDLINE_SIZE, 0xffffffff, 4);
    image.arguments = line + 1;
    good();
}

static void make(void)
{
    setup(NULL);
}

static void files_that_are_spoilt(void **state)
{
    (void)state;
    check_spoilt(make);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_good_bzimage, setup),
        cmocka_unit_test_setup(a_longer_header, setup),
        cmocka_unit_test_setup(files_that_are_just_good, setup),
        cmocka_unit_test_setup(where_it_goes, setup),
        cmocka_unit_test_setup(bad_bzimages, setup),
        cmocka_unit_test_setup(a_long_command_line, setup),
        cmocka_unit_test_setup(files_that_are_spoilt, setup),
    };
    return cmocka_run_group_tests_name("linux_loader", tests, NULL, NULL);
}
