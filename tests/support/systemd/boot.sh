#!/usr/bin/env bash
# Starts systemd as process 1 of namespaces of its own, with the unit that is the second argument and no other; it never returns.
#   boot.sh FOLDER UNIT VENV CGROUP
# Runs in new namespaces of mounts, processes, hosts' names and networks. The folder FOLDER/etc becomes /etc/fleetgw, FOLDER/units
# has the drop-ins of the unit, VENV becomes /opt/fleetgw. Whatever the service writes goes to memory and ends with it.
set -euo pipefail
folder=$1 unit=$2 venv=$3 cgroup=$4

mount --make-rprivate /
for each in /proc/sys /sys; do mount --rbind "$each" "$each" && mount -o remount,bind,ro "$each"; done
mount --bind /dev/null /dev/console
mount -t tmpfs tmpfs "$folder/memory"
mkdir "$folder"/memory/{etc,work}
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$folder/memory/etc,workdir=$folder/memory/work" /etc
for each in /opt /run /var/lib /var/log; do mount -t tmpfs tmpfs "$each"; done
mkdir /opt/fleetgw /etc/fleetgw /run/units
mount --bind "$venv" /opt/fleetgw
mount --bind "$folder/etc" /etc/fleetgw
mount --bind "$folder/units" /run/units
id -u fleetgw >/dev/null 2>&1 || useradd --system --no-create-home fleetgw
chown -R fleetgw: /etc/fleetgw

cp "$unit" /run/units
for target in basic default network-online shutdown sysinit; do
  printf '[Unit]\nDefaultDependencies=no\n' >"/run/units/$target.target"
done

mkdir "$cgroup"
echo 0 >"$cgroup/cgroup.procs"  # this process
exec unshare --cgroup bash -euc 'mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo "systemd starts"
exec env -i PATH="$PATH" container=test SYSTEMD_UNIT_PATH=/run/units SYSTEMD_LOG_TARGET=null /lib/systemd/systemd --show-status=no'
