#!/bin/sh
# SPDX-License-Identifier: MIT
# Tries eptvisor on a new Debian: tools/fresh.sh RELEASE [TARGET...], as root.
#
# Makes a root of that release with only gcc and make added, clones the last commit into it, runs
# `make TARGET` for each target (by default run and test, the README's two commands), and prints how
# long they took and what they counted. The logs stay in build/fresh/; the root is removed.
set -e
fail() {
    echo "fresh: $1" >&2
    exit 1
}

release=$1
case $release in
bookworm | trixie | sid) shift ;;
*) fail "${release:-which release?}: choose from bookworm trixie sid" ;;
esac
[ "$(id -u)" = 0 ] || fail "debootstrap and chroot need root"
cd "$(dirname "$0")/.."
mirror=$(tools/mirror.sh)
tools/deps.sh fresh
logs=$PWD/build/fresh
mkdir -p "$logs"
root=$(mktemp -d "${TMPDIR:-/var/tmp}/eptvisor-$release.XXXXXX")
chmod 755 "$root" # a test becomes a user who is not root

# Called by the trap, however the script ends: ends the processes, and with them their mounts.
remove() {
    [ -z "$running" ] || { kill -KILL "$running" && wait "$running" || :; } 2>/dev/null
    rm -rf --one-file-system "$root"
}
running=
trap remove EXIT
trap 'exit 130' HUP INT TERM

# Runs the command in namespaces of its own. It is in the background, because a shell that waits for
# a foreground process handles no signal until that process has ended.
isolated() {
    unshare --mount --pid --fork --kill-child "$@" </dev/null &
    running=$!
    if wait "$running"; then running=; else running=; return 1; fi
}

begin=$(date +%s)
isolated debootstrap --variant=minbase --include=gcc,make "$release" "$root" "$mirror" \
    >"$logs/$release.debootstrap.log" 2>&1 ||
    fail "debootstrap failed: $(tail -n 1 "$logs/$release.debootstrap.log")"
git clone -q --no-hardlinks . "$root/root/eptvisor"
echo "fresh: $release: a new root in $(($(date +%s) - begin)) s"

# Not `exec chroot`: the first process of a namespace has to wait for all that are left behind.
inside='mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" &&
    mount --rbind /dev "$0/dev" || exit
    chroot "$0" "$@"
    exit $?'
status=0
for target in ${*:-run test}; do
    begin=$(date +%s)
    log=$logs/$release.$target.log how=passed
    isolated sh -c "$inside" "$root" \
        env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
        make -C /root/eptvisor "$target" >"$log" 2>&1 || how=failed status=1
    counted=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
    echo "fresh: $release: make $target $how in $(($(date +%s) - begin)) s:" \
        "${counted:-nothing counted}; $log"
done
exit $status
