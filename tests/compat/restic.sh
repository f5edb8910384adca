#!/usr/bin/env bash
# restic against a running gateway: a repository that is made, filled, checked, restored and pruned. Run by `run`.
set -euo pipefail
source "$CLIENTS/lib.sh"
cd "$(mktemp -d -p "$WORK")"

export RESTIC_REPOSITORY="s3:$ENDPOINT/compat-restic/backups" RESTIC_PASSWORD=test RESTIC_CACHE_DIR=$PWD/cache AWS_DEFAULT_REGION=us-east-1
mkdir -p tree/sub
for n in $(seq 1 40); do head -c $((n * 40000)) /dev/urandom >"tree/sub/file $n"; done

check "init" restic init
check "backup" restic backup --quiet tree
changes() { head -c 9000000 /dev/urandom >tree/new && rm 'tree/sub/file 7' && restic backup --quiet tree; }
check "backup of what changed" changes
check "two snapshots" same "$(restic snapshots --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))')" 2
check "check, reading all data" restic check --read-data
restores() { restic restore --quiet --target restored latest && diff -r tree restored/tree || diff -r tree "restored$PWD/tree"; }
check "restore" restores
prunes() {
    restic forget --quiet --keep-last 1 --prune
    same "$(restic snapshots --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))')" 1
    restic check --read-data
}
check "forget and prune, and all is still whole" prunes
locked() { restic unlock && restic list locks >said && same "$(cat said)" ""; }
check "no lock is left" locked
