# xortune in a container, from this checkout: any builder that takes a Dockerfile makes it.
#
#     docker build -t xortune .
#     docker run --rm --shm-size 2g -v "$PWD":/work xortune search my_space.yaml
#
# Ray keeps what workers share in /dev/shm, of which a container has 64 MB unless told. pip's default
# PyTorch brings its GPU libraries; where the CPU is enough, name the index of PyTorch's CPU builds:
#
#     docker build --build-arg PIP_OPTIONS="--extra-index-url URL" -t xortune .
#
# The image of a Ray cluster's nodes is another one: cluster/Dockerfile.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY xortune xortune
COPY hydra_plugins hydra_plugins
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
ARG PIP_OPTIONS=""
COPY --from=build /wheels /wheels
# The newest of all packages that pyproject.toml allows.
# hadolint ignore=SC2086,DL3013
RUN pip install --no-cache-dir ${PIP_OPTIONS} /wheels/*.whl \
 && useradd --create-home --uid 1000 xortune \
 && install --directory --owner xortune /work
USER 1000
WORKDIR /work
ENTRYPOINT ["xortune"]
CMD ["--help"]
