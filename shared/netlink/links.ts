import { type Attribute, attribute, u8, u16, u32 } from './message.js'

// Links as in linux/if_link.h.

/** Struct ifinfomsg, the header of requests and answers about links. */
export const linkHeaderBytes = 16

export function linkHeader({ index = 0, flags = 0, change = 0 } = {}): Buffer {
  const header = Buffer.alloc(linkHeaderBytes)
  header.writeInt32LE(index, 4)
  header.writeUInt32LE(flags, 8)
  header.writeUInt32LE(change, 12)
  return header
}

/** Types of a link's attributes. */
export const link = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  queueLength: 13,
  operationalState: 16,
  information: 18,
  alias: 20,
  specifics: 26,
  netns: 28,
  filterMask: 29,
  promiscuity: 30,
  linkNetns: 37,
  permanentAddress: 54,
  parentName: 56,
  parentBus: 57,
} as const

/** Types inside `link.information`. */
export const information = { kind: 1, data: 2, portKind: 4, portData: 5 } as const

/** What only links of one kind have, by the word that `ip` takes for it and shows it under. */
type Fields = Readonly<Record<string, Field>>

interface Field {
  readonly type: number
  readonly size: 'u8' | 'u16' | 'u32'
  /** Words that stand for numbers. */
  readonly names?: Readonly<Record<string, number>>
  /** Taken as "on" or "off", shown as true or false. */
  readonly isSwitch?: true
}

/** Links of other kinds are made by `ip`; of those nothing but the kind is seen. */
export const linkKinds: Readonly<Record<string, Fields>> = {
  bridge: { vlan_default_pvid: { type: 39, size: 'u16' } },
  dummy: {},
  ifb: {},
  // What stands behind `peer` is a link (encode.ts).
  veth: {},
  macvlan: {
    mode: { type: 1, size: 'u32', names: { private: 1, vepa: 2, bridge: 4, passthru: 8 } },
    bcqueuelen: { type: 7, size: 'u32' },
  },
  ipvlan: { mode: { type: 1, size: 'u16', names: { l2: 0, l3: 1, l3s: 2 } } },
  vrf: { table: { type: 1, size: 'u32' } },
  vlan: { id: { type: 1, size: 'u16' } },
  tun: {
    type: { type: 3, size: 'u8', names: { tun: 1, tap: 2 } },
    multi_queue: { type: 7, size: 'u8', isSwitch: true },
  },
}

/** What ports have, by the word of their kind. */
export const portKinds: Readonly<Record<string, { readonly kind: string; readonly fields: Fields }>> = {
  bridge_slave: {
    kind: 'bridge',
    fields: { hairpin: { type: 4, size: 'u8', isSwitch: true }, isolated: { type: 33, size: 'u8', isSwitch: true } },
  },
}

/** The attributes of words with their values; undefined where one of them is not known. */
export function encodeFields(fields: Fields, words: ReadonlyMap<string, string>): readonly Attribute[] | undefined {
  const found: Attribute[] = []
  for (const [word, value] of words) {
    const field = fields[word]
    const number = field && numberIn(field, value)
    if (!field || number === undefined) return undefined
    found.push(attribute(field.type, integers[field.size].write(number)))
  }
  return found
}

/** What `ip -j -d` shows of attributes. */
export function showFields(fields: Fields, data: ReadonlyMap<number, Buffer>): Record<string, unknown> {
  const shown: Record<string, unknown> = {}
  for (const [word, { type, size, names, isSwitch }] of Object.entries(fields)) {
    const bytes = data.get(type)
    if (!bytes) continue
    const number = integers[size].read(bytes)
    shown[word] = names ? nameIn(names, number) : isSwitch ? number === 1 : number
  }
  return shown
}

/** A whole number below 2^32; undefined for any other text. */
export function parseU32(text: string): number | undefined {
  const value = Number(text)
  return Number.isInteger(value) && value >= 0 && value < 2 ** 32 ? value : undefined
}

/** The first name of a number. */
export function nameIn(names: Readonly<Record<string, number>>, number: number): string | undefined {
  return Object.keys(names).find((name) => names[name] === number)
}

// --- internal

const integers = {
  u8: { write: u8, read: (bytes: Buffer) => bytes.readUInt8(), limit: 2 ** 8 },
  u16: { write: u16, read: (bytes: Buffer) => bytes.readUInt16LE(), limit: 2 ** 16 },
  u32: { write: u32, read: (bytes: Buffer) => bytes.readUInt32LE(), limit: 2 ** 32 },
}

const switched: Readonly<Record<string, number>> = { on: 1, off: 0 }

function numberIn({ size, names, isSwitch }: Field, value: string): number | undefined {
  const known = isSwitch ? switched : names
  if (known) return known[value]
  const number = parseU32(value)
  return number !== undefined && number < integers[size].limit ? number : undefined
}
