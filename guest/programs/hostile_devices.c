/* SPDX-License-Identifier: MIT */
/*
 * A driver that does what no driver should, from a seed: random registers, rings and descriptors of
 * a virtio disk, queues at places that change meanwhile, notifications without end, resets during
 * work, and garbage in the registers of a PC's other devices. All CPUs of the VM do this at once.
 * The device may refuse what it is told and need a reset; no other VM may notice anything. Run by
 * tests/target/test_devices.py and tools/hostile.py.
 *
 * Words: `pc`, and a module with `disk`. Arguments: `seed=N`, `steps=N`, and `tame`: the device is
 * given no address of the program itself and no register ends the VM, so at the end the disk has to
 * work, and the program says whether it does.
 */
#include "guest/programs/hostile/disk.h"
#include "guest/programs/rt/smp.h"

#define SLOT    9u
#define SLOT_AT 0x10000000ull /* where a memslot comes and goes */

static struct cpu {
    unsigned number;
    uint64_t random;
} cpus[CPUS_MAX];
static uint64_t seed = 1, steps = 400;
static bool tame;
static volatile bool ready;

/* ---- Random numbers -------------------------------------------------------------------------- */

static uint64_t rnd(struct cpu *cpu)
{
    uint64_t z = cpu->random += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static uint64_t pick(struct cpu *cpu, uint64_t n)
{
    return rnd(cpu) % n;
}

static bool one_in(struct cpu *cpu, uint64_t n)
{
    return !pick(cpu, n);
}

static uint64_t any_value(struct cpu *cpu)
{
    switch (pick(cpu, 4)) {
    case 0:
        return pick(cpu, 16);
    case 1:
        return BIT(pick(cpu, 64)) - pick(cpu, 2);
    case 2:
        return ~0ull >> pick(cpu, 64);
    }
    return rnd(cpu);
}

/* An address for the device: of the arena, of what is not RAM or is RAM at times, at the ends. */
static uint64_t any_address(struct cpu *cpu)
{
    static const uint32_t devices[] = {VIRTIO, IOAPIC, APIC, TESTDEV_A_BASE, 0xa0000, 0xfffff000};
    uint64_t offset = one_in(cpu, 2) ? pick(cpu, RT_PAGE) : pick(cpu, 3) * 16;
    switch (pick(cpu, 16)) {
    case 0:
        return devices[pick(cpu, sizeof(devices) / sizeof(devices[0]))] + offset;
    case 1:
        return rt_ram_end - pick(cpu, 64);
    case 2:
        return 0 - pick(cpu, 64);
    case 3:
        return BIT(pick(cpu, 64)) - (one_in(cpu, 2) ? 16 : 0);
    case 4:
    case 5:
        return SLOT_AT + pick(cpu, 4) * RT_PAGE + offset;
    case 6:
        if (!tame)
            return one_in(cpu, 2) ? (uint64_t)(uintptr_t)rt_pml4 + offset : pick(cpu, rt_ram_end);
    }
    return physical((unsigned)pick(cpu, PAGES)) + offset;
}

/* ---- Steps: the device's registers ----------------------------------------------------------- */

static void any_register(struct cpu *cpu)
{
    uint64_t at = device(VIRTIO) + (pick(cpu, REGISTERS) & (one_in(cpu, 4) ? ~0ull : ~3ull));
    uint64_t value = any_value(cpu);
    switch (pick(cpu, 6)) {
    case 0:
        (void)read8(at);
        break;
    case 1:
        (void)read64(at);
        break;
    case 2:
        write64(at, value);
        break;
    case 3:
        __asm__ volatile("movb %0, (%1)" : : "q"((uint8_t)value), "r"(at) : "memory");
        break;
    case 4:
        (void)read32(at);
        break;
    default:
        write32(at, (uint32_t)value);
    }
}

static void put_address(struct cpu *cpu, bool badly, unsigned offset, unsigned page)
{
    uint64_t address = badly && one_in(cpu, 6) ? any_address(cpu) : physical(page);
    set_reg(offset, (uint32_t)address);
    set_reg(offset + 4, (uint32_t)(address >> 32));
}

/* The start of a driver. In every second one, each action may be missing or wrong. */
static void any_start(struct cpu *cpu)
{
    static const uint16_t sizes[] = {0, 1, 2, 3, 7, 8, 16, 32, 64, 65, 128, 0x8000, 0xffff};
    static const uint8_t statuses[] = {0, 1, 3, 0xb, 4, 0xff, 0x80, 0x40};
    bool badly = one_in(cpu, 2);
    if (!badly || !one_in(cpu, 8))
        set_reg(STATUS, 0);
    set_reg(STATUS, badly && one_in(cpu, 8) ? statuses[pick(cpu, sizeof(statuses))] : 3);
    for (uint32_t half = 0; half < 2; half++) {
        set_reg(DRIVER_HALF, badly && one_in(cpu, 12) ? (uint32_t)any_value(cpu) : half);
        uint32_t right = half ? 3 : (uint32_t)(one_in(cpu, 4) ? pick(cpu, 4) : 3) << 28;
        set_reg(DRIVER_FEATURE, badly && one_in(cpu, 12) ? (uint32_t)any_value(cpu) : right);
    }
    set_reg(STATUS, badly && one_in(cpu, 8) ? (uint32_t)any_value(cpu) : 0xb);
    set_reg(QUEUE_SELECT, badly && one_in(cpu, 16) ? (uint32_t)any_value(cpu) : 0);
    set_reg(QUEUE_NUM, badly && one_in(cpu, 4) ? sizes[pick(cpu, 13)] : 16);
    put_address(cpu, badly, QUEUE_DESC, DESCRIPTORS);
    put_address(cpu, badly, QUEUE_DRIVER, AVAILABLE);
    put_address(cpu, badly, QUEUE_DEVICE, USED);
    if (!badly || one_in(cpu, 2)) {
        *(volatile uint32_t *)place(AVAILABLE) = 0;
        *(volatile uint32_t *)place(USED) = 0;
    }
    set_reg(QUEUE_READY, !badly || !one_in(cpu, 16));
    set_reg(STATUS, badly && one_in(cpu, 8) ? (uint32_t)any_value(cpu) : STARTED);
}

static void notify_often(struct cpu *cpu)
{
    for (uint64_t i = one_in(cpu, 8) ? pick(cpu, 64) : 1; i; i--)
        set_reg(QUEUE_NOTIFY, one_in(cpu, 32) ? (uint32_t)any_value(cpu) : 0);
    if (one_in(cpu, 4))
        set_reg(INTERRUPT_ACK, (uint32_t)any_value(cpu));
}

static void stop_meanwhile(struct cpu *cpu)
{
    if (one_in(cpu, 2))
        set_reg(QUEUE_READY, 0);
    else if (one_in(cpu, 4))
        set_reg(STATUS, 0);
}

/* ---- Steps: the queue ------------------------------------------------------------------------ */

static void any_descriptor(struct cpu *cpu)
{
    static const uint32_t lengths[] = {0, 1, 16, 512, 4096, 0x10000, ~0u};
    volatile struct descriptor *table = place(one_in(cpu, 3) ? TABLE : DESCRIPTORS);
    table[pick(cpu, 64)] = (struct descriptor){
        any_address(cpu), one_in(cpu, 4) ? (uint32_t)any_value(cpu) : lengths[pick(cpu, 7)],
        (uint16_t)pick(cpu, one_in(cpu, 8) ? 0x10000 : 8), (uint16_t)pick(cpu, 18)};
}

/* Writes a table of descriptors for a request that may be right. Returns their number. */
static unsigned write_chain(struct cpu *cpu, volatile struct descriptor *table)
{
    static const uint8_t types[] = {0, 0, 1, 1, 4, 8, 11, 13, 99};
    volatile uint32_t *header = place(HEADERS);
    unsigned count = 1 + (unsigned)pick(cpu, 4);
    bool writes = one_in(cpu, 2);
    header[0] = types[pick(cpu, sizeof(types))];
    header[2] = one_in(cpu, 16) ? (uint32_t)any_value(cpu) : (uint32_t)pick(cpu, 40);
    header[3] = one_in(cpu, 32) ? (uint32_t)any_value(cpu) : 0;
    table[0] = (struct descriptor){physical(HEADERS), 16, NEXT, 1};
    for (unsigned i = 1; i <= count; i++) {
        uint64_t page = DATA + pick(cpu, PAGES - DATA);
        uint64_t address = one_in(cpu, 10) ? any_address(cpu) : physical((unsigned)page);
        uint32_t length = one_in(cpu, 10) ? (uint32_t)any_value(cpu) : 512u << pick(cpu, 4);
        table[i] = (struct descriptor){address, length, (uint16_t)(NEXT | (writes ? WRITE : 0)),
                                       (uint16_t)(i + 1)};
    }
    table[count + 1] = (struct descriptor){physical(HEADERS) + 64, 1, WRITE, 0};
    return count + 2;
}

static void make_request(struct cpu *cpu)
{
    volatile struct descriptor *descriptors = place(DESCRIPTORS);
    volatile uint16_t *available = place(AVAILABLE);
    if (reg(STATUS) != STARTED && !one_in(cpu, 8))
        any_start(cpu);
    uint16_t index = available[1];
    if (one_in(cpu, 3)) {
        unsigned count = write_chain(cpu, place(TABLE));
        if (one_in(cpu, 10))
            count = (unsigned)pick(cpu, 0x1001);
        descriptors[0] = (struct descriptor){physical(TABLE), count * 16, INDIRECT, 0};
    } else {
        (void)write_chain(cpu, descriptors);
    }
    available[0] = (uint16_t)pick(cpu, 3);
    for (uint64_t i = one_in(cpu, 4) ? pick(cpu, 20) : 1; i; i--)
        available[2 + index++ % 16] = one_in(cpu, 20) ? (uint16_t)any_value(cpu) : 0;
    available[1] = one_in(cpu, 30) ? (uint16_t)any_value(cpu) : index;
    notify_often(cpu);
}

/* ---- Steps: the memory under the queue ------------------------------------------------------- */

/* The answers do not matter: the calls may be refused, or not exist. */
static void change_memory(struct cpu *cpu)
{
    uint64_t page = physical((unsigned)pick(cpu, PAGES));
    switch (pick(cpu, 8)) {
    case 0:
        hc_slot_add(SLOT, SLOT_AT, 1 + pick(cpu, 4), pick(cpu, 4));
        break;
    case 1:
        hc_slot_delete(SLOT);
        break;
    case 2:
        hc_slot_flags(SLOT, pick(cpu, 4));
        break;
    case 3:
        hc_zap(page, 1 + pick(cpu, 4));
        break;
    case 4:
        hc_page(HC_TRACK, page);
        break;
    case 5:
        hc_page(HC_UNTRACK, page);
        break;
    case 6:
        hc_page(HC_HOST_REMAP, page);
        break;
    default:
        /* A CPU that uses a page that another one has made private ends its VM. */
        if (shared_bit() && !tame && one_in(cpu, 8))
            map_gpa(page | (one_in(cpu, 2) ? shared_bit() : 0), RT_PAGE);
    }
}

/* ---- Steps: the other devices ---------------------------------------------------------------- */

static void any_ioapic(struct cpu *cpu)
{
    uint32_t select = one_in(cpu, 4) ? (uint32_t)any_value(cpu) : 0x10 + (uint32_t)pick(cpu, 48);
    uint32_t value = (uint32_t)any_value(cpu);
    write32(device(IOAPIC), select);
    if (tame && select >= 0x10 && !(select & 1))
        value = (value & ~0x700u) | 0x20; /* fixed, and no exception's vector */
    switch (pick(cpu, 4)) {
    case 0:
        (void)read32(device(IOAPIC) + 0x10);
        break;
    case 1:
        write32(device(IOAPIC) + 0x40, value);
        break;
    case 2:
        write32(device(IOAPIC) + (pick(cpu, RT_PAGE) & ~3ull), value);
        break;
    default:
        write32(device(IOAPIC) + 0x10, value);
    }
}

static void any_port(struct cpu *cpu)
{
    static const struct {
        uint16_t port, count;
        bool write;
    } ports[] = {{PORT_UART + 1, 7, true},  {PORT_UART, 8, false},     {PORT_RTC, 2, true},
                 {PORT_PM_TIMER, 4, true},  {PORT_RTC, 2, false},      {PORT_SLEEP, 2, false},
                 {PORT_KEYBOARD, 1, false}, {PORT_PM_TIMER, 4, false}, {PORT_UART, 1, true},
                 {PORT_SLEEP, 2, true},     {PORT_RESET, 1, true},     {PORT_KEYBOARD, 1, true}};
    unsigned which = (unsigned)pick(cpu, tame || !one_in(cpu, 40) ? 8 : 12);
    uint16_t port = (uint16_t)(ports[which].port + pick(cpu, ports[which].count));
    if (ports[which].write && one_in(cpu, 2))
        __asm__ volatile("outl %0, %1" : : "a"((uint32_t)any_value(cpu)), "Nd"(port) : "memory");
    else if (ports[which].write)
        outb(port, (uint8_t)any_value(cpu));
    else
        (void)inb(port);
}

static void let_interrupts_in(struct cpu *cpu)
{
    (void)cpu;
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

static void take(struct frame *frame)
{
    (void)frame;
    apic_write(APIC_REG_EOI, 0);
}

/* ---- A CPU ----------------------------------------------------------------------------------- */

static void run_cpu(struct cpu *cpu)
{
    static void (*const deeds[])(struct cpu *) = {
        any_register, any_start,     any_start,      any_descriptor, any_descriptor,
        make_request, make_request,  make_request,   make_request,   notify_often,
        any_ioapic,   change_memory, stop_meanwhile, any_port,       let_interrupts_in,
    };
    for (uint64_t step = 0; step < steps; step++)
        deeds[pick(cpu, sizeof(deeds) / sizeof(deeds[0]))](cpu);
}

static void run_other_cpu(void)
{
    apic_write(APIC_REG_SVR, 0x1ff);
    while (!ready)
        pause();
    run_cpu(&cpus[apic_id() % CPUS_MAX]);
}

/* ---- The program ----------------------------------------------------------------------------- */

static const char *argument(const char *name)
{
    for (const char *at = rt_args; *at; at++) {
        size_t i = 0;
        while (name[i] && at[i] == name[i])
            i++;
        if (!name[i])
            return at + i;
    }
    return NULL;
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *at = argument(name);
    uint64_t value = 0;
    for (; at && *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    return at ? value : otherwise;
}

void guest_main(void)
{
    seed = number("seed=", seed);
    steps = number("steps=", steps);
    tame = argument("tame");
    map_all();
    for (unsigned vector = 32; vector < 256; vector++)
        set_handler(vector, take);
    apic_write(APIC_REG_SVR, 0x1ff);
    for (unsigned i = 0; i < CPUS_MAX; i++)
        cpus[i] = (struct cpu){i, seed ^ (uint64_t)i << 56};
    unsigned total = cpu_total();
    bool started = total > 1 && start_cpus(1, total - 1);
    for (unsigned i = 1; started && i < total; i++)
        run_on(i, run_other_cpu);
    ready = true;
    run_cpu(&cpus[0]);
    for (unsigned i = 1; started && i < total; i++)
        finished(i);
    serial_port();
    bool works = disk_works(seed);
    print("# hostile_devices: the disk %s\n", works ? "works" : "does not work");
    debug_exit(!works);
}
