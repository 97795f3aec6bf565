/* SPDX-License-Identifier: MIT */
/*
 * The run queues, the sleepers, the kicks between CPUs, visits and pauses (vm/sched.c, vm/sleep.c,
 * vm/pcpu.c, vm/visit.c, vm/pause.c). The running CPU can change at each atomic operation: at
 * random in long runs, and in every order with few changes.
 *
 * The guests run until they are kicked, send each other messages, halt, are stopped as by an INIT,
 * are started again, visit and pause each other, and end. The invariants: a vCPU is in one place,
 * and on one CPU at a time; a pinned vCPU runs only on its CPU; queues are served in order; while a
 * CPU stands still that could help, no vCPU waits, sleeps with a message, or sleeps beyond its
 * deadline.
 */
#include "tests/unit/vm/sched_world.h"

/* ---- Invariants when all CPUs stand still ---------------------------------------------------- */

static unsigned times_listed(const struct vcpu *first, const struct vcpu *vcpu)
{
    unsigned times = 0;
    for (; first; first = first->sched.next)
        times += first == vcpu;
    return times;
}

static void check_waiting(const struct guest *g, unsigned in)
{
    unsigned number = (unsigned)(g - guest);
    for (unsigned cpu = 0; cpu < world_cpus; cpu++) {
        bool could = cpu == in || !g->vcpu.sched.pinned;
        WORLD_CHECK(!could || pcpu_of[cpu].in_guest, "vCPU %u waits, and CPU %u has nothing to do",
                    number, cpu);
    }
    WORLD_CHECK(pcpu_of[in].deadline != TIME_NEVER, "vCPU %u waits behind one without a slice",
                number);
}

static void check_guest(const struct guest *g)
{
    unsigned number = (unsigned)(g - guest), places = 0u + g->on_cpu + g->parked + g->gone;
    for (unsigned cpu = 0; cpu < world_cpus; cpu++) {
        unsigned waits = times_listed(queues[cpu].first, &g->vcpu);
        unsigned sleeps = times_listed(sleepers[cpu].first, &g->vcpu);
        if (waits)
            check_waiting(g, cpu);
        WORLD_CHECK(!sleeps || pcpu_of[cpu].deadline <= g->vcpu.sched.wake_at,
                    "vCPU %u would oversleep on CPU %u", number, cpu);
        WORLD_CHECK(!sleeps || !(g->vcpu.vmx.attention.word & ATTENTION_MAIL),
                    "vCPU %u sleeps with mail", number);
        WORLD_CHECK(!sleeps == (g->vcpu.sched.asleep != cpu + 1), "vCPU %u: asleep=%u", number,
                    g->vcpu.sched.asleep);
        places += waits + sleeps;
    }
    WORLD_CHECK(!g->on_cpu || !(g->vcpu.vmx.attention.word & ATTENTION_MAIL),
                "vCPU %u has mail and does not look", number);
    WORLD_CHECK(places == 1, "vCPU %u is in %u places", number, places);
    WORLD_CHECK(g->gone || !ending || !g->parked, "vCPU %u has not ended", number);
}

/* A visit that is not done is to a vCPU whose turn will come; a paused vCPU is out of its guest,
 * and one that nobody pauses any more is not out. */
static void check_callers(const struct guest *g)
{
    unsigned number = (unsigned)(g - guest);
    bool waits = false;
    for (unsigned cpu = 0; cpu < world_cpus; cpu++)
        waits |= times_listed(queues[cpu].first, &g->vcpu);
    for (unsigned i = 0; i < guests; i++)
        WORLD_CHECK(guest[i].host != g || waits || guest[i].visit.done,
                    "a visit to vCPU %u is never made", number);
    if (waits || g->parked || g->gone)
        return;
    uint32_t paused = g->vcpu.paused;
    bool asked = g->vcpu.vmx.attention.word & ATTENTION_PAUSE;
    WORLD_CHECK(asked == (paused > PAUSE_OUT) && !asked == !paused && !(g->on_cpu && paused),
                "vCPU %u has %spause request, its pausers are %#x, and it %s", number,
                asked ? "a " : "no ", paused, g->on_cpu ? "runs" : "sleeps");
}

