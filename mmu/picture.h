/* SPDX-License-Identifier: MIT */
/*
 * What the tables of a VM hold, entry by entry, for whoever draws or prints them.
 *
 * picture_next() visits the entries of every root in pre-order: an entry that points to a table
 * comes before the entries of the table. It knows nothing between two calls but where it is, and
 * descends from the top each time, so that the tables may change meanwhile. So a picture of a VM
 * that runs shows each entry as it was at some moment, not all entries at the same one.
 *
 * What an entry means to the guest does not follow from its bits alone. Its class takes the slots
 * and their generation into account, and its marks what the slot says about the frame.
 */
#pragma once

#include "mmu/types.h"

/* The bits of an entry by name, for whoever explains one. */
enum picture_kind {
    PICTURE_OF_TABLE = 1 << 0,
    PICTURE_OF_LEAF = 1 << 1,
    PICTURE_OF_MMIO = 1 << 2,
};

/* The classes, with the kind of their entries' fields. Each has a name, and says what an access
 * does, for the legend of a picture. */
#define PICTURE_CLASSES(X)                                                                         \
    X(EMPTY, 0, "empty",                                                                           \
      "Nothing is mapped: the first access is an EPT violation, by which the MMU "                 \
      "installs what belongs here.")                                                               \
    X(TABLE, PICTURE_OF_TABLE, "table",                                                            \
      "Points to a table of 512 entries of the next lower level.")                                 \
    X(RAM, PICTURE_OF_LEAF, "RAM", "The guest reads, writes and executes it without an exit.")     \
    X(NO_EXECUTE, PICTURE_OF_LEAF, "RAM, no execute",                                              \
      "The guest reads and writes it without an exit. A fetch is an EPT violation.")               \
    X(NO_WRITE, PICTURE_OF_LEAF, "RAM, no write yet",                                              \
      "Reads and fetches do not exit. The first write is an EPT violation, which the MMU repairs " \
      "by making the page writable.")                                                              \
    X(EXECUTE_ONLY, PICTURE_OF_LEAF, "RAM, execute only",                                          \
      "Only fetches are allowed. Reads and writes are refused.")                                   \
    X(TRACKED, PICTURE_OF_LEAF, "write-tracked RAM",                                               \
      "Each write to the page is an EPT violation, so that the hypervisor notices it.")            \
    X(READ_ONLY, PICTURE_OF_LEAF, "read-only slot",                                                \
      "Reads and fetches do not exit. Each write is emulated.")                                    \
    X(AGED, PICTURE_OF_LEAF, "aged RAM",                                                           \
      "All rights are taken away, to see whether the page is still in use. The next access is an " \
      "EPT violation, which gives them back.")                                                     \
    X(MMIO, PICTURE_OF_MMIO, "MMIO, current",                                                      \
      "No slot covers the frame. An access is an EPT misconfiguration, and the generation in the " \
      "entry says that it still holds: the access is emulated without a search for a slot.")       \
    X(MMIO_STALE, PICTURE_OF_MMIO, "MMIO, stale",                                                  \
      "The entry says MMIO, but its generation is not that of the slots. The next access is "      \
      "handled as an EPT violation, and the entry is replaced.")                                   \
    X(BLOCKED, PICTURE_OF_LEAF, "blocked",                                                         \
      "A private page whose removal the secure side has refused.")                                 \
    X(FROZEN, 0, "frozen", "A CPU is changing the entry; others wait.")                            \
    X(ALIEN, 0, "alien", "The MMU never stores such an entry: a bug.")

enum picture_class {
#define X(name, fields, text, meaning) PICTURE_##name,
    PICTURE_CLASSES(X)
#undef X
        PICTURE_CLASS_COUNT,
};

/* The marks: what is known of the frame beside its entry. Of a large page, each is that of any of
 * its frames. */
#define PICTURE_MARKS(X)                                             \
    X(TRACKED, "writes to it are tracked")                           \
    X(LOGGED, "its slot logs written pages")                         \
    X(DIRTY, "it is in the dirty log, or its D bit will be entered") \
    X(SHARED, "the guest has made it shared")

enum picture_mark {
#define X(name, text) PICTURE_BIT_##name,
    PICTURE_MARKS(X)
#undef X
        PICTURE_MARK_COUNT,
};
#define PICTURE_MARK(name) ((uint8_t)(1u << PICTURE_BIT_##name))

/* Where the visit continues; all zero at first. */
struct picture_at {
    unsigned root;  /* index of the VM's roots */
    unsigned level; /* of the entry that is visited next; 0: the root's top level */
    gfn_t gfn;      /* the first frame that it covers, without stolen bits */
};

struct picture_entry {
    unsigned root, level;
    gfn_t gfn;
    uint64_t word;
    enum picture_class class;
    uint8_t marks;
};

/* Visits the next entry. Returns false if there is none. Takes no lock, and some 300 instructions
 * at most; the caller is in an epoch, which may end between two calls. An entry may be visited
 * twice if the table below it has vanished meanwhile; then what comes later is newer. */
bool picture_next(const struct mmu *mmu, struct picture_at *at, struct picture_entry *entry);

struct picture_field {
    uint64_t mask;
    uint8_t kinds; /* of entries that have the field: picture_kind bits */
    const char *name;
};

extern const struct picture_field picture_fields[];
extern const unsigned picture_field_count;
