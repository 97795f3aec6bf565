/* SPDX-License-Identifier: MIT */
/*
 * The option ROM that starts an image in Bochs within 0.2 s, without a boot loader.
 *
 * tools/harness/payload.py lays out a disk beforehand: chunks for RAM, which include the image and
 * the modules, and the part of the multiboot2 information that is known outside of the machine
 * (command line, modules, ...). The ROM reads the disk by ATA commands, adds what only the firmware
 * knows (memory map, memory sizes, RSDP), and enters the image as the multiboot2 specification
 * requires (section 3.3). On a failure it prints a message on COM1 and halts. (Bochs'
 * `optramimage` would be simpler, but Bochs 2.7 corrupts files that cross a 128 KiB block.)
 *
 *   sector 0       boot sector, for a BIOS that ignores the ROM; loads sectors 1 to 4
 *   sectors 1-4    a copy of this ROM
 *   sectors 5-8    header: HEADER_MAGIC, physical entry, physical address of the multiboot2
 *                  information (total size so far, 0, tags; followed by 4 KiB of free space),
 *                  value for IA32_FEATURE_CONTROL (0: it is not written), number of chunks, 1 if
 *                  the local APIC is to be in x2APIC mode, value for IA32_TSC_ADJUST (0: it is not
 *                  written), 0, then the chunks: physical address, first sector, number of sectors,
 *                  number of bytes to clear after them
 *
 * The ROM is linked to run at 0x8000 and copies itself there, so it runs from any segment.
 */
    .intel_syntax noprefix

    .set ROM_SIZE, 2048
    .set ROM_BASE, 0x8000
    .set MAP, 0xa000 /* 24 bytes for each E820 entry, as in a multiboot2 memory map */
    .set MAP_LIMIT, 0xac00
    .set STACK, 0x7c00
    .set HEADER, 0x10000
    .set HEADER_SECTOR, 5
    .set HEADER_SECTORS, 4
    .set HEADER_MAGIC, 0x50545045 /* "EPTP" */
    .set MULTIBOOT2_BOOTLOADER_MAGIC, 0x36d76289
    .set MULTIBOOT_TAG_MEMINFO, 4
    .set MULTIBOOT_TAG_MMAP, 6
    .set MULTIBOOT_TAG_RSDP_OLD, 14
    .set MULTIBOOT_TAG_RSDP_NEW, 15
    .set COM1, 0x3f8
    .set ATA, 0x1f0
    .set ATA_CONTROL, 0x3f6
    .set ATA_NO_INTERRUPTS, 2
    .set ATA_READ_SECTORS, 0x20
    .set ATA_BUSY, 0x80
    .set ATA_DATA_REQUEST, 0x08
    .set ATA_ERROR, 0x01
    .set SECTOR, 512
    .set MSR_FEATURE_CONTROL, 0x3a
    .set MSR_APIC_BASE, 0x1b
    .set APIC_BASE_X2APIC, 1 << 10
    .set MSR_TSC_ADJUST, 0x3b
    .set SMAP_SIGNATURE, 0x534d4150

    .text
    .code16
rom:
    .byte 0x55, 0xaa, ROM_SIZE / 512
    /* The BIOS calls the ROM here. payload.py sets the checksum in the ROM's last byte. */
    cli
    cld
    push cs
    pop ds
    xor si, si
    xor ax, ax
    mov es, ax
    mov di, ROM_BASE
    mov cx, ROM_SIZE / 2
    rep movsw
    ljmp 0, offset real_mode

/* ---- Real mode: memory map and memory size, from BIOS calls ------------------------------- */
real_mode:
    mov ds, ax
    mov ss, ax
    mov sp, STACK
    mov edi, MAP
    xor ebx, ebx
next_range:
    mov eax, 0xe820
    mov edx, SMAP_SIGNATURE
    mov ecx, 20
    mov dword ptr [di + 20], 0
    int 0x15
    jc map_done
    cmp eax, SMAP_SIGNATURE
    jne map_done
    add di, 24
    cmp di, MAP_LIMIT
    jae map_done
    test ebx, ebx
    jnz next_range
