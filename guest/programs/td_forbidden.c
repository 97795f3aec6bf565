/* SPDX-License-Identifier: MIT */
/*
 * What stops a TD, by the word that the program gets: an access to private memory that it may not
 * make, a fatal error that it reports, and others that no TD can survive.
 */
#include "guest/programs/rt/td.h"

#define SHARED BIT(39)
#define PAGE   0xa00000ull

static void map_gpa(uint64_t gpa)
{
    struct td_registers r = {.r11 = 0x10001, .r12 = gpa, .r13 = RT_PAGE};
    if (td_vmcall(&r))
        debug_exit(2);
}

static void accept(uint64_t gpa)
{
    struct td_registers r = {.rax = 6, .rcx = gpa};
    execute_tdcall(&r);
}

static void shared(void)
{
    map_gpa(PAGE | SHARED);
    (void)read64(PAGE);
}

static void pending(void)
{
    map_gpa(PAGE | SHARED);
    map_gpa(PAGE);
    write64(PAGE, 1);
}

static void hole(void)
{
    (void)read64(0xfec00000);
}

static void accept_shared(void)
{
    map_gpa(PAGE | SHARED);
    accept(PAGE);
}

static void accept_hole(void)
{
    accept(0xd0000000);
}

static void shared_code(void)
{
    map_gpa(PAGE | SHARED);
    map_page(rt_pml4, TEST_VA, PAGE | SHARED, PTE_P | PTE_W);
    ((void (*)(void))TEST_VA)();
}

static void shared_tables(void)
{
    map_gpa(PAGE | SHARED);
    rt_pml4[1] = PAGE | SHARED | PTE_P | PTE_W;
    (void)read64(TEST_VA);
}

/* The stack of the handler is a device's. */
static void shared_stack(void)
{
    map_page(rt_pml4, TEST_VA, 0xfec00000 | SHARED, PTE_P | PTE_W);
    set_stack(VECTOR_UD, TEST_VA + RT_PAGE);
    __asm__ volatile("ud2");
}

static void fatal(void)
{
    struct td_registers r = {.r11 = 0x10003, .r12 = 0x123};
    memcpy(&r.r14, "The end ", 8);
    memcpy(&r.r15, "is \x01near", 8);
    td_vmcall(&r);
}

static const struct {
    const char *name;
    void (*run)(void);
} deeds[] = {
    {"shared", shared},
    {"pending", pending},
    {"hole", hole},
    {"accept_shared", accept_shared},
    {"accept_hole", accept_hole},
    {"shared_code", shared_code},
    {"shared_tables", shared_tables},
    {"shared_stack", shared_stack},
    {"fatal", fatal},
};

static bool is_equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

void guest_main(void)
{
    const char *name = *rt_args ? rt_args : deeds[0].name;
    for (unsigned i = 0; i < ARRAY_SIZE(deeds); i++)
        if (is_equal(name, deeds[i].name))
            deeds[i].run();
    print("Bail out! the TD lives on after %s\n", name);
    debug_exit(1);
}
