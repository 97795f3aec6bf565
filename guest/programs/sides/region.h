/* SPDX-License-Identifier: MIT */
/*
 * A region of 4 MiB of the VM's RAM that nothing else uses, mapped by private and by shared
 * addresses, and tests of its conversion that hold in any VM.
 */
#pragma once

#include "guest/programs/rt/sides.h"

#define REGION       0x1000000ull
#define REGION_PAGES 1024ull

/* Called first: maps both windows onto the region, if the VM has sides. */
void region_map(void);

/* The first 8 bytes of a page, by an address of this side. */
volatile uint64_t *region_word(bool shared, uint64_t page);

/* Returns the status of MapGPA. */
uint64_t region_convert(bool shared, uint64_t page, uint64_t pages);

/* Makes random conversions of 4 KiB to 2 MiB, and compares each page with a model of its contents
 * (rule X5). The second function does this while writes are logged, and also compares the log with
 * a model. Before and after, all pages are private. */
void conversion_storm(void);
void conversion_storm_logged(void);
