/* SPDX-License-Identifier: MIT */
/*
 * The packets of GDB that are answered while the VM is stopped. A packet that is not known gets an
 * empty answer, as the protocol says, and one that is broken E01. Errors:
 *
 *   E01  the packet is broken, or a thread or register does not exist
 *   E0e  (14, EFAULT) no RAM is at that address: it is not mapped, or is a device
 *   E16  (22, EINVAL) this register cannot be written
 *   E1c  (28, ENOSPC) there are too many breakpoints
 *
 * Pure; gdb/target.h is what it needs of the vCPU.
 */
#pragma once

#include "gdb/registers.h"
#include "gdb/wire.h"
#include "mmu/look.h"
#include "vm/debugger.h"

#define GDB_BREAKPOINTS 128
#define GDB_WATCHES     512
#define GDB_THREADS     64

struct vcpu;

/* A software breakpoint: its byte in RAM is INT3. */
struct gdb_breakpoint {
    bool used;
    uint8_t byte; /* what was there */
    uint64_t linear;
    gpa_t gpa;
};

/* A piece of a watchpoint, whose page is write-tracked (gdb/written.c). */
struct gdb_watch {
    uint64_t begin, length; /* of the watchpoint */
    uint64_t linear;
    gpa_t gpa;
    struct mmu_memory memory; /* what is tracked; `born` is 0 while no memory is there */
    uint64_t value;           /* the last one that GDB knows */
    uint8_t size;             /* bytes; 0: the place is free */
};

/* Why a vCPU has stopped. */
struct stop {
    enum debugger_stop why;
    uint8_t kind;    /* of DEBUGGER_HARDWARE: the number after Z */
    uint64_t linear; /* of DEBUGGER_HARDWARE and DEBUGGER_WRITTEN: what is watched */
};

enum gdb_action {
    GDB_STAY,
    GDB_GO,
    GDB_STEP,
};

struct gdb {
    const struct gdb_description *description;
    bool avx;
    uint64_t threads; /* a mask of the vCPUs that are threads */
    unsigned thread;  /* the vCPU of the packets g, m and so on */
    struct debugger debugger;
    struct gdb_breakpoint breakpoints[GDB_BREAKPOINTS];
    struct gdb_watch watches[GDB_WATCHES];
    unsigned followed; /* pieces that gdb_watch_follow() has passed */
    int watch_error;   /* why a watchpoint is refused, while its pieces are removed; or 0 */
    uint8_t slot_kind[DEBUGGER_SLOTS];    /* the number after Z; 0: free */
    uint64_t slot_length[DEBUGGER_SLOTS]; /* as GDB has sent it */
    enum gdb_action actions[GDB_THREADS]; /* what vCont has asked for */
    bool no_acks;
    char line[96]; /* a command of `monitor` that is not of gdb/ */
    bool asked;    /* it has begun, and its answer is not complete */
};

enum gdb_outcome {
    GDB_ANSWERED,
    GDB_RESUMES, /* by `actions`; there is no answer before the VM stops again */
    GDB_DETACHES,
    GDB_KILLS,
    GDB_ASKS_WHY, /* the answer is why the VM has stopped */
    GDB_MONITORS, /* `line` is to be executed */
    GDB_GOES_ON,  /* the packet is to be executed again, in another visit, without an answer yet */
};

/* Does the packet need a visit to the vCPU `gdb->thread`? */
bool gdb_needs_vcpu(const char *packet);

/* Executes a packet, which ends with a zero. `vcpu` may be NULL if the packet needs none. */
enum gdb_outcome gdb_execute(struct gdb *gdb, struct vcpu *vcpu, const char *packet, size_t size,
                             struct reply *reply);

/* Is there a breakpoint of GDB at this linear address? */
bool gdb_owns(const struct gdb *gdb, uint64_t linear);

/* Writes the message of a stop of the vCPU `gdb->thread`, by ^C if `by_gdb`. */
void gdb_say_stop(const struct gdb *gdb, const struct stop *stop, bool by_gdb, struct reply *reply);

/* Adds the registers to the message of a stop that GDB asks for at every stop. */
void gdb_tell(struct gdb *gdb, struct vcpu *vcpu, struct reply *reply);

/* Removes all breakpoints and watchpoints. Returns false if it has to be called again. */
bool gdb_forget(struct gdb *gdb, struct vcpu *vcpu) MUST_CHECK;

/* After a write to tracked memory: has watched memory changed? *linear is where. */
bool gdb_watch_changed(struct gdb *gdb, struct vcpu *vcpu, uint64_t *linear) MUST_CHECK;

/* After a change of the slots: tracks the memory that is at the watched addresses now. Returns
 * false if it has to be called again. Sets *changed if memory is not what it was, or cannot be
 * tracked; *linear is where. */
bool gdb_watch_follow(struct gdb *gdb, struct vcpu *vcpu, bool *changed,
                      uint64_t *linear) MUST_CHECK;

/* The packets of files that gdb_execute() calls. */
void gdb_read_memory(struct gdb *gdb, struct vcpu *vcpu, const char *at, struct reply *reply);
void gdb_write_memory(struct gdb *gdb, struct vcpu *vcpu, const char *packet, size_t size,
                      struct reply *reply);
enum gdb_outcome gdb_point(struct gdb *gdb, struct vcpu *vcpu, const char *packet,
                           struct reply *reply);

/* Set and remove watchpoints on tracked pages. They return 0; -EINPROGRESS if they have to be
 * called again; -ENOSPC or -ENOMEM; -EFAULT if there is no RAM; -EACCES in a TD. gdb_watch_forget()
 * removes all, and returns false if it has to be called again. */
int gdb_watch_insert(struct gdb *gdb, struct vcpu *vcpu, uint64_t linear, uint64_t length);
int gdb_watch_remove(struct gdb *gdb, struct vcpu *vcpu, uint64_t linear, uint64_t length);
bool gdb_watch_forget(struct gdb *gdb, struct vcpu *vcpu) MUST_CHECK;

/* Adds the next piece of the answer to `gdb->line`. Returns true if it has to be called again. */
bool gdb_ask_monitor(struct gdb *gdb, struct reply *reply) MUST_CHECK;
void gdb_monitor_help(struct reply *reply);

void gdb_physical(struct vcpu *vcpu, const char *words, struct reply *reply);

#define GDB_BROKEN  "E01"
#define GDB_NO_RAM  "E0e"
#define GDB_FIXED   "E16"
#define GDB_NO_ROOM "E1c"
