import { readFileSync } from 'node:fs'
import { createServer as createPlain, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTls } from 'node:https'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'

// An API server as far as `podwire agent` asks it: nodes and one ConfigMap, listed in pages and watched with bookmarks,
// Events made and patched, the status of a node patched. It runs in a network namespace of a test, thus as a process of
// its own, and is told what to do by lines of JSON; each is answered by one.
//
//   node --input-type=module-typescript --eval TEXT -- ADDRESS PORT TOKEN [CERTIFICATE KEY]

type Json = Record<string, unknown>

interface Change {
  version: number
  type: 'ADDED' | 'MODIFIED' | 'DELETED'
  kind: Kind
  object: Json
}

type Kind = 'nodes' | 'configmaps'

const [address = '', port = '', token = '', certificate, key] = process.argv.slice(1)
const objects: Record<Kind, Map<string, Json>> = { nodes: new Map(), configmaps: new Map() }
const events = new Map<string, Json>()
const patches: Json[] = []
const asked: Record<string, number> = {}
/** Bytes of the answers, without headers, by the words that `asked` has. */
const sent: Record<string, number> = {}
const sockets = new Set<Socket>()
const watchers = new Set<{ kind: Kind; response: ServerResponse }>()
let history: Change[] = []
let version = 1
/** Versions before this one are forgotten. */
let oldest = 0
let isDeaf = false
let refusals: Record<string, number> = {}

function put(kind: Kind, object: Json): void {
  const metadata = object['metadata'] as Json
  const name = String(metadata['name'])
  const type = objects[kind].has(name) ? 'MODIFIED' : 'ADDED'
  const kept = { ...object, metadata: { ...metadata, resourceVersion: String(++version) } }
  objects[kind].set(name, kept)
  spread({ version, type, kind, object: kept })
}

function remove(kind: Kind, name: string): void {
  const object = objects[kind].get(name)
  if (!object) return
  objects[kind].delete(name)
  const metadata = { ...(object['metadata'] as Json), resourceVersion: String(++version) }
  spread({ version, type: 'DELETED', kind, object: { ...object, metadata } })
}

function spread(change: Change): void {
  history.push(change)
  for (const { kind, response } of watchers) if (kind === change.kind) tell(kind, response, change)
}

function tell(kind: Kind, response: ServerResponse, { type, object }: Change): void {
  const line = lineOf(type, object)
  const words = kind === 'nodes' ? 'GET /api/v1/nodes watch' : 'GET configmaps watch'
  sent[words] = (sent[words] ?? 0) + line.length
  response.write(line)
}

function lineOf(type: string, object: Json): string {
  return `${JSON.stringify({ type, object })}\n`
}

function node(name: string, podCIDRs: string[], addresses: string[], more: Json = {}): Json {
  // As large as a real one: most of it is the list of images.
  const images = Array.from({ length: 50 }, (_, at) => ({
    names: [
      `registry.example/image-${at}@sha256:${'0123456789abcdef'.repeat(4)}`,
      `registry.example/image-${at}:v1.${at}`,
    ],
    sizeBytes: 10_000_000 + at,
  }))
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, uid: `uid-${name}`, labels: { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux' } },
    spec: { ...(podCIDRs.length > 0 ? { podCIDR: podCIDRs[0], podCIDRs } : {}) },
    status: {
      addresses: [
        ...addresses.map((one) => ({ type: 'InternalIP', address: one })),
        { type: 'Hostname', address: name },
      ],
      conditions: [{ type: 'Ready', status: 'True' }, ...((more['conditions'] as Json[] | undefined) ?? [])],
      images,
    },
  }
}

/** What a line asks for. */
const orders: Record<string, (order: Json) => unknown> = {
  node: ({ name, podCIDRs, addresses, ...more }) =>
    put('nodes', node(String(name), podCIDRs as string[], addresses as string[], more)),
  /** Nodes m0, m1, ... of one range each, on addresses from a base on. */
  many: ({ from, to }) => {
    for (let at = Number(from); at < Number(to); at++) {
      const [high, low] = [at >> 8, at & 255]
      put(
        'nodes',
        node(
          `m${at}`,
          [
            `10.${128 + (high >> 4)}.${((high & 15) << 4) + (low >> 4)}.${(low & 15) << 4}/28`,
            `fd44:0:0:${(at + 256).toString(16)}::/64`,
          ],
          [`172.20.${high}.${low}`, `fd30::1:${at.toString(16)}`],
        ),
      )
    }
  },
  /** Writes some of the nodes m0, m1, ... anew, as their kubelets do. */
  touch: ({ from, to, share, at }) => {
    const count = Math.ceil((Number(to) - Number(from)) * Number(share))
    for (let index = 0; index < count; index++) {
      const number = Number(from) + ((Number(at) * count + index) % (Number(to) - Number(from)))
      const found = objects.nodes.get(`m${number}`)
      if (found) put('nodes', found)
    }
    history = history.slice(-10_000)
  },
  delete: ({ name }) => remove('nodes', String(name)),
  config: ({ text }) => {
    if (text === undefined) remove('configmaps', 'podwire')
    else put('configmaps', { metadata: { name: 'podwire' }, data: { 'config.yaml': text } })
  },
  bookmark: () => {
    for (const { response } of watchers)
      response.write(lineOf('BOOKMARK', { metadata: { resourceVersion: String(version) } }))
  },
  /** Watches end; those of before cannot be gone on with. */
  forget: () => {
    oldest = version + 1
    version++
    history = []
    for (const { response } of watchers) response.end()
  },
  drop: () => {
    for (const socket of sockets) socket.destroy()
  },
  /** Takes requests and does not answer. */
  deaf: ({ on }) => {
    isDeaf = on === true
    if (isDeaf) for (const socket of sockets) socket.destroy()
  },
  /** Statuses that paths which hold a text are refused with. */
  refuse: ({ paths }) => {
    refusals = paths as Record<string, number>
  },
  show: () => ({ events: [...events.values()], patches, asked, sent, watchers: watchers.size }),
}

