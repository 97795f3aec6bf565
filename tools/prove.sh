#!/bin/sh
# Runs each prove_…() of tests/proofs/*.c through CBMC.
# Usage: prove.sh <folder for an unpacked CBMC>
sources="mmu/spte.c mmu/transition.c ept/caps.c ept/misconfig.c"
cbmc=$("$(dirname "$0")/cbmc.sh" "$1") || exit 1
proved=0 failed=0
for file in tests/proofs/*.c; do
    for proof in $(sed -n 's/^void \(prove_[a-z0-9_]*\)(void)$/\1/p' "$file"); do
        if timeout 300 $cbmc --function "$proof" -I. "$file" $sources --unwind 20 \
            --unwinding-assertions --drop-unused-functions \
            --no-standard-checks --slice-formula > "$1/$proof.txt" 2>&1; then
            echo "proved $proof"
            proved=$((proved + 1))
        else
            echo "FAILED $proof"
            grep -E 'FAILURE|error|rror:' "$1/$proof.txt" | head -5
            failed=$((failed + 1))
        fi
    done
done
echo "$proved proved, $failed failed"
[ "$failed" = 0 ] && [ "$proved" -gt 0 ]
