/*
 * The run queues, the sleepers and the kicks between CPUs (vm/sched.c, vm/sleep.c, vm/pcpu.c), with
 * CPUs that change at each atomic operation: by chance for long, and in every order of few changes.
 *
 * The guests do what matters here: run until they are kicked, send each other mail, halt, are
 * parked as by an INIT and started again, end. What must hold: a vCPU is in one place, and on one
 * CPU at a time; a pinned one on its own; each turn is somebody's who came first; nobody waits, or
 * sleeps with mail or beyond its time, where a CPU stands still that could do something about it.
 */
#define mmu_pauses pcpu_pauses /* support.c has one, too */

#include "tests/unit/vm/cpus_world.h"

#include "arch/x86/kick.h"
#include "arch/x86/mitigate.h"
#include "vmx/vmcs.h"

static uint64_t countdown[WORLD_CPUS_MAX]; /* the preemption timer: not 0, or 0 */
#define vmwrite(field, value) (countdown[world_self()] = (field) ? (value) : 1)

/* Names that the C library has, too. */
#define remove remove_vcpu
#define unlink unlink_vcpu

#include "vm/pcpu.c"
#include "vm/sched.c"
#include "vm/sleep.c"

#define VCPUS 6u

static struct vm vm;
static struct guest {
    struct vcpu vcpu; /* first */
    bool on_cpu, stops, parked, gone;
    unsigned passed; /* by how many turns of the queue that it waits in */
} guest[VCPUS];
static unsigned guests, gone;
static bool ending; /* all guests are to go */
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
    uint64_t turns, stolen, slept, woken, overslept, halts, idle, parked, mails, kicks;
} met;

static struct guest *guest_of(const struct vcpu *vcpu)
{
    return &guest[(const struct guest *)vcpu - guest];
}

/* ---- What the files under test use ----------------------------------------------------------- */

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
    again[self] = looked[self]; /* back to before the look; see test_kick.c */
    kicked();
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

bool vmx_init_cpu(void)
{
    return false;
}

/* ---- Guests ---------------------------------------------------------------------------------- */

static struct {
    bool in_guest; /* else, where it stands still, it has no vCPU or halts with it */
    bool leaves;   /* by an exit of its own */
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

/* As look_at_clock() does. */
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
        /* One always wakes, so that the others may sleep until they are told. */
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

/* In the guest, or halted with it: until a kick, or until something is due. One that has come
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

static void halt(struct guest *g)
{
    attention_request(&g->vcpu.vmx.attention, ATTENTION_HALTED);
    met.halts++;
    while (!ends() && is_halted(g) && sched_halts()) {
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

/* True: the turn is over. */
static bool act(struct guest *g)
{
    switch (rnd(8)) {
    case 0:
    case 1:
        send(g);
        return false;
    case 2:
    case 3:
    case 4:
        halt(g);
        return is_halted(g);
    case 5:
        g->stops = g != guest && rnd(4) == 0;
        return g->stops;
    default:
        stand_still(g, true);
        return false;
    }
}

static void park(struct guest *g)
{
    g->stops = false;
    met.parked++;
    __atomic_store_n(&g->parked, true, __ATOMIC_SEQ_CST);
    if (ends() && __atomic_exchange_n(&g->parked, false, __ATOMIC_SEQ_CST))
        vanish(g);
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
    attention_clear(&vcpu->vmx.attention, ATTENTION_HALTED);
    vcpu->slice_end = TIME_NEVER;
    pcpu_takes(vcpu, false);
    do {
        do
            look(g);
        while (attention_requested(&vcpu->vmx.attention, ATTENTION_KICK));
    } while (!ends() && world_now < vcpu->slice_end && !act(g));
    pcpu_drops(vcpu);
    g->on_cpu = false;
    if (ends()) {
        vanish(g);
    } else if (g->stops) {
        park(g);
    } else if (is_halted(g)) {
        met.slept++;
        sleep_add(vcpu);
    } else {
        sched_add(vcpu);
    }
}

/* Whoever waits in this CPU's queue has been passed by one more. */
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

/* The first CPU has made the VM. */
static void first_life(unsigned self)
{
    for (unsigned i = 0; self == 0 && i < guests; i++)
        sched_add(&guest[i].vcpu);
    life(self);
}

/* ---- What must hold when all CPUs stand still ------------------------------------------------ */

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

/* What a CPU takes for the next time to look at its sleepers. */
static void check_next(unsigned cpu)
{
    uint64_t next = TIME_NEVER;
    for (const struct vcpu *vcpu = sleepers[cpu].first; vcpu; vcpu = vcpu->sched.next)
        next = vcpu->sched.wake_at < next ? vcpu->sched.wake_at : next;
    WORLD_CHECK(~sleepers[cpu].next == next, "CPU %u looks after its sleepers at %lu, not %lu", cpu,
                ~sleepers[cpu].next, next);
}

/* Time goes on to when something is due; a guest that is left in peace leaves by itself. */
static void pass_time(void)
{
    uint64_t next = TIME_NEVER;
    for (unsigned i = 0; i < guests; i++)
        check_guest(&guest[i]);
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

/* Changes of CPU besides those where one stands still, by the number of the step; or by chance. */
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
        g->vcpu.vmx.attention.word = 0;
        g->vcpu.delayed = (struct event){.valid = true};
        g->vcpu.delayed_until = rnd(1000);
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
    for (uint64_t seed = 1; seed <= 300; seed++)
        play(seed, 1 + (unsigned)(seed % 4), 1 + (unsigned)(seed % VCPUS), 100000);
    printf(
        "    %lu turns, %lu halts, %lu slept, %lu mails, %lu kicks, %lu times idle, %lu parked\n",
        met.turns, met.halts, met.slept, met.mails, met.kicks, met.idle, met.parked);
    assert_true(met.turns > 1000 && met.halts > 1000 && met.slept > 1000 && met.mails > 1000 &&
                met.kicks > 1000 && met.idle > 100 && met.parked > 100);
}

/* Short lives, and the CPUs change at every two of the first steps. */
static void in_every_order(void **state)
{
    (void)state;
    order.by_chance = false;
    order.changes = 2;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        for (order.at[0] = 1; order.at[0] < 160; order.at[0]++)
            for (order.at[1] = order.at[0] + 1; order.at[1] <= 160; order.at[1]++)
                play(seed, 2 + (unsigned)(seed & 1), 2 + (unsigned)(seed / 2 % 2), 200);
    }
}

/* ---- Where a vCPU goes ----------------------------------------------------------------------- */

/* Adds some from CPU 0, where nobody is idle or halts. */
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

/* Where the fewest wait; those that may run nowhere else do not count as work for others. */
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
    assert_false(sched_anyone_waits()); /* for CPU 0 */
    queues[0].wake = 0;
    assert_true(sched_halts());
    queues[0].wake = 1; /* told, though there is nothing yet */
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