/* The time at which a CPU will next look for sleepers that are due. */
static void check_next(unsigned cpu)
{
    uint64_t next = TIME_NEVER;
    for (const struct vcpu *vcpu = sleepers[cpu].first; vcpu; vcpu = vcpu->sched.next)
        next = vcpu->sched.wake_at < next ? vcpu->sched.wake_at : next;
    WORLD_CHECK(~sleepers[cpu].next == next, "CPU %u looks after its sleepers at %lu, not %lu", cpu,
                ~sleepers[cpu].next, next);
}

/* Advances the time to the next deadline. A guest without one causes an exit by itself. */
static void pass_time(void)
{
    uint64_t next = TIME_NEVER;
    for (unsigned i = 0; i < guests; i++)
        check_guest(&guest[i]), check_callers(&guest[i]);
    for (unsigned cpu = 0; cpu < world_cpus; cpu++) {
        check_next(cpu);
        if (!world_cpu[cpu].done && world_cpu[cpu].wakes && pcpu_of[cpu].deadline < next)
            next = pcpu_of[cpu].deadline;
        pcpu_of[cpu].leaves = pcpu_of[cpu].in_guest && rnd(2);
    }
    WORLD_CHECK(next != TIME_NEVER, "all CPUs sleep for ever");
    world_now = next;
}

/* ---- Orders ---------------------------------------------------------------------------------- */

/* The steps at which the CPU changes, in addition to those where one stands still; or random
 * changes. */
static struct {
    bool by_chance;
    unsigned changes;
    uint64_t at[3];
    uint64_t points;
} order;

static unsigned any(unsigned self)
{
    unsigned from = order.by_chance ? (unsigned)rnd(world_cpus) : self + 1;
    for (;;) {
        for (unsigned i = 0; i < world_cpus; i++) {
            unsigned cpu = (from + i) % world_cpus;
            if (world_can_go_on(cpu))
                return cpu;
        }
        pass_time();
    }
}

static unsigned world_next(unsigned self)
{
    bool change = world_spins || (order.by_chance && rnd(3) == 0);
    world_spins = false;
    order.points++;
    for (unsigned i = 0; i < order.changes; i++)
        change |= order.at[i] == order.points;
    return change || !world_can_go_on(self) ? any(self) : self;
}

static void reset(uint64_t seed, unsigned world, unsigned vcpus, uint64_t steps)
{
    memset(queues, 0, sizeof(queues));
    memset(sleepers, 0, sizeof(sleepers));
    memset(pcpus, 0, sizeof(pcpus));
    memset(cpus, 0, sizeof(cpus));
    vm.ending = VM_RUNNING;
    memset(pcpu_of, 0, sizeof(pcpu_of));
    memset(looked, 0, sizeof(looked));
    idle = gone = 0;
    ending = false;
    running = BIT(world) - 1;
    cpu_count = world;
    random_state = seed * 0x9e3779b97f4a7c15 | 1;
    guests = vm.vcpu_count = vcpus;
    life_ends = steps;
    order.points = 0;
    for (unsigned i = 0; i < vcpus; i++) {
        struct guest *g = &guest[i];
        g->on_cpu = g->stops = g->parked = g->gone = false;
        g->host = g->holding = NULL;
        g->in_vain = 0;
        g->vcpu.visits = NULL;
        g->vcpu.paused = 0;
        g->vcpu.vmx.attention.word = 0;
        g->vcpu.delayed_until = rnd(1000);
        g->vcpu.frames_at = TIME_NEVER;
        g->passed = 0;
        g->vcpu.mailbox = (struct mailbox){0};
        g->vcpu.sched = (struct sched_entry){.pinned = rnd(3) == 0, .pin = (unsigned)rnd(world)};
        g->vcpu.vm = &vm;
        vm.vcpus[i] = &g->vcpu;
    }
}

