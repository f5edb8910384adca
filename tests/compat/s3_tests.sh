# Ceph's s3-tests: against RGW itself, then through the gateway in front of that RGW, with one location and with two; sourced by `run`.
#
# The suite is not kept here. Get it once:
#
#   git clone https://github.com/ceph/s3-tests && git -C s3-tests checkout 8f0ae7b
#
# and name the folder in S3_TESTS_DIR. The tests that pass directly are those that run through the gateway; each that
# fails there must stand in s3_tests_expected.toml with a reason. `S3_TESTS_WRITE=1` writes the table of
# docs/compatibility.md anew. Tests that use signatures of version 2 or public buckets on their way to something else run once
# more without (s3_tests_adapted.py). S3_TESTS_JOBS (2) tests run at the same time; S3_TESTS_ONLY is a pytest expression for a part.

# Its modules for IAM, STS, SNS and S3 Select are about services that are outside of the gateway.
S3_TESTS_MODULES=(s3tests/functional/test_s3.py s3tests/functional/test_headers.py)
# It has crashed radosgw 16.2.
S3_TESTS_NOT=s3tests/functional/test_s3.py::test_upload_part_copy_percent_encoded_key

s3_tests() {
    local results=$CACHE/s3-tests venv=$CACHE/s3-tests-venv locations arguments=()
    if [[ ! -f "${S3_TESTS_DIR:-}/s3tests/functional/test_s3.py" ]]; then
        skipped s3-tests "S3_TESTS_DIR does not name a clone of it; see tests/compat/s3_tests.sh"
        return
    fi
    [[ -x $venv/bin/pytest ]] || {
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$HERE/s3_tests_requirements.txt"
    }
    mkdir -p "$results"
    rm -f "$results"/*.xml
    [[ -n "${RGW:-}" ]] || start_ceph
    s3_tests_users
    printf '\n%s\n' "-- s3-tests: RGW itself"
    s3_tests_run direct "$RGW" "${S3_TESTS_MODULES[@]}"
    # Only what passes there can be lost on the way.
    python3 "$HERE/s3_tests_table.py" passed "$results/direct.xml" >"$results/passed"
    for locations in one two; do
        printf '\n%s\n' "-- s3-tests: through the gateway, locations: $locations"
        s3_tests_gateway "$locations"
        s3_tests_run "$locations" "$ENDPOINT" "@$results/passed"
        arguments+=(--through "$locations=$results/$locations.xml")
        [[ $locations != one ]] || s3_tests_adapted
    done
    [[ -z "${S3_TESTS_WRITE:-}" ]] || arguments+=(--write "$ROOT/docs/compatibility.md")
    under s3-tests python3 "$HERE/s3_tests_table.py" compare --direct "$results/direct.xml" \
        --adapted "$results/one-adapted.xml" --expected "$HERE/s3_tests_expected.toml" "${arguments[@]}"
}

# Some once more, through the gateway that runs, in today's words.
s3_tests_adapted() {
    python3 "$HERE/s3_tests_table.py" adapted "$results/direct.xml" --expected "$HERE/s3_tests_expected.toml" >"$results/adapted"
    s3_tests_run one-adapted "$ENDPOINT" "@$results/adapted"
}

# The users that the suite's own configuration names.
s3_tests_users() {
    rgw_user 0555b35654ad1656d804 'h7GhxuBLTrlhVUyxSPUKUV8r/2EI4ngqJxD7iBdBYLhwluN30JaT3Q==' \
        --uid testid --display-name 'M. Tester' --email tester@ceph.com
    rgw_user NOPQRSTUVWXYZABCDEFG nopqrstuvwxyzabcdefghijklmnabcdefghijklm \
        --uid 56789abcdef0123456789abcdef0123456789abcdef0123456789abcdef01234 --display-name john.doe --email john.doe@example.com
    rgw_user HIJKLMNOPQRSTUVWXYZA opqrstuvwxyzabcdefghijklmnopqrstuvwxyzab --tenant testx \
        --uid 9876543210abcdef0123456789abcdef0123456789abcdef0123456789abcdef --display-name tenanteduser --email tenanteduser@example.com
    rgw_user ABCDEFGHIJKLMNOPQRST abcdefghijklmnopqrstuvwxyzabcdefghijklmn \
        --uid 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef --display-name youruseridhere --email s3@example.com
}

# s3_tests_run NAME ENDPOINT TEST...: what fails is for the comparison to judge.
s3_tests_run() {
    local name=$1 address=${2#http://} config=$WORK/s3-tests-$1.conf region=default owner=testid plugin=()
    # What a bucket's constraint may name: RGW's own region, that of a location, or its id.
    [[ $1 != one* ]] || region=home
    # The gateway knows apps by their ids and gives them no other name.
    [[ $1 != direct ]] || owner='M. Tester'
    shift 2
    # In today's words, see s3_tests_adapted.py.
    [[ $name != *-adapted ]] || plugin=(-p s3_tests_adapted)
    sed -e "s/^host = localhost/host = ${address%:*}/" -e "s/^port = 8000/port = ${address#*:}/" \
        -e "s/^api_name = default/api_name = $region/" \
        -e "s/^display_name = M. Tester/display_name = $owner/" \
        "$S3_TESTS_DIR/s3tests.conf.SAMPLE" >"$config"
    (
        cd "$S3_TESTS_DIR"
        S3TEST_CONF=$config HOME=$WORK/home AWS_MAX_ATTEMPTS=2 PYTHONPATH=$HERE S3_TESTS_REGION=us-east-1 \
            "$CACHE/s3-tests-venv/bin/pytest" --quiet --tb=short -p no:cacheprovider \
            -n "${S3_TESTS_JOBS:-2}" --timeout 300 --deselect "$S3_TESTS_NOT" ${S3_TESTS_ONLY:+-k "$S3_TESTS_ONLY"} \
            ${plugin[@]+"${plugin[@]}"} --junitxml "$CACHE/s3-tests/$name.xml" "$@" >"$CACHE/s3-tests/$name.log" 2>&1
    ) || true
    tail -n 1 "$CACHE/s3-tests/$name.log"
}

# s3_tests_gateway one|two: a gateway whose apps have the suite's own keys. With two, a rule sends some of its keys to the
# second location, so that lists, copies and deletes span both.
s3_tests_gateway() {
    local config=$WORK/s3-tests-$1.toml
    rgw_user "KEY$1" "secret-of-$1" --tenant "$1" --uid gateway --display-name gateway
    {
        config_node "$WORK/s3-tests-$1"
        printf '\n[gateway]\ndomains = ["localhost"]\n'
        config_app testid 0555b35654ad1656d804 'h7GhxuBLTrlhVUyxSPUKUV8r/2EI4ngqJxD7iBdBYLhwluN30JaT3Q=='
        config_app john.doe NOPQRSTUVWXYZABCDEFG nopqrstuvwxyzabcdefghijklmnabcdefghijklm
        config_app tenanteduser HIJKLMNOPQRSTUVWXYZA opqrstuvwxyzabcdefghijklmnopqrstuvwxyzab
        config_app youruseridhere ABCDEFGHIJKLMNOPQRST abcdefghijklmnopqrstuvwxyzabcdefghijklmn
        config_location home DE us-east-1 ceph
        s3_location "$RGW" "KEY$1" "secret-of-$1" '{bucket}'
        if [[ $1 == two ]]; then
            rgw_user KEYother secret-of-other --tenant other --uid gateway --display-name gateway
            config_location other CN default ceph
            s3_location "$RGW" KEYother secret-of-other '{bucket}'
            printf '\n[[label.rule]]\nid = "elsewhere"\nkey = "{b,c,*2,*4,*6,foo,foo1,*o*}"\nclasses = ["state.important"]\nsubjects = ["CN"]\n'
        fi
    } >"$config"
    start_gateway "s3-tests-$1" --config "$config"
}
