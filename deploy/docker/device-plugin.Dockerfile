# The node agent's image. Build from the root of the repository:
#   docker build -f deploy/docker/device-plugin.Dockerfile -t gpuloom-device-plugin:0.1.0 .
# For a build that can be repeated, pin the base: --build-arg NODE_IMAGE=node:24-bookworm-slim@sha256:…
# No driver inside: the NVIDIA container runtime injects the one of the node. glibc, which that driver needs, is why the
# base is no Alpine.
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc tsconfig.json ./
# Installs exactly the lockfile, and fails on an install script that package.json does not name.
RUN npm ci --strict-allow-scripts
# The agent shares the model, the wire format and the watch with the extender.
COPY extender extender
COPY device-plugin device-plugin
# The compiler leaves the API definitions behind, which are loaded from beside the code.
RUN npm run build && cp device-plugin/proto/*.proto dist/device-plugin/proto/ && npm prune --omit=dev

FROM ${NODE_IMAGE}
ENV NODE_ENV=production
# Calls into the driver and file access share these worker threads. Waiting for GPU events holds one of them, and so does each
# GPU whose driver hangs; with the usual four, three such GPUs would keep the files of new containers from being written. Read
# once, before the first use, so it cannot be set later.
ENV UV_THREADPOOL_SIZE=8
# Without it the C library keeps a heap of its own for most of these threads.
ENV MALLOC_ARENA_MAX=2
WORKDIR /app
# The version comes from package.json.
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
# The kubelet's folders are root's alone; the DaemonSet takes everything else from root.
USER 0:0
EXPOSE 12347
# Small rather than fast: no machine code is made of what the agent runs, which is little, and garbage is collected early.
# V8 takes most of these on the command line only, so none of them is in NODE_OPTIONS.
ENTRYPOINT ["node", "--no-opt", "--no-maglev", "--no-sparkplug", "--optimize-for-size", \
  "--max-semi-space-size=1", "--max-old-space-size=64", "dist/device-plugin/main.js"]
