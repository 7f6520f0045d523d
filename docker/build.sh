#!/usr/bin/env bash
# Build the images and check what is in them; no GPU is needed.
#
#   docker/build.sh                       on the bases that the Dockerfiles name, with the Docker daemon that runs
#   sudo docker/build.sh --stand-in       where no registry can be asked: on a small Debian in place of those bases
#
#   --images LIST         some of export,runtime,serve,cpp (default: all; with --stand-in all but cpp)
#   --wheels DIR          wheels the export image takes before it asks an index: torch, where its index cannot be asked
#   --build-arg NAME=TEXT is passed on to each build that knows NAME; can be repeated
#   --stand-in            debootstrap makes the bases, under their names, in a Docker daemon of this command's own, which is
#                         stopped at the end: nothing that runs elsewhere takes them for NVIDIA's. As root.
#   --work DIR            with --stand-in: where bases and layers are kept for the next time (default: they are deleted)
# shellcheck disable=SC2310 # what is asked with || is one command, behind which nothing could run on
set -euo pipefail

readonly BASE=nvidia/cuda:13.0.1-base-ubuntu24.04 DEVEL=nvidia/cuda:13.0.1-devel-ubuntu24.04
readonly SUITE=bookworm MIRROR=http://deb.debian.org/debian NEEDED_GIB=12
root=$(cd "$(dirname "$0")/.." && pwd)
images="" wheels="" kept="" stand_in=0 work="" data="" daemon=""
build=(build)

refuse() {
  echo "build.sh: $1" >&2
  exit 1
}

need() { # PROGRAM DEBIAN-PACKAGE
  command -v "$1" >/dev/null || refuse "expected the program $1, found none; install it (Debian: apt-get install $2)"
}

read_options() {
  while (($#)); do
    case "$1" in
    --stand-in) stand_in=1 && shift && continue ;;
    --images | --wheels | --work | --build-arg) (($# > 1)) || refuse "expected a value after $1, found none" ;;
    *) refuse "expected --images, --wheels, --build-arg, --stand-in or --work, found '$1'" ;;
    esac
    case "$1" in
    --images) images=$2 ;;
    --wheels) wheels=$2 ;;
    --work) kept=$2 ;;
    *) build+=(--build-arg "$2") ;;
    esac
    shift 2
  done
}

