/* SPDX-License-Identifier: MIT */
/*
 * Messages between vCPUs (vm/ipi.c, vm/startup.c), with CPUs that may change at each atomic
 * operation: one vCPU receives, stops at an INIT and starts again, and one or two others send to
 * it.
 *
 * No message is lost, and none is delivered that was not sent. What was sent before an INIT never
 * arrives after the start-up IPI that follows it, and what was sent after that start-up IPI does
 * arrive. The vCPU starts at the address that the first start-up IPI gives, and is in at most one
 * run queue.
 */
#include "tests/unit/vm/cpus_world.h"

#include "tests/unit/vmx/vmcs_world.h"

#define read read_word /* the C library has a function of this name */

#include "vm/exits.h"
#include "vm/ipi.c"
#include "vm/startup.c"

#define SENDERS  2u
#define MESSAGES 60u
#define LIVES    (MESSAGES + 1)

#define OF_SENDER 0x77 /* the destination that addresses the first sender */

static struct vm vm;
static struct vcpu sender[SENDERS], target;

/* The VM's network device if it is a PCI function, and what this sends. */
static struct net net;
static struct lapic_message pci_message;
static bool pci_sends;

/* The state of the receiving vCPU. Each start begins a life of its guest, which enables the APIC
 * some time later. */
static struct {
    bool runs, queued, kicked;
    bool enabled;  /* whether its APIC is enabled */
    unsigned life; /* the start-up vector of the last start */
    unsigned starts, stops, accepted, nmis, frames;
} now;

/* What the senders record. A sender records a message before it sends it, so that no message
 * arrives that has not been recorded. */
static struct {
    bool known; /* the order of all messages is known, because there is one sender */
    bool waits; /* an INIT was sent last, and no start-up IPI since */
    unsigned life;
    bool sent[256][LIVES], due[256];
    bool nmi_sent[LIVES], nmi_due;
    bool frames_due; /* frames came to the VM's port after it was last looked at */
    unsigned left;   /* senders that have not finished */
} said;

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

#include "tests/unit/vm/ipi_world.h"

/* ---- The vCPU that receives ------------------------------------------------------------------ */

static void leave_pcpu(void)
{
    now.runs = now.kicked = false;
    now.stops++;
    if (ipi_restarts(&target))
        sched_add(&target);
    else
        vm.active--;
}

/* One step of the receiving vCPU, as in vm/run.c and main/guests.c. */
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
    if (target.frames_at != TIME_NEVER) {
        target.frames_at = TIME_NEVER;
        said.frames_due = false;
        now.frames++;
    }
    if (attention_requested(requests, ATTENTION_STOP))
        leave_pcpu();
    else if (!now.enabled && !now.kicked) /* the guest continues */
        now.enabled = rnd(4) == 0;
}

/* ---- The senders ----------------------------------------------------------------------------- */

static void send(struct vcpu *from, enum lapic_delivery mode, uint8_t vector)
{
    struct lapic_message message = {.mode = (uint8_t)mode, .vector = vector, .all = true};
    if (mode <= LAPIC_LOWEST && is_level(vector))
        ipi_send_from_device(from->vm, &message, true);
    else
        ipi_send(from, &message);
}

static void say_vector(uint8_t vector)
{
    said.sent[vector][said.life] = true;
    said.due[vector] = !said.waits && now.enabled && now.life == said.life;
}

static void say_nmi(void)
{
    said.nmi_sent[said.life] |= !said.waits;
    said.nmi_due = !said.waits;
}

static void say_init(void)
{
    memset(said.due, 0, sizeof(said.due));
    said.nmi_due = false;
    said.waits = true;
}

static void say_startup(void)
{
    said.life += said.waits;
    said.waits = false;
}

