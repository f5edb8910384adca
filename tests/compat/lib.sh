# What the compatibility suites share; sourced by `run` after tests/clients/lib.sh.

# free_ports COUNT: ports that nobody listens on. They are all held until the last is found.
free_ports() {
    python3 -c '
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(one.getsockname()[1] for one in held))' "$1"
}

# wait_for_answer URL: until something speaks HTTP there.
wait_for_answer() {
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        if curl -s -o "$WORK/answer" "$1"; then return 0; fi
        sleep 0.2
    done
    return 1
}

# need_package PROGRAM PACKAGE: has apt install what the machine lacks.
need_package() {
    command -v "$1" >>"$WORK/found" && return
    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    echo "installing $2"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >>"$WORK/apt.log" 2>&1
}

# need_python: one environment for all Python suites, first in the PATH.
need_python() {
    local venv=$CACHE/venv
    [[ -x $venv/bin/python ]] || python3 -m venv "$venv"
    if ! cmp -s "$HERE/requirements.txt" "$venv/installed"; then
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$CLIENTS/requirements.txt" -r "$HERE/requirements.txt"
        cp "$HERE/requirements.txt" "$venv/installed"
    fi
    case :$PATH: in *:$venv/bin:*) ;; *) PATH=$venv/bin:$PATH ;; esac
}

need_node() {
    need_package npm npm
    mkdir -p "$CACHE/js"
    cp "$HERE"/js/* "$CACHE/js/"
    if ! cmp -s "$HERE/js/package-lock.json" "$CACHE/js/installed"; then
        HOME=$REAL_HOME npm ci --prefix "$CACHE/js" --no-audit --no-fund --silent >>"$WORK/npm.log" 2>&1
        cp "$HERE/js/package-lock.json" "$CACHE/js/installed"
    fi
}

# A project of its own, with its own lock file and target folder: nothing of it is in the gateway's build.
need_rust() {
    HOME=$REAL_HOME cargo build --quiet --locked --manifest-path "$HERE/rust/Cargo.toml" --target-dir "$CACHE/rust"
}

# make_bucket NAME: for clients that make none.
make_bucket() { HOME=$WORK/home aws --endpoint-url "$ENDPOINT" s3api create-bucket --bucket "$1" >"$WORK/made"; }

# under NAME COMMAND...: runs a suite with a home folder of its own; its checks join the sum, and so does that it ends badly.
under() {
    local name=$1 status=0
    shift
    printf '\n%s\n' "-- $name"
    HOME=$WORK/home "$@" | tee -a "$WORK/results" || status=$?
    ((status == 0)) || printf 'FAIL  %s ended with status %d\n' "$name" "$status" | tee -a "$WORK/results"
}

skipped() {
    printf '\n%s\n' "-- $1"
    printf 'SKIP  %s: %s\n' "$1" "$2" | tee -a "$WORK/results"
}

# start_backend NAME: the servers behind the gateway's four locations, and the gateway. Sets and exports ENDPOINT,
# ADMIN and ANNOUNCED.
start_backend() {
    case $1 in
        embedded) each_location embedded ;;
        s3s-fs) start_s3s_fs && each_location s3s_fs_location ;;
        garage) start_garage && each_location garage_location us-east-1 ;;
        rgw) start_ceph && each_location rgw_location us-east-1 ;;
        *) echo "there is no backend $1" >&2 && exit 2 ;;
    esac
    start_gateway compat --config "$WORK/domicile.toml"
    export ENDPOINT ADMIN ANNOUNCED
    # Where the scripts of tests/clients look.
    mkdir -p "$WORK/data"
    printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" \
        >"$WORK/data/credentials"
}

# each_location FUNCTION [REGION]: writes the configuration; the function prints what is particular to the location `$1`.
# REGION is that of a backend which has one for all, and takes no bucket that names another.
each_location() {
    local name country region
    {
        config_node "$WORK/data"
        config_app compat "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY"
        while read -r name country region; do
            config_location "$name" "$country" "${2:-$region}" test
            "$1" "$name"
        done <<'LOCATIONS'
cn-north CN cn-north-1
eu-central DE eu-central-1
us-east US us-east-1
in-west IN ap-south-1
LOCATIONS
    } >"$WORK/domicile.toml"
}

# config_node DATA: how each configuration begins.
config_node() {
    cat <<TOML
data = "$1"

[node]
name = "compat"
domain = "compat.example.test"
country = "DE"

[geo]
on-site = ["127.0.0.0/8"]
TOML
}

# config_app ID ACCESS_KEY_ID SECRET
config_app() { printf '\n[[app]]\nid = "%s"\naccess-key-id = "%s"\nsecret-access-key = "%s"\n' "$@"; }

# config_location ID COUNTRY REGION PROVIDER: all but where it is to be found.
config_location() { printf '\n[[location]]\nid = "%s"\ncountry = "%s"\nregion = "%s"\nprovider = "%s"\n' "$@"; }

embedded() { printf 'type = "embedded"\npath = "%s/locations/%s"\n' "$WORK" "$1"; }

# s3_location ENDPOINT KEY SECRET BUCKET
s3_location() {
    printf 'type = "s3"\nendpoint = "%s"\naccess-key-id = "%s"\nsecret-access-key = "%s"\nbucket = "%s"\n' "$@"
}
