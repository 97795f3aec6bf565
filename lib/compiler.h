/* SPDX-License-Identifier: MIT */
/* Attributes, and the few features of the compiler that the tree needs by name. */
#pragma once

#define MUST_CHECK   __attribute__((warn_unused_result))
#define NORETURN     __attribute__((noreturn))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define PAGE_ALIGNED __attribute__((aligned(4096)))

/* A function off the fast path: it is kept out of line, so that the fast path saves no registers
 * for it. */
#define COLD          __attribute__((cold, noinline))
#define NOINLINE      __attribute__((noinline))
#define ALWAYS_INLINE inline __attribute__((always_inline))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Makes the compiler keep a pointer in a register instead of computing it again at each use. */
#define IN_REGISTER(pointer) __asm__("" : "+r"(pointer))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Exactly one load or store: the compiler does not split, repeat or drop it. */
#define READ_ONCE(x)     (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
