import type { Host } from '../harness/host.js'

/** Rules that another program keeps on a host, in our own words: as much as lies on a packet's way. */
export interface Others {
  /** What makes them; each line a command, or a command and what it reads. */
  readonly rules: readonly { argv: readonly string[]; stdin?: string }[]
}

const restore = (program: string, text: string) => ({ argv: [program, '--noflush'], stdin: text })

// One published port and one container network, on a bridge that is the program's own.
const dockerNat = `*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 7070 -j DNAT --to-destination 172.17.0.2:80
COMMIT
`
/** How an administrator lets published ports of others through where Docker's policy drops what nobody let through. */
export const dockerOpening = '-A DOCKER-USER -d 10.1.0.0/16 -m conntrack --ctstate DNAT -j ACCEPT'
const dockerFilter = `*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
${dockerOpening}
-A DOCKER-USER -j RETURN
COMMIT
`
const docker = dockerNat + dockerFilter

// A service address with one endpoint and a node port; packets that need it are marked and masqueraded.
const kubeIptables = `*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SVC-ONE - [0:0]
:KUBE-SEP-ONE - [0:0]
-A PREROUTING -m comment --comment "service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "postrouting of services" -j KUBE-POSTROUTING
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-ONE
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m tcp --dport 7070 -j KUBE-SVC-ONE
-A KUBE-SVC-ONE ! -s 172.17.0.0/16 -j KUBE-MARK-MASQ
-A KUBE-SVC-ONE -j KUBE-SEP-ONE
-A KUBE-SEP-ONE -p tcp -m tcp -j DNAT --to-destination 172.17.0.2:80
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
COMMIT
*filter
:KUBE-FORWARD - [0:0]
:KUBE-FIREWALL - [0:0]
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "forwarding of services" -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
COMMIT
`

const kubeNftables = `table ip kube-proxy {
  map service-ips {
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = { 10.96.0.10 . tcp . 80 : goto service-one }
  }
  map service-nodeports {
    type inet_proto . inet_service : verdict
    elements = { tcp . 7070 : goto service-one }
  }
  chain filter-forward {
    type filter hook forward priority -110; policy accept;
    ct state new jump service-endpoints-check
  }
  chain service-endpoints-check {
    ip daddr 10.96.0.99 tcp dport 80 reject
  }
  chain nat-prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }
  chain nat-output {
    type nat hook output priority -100; policy accept;
    jump services
  }
  chain nat-postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    jump masquerading
  }
  chain services {
    ip daddr . meta l4proto . th dport vmap @service-ips
    fib daddr type local meta l4proto . th dport vmap @service-nodeports
  }
  chain service-one {
    ip saddr != 172.17.0.0/16 jump mark-for-masquerade
    meta l4proto tcp dnat to 172.17.0.2:80
  }
  chain mark-for-masquerade {
    meta mark set meta mark | 0x4000
  }
  chain masquerading {
    meta mark & 0x4000 == 0 return
    meta mark set meta mark ^ 0x4000
    masquerade fully-random
  }
}
`

// Zones by link; what no zone lets in is rejected, what was translated by any rule is let through.
const firewalldTable = `table inet firewalld {
  chain nat_PREROUTING {
    type nat hook prerouting priority dstnat + 10; policy accept;
  }
  chain nat_POSTROUTING {
    type nat hook postrouting priority srcnat + 10; policy accept;
    oifname "uplink" masquerade
  }
  chain filter_INPUT {
    type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
    tcp dport 22 accept
    ip protocol icmp accept
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    oifname "uplink" accept
    reject with icmpx admin-prohibited
  }
}
`

/** The container that the other program's rules lead to: 172.17.0.2 behind docker0. */
export async function theirContainer(host: Host) {
  const container = await host.container('theirs')
  const script = [
    'link add docker0 type bridge',
    'addr add 172.17.0.1/16 dev docker0',
    'link set docker0 up',
    `link add vethdocker type veth peer name eth0 netns ${container.name}`,
    'link set vethdocker master docker0 up',
  ]
  await host.output(['ip', '-batch', '-'], { stdin: `${script.join('\n')}\n` })
  await container.batch(['addr add 172.17.0.2/16 dev eth0', 'link set eth0 up', 'route add default via 172.17.0.1'])
  await host.output(['sysctl', '-qw', 'net.ipv4.ip_forward=1'])
  return container
}

/** The other parties, each with how its rules come and how their answers look. */
export const others: Record<string, Others> = {
  "Docker's chains": { rules: [restore('iptables-nft-restore', docker)] },
  "Docker's chains by legacy iptables, beside nft": { rules: [restore('iptables-legacy-restore', docker)] },
  "kube-proxy's chains": { rules: [restore('iptables-nft-restore', kubeIptables)] },
  "kube-proxy's chains by legacy iptables, beside nft": { rules: [restore('iptables-legacy-restore', kubeIptables)] },
  "kube-proxy's table": { rules: [{ argv: ['nft', '-f', '-'], stdin: kubeNftables }] },
  "firewalld's table": { rules: [{ argv: ['nft', '-f', '-'], stdin: firewalldTable }] },
  "Docker's and kube-proxy's chains, and firewalld's table": {
    rules: [
      restore('iptables-nft-restore', docker),
      restore('iptables-nft-restore', kubeIptables.replaceAll('7070', '7071')),
      { argv: ['nft', '-f', '-'], stdin: firewalldTable },
    ],
  },
}
