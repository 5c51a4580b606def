# kit with every command, for a machine with or without a GPU. Build arguments:
#   EXTRAS        extras of pyproject.toml with commas between; empty for the light core, which needs no torch
#   TORCH_INDEX   where to take torch from instead of the Python index, whose build needs a new driver: the address that
#                 PyTorch's own install page gives for a CPU or for an older CUDA
#   PYTHON        3.11 or newer
# docker build -t kit . && docker run --rm -it --gpus all -v "$PWD:/work" kit sources
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG EXTRAS=all
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/kit && if [ -n "$TORCH_INDEX" ]; then \
        /opt/kit/bin/pip install --index-url "$TORCH_INDEX" "torch>=2.6" "torchvision>=0.21"; \
    fi
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY kit kit
RUN /opt/kit/bin/pip install ".${EXTRAS:+[$EXTRAS]}"

FROM python:${PYTHON}-slim
RUN useradd --create-home --uid 1000 kit && install --directory --owner kit /work
COPY --from=build /opt/kit /opt/kit
ENV PATH=/opt/kit/bin:$PATH NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000
WORKDIR /work
ENTRYPOINT ["kit"]
CMD ["--help"]
