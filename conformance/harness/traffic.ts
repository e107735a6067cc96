import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { transformSync } from 'esbuild'
import { nodeCommand } from './locations.js'
import type { ProcessOptions, Started } from './process.js'

export type Protocol = 'tcp' | 'udp'

/** Anything commands can be run in: a host or a container. */
export interface Place {
  start(argv: readonly string[], options?: ProcessOptions): Started
}

/** What a server tells whom it answers: the source address and port it saw, and its own name. */
export interface Answered {
  server: string
  source: string
  port: number
}

// The peer runs in other network namespaces, thus in processes of its own, started without any build step.
const peer = transformSync(readFileSync(fileURLToPath(new URL('peer.ts', import.meta.url)), 'utf8'), {
  loader: 'ts',
  format: 'esm',
}).code

function startPeer(place: Place, argv: readonly string[], options: ProcessOptions): Started {
  return place.start([...nodeCommand, '--input-type=module', '--eval', peer, '--', ...argv], options)
}

/**
 * Starts a server that tells every client who it is; resolves when it listens. It ends with stop(), or with the test.
 */
export async function serve(
  place: Place,
  server: { protocol: Protocol; port: number; name?: string; address?: string },
): Promise<{ stop: () => Promise<void> }> {
  const { protocol, port, name = 'server', address = '::' } = server
  const started = startPeer(place, ['serve', protocol, address, String(port), name], {
    keepOpen: true,
    deadline: 600_000,
  })
  await new Promise<void>((resolve, reject) => {
    started.child.stdout?.once('data', () => resolve())
    started.finished.then(({ stderr }) => reject(new Error(`${name} cannot listen on ${port}: ${stderr}`)), reject)
  })
  const stop = async () => {
    started.child.stdin?.end()
    await started.finished
  }
  return { stop }
}

/**
 * Asks a server who it is and whom it sees; undefined when no answer came within the deadline (milliseconds), which is
 * for what shall be answered: who expects no answer gives a shorter one.
 */
export async function ask(
  place: Place,
  target: { protocol: Protocol; address: string; port: number; from?: string; deadline?: number },
): Promise<Answered | undefined> {
  const { protocol, address, port, from = '', deadline = 15_000 } = target
  const argv = ['ask', protocol, address, String(port), String(deadline), from]
  const { status, stdout, stderr } = await startPeer(place, argv, {}).finished
  if (status === 0) return JSON.parse(stdout) as Answered
  if (status === 3) return undefined
  throw new Error(`asking ${address} ${protocol} ${port} failed: ${stderr}`)
}

/** True when the address answers a ping within the deadline (whole seconds), which is meant as that of ask(). */
export async function ping(place: Place, address: string, deadline = 15): Promise<boolean> {
  const { finished } = place.start(['ping', '-n', '-i', '0.2', '-c', '1', '-w', String(deadline), address])
  const { status, stderr } = await finished
  if (status === 2 && !/unreachable|not permitted/i.test(stderr)) throw new Error(`ping ${address}: ${stderr}`)
  return status === 0
}
