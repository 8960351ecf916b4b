# The agent's own environment: a virtual environment with locked, hashed packages, apart from the
# stack's Python; the agent itself is a layer of its own.
cd /run/bakeboot-build
[ ! -r host/environment ] || . host/environment
export LC_ALL=C.UTF-8 HOME=/run/bakeboot-build/home
mkdir -p "$HOME"

echo 'bakeboot-progress {"step":"agent environment","event":"start"}'
python3 -m venv --without-pip /opt/bakeboot/venv
pip() { python3 -m pip --python /opt/bakeboot/venv/bin/python "$@"; }
install() { pip install --quiet --no-input --disable-pip-version-check --root-user-action=ignore --require-hashes "$@"; }
# systemd-python comes as source: what builds it is locked too, and goes again.
install -r payload/agent-build.lock
install --no-build-isolation --use-pep517 -r payload/agent.lock
pip uninstall --quiet --yes --root-user-action=ignore $(sed -n 's/^\([a-z0-9._-]*\)==.*/\1/p' payload/agent-build.lock)
site=$(/opt/bakeboot/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo /opt/bakeboot/lib >"$site/bakeboot.pth"
echo 'bakeboot-progress {"step":"agent environment","event":"done"}'
