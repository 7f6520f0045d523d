# The image that makes engines of checkpoints: torch, onnx, ONNX Runtime, TensorRT-RTX or TensorRT, all of y12.
#
#   docker build -f docker/export.Dockerfile -t y12-export .
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" y12-export best.pt --format engine --half
#
# TensorRT-RTX builds engines without a GPU; TensorRT (Y12_TENSORRT=tensorrt) needs one: add --gpus all.

FROM nvidia/cuda:13.0.1-base-ubuntu24.04 AS packages
COPY docker/scripts/install_system.sh /y12/docker/scripts/
RUN /y12/docker/scripts/install_system.sh build
COPY constraints.txt pyproject.toml /y12/
COPY docker/constraints.txt docker/hashes.txt /y12/docker/
COPY docker/scripts/install_packages.sh docker/scripts/install_pip.sh docker/scripts/requirements.py /y12/docker/scripts/
# none, unless somebody put some there: see docker/wheels/README.md
COPY docker/wheels /wheels
ARG Y12_TENSORRT=rtx
# An export computes little in torch: the build without CUDA is a tenth of the size. For y12-tune on a GPU, give
# https://download.pytorch.org/whl/cu130 and Y12_EXTRAS=export,train,val.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG Y12_EXTRAS=export,val,gpu
RUN VENV=/opt/y12/venv Y12_EXTRAS="${Y12_EXTRAS},${Y12_TENSORRT}" TORCH_INDEX="${TORCH_INDEX}" \
    WHEELS=/wheels /y12/docker/scripts/install_packages.sh

FROM packages AS y12
COPY README.md LICENSE /y12/
COPY configs /y12/configs
COPY y12 /y12/y12
COPY docker/scripts/install_y12.sh /y12/docker/scripts/
RUN VENV=/opt/y12/venv KEEP_PIP=0 /y12/docker/scripts/install_y12.sh

FROM nvidia/cuda:13.0.1-base-ubuntu24.04 AS export
COPY docker/scripts/install_system.sh /tmp/
RUN /tmp/install_system.sh run && rm /tmp/install_system.sh \
 && useradd --create-home --uid 10001 --user-group y12
COPY --from=y12 /opt/y12/venv /opt/y12/venv
ENV PATH=/opt/y12/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
# One command that ends: there is no service whose health could be checked.
HEALTHCHECK NONE
ENTRYPOINT ["y12-export"]
CMD ["--help"]
