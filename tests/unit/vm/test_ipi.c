/*
 * Messages between vCPUs (vm/ipi.c, vm/startup.c), with CPUs that change at each atomic operation:
 * two senders and one vCPU that receives, stops at an INIT and starts again.
 *
 * None is lost and none is made up; what was sent before an INIT never arrives after the start that
 * follows it, what was sent after that start-up IPI does; and the vCPU is at most once in a queue.
 */
#include "tests/unit/vm/cpus_world.h"

#include "tests/unit/vmx/vmcs_world.h"

#define read read_word /* a name that the C library has, too */

#include "vm/exits.h"
#include "vm/ipi.c"
#include "vm/startup.c"

#define SENDERS 2u

static struct vm vm;
static struct vcpu sender[SENDERS], target;

static struct {
    bool runs, queued, kicked;
    unsigned senders; /* that are not done */
    unsigned starts, stops, accepted, nmis, early;
    uint8_t at; /* the start-up vector of the last start */
} now;

/* Of each vector: in which life it was sent last (one of an earlier life may still come before), and whether it has come since. A life begins with
 * a start-up IPI that counts. */
static struct {
    unsigned life;
    bool sent, due;
} vector[256];
static unsigned life;                   /* as the senders know */
static bool nmi_due, one_sender, waits; /* for a start-up IPI */

static uint64_t random_state;
static uint64_t rnd(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % below;
}

static unsigned world_next(unsigned self)
{
    bool change = world_spins || rnd(3) == 0 || !world_can_go_on(self);
    world_spins = false;
    for (unsigned i = 0, cpu = (unsigned)rnd(world_cpus); change && i < world_cpus; i++)
        if (world_can_go_on((cpu + i) % world_cpus))
            return (cpu + i) % world_cpus;
    return self;
}

static void world_nmi(unsigned self)
{
    (void)self;
}

/* ---- What the file uses ---------------------------------------------------------------------- */

bool lapic_addressed(const struct lapic *lapic, const struct lapic_message *message)
{
    (void)message;
    return lapic == &target.lapic;
}

void lapic_accept(struct lapic *lapic, uint8_t number)
{
    WORLD_CHECK(lapic == &target.lapic && now.runs, "accepted by nobody");
    WORLD_CHECK(vector[number].sent, "vector %#x was not sent", number);
    WORLD_CHECK(!one_sender || (int8_t)(vector[number].life - now.at) >= 0,
                "vector %#x of life %u comes in life %u", number, vector[number].life, now.at);
    vector[number].due = false;
    now.accepted++;
}

void vcpu_nmi(struct vcpu *vcpu)
{
    WORLD_CHECK(vcpu == &target && now.runs, "an NMI for nobody");
    nmi_due = false;
    now.nmis++;
}

void lapic_reset(struct lapic *lapic)
{
    (void)lapic;
}

void init_state(struct cpu_regs *cpu, struct extra_state *extra, uint32_t signature,
                uint8_t start_vector, void (*write)(uint32_t field, uint64_t value))
{
    (void)cpu, (void)extra, (void)signature, (void)write;
    now.at = start_vector;
    now.starts++;
}

uint32_t cpuid_signature(void)
{
    return 0;
}

void cpuid_update(struct vcpu *vcpu)
{
    (void)vcpu;
}

void mmio_cache_clear_gva(struct mmio_cache *cache)
{
    (void)cache;
}

void tlb_invvpid(struct mmu *mmu, unsigned type, uint16_t vpid, gva_t address,
                 enum invvpid_reason reason)
{
    (void)mmu, (void)type, (void)vpid, (void)address, (void)reason;
}

void sched_add(struct vcpu *vcpu)
{
    WORLD_CHECK(vcpu == &target && !now.queued && !now.runs, "in a queue twice");
    now.queued = true;
}

void pcpu_kick_vcpu(const struct vcpu *vcpu)
{
    WORLD_CHECK(vcpu == &target, "a kick for nobody");
    now.kicked = now.runs; /* else it looks when it runs */
}

