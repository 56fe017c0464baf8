# The extender's image. Build from the root of the repository:
#   docker build -f deploy/docker/extender.Dockerfile -t gpuloom-extender:0.1.0 .
# For a build that can be repeated, pin the base: --build-arg NODE_IMAGE=node:24-bookworm-slim@sha256:…
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc tsconfig.json ./
# Installs exactly the lockfile, and fails on an install script that package.json does not name.
RUN npm ci --strict-allow-scripts
COPY extender extender
RUN npm run build && npm prune --omit=dev

FROM ${NODE_IMAGE}
ENV NODE_ENV=production
WORKDIR /app
# The version comes from package.json.
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
# By number, so that runAsNonRoot can be checked; owns nothing in the image.
USER 10001:10001
EXPOSE 12345 12346
# Request bodies lie outside the heap and are gone at once, but count as its growth: with the usual step the collector
# would go through the whole heap every second of a busy scheduler.
ENTRYPOINT ["node", "--heap-growing-percent=40", "dist/extender/main.js"]
