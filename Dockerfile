# Not built by the project's own tests: no Docker engine runs there. Kept simple for that reason.
#
#   docker build -t autodidact .
#   docker run -p 8080:8080 -v autodidact:/data -e AUTODIDACT_API_KEY_HASH=sha256:… autodidact
#
# A server that others can reach wants a key: `docker run --rm autodidact key` makes one with its hash.

FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN useradd --uid 10001 --create-home --home-dir /data autodidact
COPY --from=build /src/target/release/autodidact /usr/local/bin/autodidact
USER autodidact
WORKDIR /data
# The model is fetched into the volume at the first start, and stays there.
ENV AUTODIDACT_LISTEN=0.0.0.0:8080 \
    AUTODIDACT_DATA=/data/state \
    AUTODIDACT_MODELS=/data/models
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=15m CMD ["autodidact", "health"]
ENTRYPOINT ["autodidact"]
