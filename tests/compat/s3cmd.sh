#!/usr/bin/env bash
# s3cmd against a running gateway. Run by `run`.
set -euo pipefail
source "$CLIENTS/lib.sh"
cd "$(mktemp -d -p "$WORK")"

cat >s3cfg <<CONF
[default]
access_key = $AWS_ACCESS_KEY_ID
secret_key = $AWS_SECRET_ACCESS_KEY
host_base = ${ENDPOINT#http://}
host_bucket = ${ENDPOINT#http://}
use_https = False
signature_v2 = False
bucket_location = us-east-1
CONF
s3cmd() { command s3cmd --config=s3cfg --no-progress "$@"; }
bucket=s3://compat-s3cmd
mkdir -p tree/sub
for n in 1 2 3; do head -c $((n * 9000)) /dev/urandom >"tree/sub/file $n"; done
printf 'x' >'tree/naïve +name.txt'
head -c 17000000 /dev/urandom >big

check "mb" s3cmd mb "$bucket"
both_ways() { s3cmd put 'tree/sub/file 1' "$bucket/one" && s3cmd get --force "$bucket/one" back && cmp 'tree/sub/file 1' back; }
check "put and get" both_ways
in_parts() { s3cmd put --multipart-chunk-size-mb=5 big "$bucket/big" && s3cmd get --force "$bucket/big" back && cmp big back; }
check "put and get in parts" in_parts
syncs() {
    s3cmd sync tree/ "$bucket/tree/"
    s3cmd sync tree/ "$bucket/tree/" >said
    if grep -q upload: said; then cat said; return 1; fi
    s3cmd sync "$bucket/tree/" back-tree/
    diff -r tree back-tree
}
check "sync both ways, and nothing to do the second time" syncs
lists() {
    s3cmd ls --recursive "$bucket" >listed
    same "$(wc -l <listed | tr -d ' ')" 6
    grep -q 'naïve +name.txt' listed
    # Not through a pipe: grep may end before s3cmd has said everything.
    s3cmd ls "$bucket/" >listed
    grep -q "DIR.*$bucket/tree/" listed
}
check "ls" lists
copies() { s3cmd cp "$bucket/one" "$bucket/copy" && s3cmd mv "$bucket/copy" "$bucket/moved" && s3cmd get --force "$bucket/moved" back && cmp 'tree/sub/file 1' back; }
check "cp and mv" copies
told() {
    s3cmd put --add-header='x-amz-meta-colour: blue' --mime-type=text/x-test 'tree/sub/file 1' "$bucket/told"
    s3cmd info "$bucket/told" >said
    grep -q 'text/x-test' said
    s3cmd info "$bucket" >said
}
check "info" told
signed() {
    local url
    url=$(s3cmd signurl "$bucket/one" +60)
    # It signs URLs by version 2 of the signature only, which no region of S3 that is newer than 2014 takes.
    same "$(curl -s -o said -w '%{http_code}' "$url")" 400
    grep -q 'Signature Version 2' said
}
check "a URL that is signed by version 2 is refused with the reason" signed
check "du" s3cmd du "$bucket"
# It prints the bucket, a line of titles, and then the uploads.
uploads() { s3cmd multipart "$bucket" >said; same "$(tail -n +3 said)" ""; }
check "no upload is left" uploads
check "rm" s3cmd rm "$bucket/one"
check "rb of a bucket with objects is refused" fails_with 'BucketNotEmpty' s3cmd rb "$bucket"
empties() { s3cmd del --recursive --force "$bucket" && s3cmd rb "$bucket"; }
check "del of all, and rb" empties
