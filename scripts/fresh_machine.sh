#!/usr/bin/env bash
# Run commands in a clean clone of this checkout's HEAD on a fresh Debian: nothing but git, make and Python, and pip as it
# comes. As root, on Debian with debootstrap; needs 12 GB of disk where torch's CPU builds do not answer, else 6 GB.
#
#   scripts/fresh_machine.sh [COMMAND...]   (default: "make demo" "make test")
#     RELEASE  Debian's release (default: bookworm, with Python 3.11)
#     MIRROR   where Debian comes from (default: http://deb.debian.org/debian)
#     SHARED   the test material, seen read-only beside the clone (default: none: its tests skip)
#     WORK     a folder for the machines (default: a new one in TMPDIR)
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
release=${RELEASE:-bookworm}
work=$(realpath "${WORK:-$(mktemp -d)}")
machine=$work/$release
[[ $# -gt 0 ]] || set -- "make demo" "make test"

refuse() {
  echo "fresh_machine.sh: $1" >&2
  exit 2
}
[[ $(id -u) == 0 ]] || refuse "expected root, as a chroot needs it, found user $(id -un); do: sudo $0"
command -v debootstrap >/dev/null || refuse "expected debootstrap, found none; do: apt-get install debootstrap"

bound=()
unbind() {
  for place in "${bound[@]}"; do umount --lazy "$place"; done
}
trap unbind EXIT
bind() {
  mkdir -p "$machine$2"
  mount "${@:3}" "$1" "$machine$2"
  bound=("$machine$2" "${bound[@]}")
}
# The host's variables stay out: none of pip's or uv's reaches the commands.
inside() {
  env -i HOME=/root PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    chroot "$machine" "$@"
}

if [[ ! -e $machine/made ]]; then
  rm -rf --one-file-system "$machine"
  debootstrap --variant=minbase --include=git,make,python3,ca-certificates "$release" "$machine" \
    "${MIRROR:-http://deb.debian.org/debian}" >"$work/$release.log" 2>&1 ||
    refuse "expected debootstrap to make $release, found: $(tail -n 1 "$work/$release.log"); do: read $work/$release.log"
  touch "$machine/made"
fi
bind /dev /dev --bind
bind proc /proc -t proc
cp /etc/resolv.conf "$machine/etc/resolv.conf"
# What this machine trusts beyond Debian's own list, such as a company's certificate, the fresh one has to trust too.
find /usr/local/share/ca-certificates -name '*.crt' -exec cp -t "$machine/usr/local/share/ca-certificates" {} +
inside update-ca-certificates >>"$work/$release.log" 2>&1

rm -rf --one-file-system "$machine/root/y12"
git clone --quiet "$root" "$machine/root/y12"
[[ -z ${SHARED:-} ]] || bind "$SHARED" /root/shared --bind -o ro

echo "== $release, $(inside python3 --version), $(git -C "$root" log -1 --format='%h %s')"
if ! inside python3 -c "import ensurepip" 2>/dev/null; then
  echo "== without python3-venv: make demo"
  if inside make -C /root/y12 --no-print-directory demo; then
    refuse "expected make to ask for python3-venv, found that it did without"
  fi
  inside apt-get -q -o Dpkg::Use-Pty=0 install -y --no-install-recommends python3-venv >>"$work/$release.log" 2>&1
fi
for command; do
  echo "== $command"
  start=$SECONDS
  inside nice bash -c "cd /root/y12 && $command"
  echo "== $command: $((SECONDS - start)) s, .venv $(du -sm "$machine/root/y12/.venv" | cut -f 1) MB"
done
