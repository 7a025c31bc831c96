# The operator's image: what image/build-root.sh makes of Debian's packages, hashed wheels and this source tree, and
# nothing else. `docker build .` makes it here, tools/image.py (`make image`) where no registry of images is reached;
# that reads the last stage of this file, so there is one description.

# Only a workshop: nothing of it gets into the image. The digest is that of the list of all its platforms.
FROM debian:12.12-slim@sha256:d5d3f9c23164ea16f31852f95bd5959aad1c5e854332fe00f7b3a20fcc9f635c AS root
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
 && rm -rf /var/lib/apt/lists
WORKDIR /source
COPY . .
RUN apt-get update && image/build-root.sh /source /root-of-image && rm -rf /var/lib/apt/lists

FROM scratch
COPY --from=root /root-of-image /
LABEL org.opencontainers.image.title="scaleset-operator" \
      org.opencontainers.image.description="Virtual machine scale sets for pods" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH="/usr/local/bin:/usr/bin" LANG="C.UTF-8" SSL_CERT_FILE="/etc/ssl/certs/ca-certificates.crt"
WORKDIR /home/nonroot
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/scalesets"]
CMD ["operator", "--liveness=8080"]
