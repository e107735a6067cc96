# examples/Dockerfile: the plugins in an image whose system has a C library and nothing else that they are linked to.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/podman.sh"
version=1.2.3
architecture=$(dpkg --print-architecture)
base=localhost/base:1

copy_c_library() {
  local library
  for library in $(ldd "$NODE" | grep -oE '/[^ ]*/(libc|libm|libdl|libpthread|ld-linux[^ ]*)\.so\.[0-9]+' | sort -u); do
    mkdir -p "$root${library%/*}"
    cp -L "$library" "$root$library"
  done
}
make_context() {
  mkdir $work/context
  echo licence >$work/context/LICENSE
  tar -czf $work/context/podwire-linux-$architecture-$version.tgz -C /opt/cni/bin . -C $work/context ./LICENSE
}
build() {
  podman build --build-arg BASE=$base --build-arg VERSION=$version --build-arg TARGETARCH=$architecture \
    -t localhost/plugins:1 -f "$EXAMPLES/Dockerfile" $work/context
}
in_image() { podman run --rm -i --network none localhost/plugins:1 "$@"; }
call() { in_image env CNI_COMMAND=VERSION "$1" <<<'{"cniVersion":"1.1.0"}'; }
# Megabytes that the image has beyond its base.
added() { echo $((($(podman image inspect -f '{{.Size}}' localhost/plugins:1) - $(podman image inspect -f '{{.Size}}' $base)) / 1000000)); }

copy_c_library
tar -C $root --numeric-owner --owner=0 --group=0 -cf $work/root.tar .
check 'podman imports a base that has a C library' podman import -q $work/root.tar $base
make_context
check 'podman builds examples/Dockerfile' build >$work/build.log
check 'the image has no second file of 120 MB' test "$(added)" -lt 200
for plugin in /opt/cni/bin/*; do
  [[ -d $plugin || ${plugin##*/} == podwire ]] || check "${plugin##*/} starts in the image" contains '"supportedVersions"' call "$plugin"
done
check 'the image has the licences of what it holds' in_image test -s /opt/cni/bin/podwire-lib/LICENSE.node
check 'it is those libraries that they start with' contains 'libatomic.so.1: cannot open' \
  in_image sh -c 'rm -r /opt/cni/bin/podwire-lib; /opt/cni/bin/bridge 2>&1 || true'
finish
