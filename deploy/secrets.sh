#!/bin/sh
# Makes the secrets that docker-compose.yml reads; what exists already is left as it is. Run it where that file lies.
#
# The folder is its owner's alone (0700). The files in it are readable (0444): Docker mounts each by itself into a
# container whose user is another one, and nobody else on this host gets through the folder to them.
set -eu
umask 077
folder="${1:-secrets}"
mkdir -p "$folder"
chmod 700 "$folder"

keep() { # keep NAME: standard input becomes the secret, unless there is one
  if [ -s "$folder/$1" ]; then cat > /dev/null; return; fi
  cat > "$folder/.$1.new"
  chmod 444 "$folder/.$1.new"
  mv "$folder/.$1.new" "$folder/$1"
  echo "made $folder/$1"
}
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for name in postgres redis flower grafana minio; do random | keep "$name"; done
printf 'postgresql+psycopg://medjobs:%s@postgres/medjobs' "$(cat "$folder/postgres")" | keep database_url
printf 'redis://:%s@redis:6379/0' "$(cat "$folder/redis")" | keep redis_url
printf '[default]\naws_access_key_id = medjobs\naws_secret_access_key = %s\n' "$(cat "$folder/minio")" | keep s3
