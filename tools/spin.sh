#!/bin/sh
# SPDX-License-Identifier: MIT
# Checks the models of tests/models/ with spin, each in full, and that each of their mutants fails.
# tools/spin.sh FOLDER: where to build.

status=0

# check WANTED MODEL DEFINES...: WANTED is the number of errors that spin must report.
check() {
    wanted=$1 model=$2
    shift 2
    (cd "$folder" && spin -a "$@" "$root/tests/models/$model.pml" >spin.txt &&
        gcc -O2 -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -o pan pan.c && ./pan -m2000000 >pan.txt)
    states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$folder/pan.txt")
    if grep -q "errors: $wanted\$" "$folder/pan.txt" &&
        ! grep -q 'too small' "$folder/pan.txt"; then
        echo "ok $model $*: $states states, $wanted errors"
    else
        echo "not ok $model $*: $wanted errors expected, see $folder/pan.txt"
        status=1
    fi
}

root=$PWD
folder=$1
mkdir -p "$folder"

check 0 idle
for mutant in NO_WAY_BACK WAKE_CLEARED_LATE NO_KICK KICK_ALONE; do
    check 1 idle -DMUTANT_$mutant
done
check 0 sentry
for mutant in NOT_RELIEVED WOKEN_BEFORE_LEFT IDLE_MARKED_LATE NO_SECOND_LOOK; do
    check 1 sentry -DMUTANT_$mutant
done
check 0 halt
for mutant in MAIL_NOT_LOOKED_AT MAIL_LOOKED_AT_FIRST SLEEPER_LOOKED_FOR_FIRST TAKEN_WITHOUT_CLAIM \
    NOT_KICKED ARMING_UNDOES_A_KICK TIMER_NOT_ZEROED; do
    check 1 halt -DMUTANT_$mutant
done
check 0 visit
for mutant in LIST_TESTED_FIRST VISIT_NOT_REQUESTED VISIT_CLEARED_LATE RESUMER_CLEARS_REQUEST \
    RESUMED_WITHOUT_ALERT PAUSE_CLEARED_LATE OUT_WITHOUT_EXCHANGE MESSAGES_NOT_LOOKED_AT \
    CLOSED_WITH_A_VISIT; do
    check 1 visit -DMUTANT_$mutant
done
check 0 kick -DFLUSHES=0 -DMAILS=2
check 0 kick -DFLUSHES=1 -DMAILS=1
for mutant in TIMER_NOT_ZEROED NO_KICK NO_WAIT DEBT_READ_FIRST NO_INVEPT; do
    check 1 kick -DFLUSHES=1 -DMAILS=0 -DMUTANT_$mutant
done
for mutant in ARMING_UNDOES_A_KICK REARMING_UNDOES_A_KICK MAIL_WITHOUT_KICK KICK_CLEARED_LATE \
        MAIL_CLEARED_LATE REQUEST_BEFORE_MAIL WHOLE_WORD_CLEARED SENT_CLEARED_LATE; do
    check 1 kick -DFLUSHES=0 -DMAILS=2 -DMUTANT_$mutant
done
check 0 epoch -DRECLAIMS=2
for mutant in ONLINE_WITHOUT_A_FENCE UNLINKED_PLAINLY BEGUN_FIRST DEBT_READ_FIRST \
    ENTERS_WITH_A_DEBT PASSES_WITH_A_POINTER FORGETS_A_KICK NO_KICK NO_WAIT IDLE_ONLINE \
    OTHER_VMS_WAITED_FOR OWNER_SAID_LATE; do
    check 1 epoch -DRECLAIMS=1 -DMUTANT_$mutant
done
check 0 epoch -DRECLAIMS=2 -DRECLAIMERS=2
for mutant in WAITS_ONLINE LOCKED_OUT; do
    check 1 epoch -DRECLAIMS=2 -DRECLAIMERS=2 -DMUTANT_$mutant
done
check 0 sides
for mutant in FAULTS_GO_ON WITHOUT_THE_LOCK ACCESSOR_GOES_ON SIDE_ASKED_FIRST NOT_ZAPPED NO_EPOCH \
    SIDE_CHANGES_BEFORE_THE_EPOCH CLEARED_BEFORE_THE_EPOCH CONVERTED_TOO_SOON \
    CONVERTED_BEFORE_THE_SIDE; do
    check 1 sides -DMUTANT_$mutant
done
check 0 secure
for mutant in BLOCKED_LATE PREVIOUS_NOT_WAITED_FOR EARLIER_EPOCH_COUNTS NOT_BLOCKED \
    EPOCH_NOT_WAITED_FOR LOCK_DROPPED SCRUBBED_UNCLAIMED NOT_SCRUBBED NOT_CLAIMED_FIRST \
    NOT_CLEARED EPOCH_READ_FIRST NOT_FLUSHED; do
    check 1 secure -DMUTANT_$mutant
done
check 0 mirror
for mutant in NOT_TRACKED NOT_WAITED FAULTS_GO_ON WITHOUT_THE_LOCK FROZEN_IS_EMPTY \
    REFUSED_IS_STORED STUCK_IS_GIVEN SIDE_CHANGES_ANYWAY; do
    check 1 mirror -DMUTANT_$mutant
done
check 0 host_tlb -DOWNERS=1 -DROUNDS=2
check 0 host_tlb -DOWNERS=2 -DROUNDS=1
for mutant in DEBT_READ_LATE NOT_FLUSHED ONE_CPU_FORGOTTEN OWED_BEFORE_HIDDEN OWN_TLB_FORGOTTEN \
    NOT_WAITED; do
    check 1 host_tlb -DOWNERS=2 -DROUNDS=1 -DMUTANT_$mutant
done
exit $status
