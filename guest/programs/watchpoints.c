/* SPDX-License-Identifier: MIT */
/*
 * Data and I/O breakpoints on instructions that the hypervisor completes. Each instruction runs on
 * RAM, where the CPU compares, and on a device, with breakpoints of each kind and length at each
 * address around its operand, and has to hit them in the same way: equally often, with the same
 * bits in DR6, and with the same RIP. Related cases follow: single steps, MOV SS, faults, ports,
 * and the debug registers themselves.
 */
#include "guest/programs/rt/rt.h"

#define DEV    ((uint64_t)TESTDEV_A_BASE)
#define AT     0x40 /* the operand's offset, in RAM and in the device */
#define CR4_DE BIT(3)

#define RW_WRITE 1u
#define RW_IO    2u
#define RW_ANY   3u
#define DR7_ON   0x403u
#define DR6_NONE 0xffff0ff0u
#define DR6_BD   BIT(13)
#define DR6_BS   BIT(14)
#define DR7_GD   BIT(13)

static uint8_t ram[256] __attribute__((aligned(256)));
static uint8_t other[256] __attribute__((aligned(256)));

static void set_dr7(uint64_t value)
{
    __asm__ volatile("mov %0, %%dr7" : : "r"(value) : "memory");
}

static uint64_t get_dr7(void)
{
    uint64_t value;
    __asm__ volatile("mov %%dr7, %0" : "=r"(value));
    return value;
}

static void set_dr6(uint64_t value)
{
    __asm__ volatile("mov %0, %%dr6" : : "r"(value));
}

static void arm(uint64_t address, uint64_t rw, uint64_t len)
{
    __asm__ volatile("mov %0, %%dr0" : : "r"(address));
    set_dr6(DR6_NONE);
    look_for(VECTOR_DB, 0);
    set_dr7(DR7_ON | rw << 16 | len << 18);
}

static void disarm(void)
{
    set_dr7(0x400);
    set_handler(VECTOR_DB, NULL);
}

/* ---- Instructions ---------------------------------------------------------------------------- */

#define OP(name, ...)                                     \
    static void name(uint64_t a)                          \
    {                                                     \
        uint64_t c = 2, si = (uint64_t)other, di = a;     \
        __asm__ volatile(__VA_ARGS__                      \
                         : "+c"(c), "+S"(si), "+D"(di)    \
                         : "b"(a)                         \
                         : "rax", "rdx", "r8", "memory"); \
    }

OP(load8, "movb (%%rbx), %%al")
OP(load16, "movw (%%rbx), %%ax")
OP(load32, "movl (%%rbx), %%eax")
OP(load64, "movq (%%rbx), %%rax")
OP(load_across, "movq 5(%%rbx), %%rax")
OP(load_sign, "movsbl 1(%%rbx), %%eax")
OP(store8, "movb %%al, (%%rbx)")
OP(store16, "movw %%ax, 2(%%rbx)")
OP(store32, "movl %%eax, (%%rbx)")
OP(store64, "movq %%rax, (%%rbx)")
OP(store_immediate, "movl $7, 4(%%rbx)")
OP(add_to, "lock addl $1, (%%rbx)")
OP(add_plain, "addw $1, (%%rbx)")
OP(compare, "cmpl %%eax, (%%rbx)")
OP(test_bit, "btl $3, (%%rbx)")
OP(exchange, "xchgq %%rax, (%%rbx)")
OP(exchange_fails, "xorl %%eax, %%eax; incl (%%rbx); cmpxchgl %%ecx, (%%rbx)")
OP(push_from, "pushq (%%rbx); popq %%rax")
OP(pop_to, "pushq %%rax; popq (%%rbx)")
OP(string_store, "cld; movl $4, %%ecx; rep stosl")
OP(string_store_down, "addq $12, %%rdi; std; movl $4, %%ecx; rep stosl; cld")
OP(string_move_to, "cld; movl $5, %%ecx; rep movsw")
OP(string_move_from, "cld; xchgq %%rsi, %%rdi; movl $5, %%ecx; rep movsb")
OP(string_load, "cld; movq %%rbx, %%rsi; movl $3, %%ecx; rep lodsl")
OP(string_compare, "cld; movl $3, %%ecx; repe cmpsb")
OP(string_scan, "cld; movl $3, %%ecx; movb $0x55, %%al; repne scasb")
OP(vector_load, "movdqu (%%rbx), %%xmm1")
OP(vector_store, "movdqu %%xmm1, 8(%%rbx)")

