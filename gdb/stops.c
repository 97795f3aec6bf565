/* SPDX-License-Identifier: MIT */
#include "gdb/stops.h"

#include "gdb/command.h"
#include "lib/string.h"
#include "vm/pause.h"
#include "vm/visit.h"
#include "vm/vm.h"
#include "vm/watch.h"

static struct {
    struct gdb *gdb;
    struct watch *watch;
    struct stop stops[GDB_THREADS];
    uint32_t met;      /* a vCPU has stopped since all went on; atomic */
    uint32_t remapped; /* the vCPU that has changed the slots, + 1; or 0; atomic */
} s;

_Static_assert(VCPUS_MAX <= GDB_THREADS, "each vCPU is a thread");

/* ---- Called by the vCPUs --------------------------------------------------------------------- */

static bool owns(struct vcpu *vcpu, uint64_t linear)
{
    (void)vcpu;
    return gdb_owns(s.gdb, linear);
}

static void stop_all(const struct vcpu *vcpu)
{
    pause_vm(vcpu->vm, PAUSE_GDB);
    __atomic_store_n(&s.met, 1, __ATOMIC_SEQ_CST);
    watch_soon(s.watch);
}

/* The end of a step stops the VM only if GDB has asked for that step now: another stop may have
 * come before a vCPU made its step, which it then makes when it goes on. What the instruction of
 * the step has met is the reason of the stop, and not the end of the step. */
static void stopped(struct vcpu *vcpu, enum debugger_stop why, uint64_t detail)
{
    struct stop *stop = &s.stops[vcpu->index];
    if (why == DEBUGGER_STEPPED && s.gdb->actions[vcpu->index] != GDB_STEP)
        return;
    if (stop->why == DEBUGGER_NO_STOP)
        *stop = (struct stop){why, detail};
    stop_all(vcpu);
}

static void written(struct vcpu *vcpu)
{
    uint64_t linear;
    if (gdb_watch_changed(s.gdb, vcpu, &linear))
        stopped(vcpu, DEBUGGER_WRITTEN, linear);
}

static void remapped(struct vcpu *vcpu)
{
    __atomic_store_n(&s.remapped, vcpu->index + 1, __ATOMIC_SEQ_CST);
    stop_all(vcpu);
}

void stops_stepped(struct vcpu *vcpu)
{
    stopped(vcpu, DEBUGGER_STEPPED, 0);
}

void stops_init(struct gdb *gdb, struct watch *watch)
{
    s.gdb = gdb;
    s.watch = watch;
    gdb->debugger = (struct debugger){
        .owns = owns, .stopped = stopped, .written = written, .remapped = remapped};
}

/* ---- Called by the session ------------------------------------------------------------------- */

void stops_forget(void)
{
    memset(s.stops, 0, sizeof(s.stops));
    s.remapped = s.gdb->followed = 0;
}

void stops_go_on(void)
{
    __atomic_store_n(&s.met, 0, __ATOMIC_SEQ_CST);
}

bool stops_met(void)
{
    return __atomic_load_n(&s.met, __ATOMIC_SEQ_CST);
}

bool stops_any(void)
{
    for (unsigned i = 0; i < GDB_THREADS; i++)
        if (s.stops[i].why != DEBUGGER_NO_STOP)
            return true;
    return false;
}

/* Another vCPU's breakpoint is met again, because its RIP is still there; what another one has
 * accessed is told when the VM is to go on. */
struct stop stops_take(void)
{
    struct stop taken = {DEBUGGER_NO_STOP, 0};
    for (unsigned i = 0; i < GDB_THREADS; i++) {
        struct stop *stop = &s.stops[i];
        if (stop->why != DEBUGGER_NO_STOP && taken.why == DEBUGGER_NO_STOP) {
            taken = *stop;
            s.gdb->thread = i;
            stop->why = DEBUGGER_NO_STOP;
        } else if (stop->why != DEBUGGER_HARDWARE && stop->why != DEBUGGER_WRITTEN) {
            stop->why = DEBUGGER_NO_STOP;
        }
    }
    return taken;
}

/* ---- Watched memory that has moved ----------------------------------------------------------- */

bool stops_remapped(void)
{
    return __atomic_load_n(&s.remapped, __ATOMIC_SEQ_CST);
}

void stops_lost(void)
{
    __atomic_store_n(&s.remapped, 0, __ATOMIC_SEQ_CST);
}

/* A change of the memory is met by the vCPU that has changed the slots. */
static void follow_call(struct vcpu *vcpu, void *context)
{
    struct stop *stop = &s.stops[__atomic_load_n(&s.remapped, __ATOMIC_SEQ_CST) - 1];
    bool changed = false;
    uint64_t linear;
    (void)context;
    bool done = gdb_watch_follow(s.gdb, vcpu, &changed, &linear);
    if (changed && stop->why == DEBUGGER_NO_STOP)
        *stop = (struct stop){DEBUGGER_WRITTEN, linear};
    if (done)
        stops_lost();
}

void stops_follow(struct vcpu *vcpu, struct visit *visit)
{
    *visit = (struct visit){.call = follow_call};
    visit_begin(vcpu, visit);
}
