import http2 from 'node:http2'
import net from 'node:net'
import { type MethodName, methods } from './messages.js'
import { decodeMessage, encodeMessage, type MessageValue } from './protobuf.js'

/**
 * One call of the container runtime interface on a socket, as the kubelet makes it: gRPC over HTTP/2. Rejects with the
 * server's own words.
 */
export async function callRuntime(socket: string, method: MethodName, request: MessageValue): Promise<MessageValue> {
  const { request: requestMessage, response } = methods[method]
  const path = `/runtime.v1.RuntimeService/${method}`
  const answer = await exchange(socket, path, encodeMessage(requestMessage, request))
  return decodeMessage(response, answer.subarray(frameHeaderLength))
}

// --- internal

/** A gRPC frame is a flag (0: not compressed), the length in four bytes, and the message. */
const frameHeaderLength = 5

function frame(message: Buffer): Buffer {
  const header = Buffer.alloc(frameHeaderLength)
  header.writeUInt32BE(message.length, 1)
  return Buffer.concat([header, message])
}

/** Sends one request and resolves with the response's frame. */
function exchange(socket: string, path: string, request: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const session = http2.connect('http://localhost', { createConnection: () => net.connect(socket) })
    const fail = (error: Error) => {
      session.destroy()
      reject(error)
    }
    session.on('error', fail)
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    })
    const chunks: Buffer[] = []
    let status: http2.IncomingHttpHeaders = {}
    stream.on('response', (headers) => (status = { ...status, ...headers }))
    stream.on('trailers', (headers) => (status = { ...status, ...headers }))
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('error', fail)
    stream.on('end', () => {
      session.close()
      if (status['grpc-status'] === '0') resolve(Buffer.concat(chunks))
      else
        reject(new Error(decodeURIComponent(String(status['grpc-message'] || `gRPC status ${status['grpc-status']}`))))
    })
    stream.end(frame(request))
  })
}
