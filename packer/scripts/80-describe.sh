# What this image holds: /etc/bakeboot/image.json, and the same for whoever bakes.
cd /run/bakeboot-build
mkdir -p /etc/bakeboot
/usr/local/bin/agent describe --manifest payload/image.json --output /etc/bakeboot/image.json
cp /etc/bakeboot/image.json result.json
