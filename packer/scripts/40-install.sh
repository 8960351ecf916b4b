# The agent, the rendered files, and one system user a service.
cd /run/bakeboot-build
mkdir -p /srv/bakeboot /var/lib/bakeboot/data
if [ -d payload/lib ]; then # else a layer of an earlier bake has it
  mkdir -p /opt/bakeboot/lib
  cp -r --no-preserve=ownership payload/lib/. /opt/bakeboot/lib/
  cp payload/lib/agent/launcher.py /opt/bakeboot/lib/boot.py
  python3 -m compileall -q --invalidation-mode unchecked-hash /opt/bakeboot/lib
fi
cp -r --no-preserve=ownership payload/files/. /
while read -r path; do chmod 0755 "$path"; done <payload/executables
systemd-sysusers bakeboot.conf
systemctl enable --quiet --no-reload bakeboot-boot.service # none of it runs before the image boots
