import type { Container } from '../harness/container.js'
import { ask, ping, serve } from '../harness/traffic.js'

/** Asks a container at addresses of its own, by tcp, udp and ICMP; returns what it did not answer. */
export async function unanswered(from: Container, to: Container, addresses: readonly string[]): Promise<string[]> {
  const missing: string[] = []
  for (const protocol of ['tcp', 'udp'] as const) {
    const server = await serve(to, { protocol, port: 80, name: to.name })
    for (const address of addresses) {
      const answer = await ask(from, { protocol, address, port: 80, deadline: 8_000 })
      if (answer?.server !== to.name) missing.push(`${protocol} ${address}`)
    }
    await server.stop()
  }
  for (const address of addresses) if (!(await ping(from, address, 8))) missing.push(`ICMP ${address}`)
  return missing
}
