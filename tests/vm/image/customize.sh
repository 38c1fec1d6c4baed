#!/bin/sh
# Runs on the host as the last step of building the root image, with the image's root as $1 and the source
# packages it shall hold as the rest: sources, clients, users, host name, and the services that would only cost
# boot time in a machine without network or console.
set -eu
here=$(dirname "$0")
root=$1
shift

for package; do
    mkdir "$root/usr/src/$package"
    (cd "$root/usr/src/$package" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --quiet=2 source --download-only "$package")
    # One folder by the package's name alone, whatever the version is.
    chroot "$root" sh -ec "cd /usr/src/$package; dpkg-source --no-check -x *.dsc tree >/dev/null; rm -f *.dsc *.tar.*"
done

# What scenarios ask with. The packages are those that requirements.txt names, whatever Python the host has.
clients=/usr/lib/aegis-clients
mkdir "$root$clients"
cp "$here"/clients/* "$root$clients"
pip3 --quiet install --no-cache-dir --no-compile --no-deps --only-binary=:all: --require-hashes \
    --implementation=cp --python-version=3.11 --platform=manylinux2014_x86_64 \
    --target="$root$clients/python" --requirement="$here/clients/requirements.txt"
chroot "$root" python3 -m compileall -q "$clients/python"
# Compiled by Debian's compilers. Java's is a part of its runtime; Go's does not stay.
apt() { APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --quiet=2 --yes -o DPkg::Chroot-Directory="$root" "$@"; }
apt install --no-install-recommends golang-go
chroot "$root" sh -ec "cd $clients
    java -m jdk.compiler/com.sun.tools.javac.Main Client.java
    CGO_ENABLED=0 GOCACHE=/tmp/go GO111MODULE=off go build -ldflags=-s -o client-go client.go
    rm -r /tmp/go Client.java client.go requirements.txt"
apt purge --auto-remove golang-go

chroot "$root" groupadd --system aegis
chroot "$root" groupadd --gid 1000 agent
chroot "$root" useradd --uid 1000 --gid 1000 --create-home --shell /bin/bash agent
# Anything in the machine may become root on purpose: what is tested is the kernel's verdict, not sudo.
echo 'agent ALL=(ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/agent"
chmod 0440 "$root/etc/sudoers.d/agent"

echo aegis-vm > "$root/etc/hostname"
cat > "$root/etc/hosts" <<'HOSTS'
127.0.0.1 localhost aegis-vm
::1 localhost ip6-localhost ip6-loopback
HOSTS
# There is no network, so nothing may wait for a resolver.
rm -f "$root/etc/resolv.conf"
: > "$root/etc/resolv.conf"
: > "$root/etc/fstab"
echo LANG=C.UTF-8 > "$root/etc/default/locale"
# A fixed id: without one systemd takes every boot for the first.
echo 5ae9150000000000000000000000ae91 > "$root/etc/machine-id"

for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    e2scrub_reap.service getty@tty1.service serial-getty@ttyS0.service systemd-timesyncd.service \
    systemd-networkd.service systemd-resolved.service systemd-pcrphase.service ssh.service \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service man-db.timer logrotate.timer \
    systemd-udev-trigger.service modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service \
    modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service systemd-binfmt.service \
    proc-sys-fs-binfmt_misc.automount dev-hugepages.mount e2scrub_reap.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

install -d -m 0755 "$root/etc/aegis" "$root/etc/aegis/policies"
rm -rf "$root/var/cache/apt/archives" "$root/var/lib/apt/lists"
mkdir -p "$root/var/cache/apt/archives/partial" "$root/var/lib/apt/lists/partial" "$root/boot"
