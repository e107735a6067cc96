import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import {
  createServer as createHttp2Server,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import protobuf from 'protobufjs/light.js'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { command } from '../../shared/testing/program.js'

// What `--socket` asks: fake runtimes on sockets in the test's own folder.

let root: string
let socket: string
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'podwire-sockets-'))
  socket = path.join(root, 'runtime.sock')
  onTestFinished(() => rmSync(root, { recursive: true }))
  const leases = path.join(root, 'var/lib/cni/networks/pods')
  mkdirSync(leases, { recursive: true })
  for (const [at, id] of ['c1', 'c2'].entries()) writeFileSync(path.join(leases, `10.1.2.${at + 3}`), `${id}\r\neth0`)
  const results = path.join(root, 'var/lib/cni/results')
  mkdirSync(results, { recursive: true })
  writeFileSync(path.join(results, 'pods-c1-eth0'), JSON.stringify(cached))
  const storage = path.join(root, 'var/lib/containers/storage/overlay-containers')
  mkdirSync(storage, { recursive: true })
  writeFileSync(path.join(storage, 'containers.json'), JSON.stringify([{ id: 'c1', names: ['of-a-file'] }]))
})

const cached = {
  kind: 'cniCacheV1',
  containerId: 'c1',
  ifName: 'eth0',
  networkName: 'pods',
  config: Buffer.from(JSON.stringify({ name: 'pods', plugins: [{ type: 'portmap' }] })).toString('base64'),
  capabilityArgs: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] },
  result: { cniVersion: '1.0.0', ips: [{ address: '10.1.2.3/24' }] },
}

type Listening = Pick<Server, 'listen' | 'close'>

/** Listens until the test ends; connections that are left are cut. */
async function listen(server: Listening, at = socket): Promise<void> {
  const connections = new Set<Socket>()
  ;(server as Server).on('connection', (one: Socket) => connections.add(one.on('error', () => one.destroy())))
  await new Promise<void>((resolve) => server.listen(at, resolve))
  onTestFinished(() => {
    for (const one of connections) one.destroy()
    server.close()
  })
}

const raw = (behave: (connection: Socket) => void) => createServer(behave)
const http = (answer: RequestListener) => createHttpServer(answer)
const podman = (list: unknown) =>
  http(({ url }, response) => {
    response.statusCode = url === '/v4.0.0/libpod/containers/json?all=true' ? 200 : 404
    response.end(typeof list === 'string' ? list : JSON.stringify(list))
  })

interface Reply {
  readonly frame: Buffer
  readonly trailers?: Readonly<Record<string, string>>
}

function grpc(answer: (stream: ServerHttp2Stream) => void): Http2Server {
  const server = createHttp2Server()
  // What speaks HTTP/1 to it is told off, as the servers of gRPC do.
  server.on('unknownProtocol', (connection: Socket) => connection.destroy())
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on('error', () => stream.destroy())
    if (headers[':path'] === '/runtime.v1.RuntimeService/ListPodSandbox') answer(stream)
    else stream.respond({ 'grpc-status': '12' }, { endStream: true })
  })
  return server
}

