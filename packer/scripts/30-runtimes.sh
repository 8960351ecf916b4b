# Runtimes that a repo pins and the base does not have, and the user that builds repos.
cd /run/bakeboot-build
[ ! -r host/environment ] || . host/environment
id -u bakeboot-build >/dev/null 2>&1 ||
  useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin bakeboot-build
while read -r major; do
  echo "bakeboot-progress {\"step\":\"Node $major\",\"event\":\"start\"}"
  PYTHONPATH=payload/lib python3 -BP payload/lib/agent/launcher.py runtime --node "$major"
  echo "bakeboot-progress {\"step\":\"Node $major\",\"event\":\"done\"}"
done <payload/nodes