/* Sends a random message. Each sender uses vectors of its own. */
static void send_something(unsigned index, bool inits)
{
    struct vcpu *from = &sender[index];
    uint8_t vector = (uint8_t)(32 + 112 * index + rnd(112));
    switch (rnd(inits ? 12 : 9)) {
    case 2:
        said.frames_due = true;
        ipi_send_frames(from->vm);
        break;
    case 0:
    case 1:
        say_nmi();
        send(from, LAPIC_NMI, 0);
        break;
    case 9:
        say_init();
        send(from, LAPIC_INIT, 0);
        break;
    case 10:
    case 11:
        say_startup();
        send(from, LAPIC_STARTUP, (uint8_t)said.life);
        break;
    default:
        say_vector(vector);
        send(from, rnd(2) ? LAPIC_FIXED : LAPIC_LOWEST, vector);
        break;
    }
}

static bool with_inits;
static void live(unsigned self)
{
    if (self == 0) {
        while (said.left || now.queued || now.kicked) {
            receive();
            cpu_point();
        }
        return;
    }
    for (unsigned i = 0; i < MESSAGES; i++)
        send_something(self - 1, with_inits);
    said.left--;
}

static struct {
    unsigned starts, stops, accepted, nmis, frames;
} met;

static void play(uint64_t seed, unsigned senders)
{
    memset(&said, 0, sizeof(said));
    memset(&now, 0, sizeof(now));
    target.mailbox = (struct mailbox){.startup = STARTUP_ACTIVE};
    target.vmx.attention.word = 0;
    target.frames_at = TIME_NEVER;
    random_state = seed * 0x9e3779b97f4a7c15 | 1;
    now.runs = now.enabled = true;
    said.left = senders;
    said.known = senders == 1;
    vm.vcpu_count = senders + 1;
    vm.active = 1; /* the senders are not counted */
    vm.vcpus[0] = &target;
    for (unsigned i = 0; i < senders; i++) {
        vm.vcpus[i + 1] = &sender[i];
        sender[i].vm = &vm;
    }
    target.vm = &vm;
    world_run(senders + 1, live);
    assert_int_equal(vm.active, now.runs);
    met.starts += now.starts;
    met.stops += now.stops;
    met.accepted += now.accepted;
    met.nmis += now.nmis;
    met.frames += now.frames;
}

static void nothing_is_due(uint64_t seed)
{
    for (unsigned i = 0; i < 256; i++)
        if (said.due[i])
            fail_msg("seed %lu: vector %#x is lost in life %u", seed, i, said.life);
    if (said.nmi_due)
        fail_msg("seed %lu: an NMI is lost in life %u", seed, said.life);
    if (said.frames_due)
        fail_msg("seed %lu: frames stay in the port in life %u", seed, said.life);
}

/* With two senders, and without INIT and start-up IPIs, all that was sent arrives. */
static void none_is_lost(void **state)
{
    (void)state;
    memset(&met, 0, sizeof(met));
    with_inits = false;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        play(seed, SENDERS);
        nothing_is_due(seed);
    }
    assert_true(met.accepted > 10000 && met.nmis > 1000 && met.frames > 1000);
}

/* With one sender, the order of its messages and so the right result is known. */
static void each_life_gets_its_own(void **state)
{
    (void)state;
    memset(&met, 0, sizeof(met));
    with_inits = true;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        play(seed, 1);
        if (now.runs == said.waits)
            fail_msg("seed %lu: it %s after life %u", seed, now.runs ? "runs" : "waits", said.life);
        if (said.waits)
            continue;
        if (now.life != said.life)
            fail_msg("seed %lu: it runs life %u and not %u", seed, now.life, said.life);
        nothing_is_due(seed);
    }
    assert_true(met.starts > 5000 && met.stops > 5000 && met.accepted > 1000 && met.nmis > 1000);
}

/* With two senders of INIT and start-up IPIs the right result is not known, but the vCPU ends in
 * one of its two possible states, and is not in a queue twice. */
static void lives_of_two_senders(void **state)
{
    (void)state;
    with_inits = true;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        play(seed, SENDERS);
        assert_int_equal(target.mailbox.startup & ~STARTUP_NMI, now.runs ? STARTUP_ACTIVE : 0);
        assert_int_equal(target.vmx.attention.word & (ATTENTION_START | ATTENTION_STOP), 0);
        assert_false(now.runs && said.frames_due);
    }
}

