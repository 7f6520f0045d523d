#!/usr/bin/env bash
# Install TensorRT's headers, libraries and trtexec from NVIDIA's apt repository, which the nvidia/cuda images know.
# pip's packages have neither headers nor trtexec. As root.
#   TENSORRT_VERSION  the version, to the last digit that matters: an engine runs on the version that built it
set -euo pipefail

version=${TENSORRT_VERSION:-}
if [[ ! $version =~ ^[0-9]+(\.[0-9]+){2,3}$ ]]; then
  echo "install_tensorrt_dev.sh: expected TENSORRT_VERSION such as 11.4.0.106, found '$version'" >&2
  exit 2
fi
# Of several versions that are there, apt would take the newest for what libnvinfer-dev needs.
cat >/etc/apt/preferences.d/tensorrt <<PREFERENCES
Package: libnvinfer* libnvonnxparsers* tensorrt*
Pin: version ${version}*
Pin-Priority: 1001
PREFERENCES
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends cmake libnvinfer-dev libnvinfer-bin
rm -rf /var/lib/apt/lists/*
installed=$(dpkg-query --show --showformat='${Version}' libnvinfer-dev)
if [[ $installed != "$version"* ]]; then
  echo "install_tensorrt_dev.sh: expected libnvinfer-dev $version, found $installed" >&2
  exit 1
fi
