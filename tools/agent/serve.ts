import { createServer, type Server } from 'node:http'
import { isIPv6, type Socket } from 'node:net'
import { type Cidr, contains, formatAddress, parseAddress, parseCidr } from '../../shared/values/address.js'
import type { Registry } from './libraries.js'

export interface Served {
  /** Whether the agent is at work; else it is better started anew. */
  readonly isHealthy: () => boolean
  /** Whether pods can be attached on the node. */
  readonly isReady: () => boolean
  readonly registry: Registry
}

/** Answers /healthz, /readyz and /metrics. @throws Error where nobody can listen there */
export async function serve(listen: string, { isHealthy, isReady, registry }: Served): Promise<Server> {
  const { host, port } = addressOf(listen)
  const server = createServer((request, response) => {
    const answer = (status: number, text: string, type = 'text/plain; charset=utf-8') => {
      response.writeHead(status, { 'Content-Type': type }).end(text)
    }
    const yes = (isSo: boolean) => answer(isSo ? 200 : 503, isSo ? 'ok\n' : 'not yet\n')
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, 'GET only\n')
    const path = request.url?.split('?')[0]
    if (path === '/healthz') return yes(isHealthy())
    if (path === '/readyz') return yes(isReady())
    if (path !== '/metrics') return answer(404, 'there are /healthz, /readyz and /metrics\n')
    registry.metrics().then(
      (text) => answer(200, text, registry.contentType),
      (thrown) => answer(500, `${String(thrown)}\n`),
    )
  })
  // The oldest has to go, not who comes: callers that say nothing would keep kubelet from its answer.
  const open = new Set<Socket>()
  server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    const [oldest] = open
    if (open.size > mostOpen) oldest?.destroy()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  server.unref()
  return server
}

/** "ADDRESS:PORT", ":PORT" or "PORT"; an IPv6 address may stand without brackets. */
export function addressOf(listen: string): { readonly host?: string; readonly port: number } {
  const at = listen.lastIndexOf(':')
  const [host, port] = [listen.slice(0, Math.max(at, 0)).replace(/^\[|\]$/g, ''), Number(listen.slice(at + 1))]
  if (listen === '' || !Number.isInteger(port) || port < 0 || port > 65_535 || (host.includes(':') && !isIPv6(host)))
    throw new Error(`"${listen}" is no ADDRESS:PORT`)
  return host === '' ? { port } : { host, port }
}

/** The address, if a node can lose it: not one that every host has, and no name. */
export function nodeAddress(listen: string): string | undefined {
  const address = parseAddress(addressOf(listen).host ?? '')
  const isEverywhere = address && everywhere.some((one) => contains(parseCidr(one) as Cidr, address))
  return address && !isEverywhere ? formatAddress(address) : undefined
}

// --- internal

/** Connections at a time. */
const mostOpen = 50

const everywhere = ['0.0.0.0/32', '127.0.0.0/8', '::/127']
