#!/usr/bin/env bash
# What the gateways left behind, once they have stopped. Run by `run`; its argument is the status they stopped with.
set -euo pipefail
source "$HERE/lib.sh"

# Names, keys and metadata that the scripts use: none may be in what the gateways said on stderr.
no_names() {
    if grep -nE 'clinic|record\.txt|ledger|clients-|shared-|marker-' "$WORK"/demo.err "$WORK"/tls.err; then return 1; fi
}

has_events() {
    local report
    report=$("$DOMICILE" where s3://clinic/record.txt --data "$WORK/data" --format json)
    python -c 'import json, sys; where = json.load(sys.stdin); sys.exit(0 if where["location"] == "cn-north" else str(where))' \
        <<<"$report"
}

check "both gateways stop when asked, with status 0" same "$1" 0
for data in "$WORK/data" "$WORK/tls/data"; do
    name=${data#"$WORK/"}
    check "$name: audit verify accepts the log" "$DOMICILE" audit verify --data "$data"
    check "$name: the oracles accept the log, and refuse damaged copies of it" \
        python "$HERE/../oracles/tlog_check.py" "$data/log" --tamper
done
check "the traces hold no name of a bucket or an object" no_names
check "where answers while no gateway runs" has_events
