/* SPDX-License-Identifier: MIT */
/* INIT, start-up IPIs and NMIs: the word of vm/startup.c against the plain account of what a CPU
 * does, in every order of what senders and the vCPU can do. */
#include "tests/unit/support.h"

#include "vm/startup.h"

#define STEPS 8

enum step { INIT, SIPI_A, SIPI_B, NMI, TURN, KINDS };

/* The architecture's view, where an INIT stops the CPU at once and a start-up IPI starts it at
 * once, and what was observed last. */
struct cpu {
    bool waits;
    int started_at; /* by the last start-up IPI that counted, since the last INIT; or -1 */
    bool nmi;       /* one came since */
};

static void architecture(struct cpu *cpu, enum step step)
{
    if (step == INIT)
        *cpu = (struct cpu){.waits = true, .started_at = -1};
    else if (step == NMI)
        cpu->nmi |= !cpu->waits;
    else if (step != TURN && cpu->waits)
        *cpu = (struct cpu){.waits = false, .started_at = step == SIPI_A ? 0xa : 0xb};
}

/* The hypervisor's: `running_at` is where the vCPU executes; -2: where it was before all this. */
struct vcpu {
    uint32_t word;
    bool queued, starting, running;
    int running_at;
    bool nmi; /* its guest has got one, since it began */
};

static void turn(struct vcpu *v)
{
    if (v->running && startup_is_stopped(&v->word)) {
        v->running = false;
        v->starting = v->queued = startup_restarts(&v->word);
    }
    if (!v->queued)
        return;
    v->queued = false;
    assert_true(v->starting);
    v->starting = false;
    v->running_at = startup_take(&v->word);
    v->running = v->running_at >= 0;
    v->nmi = false;
    if (!v->running)
        v->starting = v->queued = startup_restarts(&v->word);
}

/* The vCPU looks in any case, and before it knows of an INIT. */
static void look_for_nmi(struct vcpu *v)
{
    if (v->running)
        v->nmi |= startup_take_nmi(&v->word);
}

static void hypervisor(struct vcpu *v, enum step step, bool waits)
{
    if (step == INIT) {
        bool active = v->running || v->queued;
        assert_int_equal(startup_init(&v->word), active);
    } else if (step == NMI) {
        assert_int_equal(startup_nmi(&v->word), !waits);
    } else if (step == TURN) {
        turn(v);
        look_for_nmi(v);
    } else if (startup_send(&v->word, step == SIPI_A ? 0xa : 0xb)) {
        assert_false(v->running || v->queued);
        v->starting = v->queued = true;
    }
}

static void run(unsigned sequence, bool active)
{
    struct cpu cpu = {.waits = !active, .started_at = active ? -2 : -1};
    struct vcpu v = {.word = active ? STARTUP_ACTIVE : 0, .running = active, .running_at = -2};
    for (unsigned i = 0; i < STEPS; i++, sequence /= KINDS) {
        enum step step = (enum step)(sequence % KINDS);
        architecture(&cpu, step);
        hypervisor(&v, step, cpu.waits);
    }
    /* Until all has been followed. */
    for (unsigned i = 0; i < 3; i++) {
        look_for_nmi(&v);
        turn(&v);
    }
    assert_int_equal(v.running, !cpu.waits);
    assert_false(v.queued || v.starting);
    if (!cpu.waits)
        assert_int_equal(v.running_at, cpu.started_at);
    if (!cpu.waits)
        assert_int_equal(v.nmi, cpu.nmi);
    assert_int_equal(v.word, cpu.waits ? 0 : STARTUP_ACTIVE);
}

static void every_order(void **state)
{
    (void)state;
    unsigned sequences = 1;
    for (unsigned i = 0; i < STEPS; i++)
        sequences *= KINDS;
    for (unsigned i = 0; i < sequences; i++) {
        run(i, false);
        run(i, true);
    }
}

/* SIPI, INIT, SIPI before the first turn: the second one is where the vCPU begins. */
static void a_startup_before_the_first_turn_is_replaced(void **state)
{
    (void)state;
    uint32_t word = 0;
    assert_true(startup_send(&word, 8));
    assert_true(startup_init(&word));
    assert_false(startup_send(&word, 9));
    assert_int_equal(startup_take(&word), 9);
    assert_false(startup_is_stopped(&word));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order),
        cmocka_unit_test(a_startup_before_the_first_turn_is_replaced),
    };
    return cmocka_run_group_tests_name("start-up IPIs", tests, NULL, NULL);
}
