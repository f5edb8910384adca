#!/usr/bin/env bash
# s3fs-fuse against a running gateway: a bucket as a folder. Run by `run`, where there is /dev/fuse.
set -euo pipefail
source "$CLIENTS/lib.sh"
cd "$(mktemp -d -p "$WORK")"

mnt=$PWD/mnt
mkdir mnt
(umask 077 && printf '%s:%s\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" >passwd)
s3fs compat-s3fs "$mnt" -f -o passwd_file=passwd,url="$ENDPOINT",use_path_request_style,multipart_size=5,endpoint=us-east-1,nomixupload \
    >s3fs.log 2>&1 &
pid=$!
trap 'kill "$pid" 2>>s3fs.log || true; wait "$pid" || true' EXIT
for ((tries = 0; tries < 150; tries++)); do
    if grep -q " $mnt fuse" /proc/mounts; then break; fi
    kill -0 "$pid" || break
    sleep 0.1
done

check "mount" grep " $mnt fuse" /proc/mounts
head -c 100000 /dev/urandom >small
head -c 17000000 /dev/urandom >big
copies() { cp small "$mnt/small" && cmp small "$mnt/small"; }
check "a file is written and read" copies
in_parts() { cp big "$mnt/big" && cmp big "$mnt/big"; }
check "a big file goes in parts" in_parts
folders() { mkdir -p "$mnt/a/b" && cp small "$mnt/a/b/c" && same "$(cd "$mnt" && find . -type f | sort | tr '\n' ' ')" "./a/b/c ./big ./small "; }
check "folders" folders
moves() { mv "$mnt/small" "$mnt/a/renamed" && cmp small "$mnt/a/renamed" && [[ ! -e "$mnt/small" ]]; }
check "a file is renamed" moves
appends() { echo more >>"$mnt/a/renamed" && { cat small; echo more; } | cmp - "$mnt/a/renamed"; }
check "a file is appended to" appends
attributes() { chmod 640 "$mnt/a/renamed" && same "$(stat -c %a "$mnt/a/renamed")" 640; }
check "a mode is kept" attributes
removes() { rm -r "$mnt/a" "$mnt/big" && same "$(ls "$mnt")" ""; }
check "all is removed" removes
