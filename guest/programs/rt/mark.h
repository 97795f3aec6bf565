/* SPDX-License-Identifier: MIT */
/*
 * Marks the beginning and the end of the run that tools/bench.py looks into, instruction by
 * instruction. Bochs' debugger stops at XCHG BX,BX where it was asked to; anywhere else it does
 * nothing.
 */
#pragma once

static inline void mark(void)
{
    __asm__ volatile("xchgw %%bx, %%bx" : : : "memory");
}
