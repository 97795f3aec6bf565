/* SPDX-License-Identifier: MIT */
/*
 * What vm/ipi.c and vm/startup.c call, for test_ipi.c: functions that check each message that a
 * vCPU takes against what was sent. Included by this test after the variables that they use.
 */
#pragma once

bool lapic_addressed(const struct lapic *lapic, const struct lapic_message *message)
{
    return lapic == (message->destination == OF_SENDER ? &sender[0].lapic : &target.lapic);
}

/* Whether the vector was sent in this life, or in a later one that the vCPU has not begun yet. The
 * latter is no loss: the APIC will be disabled when that life begins, so the vector would have no
 * effect. */
static bool was_sent(uint8_t vector, unsigned life)
{
    for (; life <= said.life; life++)
        if (said.sent[vector][life])
            return true;
    return false;
}

/* Every fourth vector is level-triggered, and is sent by a device. */
static bool is_level(uint8_t vector)
{
    return vector % 4 == 0;
}

bool lapic_accepts(const struct lapic *lapic)
{
    return lapic == &target.lapic && now.enabled;
}

static void accept_vector(const struct lapic *lapic, uint8_t vector)
{
    WORLD_CHECK(lapic == &target.lapic && now.runs, "a vector for nobody");
    if (!now.enabled)
        return;
    WORLD_CHECK(!said.known || was_sent(vector, now.life), "vector %#x comes again in life %u",
                vector, now.life);
    said.due[vector] = false;
    now.accepted++;
}

void lapic_accept(struct lapic *lapic, uint8_t vector)
{
    WORLD_CHECK(!is_level(vector), "vector %#x comes as edge-triggered", vector);
    accept_vector(lapic, vector);
}

void lapic_accept_level(struct lapic *lapic, uint8_t vector)
{
    WORLD_CHECK(is_level(vector), "vector %#x comes as level-triggered", vector);
    accept_vector(lapic, vector);
}

void vcpu_receive_legacy(struct vcpu *vcpu, uint32_t bits)
{
    WORLD_CHECK(!bits, "mail of a 8259 for vCPU %u", vcpu->index);
}

void vcpu_nmi(struct vcpu *vcpu)
{
    WORLD_CHECK(vcpu == &target && now.runs, "an NMI for nobody");
    WORLD_CHECK(!said.known || said.nmi_sent[now.life], "an NMI was not sent in life %u", now.life);
    if (said.life == now.life)
        said.nmi_due = false;
    now.nmis++;
}

void vcpu_update_interrupt(struct vcpu *vcpu)
{
    WORLD_CHECK(vcpu == &target && !now.enabled, "an update before the reset");
}

void lapic_reset(struct lapic *lapic)
{
    WORLD_CHECK(lapic == &target.lapic, "another APIC is reset");
    now.enabled = false;
}

void init_state(struct cpu_regs *cpu, struct extra_state *extra, uint32_t signature,
                uint8_t start_vector, void (*write)(uint32_t field, uint64_t value))
{
    (void)cpu, (void)extra, (void)signature, (void)write;
    now.life = start_vector;
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

static bool net_would_send(const struct virtio *virtio, unsigned queue,
                           struct lapic_message *message)
{
    assert_ptr_equal(virtio, &net.device.virtio);
    assert_int_equal(queue, 0);
    *message = pci_message;
    return pci_sends;
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

static unsigned kick_of_other; /* kicks outside of the simulation */
void pcpu_kick_vcpu(const struct vcpu *vcpu)
{
    if (!world_cpus) {
        kick_of_other += vcpu != &target;
        return;
    }
    if (vcpu != &target) {
        WORLD_CHECK(vcpu->mailbox.frames, "a kick for nobody");
        return;
    }
    now.kicked = now.runs; /* otherwise it checks when it runs */
}

void sleep_end(struct vcpu *vcpu)
{
    (void)vcpu;
}
