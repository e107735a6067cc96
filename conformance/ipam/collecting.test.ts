import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { expect } from 'vitest'
import { succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import type { OfficialSuite, Suite } from '../harness/locations.js'
import { runPlugin } from '../harness/plugin.js'

// What GC of host-local takes out of a network's directory, by either suite.

const directory = '/var/lib/leases/net'
const files: Record<string, string> = {
  '10.1.2.2': 'c1\r\neth0',
  '10.1.2.3': 'c1\r\neth1',
  '10.1.2.4': 'c2\r\neth0',
  '10.1.2.5': 'c1',
  '10.1.2.6': 'c2',
  '10.1.2.7': 'for the printer, do not use',
  'last_reserved_ip.0': '10.1.2.7',
  lock: '',
  notes: 'c3\r\neth0',
}
const noted = ['10.1.2.7', 'notes']

/** What is left after GC with these valid attachments, in the directory's order of names. */
async function left(host: Host, suite: Suite, valid: object[] | null | undefined): Promise<string[]> {
  mkdirSync(host.path(directory), { recursive: true })
  for (const [name, text] of Object.entries(files)) writeFileSync(host.path(`${directory}/${name}`), text)
  const ipam = { type: 'host-local', dataDir: '/var/lib/leases', ranges: [[{ subnet: '10.1.2.0/24' }]] }
  const config = { cniVersion: '1.1.0', name: 'net', type: 'bridge', ipam, 'cni.dev/valid-attachments': valid }
  const env = { CNI_CONTAINERID: '', CNI_IFNAME: '' }
  succeedSilently(await runPlugin(host, { suite, plugin: 'host-local', command: 'GC', config, env }))
  return readdirSync(host.path(directory)).sort()
}

const kept = ['last_reserved_ip.0', 'lock']
const rows: [what: string, valid: object[], leases: string[]][] = [
  ['one interface', [{ containerID: 'c1', ifname: 'eth0' }], ['10.1.2.2', '10.1.2.5']],
  [
    'both interfaces',
    [
      { containerID: 'c1', ifname: 'eth0' },
      { containerID: 'c1', ifname: 'eth1' },
    ],
    ['10.1.2.2', '10.1.2.3', '10.1.2.5'],
  ],
  ['another container', [{ containerID: 'c2', ifname: 'eth0' }], ['10.1.2.4', '10.1.2.6']],
  ['nobody', [], []],
]

test.for(rows)('GC keeps the leases of %s, and podwire what is none', async ([, valid, leases], { host }) => {
  expect(await left(host, 'official', valid)).toEqual([...leases, ...kept])
  expect(await left(host, 'podwire', valid)).toEqual([...leases, ...kept, ...noted].sort())
})

test.for([[undefined], [null]] as const)('without a list (%s) podwire frees nothing', async ([valid], { host }) => {
  expect(await left(host, 'official', valid)).toEqual(kept)
  expect(await left(host, 'podwire', valid)).toEqual(Object.keys(files).sort())
})

test('v1.9.1 of the official plugin collects nothing', async ({ host }) => {
  const former: OfficialSuite = 'official-1.9.1'
  expect(await left(host, former, [])).toEqual(Object.keys(files).sort())
})