static const struct {
    const char *name;
    void (*run)(uint64_t address);
} ops[] = {
#define ROW(name)   \
    {               \
#name, name \
    }
    ROW(load8),          ROW(load16),           ROW(load32),
    ROW(load64),         ROW(load_across),      ROW(load_sign),
    ROW(store8),         ROW(store16),          ROW(store32),
    ROW(store64),        ROW(store_immediate),  ROW(add_to),
    ROW(add_plain),      ROW(compare),          ROW(test_bit),
    ROW(exchange),       ROW(exchange_fails),   ROW(push_from),
    ROW(pop_to),         ROW(string_store),     ROW(string_store_down),
    ROW(string_move_to), ROW(string_move_from), ROW(string_load),
    ROW(string_compare), ROW(string_scan),      ROW(vector_load),
    ROW(vector_store),
#undef ROW
};

struct met {
    uint64_t count, rip, dr6;
};

static struct met meet(void (*run)(uint64_t), uint64_t base, int place, uint64_t rw, uint64_t len)
{
    arm(base + AT + (uint64_t)(int64_t)place, rw, len);
    run(base + AT);
    disarm();
    return (struct met){seen.count, seen.count ? seen.rip : 0, seen.count ? seen.dr6 & 0xe00f : 0};
}

/* Each instruction must behave on the device as on RAM. */
static void same_as_ram(void)
{
    uint64_t cases = 0, traps = 0;
    write_cr4(read_cr4() | BIT(9)); /* OSFXSR */
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++)
        for (int place = -9; place < 20; place++)
            for (unsigned kind = 0; kind < 8; kind++, cases++) {
                uint64_t rw = kind & 4 ? RW_WRITE : RW_ANY, len = kind & 3;
                struct met want = meet(ops[i].run, (uint64_t)ram, place, rw, len);
                struct met got = meet(ops[i].run, DEV, place, rw, len);
                traps += got.count;
                if (got.count == want.count && got.rip == want.rip && got.dr6 == want.dr6)
                    continue;
                print("# %s, breakpoint at %d, R/W %lu, LEN %lu: %lu times at %lx with DR6 %lx, on "
                      "RAM %lu at %lx with %lx\n",
                      ops[i].name, place, rw, len, got.count, got.rip, got.dr6, want.count,
                      want.rip, want.dr6);
                EXPECT(false);
                return;
            }
    note("cases", cases);
    note("traps", traps);
}

/* A known access takes the fast path, but not while breakpoints are enabled. */
static void the_fast_path(void)
{
    for (unsigned i = 0; i < 8; i++) {
        if (i == 4)
            arm(DEV, RW_ANY, 3);
        (void)read32(DEV);
    }
    EXPECT_EQ(seen.count, 4);
    disarm();
    for (unsigned i = 0; i < 4; i++)
        (void)read32(DEV);
    EXPECT_EQ(seen.count, 4);
}

/* ---- Together with other events -------------------------------------------------------------- */

__attribute__((noinline)) static void step_over(uint64_t a)
{
    __asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq; movl (%%rbx), %%eax"
                     :
                     : "b"(a)
                     : "rax", "memory");
}

/* One #DB for both, after the instruction. */
static void with_a_single_step(void)
{
    struct met want = meet(step_over, (uint64_t)ram, 0, RW_ANY, 3);
    struct met got = meet(step_over, DEV, 0, RW_ANY, 3);
    EXPECT_EQ(want.dr6, DR6_BS | 1);
    EXPECT_EQ(got.dr6, want.dr6);
    EXPECT_EQ(got.count, 1);
    EXPECT_EQ(got.rip, want.rip);
}

/* A trap of MOV SS is delivered after the next instruction, together with the trap of that one. */
__attribute__((noinline)) static void behind_mov_ss(uint64_t a)
{
    __asm__ volatile("movw (%%rdi), %%ss; movl (%%rbx), %%eax"
                     :
                     : "b"(a), "D"(other)
                     : "rax", "memory");
}

