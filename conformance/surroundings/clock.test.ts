import { utimesSync } from 'node:fs'
import { expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { readFiles } from '../harness/observe.js'
import { runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { call, config, settled, state } from '../main/bridge-setting.js'

// No call asks the clock what time it is, but for the name of a draft, a trace and words. So a clock that was set
// shows only in the times of files: as of a year ago or ahead, of the beginning, and of a broken clock. Expected:
// leases, records and locks mean what they meant.

const now = Date.now() / 1000
const year = 365 * 24 * 3600
const times = { 'a year ago': now - year, 'in a year': now + year, 'in 1970': 0, 'beyond every calendar': 9e15 }
const places = ['/var/lib/cni', '/run/podwire']

test.for(Object.entries(times))(
  'files of a time %s: the lease stays, and goes by DEL',
  async ([, seconds], { host }) => {
    const { container } = await settled(host)
    const bystander = await host.container()
    const clean = await state(host)
    const { ips } = resultOf(await runPlugin(host, call('ADD', container)))
    for (const place of places) {
      const files = Object.keys(readFiles(host, place)).map((name) => `${place}/${name}`)
      const paths = [...files, ...files.map((file) => file.slice(0, file.lastIndexOf('/')))]
      for (const path of paths) utimesSync(host.path(path), seconds, seconds)
    }
    const other = resultOf(await runPlugin(host, call('ADD', bystander)))
    expect(other.ips).not.toEqual(ips)
    succeedSilently(await runPlugin(host, call('DEL', bystander)))
    const held = Object.keys(readFiles(host, '/var/lib/cni/networks/network')).filter((name) => /^10\./.test(name))
    expect(held).toEqual([ips?.[0]?.address.replace('/24', '')])
    succeedSilently(await runPlugin(host, call('DEL', container)))
    expect(difference(clean, await state(host))).toBe('')
  },
)

test.for(Object.entries(times))(
  'a full range with a lease of a time %s: one error that names it',
  async ([, seconds], { host }) => {
    const container = await host.container()
    const small = { ...config, ipam: { type: 'host-local', ranges: [[{ subnet: '10.1.2.0/30' }]] } }
    resultOf(await runPlugin(host, call('ADD', container, { config: small })))
    const lease = Object.keys(readFiles(host, '/var/lib/cni/networks/network')).find((name) => /^10\./.test(name))
    utimesSync(host.path(`/var/lib/cni/networks/network/${lease}`), seconds, seconds)
    const { code, details } = errorOf(await runPlugin(host, call('ADD', await host.container(), { config: small })))
    expect({ code, details }).toEqual({ code: 11, details: expect.stringContaining(`held by ${container.name} eth0`) })
    succeedSilently(await runPlugin(host, call('DEL', container, { config: small })))
  },
)
