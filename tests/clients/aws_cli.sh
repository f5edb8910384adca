#!/usr/bin/env bash
# AWS CLI against the built-in configuration. Run by `run`.
set -euo pipefail
source "$HERE/lib.sh"
cd "$(mktemp -d -p "$WORK")"

# What a new user does: the lines that `serve` printed, as they are, in one shell.
sed -n '/^A first object/,$p' "$ANNOUNCED" | { grep -E "^(export|aws|')" || true; } >first_lines
# A gateway with a configuration of its own prints none; then whoever runs this has set credentials.
if [[ -z "${AWS_ACCESS_KEY_ID:-}" ]]; then
    first_line() { sed -n "${1}p" first_lines >line && { cat line; source line; }; }
    second_line() { eval "$(sed -n 1p first_lines | sed 's/;.*//')"; same "$(eval "$(sed -n 2p first_lines)")" 'blood group: 0'; }
    third_line() {
        local said
        said=$(eval "$(sed -n 3p first_lines)")
        grep -q 'cn-north' <<<"$said" && grep -q 'personal.health' <<<"$said" || { echo "$said"; return 1; }
    }
    check "serve prints three lines to paste" same "$(wc -l <first_lines | tr -d ' ')" 3
    check "the first line makes a bucket and puts an object" first_line 1
    check "the second line reads the object" second_line
    check "the third line explains where the object rests" third_line
    # From here on as a script would be set up.
    eval "$(sed -n 1p first_lines | sed 's/;.*//')"
else
    export AWS_ENDPOINT_URL=$ENDPOINT
fi
header() { python -c 'import json, sys; print(json.load(sys.stdin).get(sys.argv[1], ""))' "$1"; }
head -c 20971520 /dev/urandom >big
head -c 70000 /dev/urandom >small

