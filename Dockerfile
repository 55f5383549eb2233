# The operator's image:
#   docker build --tag rota:0.1.0 .
# Both bases can be pinned to a digest: --build-arg NODE_DIGEST=sha256:… --build-arg RUNTIME_DIGEST=sha256:…
# (docker buildx imagetools inspect IMAGE prints it).
ARG NODE_IMAGE=node:26.10.0-trixie-slim
ARG NODE_DIGEST=
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs26-debian13:nonroot
ARG RUNTIME_DIGEST=

FROM ${NODE_IMAGE}${NODE_DIGEST:+@${NODE_DIGEST}} AS builder
# For machines that reach the registry through a mirror.
ARG NPM_CONFIG_REGISTRY=https://registry.npmjs.org/
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
COPY dev dev
COPY src src
COPY migrations migrations
RUN ["node", "dev/tasks/bundle.ts", "--output=/rota"]

FROM ${RUNTIME_IMAGE}${RUNTIME_DIGEST:+@${RUNTIME_DIGEST}}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Rota" \
      org.opencontainers.image.description="Kubernetes operator that shares a GPU cluster between teams" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=builder /rota /rota
ENV NODE_ENV=production
# The account nonroot of the base; a number, so that the kubelet can tell that it is not root.
USER 65532:65532
EXPOSE 8080 8443
# A small young generation: what a reflector decodes is garbage at once, and Node would keep 48 MB for it.
ENTRYPOINT ["/nodejs/bin/node", "--max-semi-space-size=2", "--enable-source-maps", "/rota/rota.mjs"]