function handle(request: IncomingMessage, response: ServerResponse): unknown {
  const url = new URL(request.url ?? '/', 'http://api')
  const words = `${request.method} ${url.pathname}${url.searchParams.has('watch') ? ' watch' : ''}`
  asked[words] = (asked[words] ?? 0) + 1
  const answer = (status: number, body: Json) => {
    const text = JSON.stringify(body)
    sent[words] = (sent[words] ?? 0) + text.length
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(text)
  }
  const refuse = (code: number, message: string) => answer(code, { kind: 'Status', status: 'Failure', code, message })
  if (isDeaf) return
  if (request.headers.authorization !== `Bearer ${token}`) return void refuse(401, 'Unauthorized')
  const refusal = Object.entries(refusals).find(([text]) => words.includes(text))
  if (refusal) return void refuse(refusal[1], 'as the test wants it')
  const kind = url.pathname.endsWith('/configmaps')
    ? 'configmaps'
    : url.pathname === '/api/v1/nodes'
      ? 'nodes'
      : undefined
  if (request.method === 'GET' && kind && url.searchParams.has('watch')) return watch(kind, url, response)
  if (request.method === 'GET' && kind) return list(kind, url, answer, refuse)
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body = JSON.parse(Buffer.concat(chunks).toString() || '{}') as Json
    const parts = url.pathname.split('/')
    const name = parts.at(-1) ?? ''
    if (request.method === 'POST' && url.pathname === '/api/v1/namespaces/default/events') {
      events.set(String((body['metadata'] as Json)['name']), body)
      return answer(201, body)
    }
    if (request.method === 'PATCH' && url.pathname.startsWith('/api/v1/namespaces/default/events/')) {
      const before = events.get(name)
      if (!before) return refuse(404, 'no such Event')
      events.set(name, { ...before, ...body })
      return answer(200, { ...before, ...body })
    }
    if (request.method === 'PATCH' && parts.at(-1) === 'status') {
      patches.push({ path: url.pathname, type: request.headers['content-type'], body })
      const found = objects.nodes.get(parts.at(-2) ?? '')
      if (!found) return refuse(404, 'no such node')
      const status = found['status'] as Json
      const [condition] = (body['status'] as Json)['conditions'] as Json[]
      const others = (status['conditions'] as Json[]).filter((one) => one['type'] !== condition?.['type'])
      put('nodes', { ...found, status: { ...status, conditions: [...others, condition] } })
      return answer(200, found)
    }
    return refuse(403, `${words} is not allowed`)
  })
}

function list(
  kind: Kind,
  url: URL,
  answer: (status: number, body: Json) => unknown,
  refuse: (code: number, message: string) => unknown,
): void {
  const limit = Number(url.searchParams.get('limit') ?? Number.POSITIVE_INFINITY)
  const [asOf = version, from = 0] = (url.searchParams.get('continue') ?? '').split(' ').filter(Boolean).map(Number)
  if (asOf < oldest) return void refuse(410, 'The provided continue parameter is too old')
  const wanted = url.searchParams.get('fieldSelector')?.split('=')[1]
  const all = [...objects[kind].values()].filter(
    (one) => wanted === undefined || (one['metadata'] as Json)['name'] === wanted,
  )
  const rest = all.length > from + limit
  answer(200, {
    kind: 'List',
    apiVersion: 'v1',
    metadata: { resourceVersion: String(asOf), ...(rest ? { continue: `${asOf} ${from + limit}` } : {}) },
    items: all.slice(from, from + limit),
  })
}

function watch(kind: Kind, url: URL, response: ServerResponse): void {
  const since = Number(url.searchParams.get('resourceVersion'))
  response.writeHead(200, { 'Content-Type': 'application/json' })
  if (since < oldest) {
    response.end(lineOf('ERROR', { kind: 'Status', code: 410, message: 'too old resource version', reason: 'Expired' }))
    return
  }
  response.flushHeaders()
  for (const one of history) if (one.kind === kind && one.version > since) tell(kind, response, one)
  const watcher = { kind, response }
  watchers.add(watcher)
  const end = setTimeout(() => response.end(), Number(url.searchParams.get('timeoutSeconds') ?? 300) * 1000)
  response.on('close', () => {
    clearTimeout(end)
    watchers.delete(watcher)
  })
}

const server =
  certificate && key
    ? createTls({ cert: readFileSync(certificate), key: readFileSync(key) }, handle)
    : createPlain(handle)
server.on('connection', (socket: Socket) => {
  sockets.add(socket)
  socket.on('close', () => sockets.delete(socket))
})
server.listen(Number(port), address, () => process.stdout.write('"ready"\n'))
createInterface(process.stdin)
  .on('line', (line) => {
    const order = JSON.parse(line) as Json
    process.stdout.write(`${JSON.stringify(orders[String(order['do'])]?.(order) ?? null)}\n`)
  })
  .on('close', () => process.exit())
