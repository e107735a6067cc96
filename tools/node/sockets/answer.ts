import type { Readable } from 'node:stream'

/** What people call containers: [ID, name]. */
export type Names = readonly (readonly [containerID: string, name: string])[]

/** All that comes. @throws where that is more than a runtime says of its containers */
export async function bounded(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  let total = 0
  for await (const chunk of stream) {
    total += chunk.length
    if (total > mostBytes) throw new Error(`more than ${mostBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

// --- internal

/** As kubelet bounds what it takes of a runtime. */
const mostBytes = 16 * 1024 * 1024
