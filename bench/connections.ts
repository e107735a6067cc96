// The two ends of a published port, run by Node as they stand in network namespaces of their own:
//   serve PORT                       says when it listens, ends when its standard input closes
//   ask ADDRESS PORT MILLISECONDS    prints how long a connection takes alone and how many a second many at once make
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

const [verb, ...rest] = process.argv.slice(2)
const alone = 100
const atOnce = 16

function serve(port: number): void {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.write('.')
  })
  server.listen(port, '0.0.0.0', () => console.log('listening'))
  process.stdin.resume().on('end', () => process.exit(0))
}

/**
 * Milliseconds until the handshake is over. The answer is waited for, so that clients are never ahead of a server that
 * must drop them; a reset ends the connection, so that no port waits to be free again.
 */
async function connection(host: string, port: number): Promise<number> {
  const began = performance.now()
  const socket = connect({ host, port })
  await once(socket, 'connect')
  const took = performance.now() - began
  await once(socket, 'data')
  socket.resetAndDestroy()
  return took
}

async function ask(host: string, port: number, duration: number): Promise<void> {
  const times: number[] = []
  for (let count = 0; count < alone; count++) times.push(await connection(host, port))
  const began = performance.now()
  let made = 0
  const client = async () => {
    for (; performance.now() - began < duration; made++) await connection(host, port)
  }
  await Promise.all(Array.from({ length: atOnce }, client))
  console.log(JSON.stringify({ times, perSecond: (made * 1000) / (performance.now() - began) }))
}

if (verb === 'serve') serve(Number(rest[0]))
else await ask(rest[0] ?? '', Number(rest[1]), Number(rest[2]))
