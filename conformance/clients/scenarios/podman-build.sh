# Builds: a container that lives for one command, whose namespace is a file descriptor of the builder.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/podman.sh"
start_outside_web

mkdir $work/context
cat >$work/context/Containerfile <<CONTAINERFILE
FROM $image
RUN ip address show dev eth0
RUN wget -q -O - http://10.99.0.2:8000/cgi-bin/who
CONTAINERFILE
build() { podman build --network podman --no-cache -f $work/context/Containerfile $work/context; }

check 'podman build' build >$work/build.log
check 'buildah makes a container' buildah from --name builder $image
check 'buildah run has an address of the network' contains 'inet 10\.88\.0\.[0-9]+/16' \
  buildah run --network podman builder ip address show dev eth0
check 'buildah run reaches the outside' contains '^source=10.99.0.1$' \
  buildah run --network podman builder wget -q -O - http://10.99.0.2:8000/cgi-bin/who
check 'buildah rm' buildah rm builder
nothing_left 'builds' '10\.88\.0\.([2-9]|[0-9]{2,})'
finish
