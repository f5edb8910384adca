# Makes a certification authority, a certificate of the gateway and a configuration that uses them; sourced by `run`.
mkdir "$WORK/tls"
(
    cd "$WORK/tls"
    exec 2>openssl.log
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj '/CN=A test authority' \
        -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign' -keyout ca.key -out ca.pem
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj '/CN=localhost' -keyout key.pem -out request.pem
    printf '%s\n' 'subjectAltName=DNS:s3.example.test,DNS:*.s3.example.test,IP:127.0.0.1' \
        'basicConstraints=CA:FALSE' 'extendedKeyUsage=serverAuth' 'authorityKeyIdentifier=keyid' >extensions
    openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out certificate.pem
    cat >domicile.toml <<'TOML'
data = "data"

[gateway]
domains = ["s3.example.test"]
idle-timeout-seconds = 2
header-timeout-seconds = 2
tls = { certificate = "certificate.pem", key = "key.pem" }

[node]
name = "clients"
domain = "clients.example.test"
country = "DE"

[geo]
on-site = ["127.0.0.0/8"]

[[app]]
id = "writer"
access-key-id = "WRITER"
secret-access-key = "a secret of the writer's"

[[app]]
id = "reader"
access-key-id = "READER"
secret-access-key = "a secret of the reader's"
buckets = ["shared-*"]
access = "read"

[[location]]
id = "cn-north"
country = "CN"
region = "cn-north-1"
provider = "test"
type = "embedded"
path = "locations/cn-north"

[[location]]
id = "eu-central"
country = "DE"
region = "eu-central-1"
provider = "test"
type = "embedded"
path = "locations/eu-central"

[[location]]
id = "us-east"
country = "US"
region = "us-east-1"
provider = "test"
type = "embedded"
path = "locations/us-east"
TOML
)
