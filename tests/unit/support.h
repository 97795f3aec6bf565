/* SPDX-License-Identifier: MIT */
/*
 * The world around a pure module in a hosted test: pages, log, assertions.
 *
 * Pages come from one arena whose host-physical addresses start at SUPPORT_RAM_BASE. Freed pages
 * are poisoned for AddressSanitizer, so that reading one ends the test.
 */
#pragma once

#include "lib/page.h"
#include "lib/types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SUPPORT_RAM_BASE  0x40000000ull /* aligned to 1 GiB, like the blocks */
#define SUPPORT_RAM_PAGES 0x100000ull   /* 4 GiB, touched on demand */

/* What this_cpu() answers in this thread. */
extern _Thread_local unsigned support_cpu;

/* Forgets pages, log, warnings and injected failures. Call it from each test's setup. */
void support_reset(void);

/* Pages handed out and not freed. */
uint64_t support_pages_in_use(void);

/* Is this page handed out and not freed? */
bool support_page_is_used(hpa_t page);

/* Lets `count` more allocations succeed and fails all later ones; UINT64_MAX: never fail. */
void support_fail_allocations_after(uint64_t count);

/* Lets `after` more allocations succeed and fails only the next one. */
void support_fail_one_allocation(uint64_t after);

/* Allocations that were made to fail since the reset. */
uint64_t support_allocations_failed(void);

/* Called before a block is given back; forgotten by the reset. */
extern void (*support_free_hook)(hpa_t page, unsigned order);

/* What mmu_pauses() answers; NULL, and after the reset: nothing waits. */
extern bool (*support_pauses)(void);

/* Whether page_hide() finds a page for its tables; what page_is_hidden() answers (NULL: what it
 * knows); and what a CPU's flush of its host translations calls. All are forgotten by the reset. A
 * block that is hidden can only be accessed by what page_window() has returned to this thread in
 * its last two calls. */
extern bool support_hides;
extern bool (*support_hidden)(hpa_t page);
extern void (*support_host_flush)(void);

/* All log lines since the reset, each with its newline. VERBOSE=1 also prints them. */
const char *support_log(void);
extern size_t (*support_log_room)(char next); /* answers log_room(); NULL: there is room */

/* WARN_ONs since the reset. A BUG_ON is a cmocka assertion: expect_assert_failure() sees it. */
unsigned support_warnings(void);

/* Lets other threads run, for some 50 us. sched_yield() may return to its caller at once, and on a
 * busy machine threads that wait by it use up the time that the others need. */
void support_pause(void);

/* The number in the environment variable `name`, or `otherwise`. */
uint64_t support_number(const char *name, uint64_t otherwise);

/* How many rounds a random test plays: `all`, or with SHORTER=n an nth part of them. `make check`
 * sets SHORTER to 5; with more, some tests do not meet everything that they expect to meet. */
uint64_t support_rounds(uint64_t all);

/* The distance between two tries of a test that goes through all values: 1, or n with SHORTER=n. */
unsigned support_step(void);