static void play(uint64_t seed, unsigned world, unsigned vcpus, uint64_t steps)
{
    reset(seed, world, vcpus, steps);
    world_run(world, first_life);
    for (unsigned cpu = 0; cpu < world; cpu++)
        assert_false(queues[cpu].first || sleepers[cpu].first || queues[cpu].length ||
                     queues[cpu].loose);
}

static void by_chance(void **state)
{
    (void)state;
    memset(&met, 0, sizeof(met));
    order.by_chance = true;
    order.changes = 0;
    for (uint64_t seed = 1; seed <= support_rounds(300); seed++)
        play(seed, 1 + (unsigned)(seed % 4), 1 + (unsigned)(seed % VCPUS), 100000);
    printf("    %lu turns, %lu halts, %lu slept, %lu mails, %lu kicks, %lu times idle, %lu parked, "
           "%lu visits, %lu missed, %lu pauses\n",
           met.turns, met.halts, met.slept, met.mails, met.kicks, met.idle, met.parked, met.visits,
           met.missed, met.pauses);
    assert_true(met.turns > 1000 && met.halts > 1000 && met.slept > 1000 && met.mails > 1000 &&
                met.kicks > 1000 && met.idle > 100 && met.parked > 100 && met.visits > 1000 &&
                met.missed > 100 && met.pauses > 200);
}

/* Short runs in which the CPU changes at each pair of the first steps. */
static void in_every_order(void **state)
{
    (void)state;
    order.by_chance = false;
    order.changes = 2;
    for (uint64_t seed = 1; seed <= 16; seed += support_step()) {
        for (order.at[0] = 1; order.at[0] < 160; order.at[0]++)
            for (order.at[1] = order.at[0] + 1; order.at[1] <= 160; order.at[1]++)
                play(seed, 2 + (unsigned)(seed & 1), 2 + (unsigned)(seed / 2 % 2), 200);
    }
}

/* ---- The choice of a queue ------------------------------------------------------------------- */

/* Adds vCPUs from CPU 0, while no CPU is idle or halted. */
static void placing_life(unsigned self)
{
    for (unsigned i = 0; self == 0 && i < guests; i++)
        sched_add(&guest[i].vcpu);
}

static void place(unsigned world, unsigned vcpus, unsigned pinned)
{
    reset(1, world, vcpus, 1);
    for (unsigned i = 0; i < vcpus; i++)
        guest[i].vcpu.sched = (struct sched_entry){.pinned = i < pinned, .pin = 1};
    world_run(world, placing_life);
}

/* A vCPU is added to the shortest queue. Pinned vCPUs do not count as work for other CPUs. */
static void the_shortest_queue(void **state)
{
    (void)state;
    order.by_chance = false;
    order.changes = 0;
    place(3, 6, 0);
    for (unsigned cpu = 0; cpu < 3; cpu++)
        assert_int_equal(queues[cpu].length, 2);
    place(3, 6, 2);
    assert_int_equal(queues[0].length, 2);
    assert_int_equal(queues[1].length, 2);
    assert_int_equal(queues[2].length, 2);
    place(2, 2, 2);
    assert_int_equal(queues[1].length, 2);
    assert_int_equal(queues[1].loose, 0);
    assert_false(sched_anyone_waits()); /* none that CPU 0 may run */
    queues[0].wake = 0;
    assert_true(sched_halts());
    pcpu_set_work(true); /* a vCPU that runs is to have slices, and none may halt the CPU */
    assert_true(sched_waiting() && !sched_vcpu_waits() && !sched_halts());
    pcpu_set_work(false);
    assert_true(!sched_waiting() && sched_halts());
    queues[0].wake = 1; /* woken, although no vCPU waits yet */
    assert_false(sched_halts());
    assert_null(sched_take());
    place(2, 3, 2);
    assert_true(sched_anyone_waits() && !sched_halts());
    assert_ptr_equal(sched_take(), &guest[2].vcpu);
    assert_null(sched_take());
}

static int teardown(void **state)
{
    (void)state;
    world_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shortest_queue),
        cmocka_unit_test(by_chance),
        cmocka_unit_test(in_every_order),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
