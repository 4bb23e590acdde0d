# A container with the endpoint and one model: docker build -f serve/deploy/endpoint.Dockerfile \
#   --build-arg BUNDLE=runs/1-gru/best -t text-classifier .
# The build context is the repository; the bundle is exported before (python -m export BUNDLE).

FROM python:3.11-slim AS build
WORKDIR /build
COPY setup.cfg pyproject.toml constraints.txt README.md ./
COPY models models
COPY export export
COPY serve serve
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --constraint constraints.txt \
      --extra-index-url https://download.pytorch.org/whl/cpu .

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home classifier
COPY --from=build /venv /venv
ARG BUNDLE
COPY ${BUNDLE} /model
USER 10001
ENV PATH=/venv/bin:$PATH OMP_NUM_THREADS=1
WORKDIR /home/classifier
# The endpoint listens on the loopback interface: what clients reach is the proxy beside it (see
# kubernetes/deployment.yaml), which shares this container's network.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "serve"]
CMD ["sentiment=/model"]
