# What the client tests share; sourced, never run.

# check NAME COMMAND...: one line a check. The command runs with `set -e` in a subshell of its own; what it printed
# is shown only when it fails.
check() {
    local name=$1 status=0
    shift
    # Not as a condition: bash would switch `set -e` off inside.
    set +e
    (
        set -euo pipefail
        "$@"
    ) >"$WORK/check.out" 2>&1
    status=$?
    set -e
    if ((status == 0)); then
        printf 'ok    %s\n' "$name"
    else
        printf 'FAIL  %s (status %d)\n' "$name" "$status"
        sed 's/^/      | /' "$WORK/check.out"
    fi
}

# same A B: two texts are equal; says how they differ where they are not.
same() {
    [[ "$1" == "$2" ]] || { printf 'expected: %s\ngot:      %s\n' "$2" "$1"; return 1; }
}

# fails_with PATTERN COMMAND...: the command fails, and says so in words that match.
fails_with() {
    local pattern=$1 said status=0
    shift
    said=$("$@" 2>&1) || status=$?
    ((status != 0)) || { printf 'it succeeded: %s\n' "$said"; return 1; }
    grep -Eq -- "$pattern" <<<"$said" || { printf 'no match for /%s/ in: %s\n' "$pattern" "$said"; return 1; }
}

# start_gateway NAME ARGUMENT...: starts a gateway, waits until it is ready, and sets
# ENDPOINT, ADMIN and ANNOUNCED (the file with what it printed). Its pid joins PIDS.
start_gateway() {
    local name=$1 pid
    shift
    ANNOUNCED="$WORK/$name.out"
    # It is read before the gateway may have opened it.
    : >"$ANNOUNCED"
    "$DOMICILE" serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 "$@" >"$ANNOUNCED" 2>"$WORK/$name.err" &
    pid=$!
    PIDS+=("$pid")
    for ((tries = 0; tries < 600; tries++)); do
        if ENDPOINT=$(sed -n 's/^Domicile .* serves S3 at \(http[^ ]*\)$/\1/p' "$ANNOUNCED") && [[ -n "$ENDPOINT" ]]; then
            ADMIN=$(sed -n 's/.* at \(http:[^ ]*\)\/healthz.*/\1/p' "$ANNOUNCED")
            if curl -fsS -o "$WORK/ready" "$ADMIN/readyz" 2>"$WORK/ready.err"; then return 0; fi
        fi
        kill -0 "$pid" 2>"$WORK/ready.err" || break
        sleep 0.1
    done
    echo "the gateway $name did not become ready:" >&2
    cat "$ANNOUNCED" "$WORK/$name.err" >&2
    return 1
}

# stop_gateways: asks each to stop, and waits for it: it finishes what is in flight. The last first: they lean on those that
# were started before them, and some wait for those when they stop.
stop_gateways() {
    local n pid status=0
    for ((n = ${#PIDS[@]} - 1; n >= 0; n--)); do
        pid=${PIDS[n]}
        kill -TERM "$pid" 2>"$WORK/stop.err" || true
        wait "$pid" || status=$?
    done
    PIDS=()
    return "$status"
}
