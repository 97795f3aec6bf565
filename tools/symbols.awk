# SPDX-License-Identifier: MIT
# Turns `nm -n` of the linked image into the symbol table that backtraces read: a count, then pairs
# of address and offset of the name, sorted by address, then the names.
BEGIN { n = 0 }
$2 ~ /^[tT]$/ && $3 !~ /^\./ && $1 >= "ffffffff80000000" { address[n] = $1; name[n++] = $3 }
END {
    print ".section .symbols, \"a\""
    print "table: .quad " n ", 0"
    for (i = 0; i < n; i++)
        print ".quad 0x" address[i] ", s" i " - table"
    for (i = 0; i < n; i++)
        print "s" i ": .asciz \"" name[i] "\""
    print ".section .note.GNU-stack, \"\", @progbits"
}
