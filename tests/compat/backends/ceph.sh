# Ceph's RGW on one machine, in memory: one monitor, one manager, one storage daemon, one gateway; sourced by `run`.
#
# start_ceph sets RGW (the URL) and CEPH_CONF. Every daemon listens on loopback only, on ports that were free, and
# its pid joins PIDS: they stop with the other servers.

start_ceph() {
    local dir=$WORK/ceph mon mon_v1 rgw name tries
    need_package ceph-mon ceph-mon
    need_package ceph-mgr ceph-mgr
    need_package ceph-osd ceph-osd
    need_package radosgw radosgw
    need_package ceph ceph-common
    mkdir -p "$dir"/{mon,mgr,osd,log,run}
    read -r mon mon_v1 rgw < <(free_ports 3)
    RGW=http://127.0.0.1:$rgw
    CEPH_CONF=$dir/ceph.conf
    cat >"$CEPH_CONF" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = [v2:127.0.0.1:$mon,v1:127.0.0.1:$mon_v1]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
keyring = $dir/keyring
run dir = $dir/run
admin socket = $dir/run/\$name.\$pid.asok
log file = $dir/log/\$name.log
mon cluster log file = $dir/log/cluster.log
crash dir = $dir/log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
debug ms = 0
[mon]
mon data = $dir/mon/\$id
mon data avail warn = 1
mon data avail crit = 1
[mgr]
mgr data = $dir/mgr/\$id
mgr initial modules =
[osd]
osd data = $dir/osd/\$id
osd objectstore = memstore
memstore device bytes = 8589934592
osd max object name len = 4096
osd class load list = *
osd class default list = *
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:$rgw tcp_nodelay=1
rgw dns name = localhost
rgw enable usage log = false
rgw crypt require ssl = false
rgw lc debug interval = 10
rgw gc obj min wait = 10
CONF
    {
        ceph-authtool --create-keyring "$dir/keyring" --gen-key -n mon. --cap mon 'allow *'
        for name in client.admin mgr.x osd.0 client.rgw; do
            ceph-authtool "$dir/keyring" --gen-key -n "$name" --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
        done
        mkdir "$dir/mon/a" "$dir/mgr/x" "$dir/osd/0"
        monmaptool --create --fsid "$(sed -n 's/^fsid = //p' "$CEPH_CONF")" \
            --addv a "[v2:127.0.0.1:$mon,v1:127.0.0.1:$mon_v1]" "$dir/monmap"
        ceph-mon -c "$CEPH_CONF" -i a --mkfs --monmap "$dir/monmap" --keyring "$dir/keyring"
    } >"$dir/made.log" 2>&1
    # In the foreground of a job of ours, so that their pids are known.
    ceph-mon -c "$CEPH_CONF" -i a -f >"$dir/log/mon.out" 2>&1 &
    PIDS+=($!)
    ceph-mgr -c "$CEPH_CONF" -i x -f >"$dir/log/mgr.out" 2>&1 &
    PIDS+=($!)
    {
        ceph -c "$CEPH_CONF" osd create
        ceph-osd -c "$CEPH_CONF" -i 0 --mkfs
    } >>"$dir/made.log" 2>&1
    ceph-osd -c "$CEPH_CONF" -i 0 -f >"$dir/log/osd.out" 2>&1 &
    PIDS+=($!)
    for ((tries = 0; tries < 300; tries++)); do
        if ceph -c "$CEPH_CONF" osd stat 2>>"$dir/made.log" | grep -q '1 up'; then break; fi
        sleep 0.2
    done
    radosgw -c "$CEPH_CONF" -n client.rgw -f >"$dir/log/rgw.out" 2>&1 &
    PIDS+=($!)
    wait_for_answer "$RGW" || { echo "radosgw did not come up; see $dir/log" >&2; return 1; }
}

# rgw_user KEY SECRET ARGUMENT...: adds a user; the arguments are those of `radosgw-admin user create`.
rgw_user() {
    local key=$1 secret=$2
    shift 2
    radosgw-admin -c "$CEPH_CONF" -n client.rgw user create --access-key "$key" --secret-key "$secret" --max-buckets 0 "$@" \
        >>"$WORK/ceph/made.log" 2>&1
}

# Each location is a tenant: bucket names are the tenant's own. A tenant has no hyphen in its name.
rgw_location() {
    rgw_user "KEY$1" "secret-of-$1" --tenant "${1//-/_}" --uid gateway --display-name gateway
    s3_location "$RGW" "KEY$1" "secret-of-$1" '{bucket}'
}
