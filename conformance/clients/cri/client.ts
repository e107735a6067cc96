/** cri METHOD [JSON]: one call on the socket $CRI_SOCKET. Prints the response as JSON; an error goes to stderr, exit 1. */
import { callRuntime } from './call.js'
import { type MethodName, methods } from './messages.js'

const isMethodName = (name: string): name is MethodName => Object.hasOwn(methods, name)

const [method = '', request = '{}'] = process.argv.slice(2)
try {
  if (!isMethodName(method)) throw new Error(`usage: cri ${Object.keys(methods).join('|')} [JSON]`)
  const socket = process.env['CRI_SOCKET'] ?? '/run/containerd/containerd.sock'
  console.log(JSON.stringify(await callRuntime(socket, method, JSON.parse(request))))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
