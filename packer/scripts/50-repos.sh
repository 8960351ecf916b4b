# Build the repos that changed, side by side, as an unprivileged user; write what the image then holds to
# /etc/bakeboot/image.json, and the same for whoever bakes; switch each repo to its commit.
cd /run/bakeboot-build
[ ! -r host/environment ] || . host/environment
export LC_ALL=C.UTF-8
# Downloads are kept on the baking host, where there is a place for them.
if [ -d cache ]; then
  export PIP_CACHE_DIR=/run/bakeboot-build/cache/pip NPM_CONFIG_CACHE=/run/bakeboot-build/cache/npm
  chown bakeboot-build cache/pip cache/npm
fi
/usr/local/bin/agent build --plan payload/build.json --describe payload/image.json /etc/bakeboot/image.json
cp /etc/bakeboot/image.json result.json
while read -r repo commit; do ln -sfn -- "$commit" "/srv/bakeboot/$repo/current"; done <payload/current
