# Install the stack's apt packages. Nothing that they bring is started, here or on the image: what an
# instance runs is decided by its tags.
cd /run/bakeboot-build
[ ! -r host/environment ] || . host/environment
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

report() { echo "bakeboot-progress {\"step\":\"$1\",\"event\":\"$2\"}"; }

trap 'rm -f /usr/sbin/policy-rc.d' EXIT
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d

# A PostgreSQL cluster of Debian's own would put data on the image; the agent makes one at first start.
mkdir -p /etc/postgresql-common
printf 'create_main_cluster = false\nstart_conf = disabled\n' >/etc/postgresql-common/createcluster.conf

if [ -d payload/apt ]; then
  cp -r payload/apt/. /etc/apt/
  sources=/run/bakeboot-build/sources.list.d
  mkdir -p "$sources"
  [ ! -d host/apt/sources.list.d ] || cp host/apt/sources.list.d/* "$sources/" 2>/dev/null || true
  cp payload/apt/sources.list.d/* "$sources/"
  if [ -r host/apt/apt.conf ]; then
    sed "s#^Dir::Etc::sourceparts .*#Dir::Etc::sourceparts \"$sources\";#" host/apt/apt.conf >apt.conf
    export APT_CONFIG=/run/bakeboot-build/apt.conf
  fi
fi

before=$(systemctl list-unit-files --state=enabled --no-legend | cut -d' ' -f1)
packages=$(cat payload/packages)
if [ -n "$packages" ]; then
  report packages start
  apt-get -q update
  while read -r version repos; do
    case "$(apt-cache policy "python$version")" in
    *Candidate:\ [0-9]*) packages="$packages python$version python$version-venv python$version-dev" ;;
    *)
      there=$(apt-cache pkgnames python3. | sed -n 's/^python\(3\.[0-9]*\)$/\1/p' | sort -V | tr '\n' ' ')
      echo "$repos asks for Python $version, which no apt source has; to be had: $there" >&2
      echo "  try   another version in its .python-version, or [stack.apt_sources.NAME] with one that has it" >&2
      exit 1
      ;;
    esac
  done <payload/pythons
  # The list is one of validated package names, one a line.
  # shellcheck disable=SC2086
  apt-get -q -y --no-install-recommends install -- $packages
  report packages done
fi
systemctl list-unit-files --state=enabled --no-legend | cut -d' ' -f1 | while read -r unit; do
  case "
$before
" in *"
$unit
"*) ;; *) systemctl disable --quiet "$unit" ;; esac
done
# Disabled they could still be pulled in by another unit, and take the port of a datastore of the stack's.
systemctl mask --quiet nginx.service postgresql.service redis-server.service
