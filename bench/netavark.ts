import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { resolve } from 'node:path'

// Podman's netavark, of Debian 13 on the libraries of the Debian 13 test root: one process that makes a bridge,
// masquerade and published ports by nftables. It hands out no addresses: it is told one.

const root = resolve(process.env['PODWIRE_ROOTS'] ?? 'dist/roots', 'debian-13')
const program = `${root}/usr/lib/podman/netavark`
const config = '/run/bench/netavark'

/** Whether the test root has it (`make test-setup`). */
export const hasNetavark = existsSync(program)

export function runNetavark(
  verb: 'ADD' | 'DEL',
  id: string,
  netns: string,
  place: { host: number; port: number },
): number {
  mkdirSync(config, { recursive: true })
  const [loader, libraries] = [`${root}/lib64/ld-linux-x86-64.so.2`, `${root}/usr/lib/x86_64-linux-gnu`]
  const words = ['--library-path', libraries, program, '--config', config, '--rootless', 'false']
  const began = performance.now()
  execFileSync(loader, [...words, verb === 'ADD' ? 'setup' : 'teardown', netns], {
    input: JSON.stringify(request(id, place)),
    env: { PATH: process.env['PATH'], NETAVARK_FW: 'nftables' },
  })
  return performance.now() - began
}

// --- internal

/** What Podman tells: the container, its networks with their options, and its ports. */
function request(id: string, { host, port }: { host: number; port: number }): object {
  const name = 'bench'
  return {
    container_id: Buffer.from(id).toString('hex').padStart(64, '0').slice(-64),
    container_name: id,
    port_mappings: [0, 2].map((offset) => ({
      container_port: 80 + offset,
      host_ip: '',
      host_port: port + offset,
      protocol: 'tcp',
      range: 1,
    })),
    networks: { [name]: { static_ips: [`10.62.${host >> 8}.${host & 255}`], interface_name: 'eth0' } },
    network_info: {
      [name]: {
        name,
        id: Buffer.from(name).toString('hex').padStart(64, '0'),
        driver: 'bridge',
        network_interface: 'bench-netavark',
        subnets: [{ subnet: '10.62.0.0/16', gateway: '10.62.0.1' }],
        ipv6_enabled: false,
        internal: false,
        dns_enabled: false,
        ipam_options: { driver: 'host-local' },
      },
    },
  }
}
