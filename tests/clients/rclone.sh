#!/usr/bin/env bash
# rclone against the built-in configuration. Run by `run`.
set -euo pipefail
source "$HERE/lib.sh"
cd "$(mktemp -d -p "$WORK")"

key() { sed -n "s/^$1 = //p" "$WORK/data/credentials"; }
export RCLONE_CONFIG=$PWD/rclone.conf
cat >rclone.conf <<CONF
[gateway]
type = s3
provider = Other
access_key_id = $(key aws_access_key_id)
secret_access_key = $(key aws_secret_access_key)
endpoint = $ENDPOINT
region = us-east-1
CONF
rclone() { command rclone --retries 1 --low-level-retries 1 --s3-chunk-size 5Mi --s3-upload-cutoff 8Mi "$@"; }

mkdir -p tree/sub/deep
for n in $(seq 1 25); do head -c $((n * 1000)) /dev/urandom >"tree/sub/file $n"; done
printf 'x' >'tree/sub/deep/naïve +name.txt'
: >tree/empty
head -c 31457280 /dev/urandom >big

check "mkdir and copy" rclone copy tree gateway:clients-rclone/tree
check "check --download" rclone check --download tree gateway:clients-rclone/tree
check "check by hash" rclone check tree gateway:clients-rclone/tree
nothing_to_do() {
    rclone sync -v tree gateway:clients-rclone/tree 2>said
    if grep -E 'Copied|Deleted' said; then return 1; fi
}
check "a second sync has nothing to do" nothing_to_do
lists() {
    rclone lsjson -R --files-only gateway:clients-rclone/tree >list.json
    python - <<'PY'
import json, os
listed = {entry["Path"]: entry["Size"] for entry in json.load(open("list.json"))}
local = {os.path.relpath(os.path.join(root, name), "tree"): os.path.getsize(os.path.join(root, name))
         for root, _, names in os.walk("tree") for name in names}
assert listed == local, (listed, local)
PY
}
check "lsjson" lists
times() {
    touch -d 2001-02-03T04:05:06Z 'tree/sub/file 1' && rclone sync tree gateway:clients-rclone/tree
    rclone lsjson "gateway:clients-rclone/tree/sub/file 1" >one.json && grep -q '2001-02-03T0[0-9]:05:06' one.json
}
check "a changed time is a copy of the object onto itself" times
big_file() { rclone copyto big gateway:clients-rclone/big && rclone copyto gateway:clients-rclone/big back && cmp big back; }
check "30 MiB in parts, both ways" big_file
server_side() {
    rclone copy -v gateway:clients-rclone/tree gateway:clients-rclone-2/tree 2>said
    grep -q 'server-side copy' said || { cat said; return 1; }
    rclone check --download tree gateway:clients-rclone-2/tree
}
check "server-side copy between buckets" server_side
big_server_side() {
    rclone --s3-copy-cutoff 8Mi copyto gateway:clients-rclone/big gateway:clients-rclone-2/big
    rclone cat gateway:clients-rclone-2/big | cmp big -
}
check "server-side copy of 30 MiB in parts" big_server_side
moves() {
    rclone moveto gateway:clients-rclone-2/tree/empty gateway:clients-rclone-2/moved
    same "$(rclone lsf gateway:clients-rclone-2)" $'big\nmoved\ntree/'
}
check "server-side move" moves
ranged() { cmp <(rclone cat --offset 1000 --count 5000 gateway:clients-rclone/big) <(tail -c +1001 big | head -c 5000); }
check "cat of a range" ranged
streams() { rclone rcat gateway:clients-rclone/streamed <big && rclone cat gateway:clients-rclone/streamed | cmp big -; }
check "rcat of a stream" streams
deletes() {
    rm -r tree/sub/deep && rclone sync tree gateway:clients-rclone/tree && rclone check tree gateway:clients-rclone/tree
    rclone delete gateway:clients-rclone/tree && same "$(rclone lsf -R --files-only gateway:clients-rclone)" $'big\nstreamed'
}
check "sync removes, delete removes all" deletes
purges() { rclone purge gateway:clients-rclone && rclone purge gateway:clients-rclone-2 && rclone lsd gateway: >left && ! grep clients-rclone left; }
check "purge" purges
