/* SPDX-License-Identifier: MIT */
/*
 * Watchpoints beyond those of the debug registers: the pages are write-tracked, and after each
 * write to one the watched memory is compared with what it was. They are pieces of up to 8 bytes of
 * guest-physical memory, to which their addresses led when they were set.
 */
#include "gdb/command.h"
#include "gdb/target.h"
#include "lib/errno.h"

#define PIECES_AT_ONCE 16u /* of a packet, in one visit */
#define PIECE          8u

/* Watchpoints that overlap have pieces of their own (rule N100). */
struct range {
    uint64_t begin, length;
};

static struct gdb_watch *find_free(struct gdb *gdb)
{
    for (unsigned i = 0; i < GDB_WATCHES; i++)
        if (!gdb->watches[i].size)
            return &gdb->watches[i];
    return NULL;
}

static struct gdb_watch *find(struct gdb *gdb, const struct range *range, uint64_t linear)
{
    for (unsigned i = 0; i < GDB_WATCHES; i++) {
        struct gdb_watch *w = &gdb->watches[i];
        if (w->size && w->linear == linear && w->begin == range->begin &&
            w->length == range->length)
            return w;
    }
    return NULL;
}

static int insert_piece(struct gdb *gdb, struct vcpu *vcpu, const struct range *range,
                        uint64_t linear, size_t size)
{
    struct gdb_paging paging;
    struct gdb_watch *place = find_free(gdb);
    struct gdb_watch watch = {
        .begin = range->begin, .length = range->length, .linear = linear, .size = (uint8_t)size};
    if (!place)
        return -ENOSPC;
    target_paging(vcpu, &paging);
    if (!gdb_translate(vcpu, &paging, linear, &watch.gpa))
        return -EFAULT;
    int error = target_track(vcpu, watch.gpa, &watch.memory);
    if (error)
        return error;
    if (target_read(vcpu, watch.gpa, &watch.value, size)) {
        (void)target_untrack(vcpu, &watch.memory);
        return -EFAULT;
    }
    *place = watch;
    gdb->debugger.watches++;
    return 0;
}

/* Ends the tracking of what the piece was armed with. Returns false if it has to be called again;
 * any other error means that the memory is gone. */
static bool disarm(struct vcpu *vcpu, struct gdb_watch *w)
{
    if (w->memory.born && target_untrack(vcpu, &w->memory) == -EINPROGRESS)
        return false;
    w->memory.born = 0;
    return true;
}

static int remove_piece(struct gdb *gdb, struct vcpu *vcpu, struct gdb_watch *w)
{
    if (!disarm(vcpu, w))
        return -EINPROGRESS;
    w->size = 0;
    gdb->debugger.watches--;
    return 0;
}

/* Inserts or removes the pieces of a watchpoint. Those that are done are passed over, so the packet
 * can be executed again to go on. */
static int change(struct gdb *gdb, struct vcpu *vcpu, bool insert, uint64_t linear, uint64_t length)
{
    const struct range range = {linear, length};
    int error = 0;
    unsigned pieces = 0;
    for (uint64_t done = 0, size; done < length && !error; done += size) {
        uint64_t at = linear + done, room = PIECE - at % PIECE;
        size = length - done < room ? length - done : room;
        struct gdb_watch *w = find(gdb, &range, at);
        bool nothing_to_do = insert ? w != NULL : w == NULL;
        if (nothing_to_do)
            continue;
        if (pieces++ == PIECES_AT_ONCE)
            return -EINPROGRESS;
        error = w ? remove_piece(gdb, vcpu, w) : insert_piece(gdb, vcpu, &range, at, size);
    }
    return error;
}

/* If a piece cannot be inserted, the others are removed, because GDB does not remove a watchpoint
 * that was refused. */
int gdb_watch_insert(struct gdb *gdb, struct vcpu *vcpu, uint64_t linear, uint64_t length)
{
    if (length > GDB_WATCHES * PIECE)
        return -ENOSPC;
    if (!gdb->watch_error) {
        int error = change(gdb, vcpu, true, linear, length);
        if (!error || error == -EINPROGRESS)
            return error;
        gdb->watch_error = error;
    }
    int error = gdb->watch_error;
    if (change(gdb, vcpu, false, linear, length))
        return -EINPROGRESS;
    gdb->watch_error = 0;
    return error;
}

int gdb_watch_remove(struct gdb *gdb, struct vcpu *vcpu, uint64_t linear, uint64_t length)
{
    return length > GDB_WATCHES * PIECE ? 0 : change(gdb, vcpu, false, linear, length);
}

bool gdb_watch_forget(struct gdb *gdb, struct vcpu *vcpu)
{
    unsigned pieces = 0;
    for (unsigned i = 0; i < GDB_WATCHES; i++) {
        struct gdb_watch *w = &gdb->watches[i];
        if (w->size && (pieces++ == PIECES_AT_ONCE || remove_piece(gdb, vcpu, w)))
            return false;
    }
    return true;
}

/* Several vCPUs may find a change at once; the one whose exchange succeeds reports it. */
bool gdb_watch_changed(struct gdb *gdb, struct vcpu *vcpu, uint64_t *linear)
{
    bool found = false;
    for (unsigned i = 0; i < GDB_WATCHES; i++) {
        struct gdb_watch *w = &gdb->watches[i];
        uint64_t now = 0, before = __atomic_load_n(&w->value, __ATOMIC_RELAXED);
        if (!w->size || target_read(vcpu, w->gpa, &now, w->size) || now == before)
            continue;
        if (__atomic_compare_exchange_n(&w->value, &before, now, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST) &&
            !found) {
            *linear = w->linear;
            found = true;
        }
    }
    return found;
}

/* The slot of a piece was deleted, replaced or moved (rule N101). A piece without memory waits for
 * some; what it finds then has changed, unless it is equal to what was there. If memory cannot be
 * tracked, that stops the VM as well, and GDB says why when it inserts the watchpoint again. */
bool gdb_watch_follow(struct gdb *gdb, struct vcpu *vcpu, bool *changed, uint64_t *linear)
{
    unsigned pieces = 0;
    for (unsigned *i = &gdb->followed; *i < GDB_WATCHES; ++*i) {
        struct gdb_watch *w = &gdb->watches[*i];
        if (!w->size || (w->memory.born && target_is_tracked(vcpu, w->gpa, &w->memory)))
            continue;
        if (pieces++ == PIECES_AT_ONCE || !disarm(vcpu, w))
            return false;
        uint64_t now = 0;
        int error = target_track(vcpu, w->gpa, &w->memory);
        if (error == -EINPROGRESS)
            return false;
        if (error == -EFAULT)
            continue;
        if (!error && (target_read(vcpu, w->gpa, &now, w->size) || now == w->value))
            continue;
        w->value = now;
        *changed = true;
        *linear = w->linear;
    }
    gdb->followed = 0;
    return true;
}
