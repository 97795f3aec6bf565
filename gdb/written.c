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

static struct gdb_watch *find(struct gdb *gdb, uint64_t linear, size_t size)
{
    for (unsigned i = 0; i < GDB_WATCHES; i++) {
        struct gdb_watch *w = &gdb->watches[i];
        if (w->size == size && (!size || w->linear == linear))
            return w;
    }
    return NULL;
}

static int insert_piece(struct gdb *gdb, struct vcpu *vcpu, uint64_t linear, size_t size)
{
    struct gdb_paging paging;
    struct gdb_watch *place = find(gdb, 0, 0);
    struct gdb_watch watch = {.linear = linear, .size = (uint8_t)size};
    if (!place)
        return -ENOSPC;
    target_paging(vcpu, &paging);
    if (!gdb_translate(vcpu, &paging, linear, &watch.gpa))
        return -EFAULT;
    int error = target_track(vcpu, watch.gpa);
    if (error)
        return error;
    if (target_read(vcpu, watch.gpa, &watch.value, size)) {
        (void)target_untrack(vcpu, watch.gpa);
        return -EFAULT;
    }
    *place = watch;
    gdb->debugger.watches++;
    return 0;
}

/* An error other than -EINPROGRESS means that the slot is gone. */
static int remove_piece(struct gdb *gdb, struct vcpu *vcpu, struct gdb_watch *w)
{
    if (target_untrack(vcpu, w->gpa) == -EINPROGRESS)
        return -EINPROGRESS;
    w->size = 0;
    gdb->debugger.watches--;
    return 0;
}

/* Inserts or removes the pieces of a range. Those that are done are passed over, so the packet can
 * be executed again to go on. */
static int range(struct gdb *gdb, struct vcpu *vcpu, bool insert, uint64_t linear, uint64_t length)
{
    int error = 0;
    unsigned pieces = 0;
    for (uint64_t done = 0, size; done < length && !error; done += size) {
        uint64_t at = linear + done, room = PIECE - at % PIECE;
        size = length - done < room ? length - done : room;
        struct gdb_watch *w = find(gdb, at, size);
        bool nothing_to_do = insert ? w != NULL : w == NULL;
        if (nothing_to_do)
            continue;
        if (pieces++ == PIECES_AT_ONCE)
            return -EINPROGRESS;
        error = w ? remove_piece(gdb, vcpu, w) : insert_piece(gdb, vcpu, at, size);
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
        int error = range(gdb, vcpu, true, linear, length);
        if (!error || error == -EINPROGRESS)
            return error;
        gdb->watch_error = error;
    }
    int error = gdb->watch_error;
    if (range(gdb, vcpu, false, linear, length))
        return -EINPROGRESS;
    gdb->watch_error = 0;
    return error;
}

int gdb_watch_remove(struct gdb *gdb, struct vcpu *vcpu, uint64_t linear, uint64_t length)
{
    return length > GDB_WATCHES * PIECE ? 0 : range(gdb, vcpu, false, linear, length);
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
