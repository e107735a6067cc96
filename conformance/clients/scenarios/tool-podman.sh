# What podwire, the program, tells of containers that Podman made, and what gc takes of them.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/podman.sh"
. "$CLIENTS/lib/tool.sh"
OFFICIAL_PLUGINS=${1-}
check 'a network' podman network create --subnet 10.70.0.0/24 second
check 'a container with published ports' podman run -d --name web -p 8080:80 -p 8081:81/udp $image "${web[@]}"
check 'a container that will die' podman run -d --name dying --network second -p 127.0.0.1:8090:80 $image "${web[@]}"
check 'the container listens' eventually within web fetch http://127.0.0.1/
# Once: what rules count is told below.
check 'the published port answers' contains hello outside fetch http://10.99.0.1:8080/

namespace_of() { podman inspect "$1" --format '{{.NetworkSettings.SandboxKey}}'; }
web_is="^podman eth0 10.88.0.2/16 8080->80/tcp,8081->81/udp alive: its namespace is $(namespace_of web)$"
check 'ps tells of the container' contains "$web_is" told web
check 'ps tells of the other network' \
  contains "^second eth0 10.70.0.2/24 8090->80/tcp alive: its namespace is $(namespace_of dying)$" told dying
check 'leases tells of the container' contains '^podman web alive$' told_lease 10.88.0.2
check 'leases tells how full the range is' contains '^1 0$' told_range second
# conmon holds the port for the container: that is no conflict.
check 'ports tells of the container' contains "^10.88.0.2:80 web alive rule=true $(uncounted_or 1) \[\]$" told_port 8080
check 'ports tells of the port of one address' contains '^10.70.0.2:80 dying alive rule=true' told_port 8090
podman system service --time 0 unix:///run/podman.sock 2>>$work/podman-service.log &
eventually test -S /run/podman.sock
names_asked /run/podman.sock web
kill $!
shows web
plans /etc/cni/net.d/second.conflist 10.70.0.3/24

dying_namespace=$(namespace_of dying)
kill -KILL $(podman inspect dying --format '{{.State.ConmonPid}} {{.State.Pid}}')
check 'a killed container lives while its namespace does' contains 'eth0 .* alive: its namespace' told dying
ip netns delete "${dying_namespace##*/}"
check 'then it is dead' contains "^second eth0 10.70.0.2/24 8090->80/tcp dead: $dying_namespace is gone$" told dying
check 'leases tells of the dead' contains '^second dying dead$' told_lease 10.70.0.2
check 'leases counts the dead' contains '^1 1$' told_range second
check 'ports tells of the dead' contains '^10.70.0.2:80 dying dead rule=true' told_port 8090

collects dying
check 'no rule of the dead is left' lacks '10\.70\.0\.2([^0-9]|$)' rules
check 'its lease is gone' contains '^0 0$' told_range second
check 'the container lives as before' contains "$web_is" told web
check 'its published port answers as before' contains hello outside fetch http://10.99.0.1:8080/
refuse 'uninstall says what lives' tool uninstall --dry-run
check 'and who that is' contains '"name": "web"' tool uninstall --dry-run --json

check 'podman removes them all' podman rm -f -t 0 --all
refuse 'ps has nothing more of it' told web
nothing_left 'all removed' '10\.(88|70)\.0\.([2-9]|[0-9]{2,})'
finish