/* Frames are for an active vCPU, and an INIT does not take them with it. */
static void frames_go_to_another_vcpu(void **state)
{
    (void)state;
    static const uint64_t frames_at[] = {TIME_NEVER, 12345};
    for (unsigned i = 0; i < 4; i++) {
        struct vcpu *other = &sender[0];
        bool message = i & 1;
        vm.vcpu_count = 2;
        vm.vcpus[0] = &target;
        vm.vcpus[1] = other;
        target.vm = other->vm = &vm;
        memset(&now, 0, sizeof(now));
        target.mailbox = other->mailbox = (struct mailbox){.startup = STARTUP_ACTIVE};
        target.vmx.attention.word = other->vmx.attention.word = 0;
        target.frames_at = frames_at[i / 2];
        if (message)
            ipi_send_frames(&vm);
        assert_true(attention_requested(&target.vmx.attention, ATTENTION_MAIL) == message);
        target.mailbox.startup |= STARTUP_INIT;
        attention_request(&target.vmx.attention, ATTENTION_MAIL);
        kick_of_other = 0;
        ipi_receive(&target);
        assert_int_equal(kick_of_other, message || i / 2);
        assert_true(target.frames_at == TIME_NEVER);
        other->frames_at = TIME_NEVER;
        other->frames_from = 77;
        ipi_receive(other);
        assert_true(other->frames_at == (kick_of_other ? 77 : TIME_NEVER));
    }
}

static bool told(const struct vcpu *vcpu)
{
    return attention_requested(&vcpu->vmx.attention, ATTENTION_MAIL) && vcpu->mailbox.frames;
}

#define TO_SENDER ((uint64_t)OF_SENDER << 56)

/* Frames are for the vCPU that the device's interrupt goes to, if it is active. With PCI, this is
 * what the function's message says. */
static void frames_go_where_the_interrupt_goes(void **state)
{
    (void)state;
    static const struct {
        uint64_t entry;
        bool other_waits; /* for a start-up IPI */
        bool for_other;
        bool pci, sends;
        uint32_t destination;
    } rows[] = {
        {.entry = TO_SENDER | 0x51, .for_other = true},
        {.entry = 0x51},
        {.entry = TO_SENDER | 0x51 | BIT(16)}, /* masked */
        {.entry = TO_SENDER | 0x51 | 4 << 8},  /* NMI, which is not sent */
        {.entry = TO_SENDER | 0x51, .other_waits = true},
        {.entry = 0x51, .for_other = true, .pci = true, .sends = true, .destination = OF_SENDER},
        {.entry = TO_SENDER | 0x51, .pci = true, .sends = true},
        {.entry = TO_SENDER | 0x51, .pci = true, .destination = OF_SENDER},
        {.other_waits = true, .pci = true, .sends = true, .destination = OF_SENDER},
    };
    struct vcpu *other = &sender[0];
    vm.vcpu_count = 2;
    vm.vcpus[0] = &target;
    vm.vcpus[1] = other;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        target.mailbox = other->mailbox = (struct mailbox){.startup = STARTUP_ACTIVE};
        if (rows[i].other_waits)
            other->mailbox.startup = 0;
        target.vmx.attention.word = other->vmx.attention.word = 0;
        vm.ioapic.entries[LINE_NET] = rows[i].entry;
        net.device.virtio.would_send = rows[i].pci ? net_would_send : NULL;
        vm.net = &net;
        pci_sends = rows[i].sends;
        pci_message.destination = rows[i].destination;
        ipi_send_frames(&vm);
        assert_int_equal(told(other), rows[i].for_other);
        assert_int_equal(told(&target), !rows[i].for_other);
    }
    vm.ioapic.entries[LINE_NET] = 0;
    vm.net = NULL; /* it is the console that has input */
    target.mailbox = other->mailbox = (struct mailbox){.startup = STARTUP_ACTIVE};
    ipi_send_frames(&vm);
    assert_true(told(&target));
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
        cmocka_unit_test(each_life_gets_its_own),
        cmocka_unit_test(lives_of_two_senders),
        cmocka_unit_test(frames_go_to_another_vcpu),
        cmocka_unit_test(frames_go_where_the_interrupt_goes),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
