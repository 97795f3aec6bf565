/* SPDX-License-Identifier: MIT */
/*
 * 4 MiB of the VM's own memory that belong to nobody else, seen through private and through shared
 * addresses, and tests of converting them that hold in a VM of any kind.
 */
#pragma once

#include "guest/programs/rt/sides.h"

#define REGION       0x1000000ull
#define REGION_PAGES 1024ull

/* Before the others: maps both windows onto the region, if the VM has sides. */
void region_map(void);

/* The first word of a page, through an address of this side. */
volatile uint64_t *region_word(bool shared, uint64_t page);

/* Returns what MapGPA says. */
uint64_t region_convert(bool shared, uint64_t page, uint64_t pages);

/* Random conversions of 4 KiB to 2 MiB against a model of what each page must hold (rule X5); and
 * the same while writes are logged, against a model of the log. All is private before and after. */
void conversion_storm(void);
void conversion_storm_logged(void);
