/* SPDX-License-Identifier: MIT */
/*
 * A hypervisor that lies to the secure side, as `provoke=` requests it (vm/provoke.h): operations
 * of the mirror that ask for something wrong, once. Each lie must be refused, with a message, and
 * no page may be lost.
 */
#pragma once

#include <stdbool.h>

enum lie {
    LIE_NONE,
    LIE_FRAME,  /* adds a page that the TD has elsewhere */
    LIE_MAP,    /* adds a second page to an entry */
    LIE_ADD,    /* adds to the initial image when the TD is finalised */
    LIE_BLOCK,  /* says that it has blocked an entry, and has not */
    LIE_TRACK,  /* says that an epoch of the CPUs is over, and has begun none */
    LIE_REMOVE, /* gives a page away that has not been removed */
};

/* Tells the lie to the next TD that is made, by the first operation that can. lies_left() returns
 * whether it has not been told. */
void lies_tell(enum lie lie);
bool lies_left(void);