static void behind_a_mov_ss(void)
{
    uint64_t bases[] = {(uint64_t)ram, DEV};
    struct met met[2];
    memset(other, 0, sizeof(other));
    other[0] = SEL_DATA;
    for (unsigned i = 0; i < 2; i++) {
        __asm__ volatile("mov %0, %%dr1" : : "r"(bases[i] + AT));
        arm((uint64_t)other, RW_ANY, 1);
        set_dr7(0x40f | RW_ANY << 16 | 1 << 18 | RW_ANY << 20 | 3 << 22);
        behind_mov_ss(bases[i] + AT);
        disarm();
        met[i] = (struct met){seen.count, seen.rip, seen.dr6 & 0xe00f};
    }
    EXPECT_EQ(met[1].count, 1);
    EXPECT_EQ(met[1].dr6, 3);
    EXPECT_EQ(met[1].rip, met[0].rip);
}

/* If the instruction faults, there is no trap. */
static void load_beyond(void *address)
{
    (void)read64((uint64_t)address);
}

static void not_with_a_fault(void)
{
    map_page(rt_pml4, TEST_VA, DEV, PTE_P | PTE_W);
    map_page(rt_pml4, TEST_VA + RT_PAGE, 0, 0);
    invlpg(TEST_VA);
    arm(TEST_VA + 0xff8, RW_ANY, 2);
    struct fault fault = try_run(load_beyond, (void *)(TEST_VA + 0xffc));
    EXPECT(fault.taken);
    EXPECT_EQ(fault.vector, VECTOR_PF);
    EXPECT_EQ(seen.count, 0);
    (void)read32(TEST_VA + 0xffc);
    EXPECT_EQ(seen.count, 1);
    disarm();
}

/* ---- Ports ----------------------------------------------------------------------------------- */

static void in8(void)
{
    (void)inb(0x83);
}

static void in32(void)
{
    __asm__ volatile("inl $0x80, %%eax" : : : "rax");
}

static void out8(void)
{
    outb(0x83, 1);
}

static void out16(void)
{
    __asm__ volatile("outw %%ax, $0x82" : : "a"(0));
}

static void outs8(void)
{
    uint64_t si = (uint64_t)other, c = 3;
    __asm__ volatile("cld; rep outsb" : "+S"(si), "+c"(c) : "d"(0x83) : "memory");
}

static void ins16(void)
{
    uint64_t di = (uint64_t)other, c = 2;
    __asm__ volatile("cld; rep insw" : "+D"(di), "+c"(c) : "d"(0x82) : "memory");
}

static uint64_t port_traps(void (*run)(void), uint64_t address, uint64_t rw, uint64_t len)
{
    run();
    arm(address, rw, len);
    run();
    disarm();
    return seen.count;
}

static void ports(void)
{
    static const struct {
        void (*run)(void);
        unsigned first, size, times;
    } rows[] = {
        {in8, 0x83, 1, 1},   {in32, 0x80, 4, 1},  {out8, 0x83, 1, 1},
        {out16, 0x82, 2, 1}, {outs8, 0x83, 1, 3}, {ins16, 0x82, 2, 2},
    };
    static const uint8_t lengths[] = {1, 2, 8, 4};
    for (unsigned de = 0; de < 2; de++) {
        write_cr4(de ? read_cr4() | CR4_DE : read_cr4() & ~CR4_DE);
        for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
            for (unsigned len = 0; len < 4; len++)
                for (unsigned port = 0x7c; port < 0x88; port++) {
                    if (len == 2 || !de)
                        continue; /* a length of eight ports, and R/W 2 without DE, are undefined */
                    unsigned at = port & ~(lengths[len] - 1u);
                    bool meets =
                        at < rows[i].first + rows[i].size && rows[i].first < at + lengths[len];
                    EXPECT_EQ(port_traps(rows[i].run, port, RW_IO, len), meets ? rows[i].times : 0);
                    EXPECT(!meets || (seen.dr6 & 0xf) == 1);
                }
        /* A breakpoint on data at the same address as the port is not hit. */
        EXPECT_EQ(port_traps(in32, 0x80, RW_ANY, 3), 0);
    }
    write_cr4(read_cr4() & ~CR4_DE);
}

