import type { Run } from '../exec/command.js'
import type { Flow } from '../plan/observer.js'
import { CniError, codes } from '../values/errors.js'

/** How conntrack calls the families. */
export const conntrackFamily = { ip: 'ipv4', ip6: 'ipv6' } as const

/**
 * The UDP flows the kernel tracks in a family.
 * @throws code 101 where the program conntrack is not installed, 100 when it fails
 */
export function readUdpFlows(run: Run, family: 'ip' | 'ip6'): readonly Flow[] {
  const outcome = run({ argv: ['conntrack', '-L', '-f', conntrackFamily[family], '-p', 'udp'] })
  if (outcome.failure === 'ENOENT') {
    throw new CniError(codes.toolMissing, 'the program "conntrack" is not installed', { fix: 'install conntrack' })
  }
  if (outcome.status !== 0) {
    const details = `stderr: ${outcome.stderr.trim()}`
    throw new CniError(codes.operationFailed, 'cannot ask which UDP flows are tracked', { details })
  }
  return outcome.stdout.split('\n').flatMap(flowOf)
}

// --- internal

/** "udp 17 29 src=A dst=B sport=1 dport=2 [UNREPLIED] src=B dst=A sport=2 dport=1 ...": first there, then back. */
function flowOf(line: string): readonly Flow[] {
  const values = (name: string) =>
    line.split(' ').flatMap((word) => (word.startsWith(`${name}=`) ? [word.slice(name.length + 1)] : []))
  const [, answerer] = values('src')
  const [destination] = values('dst')
  const [, answererPort] = values('sport')
  const [destinationPort] = values('dport')
  if (!answerer || !destination || !answererPort || !destinationPort) return []
  return [{ destination, destinationPort: Number(destinationPort), answerer, answererPort: Number(answererPort) }]
}