void sleep_end(struct vcpu *vcpu)
{
    (void)vcpu;
}

/* ---- The vCPU -------------------------------------------------------------------------------- */

static void leave_pcpu(void)
{
    now.runs = now.kicked = false;
    now.stops++;
    if (ipi_restarts(&target))
        sched_add(&target);
}

/* A step of it, as vm/run.c and main/guests.c have them. */
static void receive(void)
{
    struct attention *requests = &target.vmx.attention;
    if (now.queued) {
        now.queued = false;
        now.runs = now.kicked = true;
        if (attention_requested(requests, ATTENTION_START))
            ipi_start(&target);
    }
    if (!now.runs)
        return;
    if (now.kicked) {
        now.kicked = false;
        ipi_receive(&target);
    }
    if (attention_requested(requests, ATTENTION_STOP))
        leave_pcpu();
}

static void send(struct vcpu *from, enum lapic_delivery mode, uint8_t number)
{
    struct lapic_message message = {.mode = (uint8_t)mode, .vector = number, .all = true};
    ipi_send(from, &message);
}

static void send_something(struct vcpu *from, unsigned index)
{
    uint8_t number = (uint8_t)(32 + 112 * index + rnd(112));
    switch (rnd(one_sender ? 12 : 8)) {
    case 0:
        nmi_due = !waits;
        send(from, LAPIC_NMI, 0);
        break;
    case 8:
    case 9:
        for (unsigned i = 0; i < 256; i++) /* comes to nothing, or came before */
            vector[i].due = false;
        nmi_due = false;
        waits = true;
        send(from, LAPIC_INIT, 0);
        break;
    case 10:
    case 11:
        life += waits;
        waits = false;
        send(from, LAPIC_STARTUP, (uint8_t)life);
        break;
    default:
        vector[number].sent = true;
        vector[number].due = !waits;
        vector[number].life = life;
        send(from, LAPIC_FIXED, number);
        break;
    }
}

static void live(unsigned self)
{
    if (self == 0) {
        while (now.senders || now.queued || now.kicked) {
            receive();
            cpu_point();
        }
        return;
    }
    for (unsigned i = 0; i < 60; i++)
        send_something(&sender[self - 1], self - 1);
    now.senders--;
}

static void play(uint64_t seed, unsigned senders)
{
    memset(vector, 0, sizeof(vector));
    memset(&now, 0, sizeof(now));
    target.mailbox = (struct mailbox){.startup = STARTUP_ACTIVE};
    target.vmx.attention.word = 0;
    life = 0;
    nmi_due = waits = false;
    one_sender = senders == 1;
    random_state = seed * 0x9e3779b97f4a7c15 | 1;
    now.runs = true;
    now.senders = senders;
    vm.vcpu_count = senders + 1;
    vm.vcpus[0] = &target;
    for (unsigned i = 0; i < senders; i++) {
        vm.vcpus[i + 1] = &sender[i];
        sender[i].vm = &vm;
    }
    target.vm = &vm;
    world_run(senders + 1, live);
}

/* Neither INIT nor start: all that was sent has come. */
static void none_is_lost(void **state)
{
    unsigned accepted = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        play(seed, SENDERS);
        for (unsigned i = 0; i < 256; i++)
            if (vector[i].due)
                fail_msg("seed %lu: vector %#x is lost", seed, i);
        assert_false(nmi_due);
        accepted += now.accepted;
    }
    assert_true(accepted > 10000);
}

static void lives(void **state)
{
    unsigned starts = 0, stops = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        play(seed, 1);
        starts += now.starts;
        stops += now.stops;
        if (!now.runs) /* an INIT was last */
            continue;
        assert_int_equal(now.at, (uint8_t)life);
        for (unsigned i = 0; i < 256; i++)
            if (vector[i].due)
                fail_msg("seed %lu: vector %#x of life %u is lost", seed, i, vector[i].life);
        assert_false(nmi_due);
    }
    assert_true(starts > 500 && stops > 500);
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
        cmocka_unit_test(none_is_lost),
        cmocka_unit_test(lives),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