const cri = ({ frame, trailers = { 'grpc-status': '0' } }: Reply) =>
  grpc((stream) => {
    stream.respond({ 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers(trailers))
    stream.end(frame)
  })

function framed(message: Uint8Array, { isCompressed = false, length = message.length } = {}): Buffer {
  const header = Buffer.alloc(5)
  header[0] = isCompressed ? 1 : 0
  header.writeUInt32BE(length, 1)
  return Buffer.concat([header, message])
}

/** ListPodSandboxResponse as runtimes send it, with fields that nobody here reads: state, times, labels. */
function sandboxes(...pods: readonly { id: string; name: string; namespace: string }[]): Uint8Array {
  const writer = protobuf.Writer.create()
  for (const { id, name, namespace } of pods) {
    writer.uint32(10).fork().uint32(10).string(id)
    writer.uint32(18).fork().uint32(10).string(name).uint32(18).string('uid').uint32(26).string(namespace).ldelim()
    writer.uint32(24).uint32(1).uint32(32).int64(1_700_000_000)
    writer.uint32(42).fork().uint32(10).string('app').uint32(18).string('web').ldelim()
    writer.ldelim()
  }
  return writer.finish()
}

const web = { id: 'c1', name: 'web-1', namespace: 'shop' }
const containers = [
  { Id: 'c1', Names: ['web', 'other'], Command: null, Ports: [] },
  { Id: 'c9', Names: null },
]

/** The names that a command's JSON has, by container. */
async function namesOf(words: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const { stdout } = await command([...words, '--root', root, '--json'])
  const { attachments, leases, ports } = JSON.parse(stdout)
  const all = attachments ?? leases ?? ports.map(({ holder }: { holder: object }) => holder)
  return Object.fromEntries(all.map(({ containerID, name }: Record<string, string>) => [containerID, name]))
}

describe.each([['ps'], ['leases'], ['ports']])('%s', (name) => {
  test.each([
    ['Podman', () => podman(containers), 'web'],
    ['a CRI', () => cri({ frame: framed(sandboxes(web)) }), 'shop/web-1'],
    ['a CRI without namespaces', () => cri({ frame: framed(sandboxes({ ...web, namespace: '' })) }), 'web-1'],
  ])('has the names that %s tells, before those of files', async (_, server, expected) => {
    await listen(server())
    expect(await namesOf([name])).toMatchObject({ c1: 'of-a-file' })
    expect(await namesOf([name, '--socket', socket])).toMatchObject({ c1: expected })
  })
})

test('names of several runtimes stand together', async () => {
  const other = path.join(root, 'other.sock')
  await listen(podman(containers))
  await listen(cri({ frame: framed(sandboxes({ ...web, id: 'c2' })) }), other)
  expect(await namesOf(['ps', '--socket', socket, '--socket', other])).toEqual({ c1: 'web', c2: 'shop/web-1' })
})

test.each([
  ['Podman', () => podman([])],
  ['a CRI', () => cri({ frame: framed(new Uint8Array()) })],
])('%s that has no containers is asked, and files have their names', async (_, server) => {
  await listen(server())
  const { stdout, stderr } = await command(['ps', '--root', root, '--socket', socket])
  expect([stdout, stderr]).toEqual([expect.stringContaining('of-a-file'), ''])
})

/** Writes until the other side has gone. */
function flood(into: { write: (chunk: Buffer) => boolean; once: (event: 'drain', then: () => void) => unknown }): void {
  while (into.write(Buffer.alloc(65536, ' ')));
  into.once('drain', () => flood(into))
}

const neither = 'is the socket of neither Podman ('
const pod = sandboxes(web)
const silent: readonly (() => Listening)[] = [
  () => raw(() => {}),
  () => raw((one) => trickle(one, 'HTTP/1.1 200 OK\r\nX: ')),
  () => http((_, response) => void response.write('[')),
  () => grpc((stream) => stream.respond()),
]

function trickle(connection: Socket, start: string): void {
  connection.write(start)
  const timer = setInterval(() => connection.write('x'), 50)
  connection.on('close', () => clearInterval(timer))
}

const hostile: readonly [string, () => Listening, string][] = [
  ['hangs up', () => raw((one) => one.end()), neither],
  ['talks of something else', () => raw((one) => one.end('SSH-2.0-OpenSSH_9.2\r\n')), neither],
  ['is another service of HTTP', () => http((_, response) => void response.writeHead(404).end()), 'HTTP status 404'],
  ['answers what is no JSON', () => podman('{'), neither],
  ['answers with no list', () => podman({ message: 'no' }), '(no list)'],
  ['answers without an end', () => http((_, response) => flood(response)), '(more than 16777216 bytes)'],
  ['has headers without an end', () => raw((one) => flood(one)), neither],
  ['refuses', () => grpc((stream) => stream.respond({ 'grpc-status': '7' }, { endStream: true })), 'gRPC status 7'],
  [
    'refuses in words',
    () => cri({ frame: framed(pod), trailers: { 'grpc-status': '13', 'grpc-message': 'out of %zz' } }),
    'gRPC status 13 out of %zz',
  ],
  ['says no status', () => cri({ frame: framed(pod), trailers: {} }), 'gRPC status missing'],
  ['resets the call', () => grpc((stream) => stream.close(2)), 'nor a CRI'],
  ['sends no frame', () => cri({ frame: Buffer.of(0) }), '(no message of gRPC)'],
  ['sends half a frame', () => cri({ frame: framed(pod, { length: 1000 }) }), '(no message of gRPC)'],
  ['sends two messages', () => cri({ frame: Buffer.concat([framed(pod), framed(pod)]) }), '(no message of gRPC)'],
  ['compresses unasked', () => cri({ frame: framed(pod, { isCompressed: true }) }), '(no message of gRPC)'],
  ['sends half a message', () => cri({ frame: framed(pod.subarray(0, 9)) }), 'nor a CRI'],
  ['sends no protocol buffers', () => cri({ frame: framed(Buffer.alloc(64, 0xff)) }), 'nor a CRI'],
  [
    'sends frames without an end',
    () =>
      grpc((stream) => {
        stream.respond()
        flood(stream)
      }),
    '(more than 16777216',
  ],
]

/**
 * The command has its answer all the same, and says why that socket is of no use. A busy machine may not have got so
 * far within the two seconds that a runtime has: then it is asked again.
 */
async function isTold(why: string, at = socket): Promise<void> {
  const ask = () => command(['ps', '--root', root, '--socket', at])
  let told = await ask()
  for (let tries = 1; tries < 10 && told.stderr.includes('did not answer within 2 s'); tries++) told = await ask()
  const { status, stdout, stderr } = told
  expect([status, stdout]).toEqual([0, expect.stringContaining('of-a-file')])
  expect(stderr).toContain(why)
  expect(stderr).toMatch(/^podwire: .*: it is not used\n$/)
  expect(stderr).toContain(`podwire: ${at} `)
}

describe('a runtime that', () => {
  test.each(hostile)('%s stops nothing', async (_, server, why) => {
    await listen(server())
    await isTold(why)
  })

  test('says nothing whole is waited for two seconds, all of them at once', async () => {
    const sockets = silent.map((_, index) => path.join(root, `${index}.sock`))
    for (const [index, server] of silent.entries()) await listen(server(), sockets[index])
    const before = performance.now()
    const { status, stdout } = await command([
      ...['ps', '--root', root, '--json'],
      ...sockets.flatMap((one) => ['--socket', one]),
    ])
    const took = performance.now() - before
    expect(status).toBe(0)
    const { attachments, unused } = JSON.parse(stdout)
    expect(attachments).toMatchObject([{ name: 'of-a-file' }, {}])
    const told = sockets.map((one) => ({ path: one, why: 'did not answer within 2 s' }))
    expect(unused).toEqual(expect.arrayContaining(told))
    expect(unused).toHaveLength(told.length)
    expect(took).toBeGreaterThan(1900)
    expect(took).toBeLessThan(2000 * sockets.length)
  })

  test('fails does not keep another from being asked', async () => {
    await listen(podman(containers))
    const { stdout } = await command(['ps', '--root', root, '--json', '--socket', '/nowhere', '--socket', socket])
    expect(JSON.parse(stdout)).toMatchObject({
      attachments: [{ name: 'web' }, {}],
      unused: [{ path: '/nowhere', why: 'is not there' }],
    })
  })
})

test.each([
  ['nothing', () => path.join(root, 'nothing'), 'is not there'],
  ['a file', () => path.join(root, 'var/lib/cni/results/pods-c1-eth0'), 'is no socket that somebody listens at'],
  ['a folder', () => root, 'is no socket that somebody listens at'],
  ['a path in a file', () => path.join(root, 'var/lib/cni/results/pods-c1-eth0/x'), 'is not there'],
  ['a path that no socket can have', () => path.join(root, 'x'.repeat(200)), 'is too long for the path of a socket'],
])('%s instead of a socket is told of', async (_, at, why) => {
  await isTold(why, at())
})

test.each([
  ['Podman', () => podman([{ Id: 'c1', Names: ['\x1b[2J\u202eweb'] }])],
  ['a CRI', () => cri({ frame: framed(sandboxes({ ...web, name: '\x1b[2J\u202eweb' })) })],
  [
    'a CRI that refuses',
    () =>
      cri({ frame: framed(pod), trailers: { 'grpc-status': '13', 'grpc-message': '\x1b[2J'.replace('\x1b', '\x9b') } }),
  ],
])('what %s says is printed without control characters', async (_, server) => {
  await listen(server())
  for (const words of [['ps'], ['ps', '--json'], ['leases'], ['ports']]) {
    const { stdout, stderr } = await command([...words, '--root', root, '--socket', socket])
    expect((stdout + stderr).replaceAll('\n', '')).not.toMatch(/[\p{C}]/u)
    expect(stdout + stderr).toMatch(/\\u.*\[2J/)
  }
})