map_done:
    mov [map_end], edi
    int 0x12
    mov [memory_lower], ax
    cli
    in al, 0x92 /* the fast A20 gate */
    or al, 2
    and al, 0xfe
    out 0x92, al
    lgdt [gdt_pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    ljmp 8, offset protected_mode

/* ---- Protected mode, flat segments -------------------------------------------------------- */
    .code32
protected_mode:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    mov esp, STACK

    mov esi, offset no_map
    cmp dword ptr [map_end], MAP
    je fail
    call load_all
    call set_feature_control
    call set_apic_mode
    call set_tsc

    mov edi, [HEADER + 8]
    add edi, [edi]
    call add_memory_map
    call add_memory_sizes
    call add_rsdp
    xor eax, eax /* the end tag */
    stosd
    mov eax, 8
    stosd

    mov ebx, [HEADER + 8]
    sub edi, ebx
    mov [ebx], edi
    mov eax, MULTIBOOT2_BOOTLOADER_MAGIC
    jmp dword ptr [HEADER + 4]

/* Reads the header, then every chunk that it lists. */
load_all:
    mov dx, ATA_CONTROL
    mov al, ATA_NO_INTERRUPTS
    out dx, al
    mov edi, HEADER
    mov ebx, HEADER_SECTOR
    mov ebp, HEADER_SECTORS
    call read_sectors
    mov esi, offset no_header
    cmp dword ptr [HEADER], HEADER_MAGIC
    jne fail
    mov esi, HEADER + 32
next_chunk:
    sub dword ptr [HEADER + 16], 1
    jb loaded
    mov edi, [esi]
    mov ebx, [esi + 4]
    mov ebp, [esi + 8]
    call read_sectors
    mov ecx, [esi + 12]
    xor eax, eax
    rep stosb
    add esi, 16
    jmp next_chunk
loaded:
    mov dx, ATA_CONTROL
    mov al, 0
    out dx, al
    ret

/* Reads EBP sectors, beginning with sector EBX, to EDI, and advances EDI. Changes EAX, EBX, ECX and
 * EDX. */
read_sectors:
    sub ebp, 1
    jb read_done
    mov dx, ATA + 2
    mov al, 1 /* sectors */
    out dx, al
    inc edx
    mov eax, ebx
    out dx, al
    inc edx
    shr eax, 8
    out dx, al
    inc edx
    shr eax, 8
    out dx, al
    inc edx
    shr eax, 8
    or al, 0xe0 /* LBA, drive 0 */
    out dx, al
    inc edx
    mov al, ATA_READ_SECTORS
    out dx, al
wait_data:
    in al, dx
    test al, ATA_BUSY
    jnz wait_data
    test al, ATA_ERROR
    jnz disk_failed
    test al, ATA_DATA_REQUEST
    jz wait_data
    mov dx, ATA
    mov ecx, SECTOR / 2
    rep insw
    inc ebx
    jmp read_sectors
read_done:
    ret
disk_failed:
    mov esi, offset bad_disk
    jmp fail

set_feature_control:
    mov ebx, [HEADER + 12]
    test ebx, ebx
    jz feature_control_done
    mov ecx, MSR_FEATURE_CONTROL
    rdmsr
    mov esi, offset already_locked
    test al, 1
    jnz fail
    mov eax, ebx
    xor edx, edx
    wrmsr
feature_control_done:
    ret

/* Firmware that switches x2APIC mode on leaves it on. */
set_apic_mode:
    cmp dword ptr [HEADER + 20], 0
    je apic_mode_done
    mov ecx, MSR_APIC_BASE
    rdmsr
    or eax, APIC_BASE_X2APIC
    wrmsr
apic_mode_done:
    ret

/* Firmware that writes the TSC of one CPU changes this MSR, too. */
set_tsc:
    mov eax, [HEADER + 24]
    test eax, eax
    jz tsc_done
    cdq
    mov ecx, MSR_TSC_ADJUST
    wrmsr
tsc_done:
    ret

/* The next three routines append one tag each at EDI, and leave EDI at the next multiple of 8. */
add_memory_map:
    mov ecx, [map_end]
    mov esi, MAP
    sub ecx, esi
    mov dword ptr [edi], MULTIBOOT_TAG_MMAP
    lea eax, [ecx + 16]
    mov [edi + 4], eax
    mov dword ptr [edi + 8], 24
    mov dword ptr [edi + 12], 0
    add edi, 16
    rep movsb
    ret

/* The upper memory size is the size of the range at 1 MiB, in KiB. */
add_memory_sizes:
    mov dword ptr [edi], MULTIBOOT_TAG_MEMINFO
    mov dword ptr [edi + 4], 16
    movzx eax, word ptr [memory_lower]
    mov [edi + 8], eax
    xor eax, eax
    mov esi, MAP
find_upper:
    cmp dword ptr [esi], 0x100000
    jne not_upper
    cmp dword ptr [esi + 4], 0
    jne not_upper
    mov eax, [esi + 8]
    shr eax, 10
not_upper:
    add esi, 24
    cmp esi, [map_end]
    jb find_upper
    mov [edi + 12], eax
    add edi, 16
    ret

/* A BIOS keeps the RSDP at a multiple of 16 between 0xe0000 and 0xfffff. If there is none, no tag
 * is appended. */
add_rsdp:
    mov esi, 0xe0000
next_place:
    cmp dword ptr [esi], 0x20445352     /* "RSD " */
    jne not_rsdp
    cmp dword ptr [esi + 4], 0x20525450 /* "PTR " */
    jne not_rsdp
    xor eax, eax
    mov ecx, 20
sum:
    add al, [esi + ecx - 1]
    loop sum
    test al, al
    jz rsdp_found
not_rsdp:
    add esi, 16
    cmp esi, 0x100000
    jb next_place
    ret
rsdp_found:
    mov eax, MULTIBOOT_TAG_RSDP_OLD
    mov ecx, 20
    cmp byte ptr [esi + 15], 2
    jb copy_rsdp
    mov eax, MULTIBOOT_TAG_RSDP_NEW
    mov ecx, [esi + 20]
copy_rsdp:
    stosd
    lea eax, [ecx + 8]
    stosd
    rep movsb
    add edi, 7
    and edi, -8
    ret

/* Prints the message at ESI on COM1 (115200 8N1), and halts. */
fail:
    mov dx, COM1 + 3
    mov al, 0x83 /* divisor latch on, 8N1 */
    out dx, al
    mov dx, COM1
    mov al, 1
    out dx, al
    mov dx, COM1 + 1
    mov al, 0
    out dx, al
    mov dx, COM1 + 3
    mov al, 3
    out dx, al
next_character:
    mov dx, COM1 + 5
wait_room:
    in al, dx
    test al, 0x40
    jz wait_room
    lodsb
    test al, al
    jz stop
    mov dx, COM1
    out dx, al
    jmp next_character
stop:
    hlt
    jmp stop

no_header:
    .asciz "optrom: the first disk does not hold what tools/harness/payload.py lays out\r\n"
bad_disk:
    .asciz "optrom: the first disk could not be read\r\n"
no_map:
    .asciz "optrom: the BIOS gives no memory map (INT 15h, E820h)\r\n"
already_locked:
    .asciz "optrom: the firmware has locked IA32_FEATURE_CONTROL; use one that leaves it open\r\n"

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9a000000ffff
    .quad 0x00cf92000000ffff
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long gdt
    .balign 4
map_end:
    .long 0
memory_lower:
    .word 0

    .org ROM_SIZE - 1
    .byte 0 /* checksum */

/* ---- The boot sector: the BIOS runs it at 0x7c00, with the drive in DL -------------------- */
    .code16
boot_sector:
    cli
    xor ax, ax
    mov es, ax
    mov ss, ax
    mov sp, STACK
    mov ax, 0x0200 + ROM_SIZE / SECTOR /* read sectors */
    mov bx, ROM_BASE
    mov cx, 2 /* cylinder 0, the second sector */
    mov dh, 0
    int 0x13
    ljmp ROM_BASE >> 4, 3
    .org ROM_SIZE + SECTOR - 2
    .byte 0x55, 0xaa
