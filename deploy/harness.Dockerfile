# The load generator. Build it from the root of the repository:
#   docker build -f deploy/harness.Dockerfile -t ml-harness/harness:local .

FROM python:3.11.14-slim-bookworm AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY harness harness
COPY sample_service sample_service
COPY scenarios scenarios
RUN pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir /wheel .

FROM python:3.11.14-slim-bookworm
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="ml-harness" \
      org.opencontainers.image.description="Load-test an ML API and see which stage of each request takes the time" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    HOME=/tmp
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin harness
WORKDIR /work

COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['run'], sep='\n')" > requirements.txt \
 && pip install -c constraints.txt -r requirements.txt \
 && rm requirements.txt

COPY --from=wheel /wheel /wheel
RUN pip install --no-deps /wheel/*.whl && rm -r /wheel pyproject.toml constraints.txt
COPY scenarios scenarios
COPY deploy/compose-scenario.yaml deploy/
RUN install -d -o harness -g harness /runs

USER harness
ENTRYPOINT ["harness"]
CMD ["run", "deploy/compose-scenario.yaml", "--target", "http://service:8000", "--out", "/runs"]
