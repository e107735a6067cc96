// The two ends of a conversation, run by `node --eval` inside a network namespace (see traffic.ts):
//   serve PROTOCOL ADDRESS PORT NAME         prints a line when it listens, ends when its standard input closes
//   ask PROTOCOL ADDRESS PORT MILLISECONDS [FROM]   prints the answer, or ends with status 3 when none comes in time
import { createSocket } from 'node:dgram'
import { connect, createServer, isIPv4 } from 'node:net'

const [verb = '', protocol = '', address = '', port = '', last = '', from = ''] = process.argv.slice(1)

const answer = (source: string, sourcePort: number) =>
  JSON.stringify({ server: last, source: source.replace(/^::ffff:/, ''), port: sourcePort })

function listening(): void {
  process.stdout.write('listening\n')
  process.stdin.resume().on('end', () => process.exit(0))
}

function serveTcp(): void {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.end(answer(socket.remoteAddress ?? '', socket.remotePort ?? 0))
  })
  server.listen(Number(port), address, listening)
}

function serveUdp(): void {
  const socket = createSocket(isIPv4(address) ? 'udp4' : 'udp6')
  socket.on('message', (_, { address: source, port: sourcePort }) => {
    socket.send(answer(source, sourcePort), sourcePort, source)
  })
  socket.bind(Number(port), address, listening)
}

function noAnswer(): never {
  process.exit(3)
}

function done(text: string): void {
  process.stdout.write(text, () => process.exit(0))
}

function askTcp(): void {
  const socket = connect({ host: address, port: Number(port), ...(from && { localAddress: from }) })
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  socket.on('error', noAnswer)
  socket.on('end', () => (text === '' ? noAnswer() : done(text)))
}

// A datagram may be lost while a neighbour is being resolved: it is repeated until the deadline.
function askUdp(): void {
  const socket = createSocket(isIPv4(address) ? 'udp4' : 'udp6')
  const send = () => socket.send('who', Number(port), address, () => undefined)
  socket.on('error', noAnswer)
  socket.on('message', (message) => done(message.toString()))
  socket.bind({ port: 0, ...(from && { address: from }) }, () => {
    send()
    setInterval(send, 100)
  })
}

if (verb === 'ask') setTimeout(noAnswer, Number(last))
const parts = { 'serve tcp': serveTcp, 'serve udp': serveUdp, 'ask tcp': askTcp, 'ask udp': askUdp }
parts[`${verb} ${protocol}` as keyof typeof parts]()
