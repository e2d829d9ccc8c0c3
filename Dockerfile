# The image that make image builds without a daemon, for those who have one: docker build -t vitserve .
FROM golang:1.26 AS build
WORKDIR /src
COPY . .
RUN bash ci/build.sh /vitserve && mkdir -m 1777 /empty

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /empty /tmp
COPY --from=build /vitserve /vitserve
ENV HOME=/tmp
USER 65532:65532
EXPOSE 8080 9000
ENTRYPOINT ["/vitserve"]
CMD ["serve", "--addr", ":8080"]
