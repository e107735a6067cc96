# podman without root: the plugins run as root of a user namespace, with state directories and rules of their own.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/podman.sh"

# A user with sub-identities, known in this cell only. Rootless podman hides /run, so its files lie elsewhere.
user=61111
mount -t tmpfs -o mode=755 tmpfs /srv
mkdir -p /srv/home /srv/runtime /srv/etc
{ cat /etc/passwd; echo "tester:x:$user:$user::/srv/home:/bin/bash"; } >/srv/etc/passwd
{ cat /etc/group; echo "tester:x:$user:"; } >/srv/etc/group
echo "tester:100000:65536" | tee /srv/etc/subuid >/srv/etc/subgid
for file in passwd group subuid subgid; do
  [ -e /etc/$file ] || fail "the machine has /etc/$file" 'missing: package uidmap'
  mount --bind /srv/etc/$file /etc/$file
done
cp $work/root.tar /srv/
grep -v network_config_dir $work/containers.conf >/srv/containers.conf
mount --make-rshared /
chown -R $user:$user /srv/home /srv/runtime
chmod 700 /srv/runtime

as_user() {
  setpriv --reuid $user --regid $user --clear-groups --reset-env \
    env --chdir=/srv/home HOME=/srv/home XDG_RUNTIME_DIR=/srv/runtime CONTAINERS_CONF=/srv/containers.conf "$@"
}
# The namespaces that rootless podman keeps: its mounts with the plugins' state, and the network with the bridges.
in_rootless_network() { as_user podman unshare --rootless-netns "$@"; }
rootless_leases() { in_rootless_network find /var/lib/cni -type f; }

check 'import' as_user podman import -q /srv/root.tar $image
check 'create a network' as_user podman network create --subnet 10.79.0.0/24 own
check 'run with a published port' as_user podman run -d --name web --network own -p 8080:80 $image "${web[@]}"
check 'the published port answers on 127.0.0.1' contains hello eventually fetch http://127.0.0.1:8080/
check 'the published port answers from outside' contains hello outside fetch http://10.99.0.1:8080/
check 'containers talk' contains hello \
  as_user podman run --rm --network own $image wget -q -O - http://"$(as_user podman inspect web --format '{{.NetworkSettings.Networks.own.IPAddress}}')"/
check 'the bridge is in the rootless network' contains 'cni-podman1' in_rootless_network ip link
check 'the lease is in the rootless state' contains '10\.79\.0\.[2-9]' rootless_leases
check 'nothing of it is on the host' lacks 'cni-podman1' ip link
check 'no lease of it is on the host' empty leases
check 'stop and start' as_user podman restart -t 0 web
check 'it answers again' contains hello eventually fetch http://127.0.0.1:8080/
check 'remove' as_user podman rm -f -t 0 web
refuse 'the port is closed' fetch http://127.0.0.1:8080/
check 'no lease' lacks '10\.79\.0\.[2-9]' rootless_leases
check 'no host end of a pair' lacks 'veth' in_rootless_network ip link
finish
