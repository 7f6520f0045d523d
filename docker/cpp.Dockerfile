# The image that compiles examples/cpp and has trtexec, for engines of full TensorRT (Y12_TENSORRT=tensorrt).
#
#   docker build -f docker/cpp.Dockerfile -t y12-cpp .
#   docker run --rm --gpus all -v "$PWD:/data:ro" y12-cpp detect model.engine photo.ppm
#   docker run --rm --gpus all -v "$PWD:/data:ro" y12-cpp trtexec --loadEngine=model.engine
#
# TensorRT-RTX comes as an archive that NVIDIA gives to registered developers only, so it is not in an image: see
# docs/deployment.md.

FROM nvidia/cuda:13.0.1-devel-ubuntu24.04 AS cpp
COPY docker/scripts/install_tensorrt_dev.sh /y12/docker/scripts/
# as in docker/constraints.txt
ARG TENSORRT_VERSION=11.4.0.106
RUN TENSORRT_VERSION="${TENSORRT_VERSION}" /y12/docker/scripts/install_tensorrt_dev.sh
COPY docker/scripts/build_cpp.sh /y12/docker/scripts/
COPY examples/cpp /y12/examples/cpp
RUN OUTPUT=/opt/y12/bin /y12/docker/scripts/build_cpp.sh \
 && useradd --create-home --uid 10001 --user-group y12
ENV PATH=/opt/y12/bin:/usr/src/tensorrt/bin:$PATH
USER 10001:10001
WORKDIR /data
HEALTHCHECK NONE
CMD ["detect"]
