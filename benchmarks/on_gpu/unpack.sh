#!/bin/sh
# Takes one piece on the machine: unpack.sh PIECE_FOLDER TARGET. Checked by hash; the last piece of an archive unpacks it.
set -eu
piece=$1 target=$2
read -r name index pieces part_sha archive_sha <"$piece/about"
check() { echo "$2  $1" | sha256sum -c --status || { echo "$1: its hash is another" >&2; exit 1; }; }
check "$piece/part" "$part_sha"
mkdir -p "$target"
archive="$target/$name.tar.xz"
[ "$index" = 0 ] && : >"$archive"
[ "$(cat "$target/$name.next" 2>/dev/null || echo 0)" = "$index" ] || [ "$index" = 0 ] || { echo "$name: piece $index came out of turn" >&2; exit 1; }
cat "$piece/part" >>"$archive"
echo $((index + 1)) >"$target/$name.next"
if [ $((index + 1)) = "$pieces" ]; then
  check "$archive" "$archive_sha"
  rm -rf "${target:?}/$name" && mkdir "$target/$name"
  tar -xJf "$archive" -C "$target/$name"
  rm "$archive" "$target/$name.next"
  echo "$name: unpacked"
else
  echo "$name: piece $((index + 1)) of $pieces"
fi
