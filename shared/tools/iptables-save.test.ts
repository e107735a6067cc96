import { expect, test } from 'vitest'
import type { Outcome } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import { createObserver } from './observer.js'

const files: Files = {
  read: (path) => {
    if (path === '/proc/net/ip_tables_names') return 'nat\nfilter\n'
    throw Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), { code: 'ENOENT' })
  },
  readLink: () => expect.unreachable(),
  list: () => expect.unreachable(),
  write: () => expect.unreachable(),
}

function observing(outcome: Partial<Outcome>) {
  return createObserver({ run: () => ({ status: 0, signal: null, stdout: '', stderr: '', ...outcome }), files })
}

test('chains and rules, a quoted text as one word', () => {
  const stdout = `# Generated
*nat
:PREROUTING ACCEPT [0:0]
:CNI-DN-1 - [0:0]
-A CNI-DN-1 -m comment --comment "dnat name: \\"net\\" id: \\"c 1\\"" -j  ACCEPT
COMMIT
`
  expect(observing({ stdout }).savedRules('iptables', 'nat')).toEqual([
    [':PREROUTING', 'ACCEPT', '[0:0]'],
    [':CNI-DN-1', '-', '[0:0]'],
    ['-A', 'CNI-DN-1', '-m', 'comment', '--comment', '"dnat name: \\"net\\" id: \\"c 1\\""', '-j', 'ACCEPT'],
  ])
})

test('a tool that is not installed is told from a table that is empty, and from one that cannot be read', () => {
  expect(observing({ status: null, failure: 'ENOENT' }).savedRules('iptables', 'nat')).toBeUndefined()
  expect(observing({}).savedRules('iptables', 'nat')).toEqual([])
  const unreadable = observing({ status: 1, stderr: 'no' })
  expect(() => unreadable.savedRules('ip6tables', 'raw')).toThrow('cannot read the raw table of ip6tables')
})

test('the tables of the older interface', () => {
  const { hasLegacyTable } = observing({})
  expect([hasLegacyTable('ip', 'nat'), hasLegacyTable('ip', 'raw'), hasLegacyTable('ip6', 'nat')]).toEqual([
    true,
    false,
    false,
  ])
})
