# s3s-fs: a folder behind S3, one server a location; sourced by `run`.

start_s3s_fs() {
    (cd "$ROOT" && cargo build --quiet --locked --example s3s_fs)
}

s3s_fs_location() {
    local out=$WORK/s3s-fs-$1.out tries
    mkdir -p "$WORK/s3s-fs/$1"
    # It is read before the server may have opened it.
    : >"$out"
    "$TARGET/debug/examples/s3s_fs" "$WORK/s3s-fs/$1" >"$out" 2>"$out.err" &
    # each_location writes a file in this very shell, so that the pid is known to it.
    PIDS+=($!)
    for ((tries = 0; tries < 300 && $(wc -l <"$out") == 0; tries++)); do sleep 0.1; done
    s3_location "$(cat "$out")" AKIDLOCATION a-secret-of-the-location '{bucket}'
}
