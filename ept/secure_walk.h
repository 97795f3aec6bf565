/* SPDX-License-Identifier: MIT */
/*
 * The entries of the external tables, and how one is found. Private to ept/secure*.c.
 *
 * The CPU reads an entry's rights and address. The state is in the map of owners, so that nothing
 * is known twice, but for one bit: the entry is in use, even if it translates nothing.
 */
#pragma once

#include "ept/secure.h"

#define SECURE_EMPTY EPT_SUPPRESS_VE
#define SECURE_USED  EPT_SOFTWARE_LOW

/* An entry that was found by a walk. */
struct secure_place {
    hpa_t table;
    unsigned index, level;
    uint64_t entry;
    struct secure_frame *frame; /* of what the entry points to; NULL: it is empty */
    enum secure_state state;    /* of the frame, when it was found; FREE: it is empty */
};

/* The entry that maps `page` at `level` in the given state. */
uint64_t secure_entry_for(const struct secure_td *td, hpa_t page, unsigned level,
                          enum secure_state state);

/* A table's entries. The pointer is valid until the next use of a window but one. */
uint64_t *secure_table(const struct secure_td *td, hpa_t table);

/* Fills a table with `first`, `first` + `step`, and so on. */
void secure_fill_table(const struct secure_td *td, hpa_t table, uint64_t first, uint64_t step);

/* The caller holds the lock, or no other CPU knows the TD. */
void secure_store(struct secure_td *td, const struct secure_place *place, uint64_t entry);

/* Writes the frame's page to the entry at `place`, in its new state. */
void secure_install(struct secure_td *td, const struct secure_place *place, gfn_t gfn, hpa_t page,
                    enum secure_state state);

/* TDX_OPERAND_INVALID, unless the level lies between the two and the frame is one that the TD can
 * have there. */
uint64_t secure_check_gfn(const struct secure_td *td, gfn_t gfn, unsigned level, unsigned lowest,
                          unsigned highest) MUST_CHECK;

/* Takes the TD's lock, and walks to the entry for `gfn` at `level`. The caller drops the lock
 * whatever is returned. TDX_EPT_WALK_FAILED: no table leads there, and *place is the entry where
 * the walk has ended. TDX_LIFECYCLE_STATE_INCORRECT: the TD is stopped, and nothing was found. */
uint64_t secure_lock_and_walk(struct secure_td *td, gfn_t gfn, unsigned level,
                              struct secure_place *place) MUST_CHECK;

/* Walks as secure_lock_and_walk() does, for a caller that holds the lock. */
uint64_t secure_walk(const struct secure_td *td, gfn_t gfn, unsigned level,
                     struct secure_place *place) MUST_CHECK;

/* Makes the TD the owner of a page, as secure_claim() does; and the opposite. */
uint64_t secure_take(struct secure_td *td, hpa_t page, unsigned level) MUST_CHECK;
void secure_give_back(struct secure_td *td, hpa_t page, unsigned level, int content);

/* Reports a refusal (struct secure_refusal), and returns `status`. The lock is not held. */
uint64_t secure_answer(const struct secure_td *td, uint64_t status, enum secure_call call,
                       gfn_t gfn, unsigned level, hpa_t page, const struct secure_place *place);
