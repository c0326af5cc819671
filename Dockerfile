# The controller's image, for amd64 and arm64: every package in requirements-runtime.lock has wheels for both.
# docker buildx build --platform linux/amd64,linux/arm64 --tag YOUR-REGISTRY/reroll:0.1.0 --push .

FROM python:3.13-slim-bookworm AS build
WORKDIR /build
RUN python -m venv --without-pip /opt/reroll
# First what changes seldom, so that this layer is kept.
COPY requirements-runtime.lock ./
RUN pip --python /opt/reroll/bin/python install --no-cache-dir --require-hashes --only-binary :all: \
    --requirement requirements-runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# hatchling, which makes the wheel, is the one thing that is not in the lock; it doesn't come into the image.
RUN pip --python /opt/reroll/bin/python install --no-cache-dir --no-deps .

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="reroll" \
      org.opencontainers.image.description="Makes Kubernetes workloads follow their ConfigMaps and Secrets" \
      org.opencontainers.image.licenses="Apache-2.0"
# The root filesystem is read-only where it runs: nothing may want to write bytecode.
ENV PATH="/opt/reroll/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/reroll /opt/reroll
# By number, so that runAsNonRoot can be checked; it needs no name and no home.
USER 65532:65532
ENTRYPOINT ["reroll"]
CMD ["controller"]
