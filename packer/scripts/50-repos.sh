# Build the repos that changed, side by side, as an unprivileged user, and switch each to its commit.
cd /run/bakeboot-build
[ ! -r host/environment ] || . host/environment
export LC_ALL=C.UTF-8
/usr/local/bin/agent build --plan payload/build.json
while read -r repo commit; do ln -sfn -- "$commit" "/srv/bakeboot/$repo/current"; done <payload/current
