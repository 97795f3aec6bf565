/* SPDX-License-Identifier: MIT */
/*
 * What the initial image of a TD has beyond a loader's plan, and how the plan becomes pages. Pure.
 *
 * A page of the image is added if it has contents of a record, in the order of addresses; what
 * follows a record's contents up to its extent is zero because the boot shim accepts it. The
 * contents of the shim and of its parameters are measured, those of all other pages are not: the
 * shim measures what of them matters.
 */
#pragma once

#include "launch/plan.h"

/* Registers that the boot shim extends. */
#define RTMR_CONFIGURATION 0u /* the ACPI tables and the zero page */
#define RTMR_KERNEL        1u /* the kernel: its protected-mode part, or its segments */
#define RTMR_INPUT         2u /* the command line without its terminating zero, and the initrd */

/* Adds the boot shim and its parameters to a plan that starts a 64-bit kernel, and replaces its
 * start. Returns EXIT_OK, or an error that has been logged. */
enum exit_code td_plan(struct load_plan *plan, const struct guest_image *image) MUST_CHECK;

/* One page of the initial image. */
struct td_page {
    gfn_t gfn;
    const void *content; /* until the next call of td_next_page() for the plan */
    bool extend;         /* the contents are measured */
};

/* Fills in the first page from page->gfn on that is part of the image. Returns false if there is
 * none. */
bool td_next_page(struct load_plan *plan, struct td_page *page) MUST_CHECK;
