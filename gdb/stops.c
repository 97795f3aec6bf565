/* SPDX-License-Identifier: MIT */
#include "gdb/stops.h"

#include "gdb/command.h"
#include "lib/string.h"
#include "vm/pause.h"
#include "vm/visit.h"
#include "vm/vm.h"
#include "vm/watch.h"

#define STOPS_MAX (DEBUGGER_SLOTS + 1) /* of a vCPU: the debug registers, and a tracked page */

static struct {
    struct gdb *gdb;
    struct watch *watch;
    struct stop stops[GDB_THREADS][STOPS_MAX]; /* in the order in which GDB is told of them */
    uint32_t met;                              /* a vCPU has stopped since all went on; atomic */
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

static bool stops_has(unsigned vcpu)
{
    return s.stops[vcpu][0].why != DEBUGGER_NO_STOP;
}

static void stops_add(unsigned vcpu, struct stop stop)
{
    unsigned i = 0;
    while (i < STOPS_MAX && s.stops[vcpu][i].why != DEBUGGER_NO_STOP)
        i++;
    if (i < STOPS_MAX)
        s.stops[vcpu][i] = stop;
}

/* Adds what the debug registers have met. A breakpoint at the instruction that would be next is no
 * stop beside a watchpoint's: GDB finds it there by itself. */
static void stops_add_hardware(unsigned vcpu, uint64_t met)
{
    for (unsigned watches = 2; watches--;)
        for (unsigned i = 0; i < DEBUGGER_SLOTS; i++)
            if (met >> i & 1 && watches == (s.gdb->slot_kind[i] > 1) &&
                (watches || !stops_has(vcpu)))
                stops_add(vcpu, (struct stop){DEBUGGER_HARDWARE, s.gdb->slot_kind[i],
                                              s.gdb->debugger.address[i]});
}

/* The end of a step stops the VM only if GDB has asked for that step now: another stop may have
 * come before a vCPU made its step, which it then makes when it goes on. What the instruction of
 * the step has met is the reason of the stop, and not the end of the step. */
static void stopped(struct vcpu *vcpu, enum debugger_stop why, uint64_t detail)
{
    if (why == DEBUGGER_STEPPED && s.gdb->actions[vcpu->index] != GDB_STEP)
        return;
    if (why == DEBUGGER_HARDWARE)
        stops_add_hardware(vcpu->index, detail);
    else if (why == DEBUGGER_WRITTEN || !stops_has(vcpu->index))
        stops_add(vcpu->index, (struct stop){why, 0, detail});
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

/* Does GDB still want to know of it? */
static bool is_wanted(const struct stop *stop)
{
    const struct gdb *gdb = s.gdb;
    bool wanted = stop->why == DEBUGGER_BREAKPOINT || stop->why == DEBUGGER_STEPPED;
    for (unsigned i = 0; stop->why == DEBUGGER_HARDWARE && i < DEBUGGER_SLOTS; i++)
        wanted |= gdb->slot_kind[i] == stop->kind && gdb->debugger.address[i] == stop->linear;
    for (unsigned i = 0; stop->why == DEBUGGER_WRITTEN && i < GDB_WATCHES; i++)
        wanted |= gdb->watches[i].size && gdb->watches[i].linear == stop->linear;
    return wanted;
}

static void stops_keep(unsigned vcpu, bool (*wanted)(const struct stop *stop))
{
    struct stop *stops = s.stops[vcpu];
    unsigned kept = 0;
    for (unsigned i = 0; i < STOPS_MAX; i++)
        if (wanted(&stops[i]))
            stops[kept++] = stops[i];
    for (; kept < STOPS_MAX; kept++)
        stops[kept].why = DEBUGGER_NO_STOP;
}

bool stops_any(void)
{
    bool any = false;
    for (unsigned i = 0; i < GDB_THREADS; i++) {
        stops_keep(i, is_wanted);
        any |= stops_has(i);
    }
    return any;
}

/* A breakpoint is met again, because RIP is still there. */
static bool is_told_later(const struct stop *stop)
{
    return stop->why == DEBUGGER_HARDWARE || stop->why == DEBUGGER_WRITTEN;
}

struct stop stops_take(void)
{
    struct stop taken = {DEBUGGER_NO_STOP, 0, 0};
    for (unsigned i = 0; i < GDB_THREADS; i++) {
        stops_keep(i, is_wanted);
        if (stops_has(i) && taken.why == DEBUGGER_NO_STOP) {
            taken = s.stops[i][0];
            s.gdb->thread = i;
            s.stops[i][0].why = DEBUGGER_NO_STOP;
        }
        stops_keep(i, is_told_later);
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
    unsigned changer = __atomic_load_n(&s.remapped, __ATOMIC_SEQ_CST) - 1;
    bool changed = false;
    uint64_t linear;
    (void)context;
    bool done = gdb_watch_follow(s.gdb, vcpu, &changed, &linear);
    if (changed)
        stops_add(changer, (struct stop){DEBUGGER_WRITTEN, 0, linear});
    if (done)
        stops_lost();
}

void stops_follow(struct vcpu *vcpu, struct visit *visit)
{
    *visit = (struct visit){.call = follow_call};
    visit_begin(vcpu, visit);
}
