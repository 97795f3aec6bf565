/* SPDX-License-Identifier: MIT */
/*
 * Shows a text page by page. Pure: it writes to a terminal, and somebody else waits for the reader.
 *
 * A line stands completely on one page. The last row of a page is kept for the prompt, which
 * begins with "-- more --".
 */
#pragma once

#include "arch/x86/terminal.h"

#define PAGER_LINE 256 /* characters; what is longer begins another line */

struct pager {
    struct terminal *terminal;
    void (*wait)(void); /* until the reader wants the next page */
    unsigned page;
    unsigned rows; /* that are in use on this page */
    size_t length; /* of the line that is not complete yet */
    char line[PAGER_LINE + 1];
};

/* Begins the first page, on a blank terminal of at least two rows. */
void pager_begin(struct pager *pager, struct terminal *terminal, void (*wait)(void));

/* Adds text. Waits before each further page. */
void pager_write(struct pager *pager, const char *text, size_t length);

/* Adds what is left. The last page stays, and nobody waits for it. */
void pager_end(struct pager *pager);
