# syntax=docker/dockerfile:1

# Build: the locked dependencies and the package itself, in one virtual environment.
FROM python:3.13-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/archiver
COPY pyproject.toml requirements-runtime.lock README.md LICENSE ./
RUN /opt/archiver/bin/pip install --require-hashes -r requirements-runtime.lock
COPY archiver ./archiver
RUN /opt/archiver/bin/pip install --no-deps .

# Run: Python, pg_dump and pg_restore of the newest PostgreSQL (a dump needs a client at least as new as its server), nothing else.
FROM python:3.13-slim-trixie
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install -y --no-install-recommends postgresql-client-18 tini \
    && apt-get purge -y postgresql-common \
    && apt-get autoremove -y \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --home-dir /tmp --shell /usr/sbin/nologin archiver \
    && install -d -o archiver -g archiver /var/lib/archiver
COPY --from=build /opt/archiver /opt/archiver
ENV PATH=/opt/archiver/bin:/usr/lib/postgresql/18/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
# The root file system may be read-only: only /tmp and the archive's own volume are written.
VOLUME ["/tmp"]
ENTRYPOINT ["tini", "--", "archiver"]
CMD ["run"]
