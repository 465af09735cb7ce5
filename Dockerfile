# syntax=docker/dockerfile:1
# One image for every service. CPU: docker build -t medjobs:local .
# GPU: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 -t medjobs:gpu .
# An empty TORCH_INDEX takes torch from wherever pip is configured to look, as it does everything else.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
# libgomp1: LightGBM links against the system's OpenMP runtime.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/medjobs --shell /usr/sbin/nologin medjobs \
 && install -d -o medjobs -g medjobs -m 0700 /var/lib/medjobs /var/lib/medjobs/tmp /srv/medjobs

# What medjobs needs, without medjobs: a step whose result changes only when that does, so that neither a change of ours
# nor one of the development tools in pyproject.toml makes the layers below anew.
FROM base AS requirements
COPY pyproject.toml /
RUN python -c "import tomllib; p = tomllib.load(open('/pyproject.toml', 'rb'))['project']; \
o = p['optional-dependencies']; print(*p['dependencies'], *o['postgres'], *o['s3'], *o['train'], *o['gpu'], sep='\n')" \
    > /requirements.txt

FROM base AS packages
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PATH=/opt/medjobs/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# torch first, in a step of its own: it is most of the image and changes least.
RUN python -m venv /opt/medjobs && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0
COPY --from=requirements /requirements.txt /
RUN pip install -r /requirements.txt

FROM packages AS program
COPY . /src
RUN pip install --no-deps --ignore-installed --prefix /program /src

FROM base
COPY --from=packages /opt/medjobs /opt/medjobs
COPY --from=program /program /opt/medjobs
# Only /var/lib/medjobs (this container's own), /srv/medjobs (what services share) and /tmp are written to, so the root
# may be read-only. TMPDIR is on the volume: an upload on its way to S3 may be larger than a tmpfs.
# NVIDIA_*: the container toolkit gives a container the driver only where it asks; without the toolkit they mean nothing.
ENV PATH=/opt/medjobs/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 \
    MEDJOBS_HOME=/var/lib/medjobs HOME=/var/lib/medjobs TMPDIR=/var/lib/medjobs/tmp \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /var/lib/medjobs
VOLUME /var/lib/medjobs
ENTRYPOINT ["medjobs"]
CMD ["--help"]
