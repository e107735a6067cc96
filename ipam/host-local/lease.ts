import type { Address } from '../../shared/values/address.js'

/** Who holds a lease; files of plugins before v0.8 name no interface: `ifName` is empty then. */
export interface Owner {
  readonly containerID: string
  readonly ifName: string
}

/** One lease file: its name in the network's directory, the address that name spells, and its owner. */
export interface Lease {
  readonly file: string
  readonly address: Address
  readonly owner: Owner
}

/** The content of a lease file, byte for byte the official plugin's. */
export function leaseText({ containerID, ifName }: Owner): string {
  return `${containerID}\r\n${ifName}`
}

/**
 * The owner a lease file names, undefined when it can name none: such a file is what a crash left (empty, or zeros).
 * Any other text counts as an owner, so that an address reserved by a person's note is never handed out.
 */
export function ownerOf(text: string): Owner | undefined {
  const trimmed = text.trim()
  if (trimmed === '' || hasControl(trimmed)) return undefined
  const end = trimmed.indexOf('\r\n')
  if (end < 0) return { containerID: trimmed, ifName: '' }
  return { containerID: trimmed.slice(0, end), ifName: trimmed.slice(end + 2) }
}

/** Whether both are the same attachment; never true between a legacy owner and one with an interface. */
export function sameOwner(left: Owner | undefined, right: Owner): boolean {
  return left !== undefined && left.containerID === right.containerID && left.ifName === right.ifName
}

// --- internal

function hasControl(text: string): boolean {
  for (const char of text) {
    if (char === '\ufffd' || char === '\x7f') return true
    if (char < ' ' && char !== '\r' && char !== '\n' && char !== '\t') return true
  }
  return false
}
