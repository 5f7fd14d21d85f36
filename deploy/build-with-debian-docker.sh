#!/usr/bin/env bash
# Build and try the images on a Debian machine that reaches no container registry.
#
# The engine is Debian's (docker.io), started by hand in a fresh folder; a debootstrap system stands in for the
# python:*-slim image that the Dockerfiles start from. Everything is stopped and removed on exit.
#
#   apt-get install --no-install-recommends docker.io debootstrap docker-compose
#   deploy/build-with-debian-docker.sh [--keep] [--harness] [--stress]
#     --keep      leave the daemon and the images; prints how to use and how to stop them
#     --harness   build the load generator's image as well, and let it stress the service over the compose network
#     --stress    run `harness run scenarios/identify.yaml` of this checkout (.venv) against the container for 20 s
#
# Ends with 0 when all went well or when it had to skip (not root, a tool is missing, the daemon does not start).
set -euo pipefail
cd "$(dirname "$0")/.."

keep="" with_harness="" stress=""
for option in "$@"; do
    case $option in
        --keep) keep=1 ;;
        --harness) with_harness=1 ;;
        --stress) stress=1 ;;
        *) echo "unknown option $option; see the head of $0" >&2; exit 2 ;;
    esac
done

say() { printf '\n== %s\n' "$*"; }
skip() { echo "skipped: $*"; keep=""; exit 0; }
die() { echo "failed: $*" >&2; exit 1; }
since() { python3 -c 'import sys, time; print(f"{time.time() - float(sys.argv[1]):.1f} s")' "$1"; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

[ "$(id -u)" = 0 ] || skip "starting a Docker daemon needs root"
for tool in dockerd docker debootstrap docker-compose python3; do
    command -v "$tool" >/dev/null || skip "$tool is not installed (see the head of this script)"
done

# The daemon below would take the bridge away from one that runs already.
[ ! -e /sys/class/net/docker0 ] || skip "a Docker daemon is or was in use here (docker0 exists): build with that one"

base=$(sed -n 's/^FROM \([^ ]*\).*/\1/p' sample_service/Dockerfile | sort -u)
service_image=ml-harness/sample-service:local
harness_image=ml-harness/harness:local
folder=$(mktemp -d)
daemon=""
export DOCKER_HOST=unix://$folder/docker.sock DOCKER_BUILDKIT=0 COMPOSE_PROJECT_NAME=mlharness-trial
export COMPOSE_DOCKER_CLI_BUILD=0

stop_all() {
    status=$?
    [ -n "$daemon" ] || { rm -rf "$folder"; exit "$status"; }
    if [ -n "$keep" ] && [ "$status" = 0 ]; then
        say "kept: export DOCKER_HOST=$DOCKER_HOST DOCKER_BUILDKIT=0"
        echo "stop: docker ps -q | xargs -r docker stop; kill $daemon; then umount $folder/exec/netns/*; rm -rf $folder"
        exit 0
    fi
    say "stopping the containers and the daemon (pid $daemon)"
    docker-compose --profile load down -t 3 >/dev/null 2>&1 || true # takes its network away with it
    docker ps -aq 2>/dev/null | xargs -r docker rm -f >/dev/null 2>&1 || true
    kill "$daemon" 2>/dev/null || true
    for _ in $(seq 100); do kill -0 "$daemon" 2>/dev/null || break; sleep 0.1; done
    umount "$folder"/exec/netns/* 2>/dev/null || true
    rm -rf "$folder" || true
    exit "$status"
}
trap stop_all EXIT
trap 'exit 130' INT TERM

say "Docker daemon in a fresh folder"
# No default bridge and no packet filter: the network of this machine stays as it is.
setsid dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/dockerd.pid" \
    -H "$DOCKER_HOST" --bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
    >"$folder/dockerd.log" 2>&1 </dev/null &
daemon=$!
for _ in $(seq 60); do
    docker info >/dev/null 2>&1 && break
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.5
done
docker info >/dev/null 2>&1 || { tail -n 5 "$folder/dockerd.log"; skip "dockerd did not come up"; }
docker version --format 'client {{.Client.Version}}, daemon {{.Server.Version}}'

say "stand-in for $base (debootstrap)"
began=$(date +%s.%N)
root=$folder/rootfs
debootstrap --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv \
    bookworm "$root" >"$folder/debootstrap.log" 2>&1 || { tail -n 5 "$folder/debootstrap.log"; die "debootstrap"; }
rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
ln -sf python3 "$root/usr/bin/python"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
# What this machine needs to reach its package index goes into the stand-in alone, never into an image definition.
changes=(-c 'CMD ["python3"]')
if [ -f "${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}" ]; then
    cp "${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}" "$root/etc/ssl/certs/ca-certificates.crt"
    changes+=(-c 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt')
fi
for name in PIP_INDEX_URL PIP_TRUSTED_HOST PIP_DEFAULT_TIMEOUT; do
    [ -z "${!name:-}" ] || changes+=(-c "ENV $name=${!name}")
done
tar -C "$root" -c . | docker import "${changes[@]}" - "$base" >/dev/null
rm -rf "$root"
echo "ready after $(since "$began")"

build() { # dockerfile image
    say "docker build -f $1"
    began=$(date +%s.%N)
    docker build --network host -f "$1" -t "$2" . >"$folder/build.log" 2>&1 || { tail -n 30 "$folder/build.log"; die "$1 does not build"; }
    echo "$2: built in $(since "$began"), $(docker image inspect -f '{{.Size}}' "$2" | awk '{printf "%.0f MB", $1 / 1e6}')"
}

wait_healthy() { # container
    for _ in $(seq 120); do
        case $(docker inspect -f '{{.State.Status}}/{{.State.Health.Status}}' "$1") in
            running/healthy) return 0 ;;
            exited/*) break ;;
        esac
        sleep 0.5
    done
    docker logs --tail 20 "$1"
    docker inspect -f '{{json .State}}' "$1"
    die "$1 did not become healthy"
}

stressed() { # command: 0 passed, 1 an SLO missed, 3 too little for a verdict: the load was made all the same
    code=0
    "$@" || code=$?
    case $code in
        0 | 1 | 3) echo "exit code $code" ;;
        *) die "exit code $code from: $*" ;;
    esac
}

try_requests() { # base URL
    python3 - "$1" <<'PYTHON'
import glob, json, sys, urllib.error, urllib.request

def ask(request):
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()

def upload(path, field, name, content, kind):
    body = (f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\nContent-Type: {kind}\r\n\r\n'
            ).encode() + content + b"\r\n--edge--\r\n"
    return ask(urllib.request.Request(sys.argv[1] + path, body, {"Content-Type": "multipart/form-data; boundary=edge"}))

for path in ("/healthz", "/readyz"):
    status, answer = ask(sys.argv[1] + path)
    print(path, status, answer.decode()[:100])
    assert status == 200, path
images = sorted(glob.glob("scenarios/payloads/receipts/*.jpg"))[:1]
for image in images:
    status, answer = upload("/v1/read", "image", "receipt.jpg", open(image, "rb").read(), "image/jpeg")
    lines = json.loads(answer).get("lines", [])
    print("/v1/read", status, len(lines), "lines, the first:", lines[:1])
    assert status == 200 and lines, answer
status, answer = upload("/v1/read", "image", "notes.txt", b"this is not an image, " * 20, "image/jpeg")
print("/v1/read with text", status, answer.decode()[:120])
assert status == 415, status
PYTHON
}

build sample_service/Dockerfile "$service_image"
say "what is in the image"
docker run --rm --network none "$service_image" id
docker run --rm --network none "$service_image" python -c "
from importlib.metadata import distributions
names = {d.name.lower() for d in distributions()}
print(len(names), 'distributions; of the load generator:', sorted(names & {'locust', 'gevent', 'geventhttpclient', 'pandas', 'pyarrow'}) or 'none')"

say "one container, read-only, without capabilities, 1 CPU and 1 GiB"
port=$(free_port)
began=$(date +%s.%N)
# On the host's network a published port would collide, so the port is the container's own: command and probe name it.
container=$(docker run -d --network host --read-only --tmpfs /tmp --cap-drop ALL --cpus 1 --memory 1g \
    --health-cmd "python -I -S -c \"import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', $port, timeout=4); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)\"" \
    --health-interval 1s "$service_image" python -m sample_service --host 127.0.0.1 --port "$port")
wait_healthy "$container"
echo "healthy after $(since "$began") on 127.0.0.1:$port"
try_requests "http://127.0.0.1:$port"
docker exec "$container" id
if [ -n "$stress" ]; then
    say "harness run scenarios/identify.yaml, 20 s"
    stressed .venv/bin/harness run scenarios/identify.yaml --target "http://127.0.0.1:$port" --duration 20s --out "$folder/runs"
fi
docker stats --no-stream --format 'memory {{.MemUsage}}, {{.PIDs}} threads' "$container"
began=$(date +%s.%N)
docker stop "$container" >/dev/null
echo "docker stop: $(since "$began"), exit code $(docker inspect -f '{{.State.ExitCode}}' "$container")"
docker rm "$container" >/dev/null

say "docker-compose $(docker-compose version --short)"
docker-compose config -q
docker-compose --profile load config -q
export SERVICE_PORT
SERVICE_PORT=$(free_port)
docker-compose up -d --no-build service
wait_healthy "$(docker-compose ps -q service)"
try_requests "http://127.0.0.1:$SERVICE_PORT"
docker inspect -f 'limits: {{.HostConfig.NanoCpus}} nCPU, {{.HostConfig.Memory}} bytes; user {{.Config.User}}; read-only {{.HostConfig.ReadonlyRootfs}}' "$(docker-compose ps -q service)"
if [ -n "$with_harness" ]; then
    build deploy/harness.Dockerfile "$harness_image"
    say "the load generator over the compose network"
    mkdir "$folder/reports"
    chown 12345:12345 "$folder/reports"
    RUNS=$folder/reports HARNESS_USER=12345:12345 stressed docker-compose --profile load run --rm --no-deps -T harness \
        run deploy/compose-scenario.yaml --target http://service:8000 --duration 20s --out /runs
    ls -l "$folder"/reports/*
fi
began=$(date +%s.%N)
docker-compose down -t 10
echo "docker-compose down: $(since "$began")"
say "all went well"
