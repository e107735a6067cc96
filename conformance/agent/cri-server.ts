import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'

// A runtime as far as `podwire agent` asks it: the IDs of its sandboxes (runtime.v1, ListPodSandbox). Each line of JSON
// on standard input is the list from then on, and is answered by one.
//
//   node --input-type=module-typescript --eval TEXT -- SOCKET [ID...]

const [socket, ...first] = process.argv.slice(1)
let ids: readonly string[] = first

/** A field of bytes: its number and wire type 2, the length (below 128), the bytes. */
function field(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes])
}

/** ListPodSandboxResponse { repeated PodSandbox items = 1 }, PodSandbox { string id = 1 }. */
function response(): Buffer {
  const message = Buffer.concat(ids.map((id) => field(1, field(1, Buffer.from(id)))))
  const header = Buffer.alloc(5)
  header.writeUInt32BE(message.length, 1)
  return Buffer.concat([header, message])
}

const server = createServer()
server.on('unknownProtocol', (connection: Socket) => connection.destroy())
server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
  if (headers[':path'] !== '/runtime.v1.RuntimeService/ListPodSandbox') {
    return stream.respond({ 'grpc-status': '12' }, { endStream: true })
  }
  stream.respond({ 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  stream.end(response())
})
server.listen(socket, () => process.stdout.write('"ready"\n'))
createInterface(process.stdin)
  .on('line', (line) => {
    ids = JSON.parse(line) as string[]
    process.stdout.write('null\n')
  })
  .on('close', () => process.exit())
