#!/bin/sh
# What a user meets on a new Debian: tools/fresh.sh RELEASE [TARGET...], as root.
#
# Makes a root of that release with gcc and make and nothing else, clones the last commit into it,
# types `make TARGET` for each (without any: run and test, the README's two commands), and says how
# long they took and what they counted. The logs stay in build/fresh/, the root goes, unless KEEP=1.
set -e
cd "$(dirname "$0")/.."
releases="bookworm trixie sid"
fail() {
    echo "fresh: $1" >&2
    exit 1
}

release=$1
case " $releases " in
*" ${release:-none} "*) shift ;;
*) fail "${release:-which release?}: choose from $releases" ;;
esac
[ "$(id -u)" = 0 ] || fail "debootstrap and chroot need root"
mirror=$(tools/mirror.sh)
tools/deps.sh fresh
logs=$PWD/build/fresh
root=$logs/$release
mkdir -p "$logs"

remove() {
    rm -rf --one-file-system "$root"
}
remove
[ -n "$KEEP" ] || trap remove EXIT
trap 'exit 130' INT TERM
begin=$(date +%s)
debootstrap --variant=minbase --include=gcc,make "$release" "$root" "$mirror" \
    >"$logs/$release.debootstrap.log" 2>&1 ||
    fail "debootstrap failed: $(tail -n 1 "$logs/$release.debootstrap.log")"
git clone -q --no-hardlinks . "$root/root/eptvisor"
echo "fresh: $release: a new root in $(($(date +%s) - begin)) s"

# Mounts and processes of its own, which end with it.
inside='mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" &&
    mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
status=0
for target in ${*:-run test}; do
    begin=$(date +%s)
    log=$logs/$release.$target.log
    unshare --mount --pid --fork --kill-child sh -c "$inside" "$root" \
        env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
        make -C /root/eptvisor "$target" >"$log" 2>&1 </dev/null || status=1
    counted=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
    echo "fresh: $release: make $target in $(($(date +%s) - begin)) s:" \
        "${counted:-nothing counted}; $log"
done
exit $status
