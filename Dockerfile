# syntax=docker/dockerfile:1
# One image for every service. Build for a GPU host with:
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 -t medjobs:gpu .
FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv /opt/medjobs
ENV PATH=/opt/medjobs/bin:$PATH PIP_NO_CACHE_DIR=1
# torch first, in a layer of its own: it is most of the image and changes least.
RUN pip install --index-url "$TORCH_INDEX" torch==2.13.0
COPY . /src
RUN pip install "/src[postgres,s3]"

FROM python:3.11-slim-bookworm
# LightGBM links against the system's OpenMP runtime.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home --home-dir /var/lib/medjobs medjobs
COPY --from=build /opt/medjobs /opt/medjobs
ENV PATH=/opt/medjobs/bin:$PATH PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1 MEDJOBS_HOME=/var/lib/medjobs
USER medjobs
WORKDIR /var/lib/medjobs
VOLUME /var/lib/medjobs
ENTRYPOINT ["medjobs"]
CMD ["--help"]