check "mb" aws s3 mb s3://ledger
copies_both_ways() { aws s3 cp small s3://ledger/small && aws s3 cp s3://ledger/small back && cmp small back; }
check "cp of a small file, both ways" copies_both_ways
copies_big() { aws s3 cp --no-progress big s3://ledger/big && aws s3 cp --no-progress s3://ledger/big back && cmp big back; }
check "cp of 20 MiB, both ways, in parts" copies_big
streams() { aws s3 cp - s3://ledger/streamed <small && aws s3 cp s3://ledger/streamed - | cmp small -; }
check "cp from stdin and to stdout" streams
odd_names() {
    local key='año 2026/日本 +&=%?#~!(1)'\''.txt'
    aws s3 cp small "s3://ledger/$key" && aws s3 cp "s3://ledger/$key" back && cmp small back
    aws s3 ls "s3://ledger/año 2026/" >listed && grep -qF "日本 +&=%?#~!(1)'.txt" listed
    aws s3 rm "s3://ledger/$key"
}
check "keys with spaces, signs and other scripts" odd_names
lists() {
    aws s3 ls >buckets && aws s3 ls s3://ledger >objects
    grep -q ' ledger$' buckets && grep -Eq ' 20971520 big$' objects
}
check "ls" lists
check "mv" aws s3 mv s3://ledger/small s3://ledger/moved/small
moved() { aws s3 ls s3://ledger/moved/ >listed && grep -q small listed && fails_with '404|Not Found' aws s3 cp s3://ledger/small back; }
check "mv leaves nothing behind" moved
check "rm" aws s3 rm s3://ledger/moved/small
removed() { fails_with '' aws s3 ls s3://ledger/moved/; }
check "ls of what is gone fails" removed
syncs() {
    mkdir -p tree/a/b && for n in 1 2 3 4 5; do echo "file $n" | tee "tree/$n" >"tree/a/b/$n"; done
    aws s3 sync tree s3://ledger/tree && aws s3 sync s3://ledger/tree tree-back && diff -r tree tree-back
    same "$(aws s3 sync tree s3://ledger/tree)" ''
    rm tree/3 && aws s3 sync --delete tree s3://ledger/tree
    same "$(aws s3 ls --recursive s3://ledger/tree/ | wc -l | tr -d ' ')" 9
    aws s3 rm --recursive s3://ledger/tree && fails_with '' aws s3 ls s3://ledger/tree/
}
check "sync both ways, again without work, and with --delete" syncs
presigns() {
    # This AWS CLI still presigns with version 2 where nobody says otherwise, which is refused in so many words.
    curl -sS "$(aws s3 presign s3://ledger/big)" >answer && grep -q AWS4-HMAC-SHA256 answer || { cat answer; return 1; }
    aws configure set default.s3.signature_version s3v4
    curl -fsS "$(aws s3 presign s3://ledger/big)" | cmp big -
    aws s3 presign s3://ledger/big >url && sed 's,/big?,/streamed?,' url >tampered
    same "$(curl -sS -o answer -w '%{http_code}' "$(cat tampered)")" 403
    grep -q '<Code>SignatureDoesNotMatch</Code>' answer
}
check "presign, and a tampered URL" presigns

head_object() {
    aws s3api put-object --bucket ledger --key headed --body small --content-type text/x-ledger \
        --cache-control max-age=60 --metadata note=marker-metadata >put.json
    aws s3api head-object --bucket ledger --key headed >head.json
    same "$(header ContentType <head.json) $(header ContentLength <head.json) $(header CacheControl <head.json)" \
        'text/x-ledger 70000 max-age=60'
    same "$(header ETag <head.json)" "$(header ETag <put.json)"
    same "$(header ETag <head.json)" "\"$(md5sum <small | cut -d' ' -f1)\""
    grep -q '"note": "marker-metadata"' head.json
    fails_with '\(404\)' aws s3api head-object --bucket ledger --key nothing
}
check "s3api head-object" head_object
pages() {
    local token='' keys='' count=0
    for n in 0 1 2 3 4 5 6; do
        aws s3api put-object --bucket ledger --key "pages/$n" --body tree/1 >put.json
    done
    while :; do
        aws s3api list-objects-v2 --no-paginate --bucket ledger --prefix pages/ --max-keys 3 \
            ${token:+--continuation-token "$token"} >page.json
        keys+=$(python -c 'import json; print("".join(o["Key"][-1] for o in json.load(open("page.json"))["Contents"]))')
        count=$((count + 1))
        token=$(header NextContinuationToken <page.json)
        [[ -n "$token" ]] || break
    done
    same "$count $keys" '3 0123456'
    same "$(aws s3api list-objects-v2 --bucket ledger --prefix pages/ --page-size 2 --query 'length(Contents)')" 7
    same "$(aws s3api list-objects --bucket ledger --prefix pages/ --page-size 2 --query 'length(Contents)')" 7
    same "$(aws s3api list-objects-v2 --bucket ledger --delimiter / --query 'CommonPrefixes[].Prefix' --output text)" pages/
}
check "s3api list-objects-v2, page by page" pages
ranges() {
    aws s3api get-object --bucket ledger --key big --range bytes=1000-1999 part >get.json
    cmp part <(tail -c +1001 big | head -c 1000)
    same "$(header ContentRange <get.json)" 'bytes 1000-1999/20971520'
    aws s3api get-object --bucket ledger --key big --range bytes=-10 part >get.json && cmp part <(tail -c 10 big)
    fails_with InvalidRange aws s3api get-object --bucket ledger --key big --range bytes=20971520- part
}
check "s3api get-object --range" ranges
copy_object() {
    aws s3api copy-object --bucket ledger --key copied --copy-source ledger/headed >copy.json
    aws s3api head-object --bucket ledger --key copied >head.json && grep -q '"note": "marker-metadata"' head.json
    aws s3api copy-object --bucket ledger --key copied --copy-source ledger/headed --metadata-directive REPLACE --metadata other=1
    aws s3api head-object --bucket ledger --key copied >head.json
    if grep marker-metadata head.json; then return 1; fi
    fails_with NoSuchKey aws s3api copy-object --bucket ledger --key copied --copy-source ledger/nothing
}
check "s3api copy-object" copy_object
home_location() {
    aws s3api create-bucket --bucket ledger-eu --create-bucket-configuration LocationConstraint=eu-central-1
    same "$(aws s3api get-bucket-location --bucket ledger-eu --output text)" eu-central-1
    fails_with InvalidLocationConstraint aws s3api create-bucket --bucket ledger-no \
        --create-bucket-configuration LocationConstraint=mars-1
    aws s3api head-bucket --bucket ledger-eu
    fails_with '404' aws s3api head-bucket --bucket ledger-no
}
check "s3api create-bucket with LocationConstraint" home_location
big_copy() {
    aws s3 cp --no-progress s3://ledger/big s3://ledger-eu/big && aws s3 cp --no-progress s3://ledger-eu/big back && cmp big back
    "$DOMICILE" where s3://ledger-eu/big --data "$WORK/data" >said && grep -q 'eu-central' said || { cat said; return 1; }
}
check "cp of 20 MiB from bucket to bucket, into another country" big_copy
delete_objects() {
    aws s3api delete-objects --bucket ledger --delete \
        'Objects=[{Key=pages/0},{Key=pages/1},{Key=pages/never}]' --query 'length(Deleted)' >deleted
    same "$(cat deleted)" 3
    same "$(aws s3api list-objects-v2 --bucket ledger --prefix pages/ --query 'length(Contents)')" 5
}
check "s3api delete-objects" delete_objects
tags() {
    aws s3api put-object --bucket ledger --key tagged --body small --tagging 'data-class=non_personal&team=a%20b' >put.json
    aws s3api get-object-tagging --bucket ledger --key tagged >tags.json
    grep -q '"a b"' tags.json && grep -q '"non_personal"' tags.json
}
check "s3api get-object-tagging" tags
multipart_by_hand() {
    local id
    id=$(aws s3api create-multipart-upload --bucket ledger --key by-hand --query UploadId --output text)
    aws s3api upload-part --bucket ledger --key by-hand --upload-id "$id" --part-number 1 --body big >part.json
    same "$(aws s3api list-parts --bucket ledger --key by-hand --upload-id "$id" --query 'Parts[].Size' --output text)" 20971520
    same "$(aws s3api list-multipart-uploads --bucket ledger --query 'Uploads[].UploadId' --output text)" "$id"
    aws s3api abort-multipart-upload --bucket ledger --key by-hand --upload-id "$id"
    fails_with NoSuchUpload aws s3api list-parts --bucket ledger --key by-hand --upload-id "$id"
}
check "s3api multipart by hand, and abort" multipart_by_hand
refused() {
    fails_with 'AccessDenied.*RU-152-18-5.*Remedy' aws s3api put-object --bucket ledger --key marker-refused --body small \
        --tagging 'data-class=personal&subject-country=RU'
    fails_with '404' aws s3api head-object --bucket ledger --key marker-refused
    fails_with InvalidTag aws s3api put-object --bucket ledger --key marker-refused --body small --tagging 'data-class=moonlight'
}
check "labels that no location may hold: AccessDenied, with the rule" refused
refused_in_parts() {
    fails_with 'AccessDenied.*RU-152-18-5.*Remedy' aws s3api create-multipart-upload --bucket ledger --key marker-refused \
        --tagging 'data-class=personal&subject-country=RU'
}
check "and the same for an upload in parts" refused_in_parts
unimplemented() { fails_with NotImplemented aws s3api put-bucket-policy --bucket ledger --policy '{"Statement": []}'; }
check "what is not the gateway's business is NotImplemented" unimplemented
wrong_keys() {
    AWS_ACCESS_KEY_ID=NOBODY AWS_SECRET_ACCESS_KEY=x fails_with InvalidAccessKeyId aws s3api head-object --bucket ledger --key big \
        || AWS_ACCESS_KEY_ID=NOBODY AWS_SECRET_ACCESS_KEY=x fails_with InvalidAccessKeyId aws s3api list-buckets
    local id
    id=$(aws configure get aws_access_key_id)
    AWS_ACCESS_KEY_ID=$id AWS_SECRET_ACCESS_KEY=x fails_with SignatureDoesNotMatch aws s3api list-buckets
}
check "wrong keys" wrong_keys
removes_bucket() {
    fails_with BucketNotEmpty aws s3 rb s3://ledger-eu
    aws s3 rb --force s3://ledger-eu && fails_with NoSuchBucket aws s3 ls s3://ledger-eu
}
check "rb, and rb --force" removes_bucket
