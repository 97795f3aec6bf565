/* SPDX-License-Identifier: MIT */
/*
 * Simulates several CPUs in one thread of a hosted test. Each CPU is a coroutine. Before each
 * atomic operation of the code under test, the CPU that continues is chosen anew, at random or by a
 * plan, so that a test can try interleavings that a real machine hardly ever executes. A pending
 * NMI is taken between two such operations.
 *
 * The code under test is included as source after this header, because the header redefines the
 * atomic operations as points where the CPU may change; this_cpu() reads its number through GS, as
 * on the machine. Include it in one file, before all others but support.h.
 */
#pragma once

#include "tests/unit/support.h"

#include <asm/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WORLD_CPUS_MAX 4u

static void cpu_point(void);

#define __atomic_load_n(...)             (cpu_point(), __atomic_load_n(__VA_ARGS__))
#define __atomic_store_n(...)            (cpu_point(), __atomic_store_n(__VA_ARGS__))
#define __atomic_exchange_n(...)         (cpu_point(), __atomic_exchange_n(__VA_ARGS__))
#define __atomic_fetch_or(...)           (cpu_point(), __atomic_fetch_or(__VA_ARGS__))
#define __atomic_fetch_and(...)          (cpu_point(), __atomic_fetch_and(__VA_ARGS__))
#define __atomic_add_fetch(...)          (cpu_point(), __atomic_add_fetch(__VA_ARGS__))
#define __atomic_sub_fetch(...)          (cpu_point(), __atomic_sub_fetch(__VA_ARGS__))
#define __atomic_compare_exchange_n(...) (cpu_point(), __atomic_compare_exchange_n(__VA_ARGS__))

/* Switches to another stack. swapcontext() is not used, because it makes a system call for the
 * signal mask each time. */
void world_swap(uint64_t **from, uint64_t *to);
__asm__(".text\n"
        "world_swap:\n"
        "    pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp\n"
        "    ret\n");

/* A CPU that spins lets other CPUs continue. */
static bool world_spins;
static inline void world_relax(void)
{
    world_spins = true;
    cpu_point();
}
#define cpu_relax world_relax

#define STACK_WORDS 0x8000u

static struct world_cpu {
    uint64_t *stack, *rsp;
    bool done;
    /* the CPU is stopped, as in HLT or in a guest, until `wakes` returns true */
    bool waits;
    bool (*wakes)(unsigned self); /* NULL: only an NMI wakes it */
    bool nmi;                     /* an NMI is pending */
    bool in_nmi;
} world_cpu[WORLD_CPUS_MAX];

static uint64_t *world_main;
static uint64_t world_gs;   /* the base of GS for this_cpu(): 64 times the CPU's number */
static unsigned world_cpus; /* number of CPUs; 0 if none runs, when the test itself is CPU 0 */
static uint64_t world_now;  /* number of atomic operations so far, which is also the TSC */
static char world_failure[256];

/* Supplied by the test: the NMI handler, and the choice of the CPU that continues. world_next() is
 * called with the CPU that has reached an atomic operation, and returns a CPU that can continue. */
static void world_nmi(unsigned self);
static unsigned world_next(unsigned self);

static unsigned world_self(void)
{
    return (unsigned)(world_gs / 64);
}

/* Records the first failure, which ends the run. cmocka must not jump out of a coroutine, so the
 * failure is reported only afterwards. */
#define WORLD_CHECK(condition, ...)                                      \
    do {                                                                 \
        if (!(condition)) {                                              \
            snprintf(world_failure, sizeof(world_failure), __VA_ARGS__); \
            world_swap(&world_cpu[world_self()].rsp, world_main);        \
        }                                                                \
    } while (0)

static bool world_can_go_on(unsigned cpu)
{
    struct world_cpu *c = &world_cpu[cpu];
    return !c->done && (!c->waits || c->nmi || (c->wakes && c->wakes(cpu)));
}

static void world_take_nmi(void)
{
    struct world_cpu *self = &world_cpu[world_self()];
    if (!self->nmi || self->in_nmi)
        return;
    self->nmi = false;
    self->in_nmi = true;
    world_nmi(world_self());
    self->in_nmi = false;
}

static void world_switch(unsigned to)
{
    unsigned self = world_self();
    if (to == self)
        return;
    world_gs = 64ull * to;
    world_swap(&world_cpu[self].rsp, world_cpu[to].rsp);
}

/* Switches to the chosen CPU, which first takes its pending NMI. */
static void cpu_point(void)
{
    if (!world_cpus)
        return;
    world_now++;
    world_switch(world_next(world_self()));
    world_take_nmi();
}

/* Stops this CPU until an NMI, or until `wakes` returns true. When the function returns, the NMI
 * has been taken. */
static inline void world_wait(bool (*wakes)(unsigned self))
{
    struct world_cpu *self = &world_cpu[world_self()];
    self->waits = true;
    self->wakes = wakes;
    do {
        world_now++;
        world_switch(world_next(world_self()));
    } while (!world_can_go_on(world_self()));
    self->waits = false;
    world_take_nmi();
}

static void (*world_life)(unsigned self);

static void world_begin(void)
{
    world_life(world_self());
    world_cpu[world_self()].done = true;
    for (;;) {
        unsigned left = 0;
        for (unsigned i = 0; i < world_cpus; i++)
            left += !world_cpu[i].done;
        if (!left)
            world_swap(&world_cpu[world_self()].rsp, world_main);
        world_now++;
        world_switch(world_next(world_self()));
    }
}

/* Prepares a stack as if its coroutine had called world_swap() just before world_begin(). */
static void world_create(unsigned number)
{
    struct world_cpu *cpu = &world_cpu[number];
    uint64_t *stack = cpu->stack ? cpu->stack : malloc(STACK_WORDS * sizeof(*stack));
    *cpu = (struct world_cpu){.stack = stack, .rsp = stack + STACK_WORDS - 8};
    memset(cpu->rsp, 0, 8 * sizeof(*stack));
    cpu->rsp[6] = (uint64_t)world_begin;
}

static void world_free(void)
{
    for (unsigned i = 0; i < WORLD_CPUS_MAX; i++)
        free(world_cpu[i].stack);
    memset(world_cpu, 0, sizeof(world_cpu));
}

/* Runs `life` on `count` CPUs until all have returned from it. */
static void world_run(unsigned cpus, void (*life)(unsigned self))
{
    world_cpus = cpus;
    world_life = life;
    world_now = 0;
    world_failure[0] = 0;
    for (unsigned i = 0; i < cpus; i++)
        world_create(i);
    world_gs = 0;
    syscall(SYS_arch_prctl, ARCH_SET_GS, &world_gs);
    world_swap(&world_main, world_cpu[0].rsp);
    world_cpus = 0;
    world_gs = 0;
    if (!world_failure[0])
        return;
    world_free(); /* after a failure, coroutines may have been left unfinished */
    fail_msg("after %lu steps: %s", world_now, world_failure);
}