/* A breakpoint on the memory that INS writes or OUTS reads is hit after each element. */
static void data_of_ports(void)
{
    EXPECT_EQ(port_traps(outs8, (uint64_t)other + 1, RW_ANY, 0), 1);
    EXPECT_EQ(port_traps(outs8, (uint64_t)other + 1, RW_WRITE, 0), 0);
    EXPECT_EQ(port_traps(ins16, (uint64_t)other + 2, RW_WRITE, 1), 1);
    EXPECT_EQ(port_traps(ins16, (uint64_t)other, RW_ANY, 3), 2);
}

/* With gva_cache=exits, the hypervisor reads the descriptor. */
static void descriptor_of_invpcid(void)
{
    uint64_t descriptor[2] = {0, 0};
    arm((uint64_t)&descriptor[1], RW_ANY, 2);
    __asm__ volatile("invpcid %0, %1" : : "m"(descriptor), "r"(2ull) : "memory");
    disarm();
    EXPECT_EQ(seen.count, 1);
}

/* ---- The registers --------------------------------------------------------------------------- */

static void write_dr7(void *value)
{
    set_dr7((uint64_t)value);
}

static void write_dr6(void *value)
{
    set_dr6((uint64_t)value);
}

static void read_dr5(void *unused)
{
    uint64_t value;
    (void)unused;
    __asm__ volatile(".byte 0x0f, 0x21, 0xe8" : "=a"(value)); /* MOV from DR5 to RAX */
    other[0] = (uint8_t)value;
}

static void registers(void)
{
    static const uint64_t values[] = {0, 0xffffffff, 0x55555555, 0xaaaaaaaa};
    set_handler(VECTOR_DB, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        set_dr7(values[i] & ~(DR7_GD | 0xff));
        EXPECT_EQ(get_dr7(), (values[i] & 0xffff0300) | 0x400);
    }
    set_dr7(0x400);
    for (unsigned bit = 32; bit < 64; bit++) {
        EXPECT_EQ(try_run(write_dr7, (void *)(0x400 | BIT(bit))).vector, VECTOR_GP);
        EXPECT_EQ(try_run(write_dr6, (void *)(DR6_NONE | BIT(bit))).vector, VECTOR_GP);
    }
    uint64_t dr0 = 0xfedcba9876543210, back;
    __asm__ volatile("mov %1, %%dr3; mov %%dr3, %0" : "=r"(back) : "r"(dr0));
    EXPECT_EQ(back, dr0);
    EXPECT(!try_run(read_dr5, 0).taken);
    write_cr4(read_cr4() | CR4_DE);
    struct fault fault = try_run(read_dr5, 0);
    EXPECT(fault.taken);
    EXPECT_EQ(fault.vector, VECTOR_UD);
    write_cr4(read_cr4() & ~CR4_DE);
}

/* A MOV with DR7.GD set causes a #DB, which clears GD and sets DR6.BD. */
static void general_detect(void)
{
    set_dr6(DR6_NONE);
    look_for(VECTOR_DB, 0);
    set_dr7(0x400 | DR7_GD);
    uint64_t dr7 = get_dr7();
    set_handler(VECTOR_DB, NULL);
    EXPECT_EQ(seen.count, 1);
    EXPECT_EQ(seen.dr6 & 0xe00f, DR6_BD);
    EXPECT_EQ(dr7, 0x400);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"same_as_ram", same_as_ram, NEED_TESTCTL},
        {"the_fast_path", the_fast_path, NEED_TESTCTL},
        {"with_a_single_step", with_a_single_step, NEED_TESTCTL},
        {"behind_a_mov_ss", behind_a_mov_ss, NEED_TESTCTL},
        {"not_with_a_fault", not_with_a_fault, NEED_TESTCTL},
        {"ports", ports, 0},
        {"data_of_ports", data_of_ports, 0},
        {"descriptor_of_invpcid", descriptor_of_invpcid, NEED_INVPCID},
        {"registers", registers, 0},
        {"general_detect", general_detect, 0},
    };
    run_tests(tests, ARRAY_SIZE(tests));
}
