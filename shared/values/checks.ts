import { parseAddress, parseCidr } from './address.js'
import { ifNameFault, isIdentifier } from './environment.js'
import { isToken } from './token.js'

/** A predicate on text with the words an error uses for what it wants. */
interface Check {
  readonly test: (text: string) => boolean
  readonly expected: string
}

/** The named checks of configuration values: zod schemas refer to them by name, the accepting code runs them. */
export const checks = {
  address: {
    test: (text) => parseAddress(text) !== undefined,
    expected: 'an IP address such as "10.1.2.3" or "fd00::3"',
  },
  addressOrEmpty: {
    test: (text) => text === '' || parseAddress(text) !== undefined,
    expected: 'an IP address such as "10.1.2.3" or "fd00::3", or nothing',
  },
  addressMaybePrefix: {
    test: (text) => parseAddress(text) !== undefined || parseCidr(text) !== undefined,
    expected: 'an IP address with or without a prefix length, such as "10.1.2.3" or "10.1.2.3/24"',
  },
  cidr: {
    test: (text) => parseCidr(text) !== undefined,
    expected: 'an address with its prefix length, such as "10.1.2.0/24"',
  },
  identifier: { test: isIdentifier, expected: 'letters, digits, ".", "_" and "-", the first one a letter or digit' },
  identifierOrEmpty: {
    test: (text) => text === '' || isIdentifier(text),
    expected: 'letters, digits, ".", "_" and "-", the first one a letter or digit, or nothing',
  },
  cidrOrEmpty: {
    test: (text) => text === '' || parseCidr(text) !== undefined,
    expected: 'a subnet such as "10.1.2.0/24", or nothing',
  },
  linkName: {
    test: isLinkName,
    expected: 'a link name of 1 to 15 bytes without white space, "/", ":", "%", quotes or any of \\#;{}`',
  },
  linkNameOrEmpty: {
    test: (text) => text === '' || isLinkName(text),
    expected: 'a link name of 1 to 15 bytes without white space, "/", ":", "%" or quotes, or nothing',
  },
  linkPattern: {
    test: isLinkPattern,
    expected:
      'a link name, or a pattern of names with "*" and "?", without white space, "/", ":", "%", quotes or any of \\#;{}`',
  },
  mac: { test: (text) => macOf(text) !== undefined, expected: 'a MAC address such as "02:00:5e:10:00:01"' },
  macOrEmpty: {
    test: (text) => text === '' || unicastMac(text) !== undefined,
    expected:
      'the MAC address of one interface such as "02:00:5e:10:00:01" (no multicast address, not all zero), or nothing',
  },
  chainName: {
    test: isChainName,
    expected: 'the name of an iptables chain: 1 to 28 letters, digits, ".", "_" and "-", not beginning with "-"',
  },
  chainNameOrEmpty: {
    test: (text) => text === '' || isChainName(text),
    expected: 'the name of an iptables chain: up to 28 letters, digits, ".", "_" and "-", or nothing',
  },
  path: { test: (text) => !text.includes('\0'), expected: 'a path, without the character NUL' },
  directPath: {
    test: (text) => !text.includes('\0') && !text.split('/').includes('..'),
    expected: 'a path without ".."',
  },
  token: { test: isToken, expected: 'one word of a batch file' },
  plainText: {
    test: (text) => text === '' || isToken(`"${text}"`),
    expected: 'a text without quotes, backslashes and control characters',
  },
} as const satisfies Record<string, Check>

export type CheckName = keyof typeof checks

/** True where the kernel takes the name for a link and it is safe as one word of a tool's batch file. */
export function isLinkName(text: string): boolean {
  return ifNameFault(text) === undefined && isOneWord(text)
}

/** A name that begins with "-" is one, too: it always stands behind the word that says what it names. */
function isOneWord(text: string): boolean {
  return isToken(`x${text}`) && !text.includes('%')
}

/** Also an alternative name, of at most 127 bytes, is one; empty is allowed. */
function isLinkPattern(text: string): boolean {
  return text === '' || (text.length <= 127 && !text.includes('/') && !text.includes(':') && isOneWord(text))
}

/** True for a name that iptables takes for a chain, and that is one word of its batch file. */
function isChainName(text: string): boolean {
  const rest = text.startsWith('_') ? `x${text.slice(1)}` : text
  return isIdentifier(rest) && text.length <= 28
}

/**
 * The same, where an interface can have it: no address of a group, nor of nobody (is_valid_ether_addr in the kernel).
 */
export function unicastMac(text: string): string | undefined {
  const mac = macOf(text)
  const isOfOne = mac !== undefined && '02468ace'.includes(mac[1] ?? '') && mac !== '00:00:00:00:00:00'
  return isOfOne ? mac : undefined
}

/** A 48-bit MAC address in lower-case colon form, from any form Go's net.ParseMAC takes (`:`, `-` or `.` between). */
export function macOf(text: string): string | undefined {
  const separator = text.includes('.') ? '.' : text.includes('-') ? '-' : ':'
  const groups = text.split(separator)
  const digits = separator === '.' ? 4 : 2
  if (groups.length !== 12 / digits || groups.some((group) => group.length !== digits)) return undefined
  const hex = groups.join('').toLowerCase()
  for (const char of hex) if (!'0123456789abcdef'.includes(char)) return undefined
  let mac = hex.slice(0, 2)
  for (let index = 2; index < 12; index += 2) mac += `:${hex.slice(index, index + 2)}`
  return mac
}
