/* SPDX-License-Identifier: MIT */
/*
 * Guests that run on several CPUs under vm/sched.c, vm/sleep.c and vm/pcpu.c, which are included
 * here as source: what these files use, and the life of a CPU. Include it in one file.
 */
#pragma once

#define mmu_pauses pcpu_pauses /* support.c also defines mmu_pauses() */

#include "tests/unit/vm/cpus_world.h"

#include "arch/x86/kick.h"
#include "arch/x86/mitigate.h"
#include "vmx/vmcs.h"

/* the preemption timer, of which only 0 and not 0 matter */
static uint64_t countdown[WORLD_CPUS_MAX];
#define vmwrite(field, value) (countdown[world_self()] = (field) ? (value) : 1)

/* Names that the C library also defines. */
#define remove remove_vcpu
#define unlink unlink_vcpu

#include "vm/pause.c"
#include "vm/pcpu.c"
#include "vm/sched.c"
#include "vm/sleep.c"
#include "vm/visit.c"

#define VCPUS 6u

static struct vm vm;
static struct guest {
    struct vcpu vcpu; /* must be the first member */
    bool on_cpu, stops, parked, gone;
    bool looks;            /* looks around before it goes on, kicked or not */
    unsigned passed;       /* turns that others had in the queue in which it waits */
    unsigned in_vain;      /* turns while it was paused, one after the other, without a message */
    struct visit visit;    /* which it makes to `host` */
    struct guest *host;    /* NULL: it makes none */
    struct guest *holding; /* which it has paused, or NULL */
    unsigned hosted;       /* calls of visits to it so far */
} guest[VCPUS];
static unsigned guests, gone;
static bool ending; /* all guests have to end */
static uint64_t life_ends;

static uint64_t random_state;
static uint64_t rnd(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % below;
}

static struct {
    uint64_t turns, slept, halts, idle, parked, mails, kicks, visits, missed, pauses;
} met;

static struct guest *guest_of(const struct vcpu *vcpu)
{
    return &guest[(const struct guest *)vcpu - guest];
}

/* ---- Functions that the files under test call ------------------------------------------------ */

struct cpu cpus[CPUS_MAX];
unsigned cpu_count;

void cpu_kick(unsigned number)
{
    if (__atomic_exchange_n(&cpus[number].kicked, 1, __ATOMIC_SEQ_CST))
        return;
    world_cpu[number].nmi = true;
    met.kicks++;
}

static bool looked[WORLD_CPUS_MAX], again[WORLD_CPUS_MAX];

static void world_nmi(unsigned self)
{
    __atomic_store_n(&cpus[self].kicked, 0, __ATOMIC_SEQ_CST);
    /* the CPU repeats the test that it made before the NMI; see test_kick.c */
    again[self] = looked[self];
    pcpu_kicked();
}

void cpu_idle(const void *word)
{
    unsigned self = world_self();
    do {
        again[self] = false;
        looked[self] = true;
        if (__atomic_load_n((const uint64_t *)word, __ATOMIC_SEQ_CST))
            break;
        if (!again[self]) {
            looked[self] = false;
            met.idle++;
            world_wait(NULL);
            break;
        }
    } while (again[self]);
    looked[self] = false;
}

void kick_set_hook(void (*hook)(void))
{
    (void)hook;
}

void cpu_give_work(unsigned number, void (*work)(void))
{
    (void)number, (void)work;
}

bool cpu_wait_work(unsigned number, unsigned milliseconds)
{
    (void)number, (void)milliseconds;
    return false;
}

void extra_state_enable(void)
{
}

void mitigate_start(void)
{
}

bool vmx_cpu_is_alike(void)
{
    return false;
}

bool mitigate_is_alike(void)
{
    return false;
}

bool vmx_init_cpu(void)
{
    return false;
}

/* ---- Guests ---------------------------------------------------------------------------------- */

static struct {
    bool in_guest; /* if it stands still otherwise, it has no vCPU or halts with it */
    bool leaves;   /* the guest causes an exit */
    uint64_t deadline;
} pcpu_of[WORLD_CPUS_MAX];

#define SLICE 300u

static bool is_due(unsigned self)
{
    return pcpu_of[self].leaves || world_now >= pcpu_of[self].deadline;
}

static void leaves_for_good(void)
{
    if (++gone == guests)
        sched_wake_all();
}

static void vanish(struct guest *g)
{
    WORLD_CHECK(!g->gone, "vCPU %u ends twice", (unsigned)(g - guest));
    g->gone = true;
    leaves_for_good();
}

