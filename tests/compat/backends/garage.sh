# Garage, a single node; sourced by `run`. All four locations are buckets of it, by their names.

GARAGE_VERSION=2.5.0
GARAGE_KEY=GK0123456789abcdef01234567
GARAGE_SECRET=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef

start_garage() {
    local dir=$WORK/garage s3 rpc admin node tries
    # Half an hour of compiling; once.
    if [[ ! -x $CACHE/bin/garage ]]; then
        HOME=$REAL_HOME cargo install --quiet --locked garage --version "$GARAGE_VERSION" --root "$CACHE"
    fi
    mkdir "$dir"
    read -r s3 rpc admin < <(free_ports 3)
    GARAGE=http://127.0.0.1:$s3
    cat >"$dir/garage.toml" <<TOML
metadata_dir = "$dir/meta"
data_dir = "$dir/data"
db_engine = "lmdb"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$rpc"
rpc_public_addr = "127.0.0.1:$rpc"
rpc_secret = "$(openssl rand -hex 32)"

[s3_api]
s3_region = "us-east-1"
api_bind_addr = "127.0.0.1:$s3"
root_domain = ".s3.localhost"

[admin]
api_bind_addr = "127.0.0.1:$admin"
admin_token = "$(openssl rand -hex 16)"
TOML
    chmod 600 "$dir/garage.toml"
    garage() { RUST_LOG=garage=warn "$CACHE/bin/garage" -c "$dir/garage.toml" "$@"; }
    RUST_LOG=garage=warn "$CACHE/bin/garage" -c "$dir/garage.toml" server >"$dir/garage.log" 2>&1 &
    PIDS+=($!)
    for ((tries = 0; tries < 150; tries++)); do
        if garage status >"$dir/status" 2>&1; then break; fi
        sleep 0.2
    done
    {
        node=$(garage node id -q | cut -d@ -f1)
        garage layout assign -z dc1 -c 10G "$node"
        garage layout apply --version 1
        garage key import --yes "$GARAGE_KEY" "$GARAGE_SECRET" -n compat
        garage key allow --create-bucket "$GARAGE_KEY"
    } >"$dir/set-up.log" 2>&1
}

garage_location() { s3_location "$GARAGE" "$GARAGE_KEY" "$GARAGE_SECRET" "$1-{bucket}"; }
