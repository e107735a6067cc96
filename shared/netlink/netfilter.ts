import { type Answer, flag, frame, type Request } from './message.js'

// Messages of nfnetlink (linux/netfilter/nfnetlink.h), by which nftables are asked and changed.

/** Bytes of struct nfgenmsg, which is the header of each. */
export const netfilterHeaderBytes = 4

/** struct nfgenmsg. */
export function netfilterHeader(family: number, resource = 0): Buffer {
  return Buffer.from([family, 0, resource >> 8, resource & 255])
}

/** The type of a message of nftables, by its number in linux/netfilter/nf_tables.h. */
export function nftablesType(message: number): number {
  return (NFNL_SUBSYS_NFTABLES << 8) | message
}

/** The bytes of requests that are carried out all or none; the kernel acknowledges the last, or tells of errors. */
export function transaction(requests: readonly Request[]): Buffer {
  return Buffer.concat([
    frame(NFNL_MSG_BATCH_BEGIN, 0, 0, [netfilterHeader(0, NFNL_SUBSYS_NFTABLES)]),
    ...requests.map(({ type, flags, header, attributes }, index) => {
      // Errors come unasked for; the acknowledgements of thousands of messages would not fit into the socket's buffer.
      const isLast = index === requests.length - 1
      return frame(type, isLast ? flags | flag.acknowledge : flags, index + 1, [header, ...attributes])
    }),
    frame(NFNL_MSG_BATCH_END, 0, 0, [netfilterHeader(0, NFNL_SUBSYS_NFTABLES)]),
  ])
}

/** Whether there is what was asked for; undefined where the kernel does not tell. */
export function isThere(answer: Answer | undefined): boolean | undefined {
  if (answer?.error === -ENOENT) return false
  return answer?.error === 0 ? true : undefined
}

/** What was asked for, nothing where it is absent; undefined where the kernel does not tell. */
export function partsOf(answer: Answer | undefined): readonly Buffer[] | undefined {
  if (answer?.error === -ENOENT) return []
  return answer?.error === 0 ? answer.parts : undefined
}

// --- internal

const ENOENT = 2
const NFNL_SUBSYS_NFTABLES = 10
const NFNL_MSG_BATCH_BEGIN = 0x10
const NFNL_MSG_BATCH_END = 0x11