check_options() {
  local image known=export,runtime,serve,cpp
  ((!stand_in)) || known=export,runtime,serve # cpp needs NVIDIA's Debian packages, which no stand-in has
  images=${images:-$known}
  for image in ${images//,/ }; do
    [[ ,$known, == *",$image,"* ]] || refuse "--images: expected some of $known, found '$image'"
  done
  [[ -z $kept || $stand_in == 1 ]] || refuse "--work: expected --stand-in with it; without, Docker itself keeps layers"
  [[ -z $wheels ]] || compgen -G "$wheels/*.whl" >/dev/null || refuse "--wheels: expected wheels in $wheels, found none"
}

need_space() { # FOLDER
  local free
  free=$(($(df --output=avail --block-size=1M "$1" | tail -n 1) / 1024))
  ((free >= NEEDED_GIB)) || refuse "expected $NEEDED_GIB GiB free in $1, found $free; free some, or name another folder"
}

stop() { # End what was started here, and delete what was made; mounts that are left are never followed.
  if [[ -n $daemon ]]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  umount "$work"/exec/netns/* 2>/dev/null || true
  rm -rf --one-file-system "$work"
  [[ -z $data || -n $kept ]] || rm -rf --one-file-system "$data"
}

start_daemon() { # Without a bridge and rules of its own, which need more of the kernel than layers do.
  export DOCKER_HOST="unix://$work/docker.sock"
  dockerd --iptables=false --ip6tables=false --bridge=none --data-root "$data/docker" --exec-root "$work/exec" \
    --pidfile "$work/docker.pid" --host "$DOCKER_HOST" >"$data/dockerd.log" 2>&1 &
  daemon=$!
  for _ in {1..60}; do
    ! docker version >/dev/null 2>&1 || return 0
    kill -0 "$daemon" 2>/dev/null || break
    sleep 1
  done
  refuse "expected dockerd to start, it said: $(tail -n 1 "$data/dockerd.log")"
}

make_bases() { # The certificates of this machine go in, so that pip reaches what it reaches here.
  if docker image inspect "$BASE" "$DEVEL" >/dev/null 2>&1; then return; fi
  local tree=$work/debian
  debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$tree" "$MIRROR" >"$data/debootstrap.log" 2>&1 ||
    refuse "expected a Debian $SUITE from $MIRROR, debootstrap said: $(tail -n 1 "$data/debootstrap.log")"
  if [[ -r /etc/ssl/certs/ca-certificates.crt ]]; then
    cp /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/"
  fi
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$tree/etc/pip.conf"
  tar --directory "$tree" --one-file-system --exclude './var/cache/apt/archives/*' --create . |
    docker import - "$BASE" >/dev/null
  mkdir "$work/devel"
  cp "$root"/docker/scripts/{install_system,stand_in_toolkit}.sh "$work/devel/"
  docker build --network host --tag "$DEVEL" --file - "$work/devel" <<DOCKERFILE || refuse "the base $DEVEL was not made"
FROM $BASE
COPY install_system.sh stand_in_toolkit.sh /tmp/
RUN /tmp/install_system.sh build && CUDA_ROOT=/usr/local/cuda /tmp/stand_in_toolkit.sh
DOCKERFILE
}

# What the Dockerfiles may copy, by .dockerignore, and the wheels: the checkout itself is left as it is.
make_context() {
  local name
  mkdir "$work/context"
  cp "$root/.dockerignore" "$work/context/"
  while read -r name; do
    cp -R "$root/$name" "$work/context/"
  done < <(sed -n 's/^!//p' "$root/.dockerignore")
  [[ -z $wheels ]] || cp "$wheels"/*.whl "$work/context/docker/wheels/"
}

build_image() { # NAME
  local began=$SECONDS
  docker "${build[@]}" --tag "y12-$1" --file "$work/context/docker/$1.Dockerfile" "$work/context" ||
    refuse "the image y12-$1 was not built; what stopped it stands above"
  echo "built y12-$1 in $((SECONDS - began)) s: $(($(docker image inspect --format '{{.Size}}' "y12-$1") / 1000000)) MB"
}

in_image() { # As compose.yaml runs it, without network, as somebody who is not in the image.
  docker run --rm --network none --user 12345:12345 --cap-drop ALL --security-opt no-new-privileges:true --read-only \
    --tmpfs /tmp --volume "$work/data:/data" "$@"
}

check_export() {
  in_image y12-export --format engine --half || refuse "y12-export: the demo model was not exported in its image"
  [[ -n $(find "$work/data" -name '*.engine' -uid 12345) ]] ||
    refuse "y12-export: expected an engine of user 12345 in the mounted folder, found $(ls "$work/data")"
  in_image --entrypoint python y12-export -c "import torch; print('torch', torch.__version__, 'in y12-export')"
}

check_runtime() {
  local said status=0
  in_image y12-runtime /opt/y12/check_runtime.sh || refuse "y12-runtime: its own check refuses it"
  said=$(in_image y12-runtime python -m y12.runtime.cli.health 2>&1) || status=$?
  [[ $status == 1 && $said == "error: expected an NVIDIA driver"* && $said != *$'\n'* ]] ||
    refuse "y12-runtime: expected its health check to say in one line that there is no GPU, found ($status) $said"
  echo "the health check in y12-runtime, without a GPU: $said"
  in_image y12-runtime python -c "import tensorrt_rtx" 2>/dev/null || in_image y12-runtime python -c "import tensorrt" ||
    refuse "y12-runtime: expected TensorRT in it"
  find "$work/data" -name '*.engine' -printf '%P\n' | while read -r said; do
    in_image y12-runtime y12-inspect "$said" || refuse "y12-runtime: expected it to read the engine of y12-export"
  done
}

check_serve() { # On a drawn scene, where an export left the demo model.
  local model
  in_image --entrypoint /opt/y12/check_runtime.sh y12-serve || refuse "y12-serve: its own check refuses it"
  model=$(find "$work/data" -name '*.onnx' -printf '%P\n' | head -n 1)
  if [[ -z $model ]]; then
    echo "y12-serve serves nothing here: the image export makes a model first (--images export,serve)"
    return
  fi
  in_image --entrypoint python y12-export -m y12.exporter.train.shapes scene --images 1 --seed 7 ||
    refuse "y12-export: expected it to draw a scene"
  in_image --entrypoint bash y12-serve -c "y12-serve $model & trap \"kill \$!\" EXIT
    for _ in {1..60}; do python /opt/y12/check_serve.py 2>/dev/null && break; sleep 1; done
    python /opt/y12/check_serve.py 8080 scene/images/*" || refuse "y12-serve: expected it to serve $model"
}

check_cpp() {
  [[ $(in_image y12-cpp detect 2>&1) == *usage* ]] || refuse "y12-cpp: expected detect to tell its usage"
  in_image y12-cpp trtexec --help >/dev/null || refuse "y12-cpp: expected trtexec to start"
}

prepare() {
  need docker docker.io
  if ((stand_in)); then
    [[ $(id -u) == 0 ]] || refuse "--stand-in: expected root, who makes bases and starts a daemon, found user $(id -u)"
    need dockerd docker.io
    need debootstrap debootstrap
    data=${kept:-$(mktemp -d)}
    mkdir -p "$data"
    data=$(cd "$data" && pwd)
    need_space "$data"
    echo "build.sh: STAND-IN bases: Debian $SUITE is tagged as $BASE and $DEVEL; Ubuntu, its Python and NVIDIA's files" \
      "are not checked, nor is the image cpp" >&2
    start_daemon
    make_bases
    build+=(--network host)
  else
    docker version >/dev/null 2>&1 || refuse "expected a Docker daemon that answers, found none; start it, or use --stand-in"
    local base
    for base in "$BASE" "$DEVEL"; do
      docker image inspect "$base" >/dev/null 2>&1 || docker pull --quiet "$base" ||
        refuse "expected the base $base from its registry, could not get it; --stand-in builds on Debian instead"
    done
  fi
}

read_options "$@"
check_options
work=$(mktemp -d)
trap stop EXIT
install --directory --mode=0777 "$work/data"
chmod 0755 "$work"
prepare
make_context
for image in ${images//,/ }; do
  build_image "$image"
  "check_$image"
done
echo "checked: $images$( ((!stand_in)) || echo ", on stand-in bases")"
