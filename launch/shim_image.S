/* SPDX-License-Identifier: MIT */
/* The boot shim of a TD (guest/shim/), as it lies in the last 64 KiB below 4 GiB. */
    .section .rodata
    .balign 4096
    .globl shim_image
shim_image:
    .incbin "build/shim/shim.bin"

    .section .note.GNU-stack, "", @progbits
