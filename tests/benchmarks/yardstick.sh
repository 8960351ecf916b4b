#!/bin/sh
# The floor of a rebuild after a commit to one repo, with public tools alone: fetch, take the dependencies that are there,
# unpack the code, compile it on the image's own Python, seal what is new, say what the image now is.
#
#   yardstick.sh WORK URL DEPS LAYER...     LAYER: folders of the image without this repo's code, the lowest first;
#                                           DEPS: deps-KEY/venv, below /srv/bakeboot/web in one of them
#
# What it leaves out is what makes a toolkit: no unit, no user, no check, no log, no lock, no clean-up, no boot.
set -eu
work=$1 url=$2 deps=$3
shift 3

mirror=$work/mirror.git
[ -d "$mirror" ] || git init -q --bare "$mirror"
git -C "$mirror" fetch -q "$url" main
commit=$(git -C "$mirror" rev-parse FETCH_HEAD)

new=$work/layers/$commit code=srv/bakeboot/web/$commit
mkdir -p "$new/root/$code" "$new/work" "$new/merged"
git -C "$mirror" archive "$commit" | tar -x -C "$new/root/$code"
ln -s "../$deps" "$new/root/$code/.venv"
ln -s "$commit" "$new/root/srv/bakeboot/web/current"

lower=$(printf '%s\n' "$@" | tac | paste -sd:)
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$new/root,workdir=$new/work" "$new/merged"
trap 'umount "$new/merged"' EXIT
chroot "$new/merged" "/$code/.venv/bin/python" -m compileall -q -x '[.]venv/' "/$code"

tar --sort=name --mtime=@0 --owner=0 --group=0 -C "$new/root" -c . | zstd -q -3 >"$new/frame.tar.zst"
printf '%s\n' "$@" "$(sha256sum <"$new/frame.tar.zst")" >"$new/image"
