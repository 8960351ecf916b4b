# The agent, the rendered files, and one system user a service.
cd /run/bakeboot-build
mkdir -p /opt/bakeboot/lib /srv/bakeboot /var/lib/bakeboot/data
rm -rf /opt/bakeboot/lib/agent
cp -r payload/lib/. /opt/bakeboot/lib/
cp payload/lib/agent/launcher.py /opt/bakeboot/lib/boot.py
python3 -m compileall -q --invalidation-mode unchecked-hash /opt/bakeboot/lib
chown -R root:root /opt/bakeboot/lib
cp -r --no-preserve=ownership payload/files/. /
while read -r path; do chmod 0755 "$path"; done <payload/executables
while read -r user home; do
  id -u "$user" >/dev/null 2>&1 || useradd --system --user-group --no-create-home --home-dir "$home" --shell /usr/sbin/nologin "$user"
done <payload/users
systemctl enable --quiet bakeboot-boot.service
