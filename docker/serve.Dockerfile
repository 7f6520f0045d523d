# The image that serves an engine, or an .onnx, over HTTP: what runtime.Dockerfile has, ONNX Runtime, FastAPI and uvicorn.
#
#   docker build -f docker/serve.Dockerfile -t y12-serve .
#   docker run --rm --gpus all -p 127.0.0.1:8080:8080 -v "$PWD:/data:ro" y12-serve model.engine
#
# Every step is a script in docker/scripts, which runs without Docker too.

FROM nvidia/cuda:13.0.1-base-ubuntu24.04 AS packages
COPY docker/scripts/install_system.sh /y12/docker/scripts/
RUN /y12/docker/scripts/install_system.sh build
COPY constraints.txt pyproject.toml /y12/
COPY docker/constraints.txt docker/hashes.txt /y12/docker/
COPY docker/scripts/install_packages.sh docker/scripts/install_pip.sh docker/scripts/requirements.py /y12/docker/scripts/
# rtx for TensorRT-RTX, tensorrt for TensorRT, or both with a comma
ARG Y12_TENSORRT=rtx
RUN VENV=/opt/y12/venv Y12_EXTRAS="gpu,serve,ort,${Y12_TENSORRT}" Y12_WITHOUT=nvidia-cuda-nvrtc \
    /y12/docker/scripts/install_packages.sh

FROM packages AS y12
COPY README.md LICENSE /y12/
COPY configs /y12/configs
COPY y12 /y12/y12
COPY docker/scripts/install_y12.sh /y12/docker/scripts/
RUN VENV=/opt/y12/venv KEEP_PIP=0 /y12/docker/scripts/install_y12.sh

# NVRTC is needed here and not where the kernels run.
FROM packages AS kernels
RUN VENV=/build/venv Y12_EXTRAS=gpu /y12/docker/scripts/install_packages.sh
COPY README.md LICENSE /y12/
COPY configs /y12/configs
COPY y12 /y12/y12
COPY docker/scripts/install_y12.sh docker/scripts/build_kernels.sh /y12/docker/scripts/
# compute capabilities, such as 75,89; empty for all that y12 names
ARG Y12_SMS=""
RUN VENV=/build/venv /y12/docker/scripts/install_y12.sh \
 && VENV=/build/venv Y12_SMS="${Y12_SMS}" Y12_KERNELS=/opt/y12/kernels /y12/docker/scripts/build_kernels.sh

FROM nvidia/cuda:13.0.1-base-ubuntu24.04 AS serve
COPY docker/scripts/install_system.sh /tmp/
RUN /tmp/install_system.sh run && rm /tmp/install_system.sh \
 && useradd --create-home --uid 10001 --user-group y12 \
 && install --directory --owner=y12 --group=y12 --mode=0700 /cache
COPY --from=y12 /opt/y12/venv /opt/y12/venv
COPY --from=kernels /opt/y12/kernels /opt/y12/kernels
COPY docker/scripts/check_runtime.sh docker/scripts/check_serve.py /opt/y12/
ENV PATH=/opt/y12/venv/bin:$PATH \
    VENV=/opt/y12/venv \
    Y12_KERNELS=/opt/y12/kernels \
    XDG_CACHE_HOME=/cache \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
RUN /opt/y12/check_runtime.sh && y12-serve --help
EXPOSE 8080
# Asks the service itself, which runs its network on a gray image when in doubt; nothing is loaded a second time.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 CMD ["python", "/opt/y12/check_serve.py"]
# In a container only what is published reaches it: -p 127.0.0.1:8080:8080 keeps it to the machine.
ENTRYPOINT ["y12-serve", "--host", "0.0.0.0"]
CMD ["--help"]
