# Two stages: a build with the toolchain, and an image with the program and nothing that could change it.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY policies policies
COPY benches benches
RUN cargo build --release --locked --bin domicile

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/domicile --shell /usr/sbin/nologin domicile \
    && install -d -o domicile -g domicile -m 0700 /var/lib/domicile
COPY --from=build /src/target/release/domicile /usr/local/bin/domicile
COPY LICENSE /usr/share/doc/domicile/LICENSE
USER 10001:10001
# The root file system may be read-only; this volume is all that is written to.
VOLUME /var/lib/domicile
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/domicile"]
CMD ["serve", "--data", "/var/lib/domicile", "--listen", "0.0.0.0:8080"]
# The admin listener stays on the container's loopback; the program asks it itself.
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s --retries=3 CMD ["/usr/local/bin/domicile", "ready"]
