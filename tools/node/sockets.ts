import type { CommandCall, Definition } from '../frame/command.js'
import type { Kernel } from './kernel.js'
import { kernelOf, type Node, readNode } from './node.js'
import type { FileReader } from './reader.js'

/** Of every command that prints names of containers. */
export const socketOption: NonNullable<Definition['options']>[number] = {
  flags: '--socket <path>',
  what: 'ask the runtime there for names, too: Podman, or a CRI (containerd, CRI-O); it may be given again',
  isRepeatable: true,
}

/** The node as `readNode` has it, with the names that runtimes tell who were named; none of them stops a command. */
export async function lookAtNode(
  { options, console }: CommandCall,
  reader: FileReader,
  kernel: Kernel | undefined = kernelOf(reader),
): Promise<Node> {
  const sockets = (options['socket'] ?? []) as readonly string[]
  if (sockets.length === 0) return readNode(reader, kernel)
  // HTTP and protocol buffers: no other command line reads them.
  const { namesAt } = await import('./sockets/ask.js')
  const waiting = setInterval(() => console.progress(`asking ${sockets.join(', ')}`), 100)
  try {
    const told = await Promise.all(sockets.map((socket) => namesAt(socket, reader)))
    return readNode(reader, kernel, new Map(told.flat()))
  } finally {
    clearInterval(waiting)
  }
}
