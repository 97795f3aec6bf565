/* SPDX-License-Identifier: MIT */
/*
 * How the benchmark programs measure: the median of many runs, in ticks of the TSC, minus the
 * median of as many runs without the measured instruction. Bochs' TSC counts emulated instructions,
 * so a row is the number of instructions from one guest instruction to the guest's next one.
 *
 * The last run of each measurement is between two marks (rt/mark.h): tools/bench.py traces it to
 * get the counts that the guest cannot see.
 */
#pragma once

#include "guest/programs/rt/rt.h"

#define SAMPLES_MOST 1000u

/* One run; the argument is the place or the number of the sample. */
typedef void (*step_t)(uint64_t at);

void nothing(uint64_t at);

/* The median ticks of `count` runs at `first`, `first + step`, …; each comes after `prepare`, which
 * is not measured. */
uint32_t measure(step_t prepare, step_t run, uint64_t first, uint64_t step, unsigned count);

/* Prints the row `name`. If a run does the measured thing `per` times, the row is the cost of one
 * of them, and tools/bench.py divides its counts as well. */
void print_row(const char *name, uint32_t ticks, unsigned per);

/* Measures and prints by how much `run` costs more than `idle`. */
void row(const char *name, step_t prepare, step_t run, step_t idle, uint64_t first, uint64_t step,
         unsigned count);

/* Defines run_NAME(), which executes an instruction, and idle_NAME(), which does the same without
 * it. Operand 0 is RAX; operand 1 is RCX, whose initial value is `rcx`. */
#define OPERATION(name, rcx, instruction, ...)                             \
    static void run_##name(uint64_t at)                                    \
    {                                                                      \
        uint64_t rax_, rcx_ = rcx;                                         \
        __asm__ volatile(instruction : "=a"(rax_), "+c"(rcx_)__VA_ARGS__); \
        (void)at;                                                          \
    }                                                                      \
    static void idle_##name(uint64_t at)                                   \
    {                                                                      \
        uint64_t rax_, rcx_ = rcx;                                         \
        __asm__ volatile("" : "=a"(rax_), "+c"(rcx_)__VA_ARGS__);          \
        (void)at;                                                          \
    }
