# install ARCHIVE OTHER: podwire from its release archive over the official plugins, upgraded to those of the folder OTHER, back
# to both, and removed, each under containers that run.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/cnitool.sh"
archive=$1 other=$2 bin=/opt/cni/bin unpacked=$work/podwire
umount $bin
cp -r "$PODWIRE_BIN"/. $bin/
use_conflist "$EXAMPLES/containerd.conflist"

published() { echo "{\"portMappings\": [{\"hostPort\": $1, \"containerPort\": 80, \"protocol\": \"tcp\"}]}"; }
starts() { new_container "$1" "$(published "$2")" && serve_in "$1"; }
ends() { drop_container "$1" "$(published "$2")"; }
answers() { contains hello eventually outside fetch "http://10.99.0.1:$1/"; }
# What is given back is the very file that was there, under all its names.
files() { (cd $bin && find . -name podwire-kept -prune -o -type f -printf '%p %i %s %T@ %m\n' | sort); }
podwire() { "$unpacked/podwire" "$@"; }
whose() { podwire install --check --json | jq -r --arg name "$1" '.programs[] | select(.name == $name) | "\(.suite) \(.fault)"'; }
told() { podwire ps --json | jq -r --arg path "/run/netns/$1" '.attachments[] | select(.netns == $path) | .state'; }
grow() { mkdir -p /run/podwire && find /run/podwire /var/lib/cni -type f -exec touch -d '1 hour ago' {} +; }
# Asks a published port again and again until the file is gone, and notes each time that nobody answered.
watch_port() {
  while [ -e $work/watching ]; do outside fetch "http://10.99.0.1:$1/" >/dev/null || echo missed >>$work/missed; done
}

check 'a container of the official plugins' starts one 8081
check 'its port answers' answers 8081
official_files=$(files)
mkdir $unpacked
check 'the archive is unpacked' tar -C $unpacked -xzf "$archive"
refuse 'install --dry-run would do something' podwire install --dry-run
check 'and does nothing' test "$(files)" = "$official_files"

touch $work/watching
watch_port 8081 &
watching=$!
check 'install' podwire install
check 'install --check finds nothing' podwire install --check
check 'bridge is podwire now' contains '^podwire null$' whose bridge
check 'dhcp is as before' contains '^official null$' whose dhcp
check 'the container of before lives' contains '^alive$' told one
check 'CHECK of the container of before' container one check "$(published 8081)"
check 'a container of podwire' starts two 8082
check 'its port answers' answers 8082
podwire_files=$(files)

check 'upgrade' podwire install --from "$other"
check 'install --check finds nothing after it' podwire install --check
check 'other files are there' test "$(files)" != "$podwire_files"
check 'a container of the newer plugins' starts three 8083
check 'its port answers' answers 8083
rm $work/watching
wait $watching
check 'the port of the first answered all the time' test ! -e $work/missed
check 'the newer plugins detach the container of the official ones' ends one 8081
check 'the newer plugins detach that of the older' ends two 8082

check 'rollback' podwire install --rollback
check 'the older plugins are there' test "$(files)" = "$podwire_files"
check 'the container of the newer plugins lives' answers 8083
check 'the older plugins detach it' ends three 8083
nothing_left 'after the upgrade and back' '10\.4\.0\.([2-9]|[0-9]{2,})'

check 'one more container of podwire' starts four 8084
check 'rollback to the official plugins' podwire install --rollback
check 'they are there' test "$(files)" = "$official_files"
check 'nothing else is' test ! -e $bin/podwire-kept
check 'the container of podwire lives' answers 8084
check 'a container of the official plugins beside it' starts five 8085
check 'its port answers' answers 8085
check 'the official plugins detach that of podwire' ends four 8084
grow
check 'gc takes what they left of it' podwire gc
check 'no rule is left of it' lacks "four|$(address four)([^0-9]|$)" rules
check 'that of the official plugins lives' answers 8085

check 'install once more' podwire install
refuse 'uninstall says what lives' $bin/podwire uninstall
check 'and removes nothing' contains '^podwire null$' whose bridge
check 'uninstall --force' $bin/podwire uninstall --force
check 'nothing of podwire is left but what it replaced' contains '^dhcp podwire-kept $' sh -c 'ls -A "$0" | tr "\n" " "' $bin
check 'what runs goes on' answers 8085
check 'install after it' podwire install
check 'podwire detaches it' ends five 8085
check 'uninstall --rules' $bin/podwire uninstall --rules
check 'no table is left' lacks podwire rules
check 'no record is left' test ! -e /run/podwire
nothing_left 'after all' '10\.4\.0\.([2-9]|[0-9]{2,})'
finish
