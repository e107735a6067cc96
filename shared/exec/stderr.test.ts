import { expect, test } from 'vitest'
import { excerpt, failedBatchLine, firstLine, reasonOf } from './stderr.js'

/** What the tools have said, with the versions that said it. */
const said: [string, ReturnType<typeof reasonOf>, string][] = [
  ['ip 6.1', 'exists', 'RTNETLINK answers: File exists\nCommand failed -:1\n'],
  ['ip 6.9', 'exists', 'Error: ipv4: Address already assigned.\nCommand failed -:3\n'],
  ['ip 6.9', 'exists', 'Error: ipv6: address already assigned.\nCommand failed -:1\n'],
  ['ip 6.1', 'exists', 'ioctl(TUNSETIFF): Device or resource busy\nCommand failed -:1\n'],
  ['ip 6.1', 'absent', 'Cannot find device "eth9"\nCommand failed -:1\n'],
  ['ip 6.1', 'absent', 'RTNETLINK answers: No such process\n'],
  ['ip 6.1', 'absent', 'RTNETLINK answers: Cannot assign requested address\n'],
  ['ip 6.1', 'unsupported', 'Error: Unknown device type.\n'],
  ['ip 6.1', 'unsupported', 'RTNETLINK answers: Operation not supported\n'],
  ['ip 6.1', 'denied', 'RTNETLINK answers: Operation not permitted\n'],
  ['ip 6.1', 'other', 'RTNETLINK answers: Invalid argument\n'],
  ['ip 6.1', 'other', 'Error: Nexthop has invalid gateway.\nCommand failed -:4\n'],
  ['tc 6.1', 'absent', 'Error: Cannot delete qdisc with handle of zero.\nCommand failed -:1\n'],
  ['tc 6.1', 'absent', 'Error: Invalid handle.\nCommand failed -:2\n'],
  ['tc 6.1', 'absent', 'Cannot find device "veth9"\nCommand failed -:1\n'],
  ['tc 6.1', 'unsupported', 'Error: Specified qdisc kind is unknown.\nCommand failed -:1\n'],
  ['tc 6.1', 'other', 'Error: Exclusivity flag on, cannot modify.\nCommand failed -:1\n'],
  ['nft 1.0.6', 'absent', '/dev/stdin:1:25-31: Error: No such file or directory\nadd rule ip podwire nothere accept\n'],
  ['nft 1.0.6', 'exists', '/dev/stdin:1:1-2: Error: Could not process rule: File exists\n'],
  ['nft 1.0.6', 'busy', '/dev/stdin:1:1-2: Error: Could not process rule: Device or resource busy\n'],
  ['nft 1.0.6', 'other', '/dev/stdin:1:1-2: Error: syntax error, unexpected newline\n'],
  ['iptables 1.8.9', 'absent', 'iptables: Bad rule (does a matching rule exist in that chain?).\n'],
  ['iptables 1.8.9', 'absent', 'iptables: No chain/target/match by that name.\n'],
  ['iptables 1.8.9', 'exists', 'iptables: Chain already exists.\n'],
  ['nsenter 2.38', 'absent', 'nsenter: cannot open /run/netns/x: No such file or directory\n'],
  ['a write', 'denied', "EROFS: read-only file system, write '/proc/sys/net/ipv4/ip_forward'"],
]

test.each(said)('%s says %s', (_, reason, stderr) => {
  expect(reasonOf(stderr)).toBe(reason)
})

test('the failing line of a batch', () => {
  expect(failedBatchLine('RTNETLINK answers: File exists\nCommand failed -:12\n')).toBe(12)
  expect(failedBatchLine('nsenter: cannot open x')).toBeUndefined()
})

test('of a tool gone mad only the beginning is told', () => {
  expect(excerpt(' short\n')).toBe('short')
  expect(excerpt('x'.repeat(10_000))).toBe(`${'x'.repeat(4000)}... (10000 characters)`)
  expect(firstLine('x'.repeat(10_000))).toHaveLength(500 + '... (10000 characters)'.length)
})

test('the first line that says something, without the prefix of netlink errors', () => {
  expect(firstLine('\n\nRTNETLINK answers: File exists\nmore')).toBe('File exists')
  expect(firstLine('')).toBe('')
})