static void end_all(void)
{
    __atomic_store_n(&vm.ending, VM_ENDED_EXIT, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < guests; i++) {
        attention_request(&guest[i].vcpu.vmx.attention, ATTENTION_ENDED);
        sleep_alert(&guest[i].vcpu);
        if (__atomic_exchange_n(&guest[i].parked, false, __ATOMIC_SEQ_CST))
            vanish(&guest[i]);
    }
}

/* Does what look_at_clock() does. */
static void look(struct guest *g)
{
    struct vcpu *vcpu = &g->vcpu;
    struct attention *requests = &vcpu->vmx.attention;
    attention_clear(requests, ATTENTION_KICK);
    if (world_now >= life_ends && !ending) {
        ending = true;
        end_all();
    }
    bool mail = attention_requested(requests, ATTENTION_MAIL);
    if (mail)
        attention_clear(requests, ATTENTION_MAIL);
    if (mail || world_now >= vcpu->delayed_until) {
        attention_clear(requests, ATTENTION_HALTED);
        /* One guest always has a timer, so that the others may sleep until they get a message. */
        g->vcpu.delayed_until = world_now + (rnd(2) ? rnd(500) : rnd(20000));
        if (g != guest && rnd(3) == 0)
            g->vcpu.delayed_until = TIME_NEVER;
    }
    sleep_wake_due(world_now);
    if (!sched_waiting())
        vcpu->slice_end = TIME_NEVER;
    else if (vcpu->slice_end == TIME_NEVER)
        vcpu->slice_end = world_now + SLICE;
    uint64_t next = sleep_next();
    next = next < g->vcpu.delayed_until ? next : g->vcpu.delayed_until;
    pcpu_of[world_self()].deadline = next < vcpu->slice_end ? next : vcpu->slice_end;
}

/* Stands still in the guest, or halted with it, until a kick or a deadline. A kick that has come
 * before the entry has set the timer to 0. */
static void stand_still(struct guest *g, bool in_guest)
{
    unsigned self = world_self();
    countdown[self] = 1;
    cpu_point();
    if (attention_requested(&g->vcpu.vmx.attention, ATTENTION_KICK))
        countdown[self] = 0;
    cpu_point();
    if (!countdown[self])
        return;
    pcpu_of[self].in_guest = in_guest;
    world_wait(is_due);
    pcpu_of[self].in_guest = pcpu_of[self].leaves = false;
}

static bool ends(void)
{
    return vm_ending(&vm) != VM_RUNNING;
}

static bool is_halted(const struct guest *g)
{
    return attention_requested(&g->vcpu.vmx.attention, ATTENTION_HALTED);
}

/* What run.c calls NOT_HALTED, as far as there are such requests here. */
static bool has_callers(const struct guest *g)
{
    return attention_requested(&g->vcpu.vmx.attention, ATTENTION_VISIT | ATTENTION_PAUSE);
}

static void halt(struct guest *g)
{
    attention_request(&g->vcpu.vmx.attention, ATTENTION_HALTED);
    met.halts++;
    while (!ends() && is_halted(g) && !has_callers(g) && sched_halts()) {
        pcpu_halts();
        stand_still(g, false);
        sched_busy();
        look(g);
    }
}

static void send(struct guest *g)
{
    struct guest *to = &guest[rnd(guests)];
    if (to == g)
        return;
    if (__atomic_exchange_n(&to->parked, false, __ATOMIC_SEQ_CST)) {
        sched_add(&to->vcpu);
        return;
    }
    attention_request(&to->vcpu.vmx.attention, ATTENTION_MAIL);
    sleep_alert(&to->vcpu);
    met.mails++;
}

static void call(struct vcpu *vcpu, void *context)
{
    struct guest *host = guest_of(vcpu), *visitor = context;
    WORLD_CHECK(host == visitor->host && host->on_cpu && !host->gone,
                "a visit to vCPU %u is made to vCPU %u", (unsigned)(visitor->host - guest),
                (unsigned)(host - guest));
    WORLD_CHECK(vcpu->mailbox.pcpu == world_self() + 1, "a visit is made on another CPU");
    host->hosted++;
}

/* Ends the visit that the guest makes, if it is done, and begins another one. */
static void visit(struct guest *g)
{
    if (g->host && !visit_done(&g->visit))
        return;
    if (g->host)
        visit_called(&g->visit) ? met.visits++ : met.missed++;
    g->host = &guest[rnd(guests)];
    g->visit = (struct visit){.call = call, .context = g};
    visit_begin(&g->host->vcpu, &g->visit);
}

