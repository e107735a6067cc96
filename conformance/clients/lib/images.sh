# Sourced by scenarios that start containers: one image, made of busybox alone, so no registry is needed.
root=$work/root

make_root() {
  mkdir -p $root/{bin,etc,proc,sys,dev,tmp,root,run,var/tmp,www/cgi-bin}
  chmod 755 $root
  cp /bin/busybox $root/bin/
  chroot $root /bin/busybox --install -s /bin
  echo 'root:x:0:0:root:/root:/bin/sh' >$root/etc/passwd
  echo 'root:x:0:' >$root/etc/group
  echo hello >$root/www/index.html
  cat >$root/www/cgi-bin/who <<'SCRIPT'
#!/bin/sh
echo "Content-Type: text/plain"
echo
echo "source=$REMOTE_ADDR" | sed 's/[][]//g; s/::ffff://'
SCRIPT
  chmod +x $root/www/cgi-bin/who
  tar -C $root --numeric-owner --owner=0 --group=0 -cf $work/root.tar .
}

# make_archive REFERENCE FILE COMMAND-JSON: a "docker save" archive for `ctr images import`.
make_archive() {
  local reference=$1 file=$2 command=$3 directory digest
  directory=$(mktemp -d)
  cp $work/root.tar "$directory/layer.tar"
  digest=$(sha256sum "$directory/layer.tar" | cut -d' ' -f1)
  jq -n --argjson command "$command" --arg digest "sha256:$digest" \
    '{architecture: "amd64", os: "linux", config: {Cmd: $command, Env: ["PATH=/bin"]}, rootfs: {type: "layers", diff_ids: [$digest]}}' \
    >"$directory/config.json"
  jq -n --arg reference "$reference" '[{Config: "config.json", RepoTags: [$reference], Layers: ["layer.tar"]}]' \
    >"$directory/manifest.json"
  tar -C "$directory" -cf "$file" manifest.json config.json layer.tar
  rm -r "$directory"
}

make_root
