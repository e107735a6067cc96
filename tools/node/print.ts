import type { CommandCall } from '../frame/command.js'
import type { KnownAttachment, PublishedPort } from './node.js'
import type { FileReader } from './reader.js'

/** "3m", "5h", "2d" since a time in milliseconds. */
export function age(since: number, now = Date.now()): string {
  const seconds = Math.max(0, Math.floor((now - since) / 1000))
  for (const [letter, length] of units) if (seconds >= length * 2) return `${Math.floor(seconds / length)}${letter}`
  return `${seconds}s`
}

/** The start of a long ID, as runtimes print them. */
export function shortID(containerID: string): string {
  return /^[0-9a-f]{64}$/.test(containerID) ? containerID.slice(0, 13) : containerID
}

/** "127.0.0.1:8080->80/tcp" */
export function portWords({ address, host, container, protocol }: PublishedPort): string {
  return `${hostPort(address, host)}->${container}/${protocol}`
}

export function hostPort(address: string, port: number): string {
  if (address === '') return String(port)
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** How every answer in JSON tells of one attachment. */
export function attachmentJson({ network, containerID, ifName, name, life, since }: KnownAttachment) {
  return { network, containerID, ifName, name, state: life.state, how: life.how, since: new Date(since).toISOString() }
}

/** What of files was not used: a line each, but no more than a screen of them. */
export function warnOfUnused({ console }: Pick<CommandCall, 'console'>, { unused }: FileReader): void {
  for (const { path, why } of unused.slice(0, mostLines)) console.warn(`${path} ${why}: it is not used`)
  if (unused.length > mostLines) console.warn(`${unused.length - mostLines} more files are not used: see --json`)
}

// --- internal

const units = [
  ['d', 86400],
  ['h', 3600],
  ['m', 60],
] as const

const mostLines = 20
