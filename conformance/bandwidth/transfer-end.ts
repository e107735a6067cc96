// The two ends of a measured transfer, run by `node --eval` inside a network namespace (see transfer.ts):
//   sink ADDRESS PORT             prints a line when it listens, ends when its standard input closes
//   send ADDRESS PORT BYTES       prints the milliseconds until the sink has had every byte
import { connect, createServer } from 'node:net'

const [verb = '', address = '', port = '', bytes = ''] = process.argv.slice(1)

function sink(): void {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let received = 0
    socket.on('data', (chunk) => {
      received += chunk.length
    })
    socket.on('end', () => socket.end(String(received)))
  })
  server.listen(Number(port), address, () => {
    process.stdout.write('listening\n')
    process.stdin.resume().on('end', () => process.exit(0))
  })
}

function send(): void {
  const socket = connect({ host: address, port: Number(port), allowHalfOpen: true })
  let began = 0
  let answer = ''
  socket.on('connect', () => {
    began = performance.now()
    socket.end(Buffer.alloc(Number(bytes)))
  })
  socket.on('data', (chunk) => {
    answer += chunk
  })
  socket.on('end', () => {
    if (answer !== bytes) throw new Error(`the sink had ${answer} of ${bytes} bytes`)
    process.stdout.write(String(performance.now() - began))
  })
}

if (verb === 'sink') sink()
else send()