/* Two guests may pause the same one, each as a pauser of its own. The first guest, which has the
 * timer, is never paused. */
static enum pauser pauser_of(const struct guest *g)
{
    return 1u << (g - guest);
}

static void hold_or_let_go(struct guest *g)
{
    struct guest *to = &guest[rnd(guests)];
    if (g->holding) {
        resume_vcpu(&g->holding->vcpu, pauser_of(g));
        g->holding = NULL;
    } else if (to != guest && to != g) {
        pause_vcpu(&to->vcpu, pauser_of(g));
        g->holding = to;
        met.pauses++;
    }
}

/* Returns true if the turn is over. After an exit in which it has sent something, a guest goes on
 * without a look around, unless it was kicked. */
static bool act(struct guest *g)
{
    switch (rnd(11)) {
    case 0:
    case 1:
        send(g);
        return false;
    case 2:
    case 3:
    case 4:
        halt(g);
        g->looks = true;
        return is_halted(g);
    case 5:
        g->stops = g != guest && rnd(4) == 0;
        return g->stops;
    case 6:
    case 7:
        visit(g);
        return false;
    case 8:
        hold_or_let_go(g);
        return false;
    default:
        stand_still(g, true);
        g->looks = true;
        return false;
    }
}

static void park(struct guest *g)
{
    g->stops = false;
    met.parked++;
    visit_close(&g->vcpu);
    __atomic_store_n(&g->parked, true, __ATOMIC_SEQ_CST);
    if (ends() && __atomic_exchange_n(&g->parked, false, __ATOMIC_SEQ_CST))
        vanish(g);
}

static bool is_paused(const struct guest *g)
{
    return attention_requested(&g->vcpu.vmx.attention, ATTENTION_PAUSE);
}

static void turn(struct guest *g)
{
    struct vcpu *vcpu = &g->vcpu;
    unsigned self = world_self();
    WORLD_CHECK(!g->on_cpu && !g->gone, "vCPU %u runs on two CPUs", (unsigned)(g - guest));
    WORLD_CHECK(!vcpu->sched.pinned || vcpu->sched.pin == self, "vCPU %u is not where it is pinned",
                (unsigned)(g - guest));
    g->on_cpu = true;
    g->passed = 0;
    met.turns++;
    bool called = attention_requested(&vcpu->vmx.attention, ATTENTION_MAIL | ATTENTION_VISIT);
    g->in_vain = is_paused(g) && !called ? g->in_vain + 1 : 0;
    WORLD_CHECK(g->in_vain < 50, "vCPU %u is paused, and gets turns", (unsigned)(g - guest));
    attention_clear(&vcpu->vmx.attention, ATTENTION_HALTED);
    vcpu->slice_end = TIME_NEVER;
    visit_open(vcpu);
    pcpu_takes(vcpu, false);
    g->looks = true;
    do {
        while (g->looks ||
               attention_requested(&vcpu->vmx.attention, ATTENTION_KICK | ATTENTION_VISIT)) {
            g->looks = false;
            look(g);
            if (attention_requested(&vcpu->vmx.attention, ATTENTION_VISIT))
                visit_receive(vcpu);
            (void)pause_holds(vcpu);
        }
    } while (!ends() && !is_paused(g) && world_now < vcpu->slice_end && !act(g));
    pcpu_drops(vcpu);
    g->on_cpu = false;
    if (ends()) {
        visit_close(vcpu);
        vanish(g);
    } else if (g->stops) {
        park(g);
    } else if (is_halted(g) || is_paused(g)) {
        met.slept++;
        sleep_add(vcpu);
    } else {
        sched_add(vcpu);
    }
}

/* Counts a turn for each vCPU that waits in this CPU's queue. */
static void count_passed(unsigned self)
{
    if (queues[self].lock.taken)
        return;
    for (struct vcpu *vcpu = queues[self].first; vcpu; vcpu = vcpu->sched.next) {
        struct guest *g = guest_of(vcpu);
        WORLD_CHECK(++g->passed <= guests, "vCPU %u is passed again and again",
                    (unsigned)(g - guest));
    }
}

static void life(unsigned self)
{
    while (gone < guests) {
        struct vcpu *vcpu = sched_take();
        if (!vcpu)
            vcpu = sleep_take();
        if (vcpu) {
            count_passed(self);
            turn(guest_of(vcpu));
        } else if (gone < guests) {
            sched_idle();
        }
    }
}

/* The first CPU creates the VM. */
static void first_life(unsigned self)
{
    for (unsigned i = 0; self == 0 && i < guests; i++)
        sched_add(&guest[i].vcpu);
    life(self);
}
