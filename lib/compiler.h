/* Attributes and the few compiler facts that the rest of the tree needs by name. */
#pragma once

#define MUST_CHECK   __attribute__((warn_unused_result))
#define NORETURN     __attribute__((noreturn))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define PAGE_ALIGNED __attribute__((aligned(4096)))

/* Off the path that counts: kept out of line, so that the path needs no registers for it. */
#define COLD          __attribute__((cold, noinline))
#define NOINLINE      __attribute__((noinline))
#define ALWAYS_INLINE inline __attribute__((always_inline))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Keeps the compiler from computing a pointer anew at each use. */
#define IN_REGISTER(pointer) __asm__("" : "+r"(pointer))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* One load or store that the compiler neither splits, repeats nor drops. */
#define READ_ONCE(x)     (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
